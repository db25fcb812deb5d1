"""Which of the mistakes that are made on purpose are tried: all, or a share of them.

``MISTAKES=1/3`` in the environment is for every third, from the second on.
"""

from __future__ import annotations

import os
from typing import List, Sequence, TypeVar

T = TypeVar("T")


def share(mistakes: Sequence[T]) -> List[T]:
    """Those of *mistakes* that this run is to try."""
    first, _, step = os.environ.get("MISTAKES", "0/1").partition("/")
    return list(mistakes[int(first) :: int(step)])
