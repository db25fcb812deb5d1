"""Several threads for one participant: its own, and daemons that help."""

from __future__ import annotations

from typing import Any, Callable, List, Sequence, Tuple

from .. import _log
from .._core.durations import NEVER
from .._delivery.mailbox import Mailbox
from .._time.clock import Clock, Parker, spawn
from .process import SECTION

__all__ = ["work_together"]

Work = Callable[[], None]


def work_together(
    clock: Clock,
    name: str,
    mailbox: Mailbox,
    own: Work,
    others: Sequence[Tuple[Work, Parker]],
    fewer: Callable[[int], None] = lambda count: None,
) -> None:
    """Do *own* here and the *others*, which park on those parkers, on threads ``<name>/2`` and on.

    Comes back when all have; then *mailbox*, which they read, is at its end. *fewer* is told if
    there can be no more than so many threads beside this.
    """
    helpers: List[Tuple[Any, Parker]] = []
    try:
        for count, (work, parker) in enumerate(others):
            try:
                thread = spawn(clock, work, f"{name}/{count + 2}", parker)
            except RuntimeError as error:
                _log.lost("%s works with fewer threads: %s", name, error)
                fewer(count)
                break
            helpers.append((thread, parker))
        own()
        for thread, parker in helpers:
            clock.join(thread, parker, NEVER)
    finally:
        with SECTION:
            mailbox.end()
