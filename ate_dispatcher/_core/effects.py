"""What the ledger answers to a fact: bits of a small int.

What follows from the request itself is no bit: whether members had not begun it, whether its start
line has started.
"""

from __future__ import annotations

__all__ = [
    "ACCEPTED",
    "ALARM",
    "ASK",
    "DISCARDED",
    "ENDED",
    "ENDING",
    "FAILED",
    "NOTED",
    "ORDINARY",
    "REFUSED",
]

ACCEPTED = 1
"""A value was taken: forward ``request.chain``, the newest record."""
ENDED = 2
"""The request ended with this fact."""
ORDINARY = ACCEPTED | ENDED
"""Effects up to this are what nearly every fact has; beyond it there is more to do."""
FAILED = 4
"""An exception was taken as the answer: likewise, to those who want errors."""
DISCARDED = 8
"""The reply came after the end; what is unanswered says how it is judged."""
NOTED = 16
"""A member got a verdict without a reply: the newest of the unanswered."""
ALARM = 32
"""Quiet may end it: at ``next_instant``, perhaps sooner than the control loop knows."""
REFUSED = 64
"""No fact at all, such as a second answer: nothing has changed, somebody has to be told."""
ASK = 128
"""Its predicates want to be asked, outside the section."""
ENDING = 256
"""Its end has begun, or gone on: some of the absent were judged, and more may be. It has no
completion yet, but nothing else can become of it."""
