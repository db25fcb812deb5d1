"""What a thread under virtual time parks on, and threads of a test that live there too."""

from __future__ import annotations

import threading
from threading import current_thread
from typing import Any, Callable, List, Optional, Tuple

from .._arguments import check_callable
from .._core.durations import NEVER, timeout_instant
from ..errors import ClockStopped

__all__ = ["ClockThread", "VirtualParker"]


class VirtualParker:
    """What one thread parks on under a virtual clock; all state is under the clock's lock."""

    __slots__ = (
        "clock",
        "gate",
        "ident",
        "joiners",
        "over",
        "parked",
        "seq",
        "unparked",
        "woken",
    )

    def __init__(self, clock: Any, gate: Any, ident: Optional[int] = None) -> None:
        self.clock: Any = clock
        #: Gets one item for each time the thread may run.
        self.gate: Any = gate
        self.ident: Optional[int] = ident
        self.seq: int = next(clock._numbers)
        #: Which wait it is parked in; None while it is not.
        self.parked: Optional[int] = None
        self.unparked: bool = False
        self.woken: bool = False
        self.over: bool = False
        self.joiners: List[VirtualParker] = []

    def unpark(self, _: None = None) -> None:
        self.clock._unpark(self)

    def park(self) -> None:
        self.clock._wait(self, NEVER)

    def park_until(self, deadline: float) -> bool:
        woken: bool = self.clock._wait(self, deadline)
        return woken


class ClockThread(threading.Thread):
    """What :meth:`VirtualClock.thread` makes."""

    def __init__(
        self,
        clock: Any,
        target: Callable[..., Any],
        args: Tuple[Any, ...],
        name: Optional[str],
    ) -> None:
        check_callable("target", target)
        super().__init__(target=target, args=args, name=name, daemon=True)
        self._ate_clock = clock
        self._ate_parker = clock.parker()

    def start(self) -> None:
        if self.ident is not None:
            super().start()
        try:
            self._ate_clock.expected(self._ate_parker)
            super().start()
        except BaseException:
            if self.ident is None:
                self._ate_clock.left(self._ate_parker)
            raise

    def run(self) -> None:
        self._ate_clock.entered(self._ate_parker)
        try:
            super().run()
        except ClockStopped:
            # The test is over, and so is what this has waited for.
            pass
        finally:
            self._ate_clock.left(self._ate_parker)

    def join(self, timeout: Optional[float] = None) -> None:
        clock = self._ate_clock
        if self.ident is None or self is current_thread():
            super().join(timeout)
        clock.join(self, self._ate_parker, timeout_instant(clock.now(), timeout))
