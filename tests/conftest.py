"""What all tests share."""

from __future__ import annotations

import threading
from typing import Iterator

import pytest
from hypothesis import settings
from rig import Gated, GatedListener

# The same examples on every machine and in every run; slow machines are not failures.
settings.register_profile("suite", deadline=None, derandomize=True)
settings.load_profile("suite")


@pytest.fixture(autouse=True)
def no_gate_is_left_closed() -> Iterator[None]:
    """Who were left behind one would fail long after, in the middle of other tests."""
    yield
    for each in threading.enumerate():
        if isinstance(each, (Gated, GatedListener)) and each.entered.is_set():
            assert each.gate.is_set(), f"{each.name} is left behind its gate"
