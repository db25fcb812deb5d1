"""What the ledger answers to a fact: bits of a small int."""

from __future__ import annotations

__all__ = [
    "ABSENT",
    "ACCEPTED",
    "ALARM",
    "ASK",
    "DISCARDED",
    "ENDED",
    "FAILED",
    "NOTED",
    "ORDINARY",
    "SPECIAL",
    "STARTED",
]

ACCEPTED = 1
"""A value was taken: forward ``entry.chain``, the newest record."""
ENDED = 2
"""The request ended with this fact. Alone or with ACCEPTED: with nothing else to say of it."""
ORDINARY = ACCEPTED | ENDED
"""Effects up to this are what nearly every fact has; beyond it there is more to do."""
FAILED = 4
"""An exception was taken as the answer: likewise, to those who want errors."""
ABSENT = 8
"""It ended with members that had not begun: their mailboxes, or hands, still hold it."""
DISCARDED = 16
"""The reply came after the end; the member's note says how it is judged."""
NOTED = 32
"""A member got a verdict without a reply: the newest note."""
SPECIAL = 64
"""It ended, and not as ordinarily: look at its ``extra``."""
ASK = 128
"""Its predicates want to be asked, outside the section."""
ALARM = 256
"""Quiet may end it: at ``next_deadline``, perhaps sooner than the keeper knows."""

STARTED = 512
"""Those who are present at the start line run: let them go."""
