"""What all tests share."""

from __future__ import annotations

from hypothesis import settings

# The same examples on every machine and in every run; slow machines are not failures.
settings.register_profile("suite", deadline=None, derandomize=True)
settings.load_profile("suite")
