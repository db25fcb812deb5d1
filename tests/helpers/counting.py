"""Counts what threads do, in lines of the package: the same on every machine, busy or not.

The lines that are executed in one pass of the section, and the verdicts that it brings; the lines
that something takes altogether.
"""

from __future__ import annotations

import sys
import threading
from typing import Any, Callable, Iterator, List, Optional

import pytest
import virtual
from rig import PATIENCE
from virtual import FOREVER, World

from ate_dispatcher._core.ends import BUDGET
from ate_dispatcher._core.request import Unanswered
from ate_dispatcher._core.statistics import Sums
from ate_dispatcher._engine.process import SECTION

# -- the inside --------------------------------------------------------------------------------


def watch_section(patch: pytest.MonkeyPatch, entered: Any, left: Any) -> None:
    """Have *entered* and *left* called inside, at the begin and the end of each pass.

    Before any thread that is to be watched is started: the hot loop looks these up once.
    """
    enter, leave = SECTION.enter, SECTION.leave

    def enters() -> None:
        enter()
        entered()

    def leaves(token: None) -> None:
        left()
        leave(token)

    patch.setattr(SECTION, "enter", enters)
    patch.setattr(SECTION, "leave", leaves)


def watch_verdicts(patch: pytest.MonkeyPatch, judged: Callable[[], None]) -> None:
    """Have *judged* called for each verdict that is no reply."""
    for where, name in ((Unanswered, "__init__"), (Sums, "judge")):
        patch.setattr(where, name, _after(judged, getattr(where, name)))


def _after(judged: Callable[[], None], usual: Callable[..., Any]) -> Callable[..., Any]:
    def judges(*data: Any) -> Any:
        judged()
        return usual(*data)

    return judges


# -- the count ---------------------------------------------------------------------------------

LINES, LINES_OF_A_MEMBER = 2_000, 80
"""So many a pass may have, about 100 us, and so many more for each member of a large request."""


class Watch:
    """Counts what threads do that are started from now on, and the test's own while it `counts`.

    Attributes: *lines*, executed by all of them; *longest* and *verdicts*, the most lines and the
    most verdicts of one pass of the section.
    """

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.lines = self.longest = self.verdicts = 0
        self._here: Optional[int] = None
        self._lines = self._verdicts = 0
        # Counting takes its time, the more so where others are busy.
        clock = virtual.VirtualClock
        patch.setattr(virtual, "VirtualClock", lambda start: clock(start, patience=2 * PATIENCE))
        watch_section(patch, self._entered, self._left)
        watch_verdicts(patch, self._judged)

    def traced(self, frame: Any, event: str, arg: Any) -> Any:
        name = frame.f_code.co_filename
        if "ate_dispatcher" not in name or "virtual" in name or "wire" in name:
            return None
        if event == "line":
            self.lines += 1
            if self._here == threading.get_ident():
                self._lines += 1
        return self.traced

    def forget(self) -> None:
        """Count anew."""
        self.lines = self.longest = self.verdicts = 0

    def counts(self, deed: Callable[[], Any]) -> int:
        """How many lines all of them execute during *deed*, this thread included."""
        before, self.lines = sys.gettrace(), 0
        sys.settrace(self.traced)
        try:
            deed()
        finally:
            sys.settrace(before)
        return self.lines

    def passes_were_short(self, roster: int = 0) -> None:
        """All that was done since it was told to forget came in small parts."""
        most = LINES + LINES_OF_A_MEMBER * roster
        assert self.longest <= most, f"{self.longest} lines in one pass"
        assert self.verdicts <= 2 * BUDGET + 6 * roster, f"{self.verdicts} verdicts in one pass"

    def _entered(self) -> None:
        self._here = threading.get_ident()
        self._lines = self._verdicts = 0

    def _left(self) -> None:
        self.longest = max(self.longest, self._lines)
        self.verdicts = max(self.verdicts, self._verdicts)
        self._here = None

    def _judged(self) -> None:
        if self._here == threading.get_ident():
            self._verdicts += 1


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Iterator[Watch]:
    """A watch on all threads that the test starts."""
    # threading.gettrace is younger than Python 3.8.
    before = threading._trace_hook  # type: ignore[attr-defined]
    made = Watch(monkeypatch)
    threading.settrace(made.traced)
    yield made
    threading.settrace(before)


def hang(world: World, count: int, **options: Any) -> List[Any]:
    """So many producers that are at a request and do not come back."""
    hung = [world.producer(FOREVER, **options) for _ in range(count)]
    world.send(ttl=None)
    world.clock.settle()
    return hung


def grows_linearly(cost: Callable[[int], int], n: int) -> None:
    """Four times as many take at most some more than four times as much.

    What threads of other deeds still do counts, too, and only adds: so the least of some counts is
    the deed's own.
    """
    cost(8)
    few, many = cost(n), cost(4 * n)
    for _ in range(2):
        if many >= 5 * few:
            many = min(many, cost(4 * n))
    assert many < 5 * few, f"{n}: {few} lines, {4 * n}: {many}"
