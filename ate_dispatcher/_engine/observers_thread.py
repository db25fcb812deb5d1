"""The thread on which a dispatcher's hooks and done callbacks are called: there when it is needed.

The observers themselves do not know the control loop, which asks for the thread.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Callable

from .. import _log
from .._time.clock import spawn
from .engine import Engine

__all__ = ["ObserversThread"]


class ObserversThread:
    """Of one dispatcher; asked for by its control loop alone.

    Attributes: *thread*, None before there was anything to do for it.
    """

    def __init__(self, engine: Engine, name: Callable[[], str]) -> None:
        self._engine = engine
        self._name = name
        self.thread: Any = None

    def start_if_needed(self) -> None:
        """If something waits for it."""
        if self.thread is None and self._engine.observers.backlog():
            self.start()

    def start(self) -> None:
        """If it was not."""
        if self.thread is not None:
            return
        observers = self._engine.observers
        name = f"{self._name()}-observers"
        try:
            self.thread = spawn(self._engine.clock, observers.serve, name, observers.mailbox.parker)
        except RuntimeError as error:
            # At the exit of the interpreter there are no new threads: the end sees to it.
            if observers.has_calls():
                _log.lost("hooks and done callbacks are not called: %s", error)

    def lags(self, waiting: int) -> None:
        """Say so on a thread that is there for that: a hook keeps the observers' own."""
        warn = partial(
            _log.lost,
            "hooks and done callbacks do not keep up: %d wait for the thread that calls them",
            waiting,
        )
        clock = self._engine.clock
        try:
            spawn(clock, warn, f"{self._name()}-warner", clock.parker())
        except RuntimeError:
            self._engine.observers.lost(*warn.args)
