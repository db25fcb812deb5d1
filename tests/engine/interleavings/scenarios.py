"""What is played: small crossings of a few threads, each with what must hold whatever the order.

A scenario sets the stage, lets a cast play, and then claims. What it claims of every run: whoever
waits goes on without time having to pass, each request ends, everybody who was asked has one
verdict and the sums say so too, listeners hear every value once, in one order, and nothing is left.
"""

from __future__ import annotations

# Each enters its own.
from . import scenarios_changes, scenarios_life, scenarios_requests, scenarios_values  # noqa: F401
from .entries import SCENARIOS, Entry

__all__ = ["SCENARIOS", "Entry"]
