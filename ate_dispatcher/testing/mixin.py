"""For tests with unittest: what pytest users have as fixtures."""

from __future__ import annotations

from contextlib import contextmanager
from functools import wraps
from inspect import iscoroutinefunction
from typing import Any, Callable, Iterator, Optional

from .._time.virtual_clock import VirtualClock
from ..dispatcher import Dispatcher
from ..errors import DispatcherError
from .rigs import Makes, Rig

__all__ = ["DispatcherTestMixin"]


class DispatcherTestMixin(Makes):
    """Before ``unittest.TestCase``: a dispatcher on virtual time for each test.

    ::

        class TestSites(DispatcherTestMixin, unittest.TestCase):
            def test_cutoff(self):
                slow = self.scripted_producer(self.dispatcher, "volts", answers(5, after_ms=1000))
                handle = self.dispatcher.send_request("volts", ttl=600)
                assert_late(handle, slow, by_ms=400)

    What is used is made then, and ended after the cleanups of the test, which fails if a producer,
    listener or dispatcher that it has started lives on. The message of a failure has the last
    requests (before Python 3.11 that of an error whose arguments are more than a message has not).
    A failure in ``setUp``, the test or a ``subTest`` is shown so, none in ``tearDown``.
    Works with any runner; all is for the test's own thread.

    Attributes
    ----------
    patience: float
        Real seconds without any progress after which a test that waits fails; of the class.
    """

    patience: float = 10.0

    # Not made before they are used, so a `setUp` need not call ours.
    _ate_rig: Optional[Rig] = None
    _ate_clock: Optional[VirtualClock] = None
    _ate_dispatcher: Optional[Dispatcher] = None
    _ate_real: Optional[Dispatcher] = None

    @property
    def virtual_clock(self) -> VirtualClock:
        """The clock of :attr:`dispatcher`, for others too; 0 s at first."""
        if self._ate_clock is None:
            self._ate_clock = self._ate_mine().virtual_clock(self.patience)
        return self._ate_clock

    @property
    def dispatcher(self) -> Dispatcher:
        """A started dispatcher on :attr:`virtual_clock`."""
        if self._ate_dispatcher is None:
            self._ate_dispatcher = self._ate_mine().dispatcher(clock=self.virtual_clock)
        return self._ate_dispatcher

    @property
    def real_dispatcher(self) -> Dispatcher:
        """A started dispatcher on real time."""
        if self._ate_real is None:
            self._ate_real = self._ate_mine().dispatcher()
        return self._ate_real

    # -- what a TestCase calls -----------------------------------------------------------------

    def run(self, result: Any = None) -> Any:
        """Run the test, as ``unittest.TestCase`` does, and look after what it has made."""
        parent: Any = super()
        with self._ate_looked_after():
            return parent.run(result)

    def debug(self) -> None:
        """The same without a result: what is raised comes out."""
        parent: Any = super()
        with self._ate_looked_after():
            parent.debug()

    @contextmanager
    def _ate_looked_after(self) -> Iterator[None]:
        case: Any = self
        self._ate_rig = Rig()
        self._ate_clock = self._ate_dispatcher = self._ate_real = None
        # The first to be added is the last to be called.
        case.addCleanup(self._ate_end)
        own = self.__dict__
        before = {name: own.get(name) for name in ("setUp", case._testMethodName)}
        for name in before:
            own[name] = self._ate_watched(getattr(self, name))
        try:
            yield
        finally:
            if self._ate_rig is not None:
                # What was raised in `debug` has left the cleanups out.
                self._ate_mine().end()
                self._ate_rig = None
            for name, value in before.items():
                if value is None:
                    own.pop(name, None)
                else:
                    own[name] = value

    @contextmanager
    def subTest(self, *args: Any, **params: Any) -> Iterator[None]:  # noqa: N802
        """As that of ``unittest.TestCase``."""
        parent: Any = super()
        with parent.subTest(*args, **params), self._ate_shown():
            yield

    def _ate_mine(self) -> Rig:
        if self._ate_rig is None:
            # As a user's own `__init__` or `setUpClass` would; nobody would end it.
            raise DispatcherError(
                "only a test that runs has a dispatcher: setUp, not setUpClass; "
                "and the mixin stands before TestCase"
            )
        return self._ate_rig

    def _ate_watched(self, method: Callable[[], Any]) -> Callable[[], Any]:
        if iscoroutinefunction(method):

            @wraps(method)
            async def awaited() -> Any:
                with self._ate_shown():
                    return await method()

            return awaited

        @wraps(method)
        def watched() -> Any:
            with self._ate_shown():
                return method()

        return watched

    @contextmanager
    def _ate_shown(self) -> Iterator[None]:
        """Add the last requests to the message of what is raised inside."""
        try:
            yield
        except Exception as error:
            # By name: who has unittest has it loaded, and others need not for our sake.
            if type(error).__name__ != "SkipTest":
                _add(error, self._ate_mine())
            raise

    def _ate_end(self) -> None:
        case: Any = self
        rig, self._ate_rig = self._ate_mine(), None
        problems = rig.end()
        if problems:
            case.fail("\n".join(problems))


def _add(error: BaseException, rig: Rig) -> None:
    """Let the message of *error* end with the last requests."""
    pictures = [f"{title}:\n{text}" for title, text in rig.pictures()]
    if not pictures:
        return
    text = "\n\n".join(["", *pictures])
    # Younger than Python 3.10.
    note = getattr(error, "add_note", None)
    if note is not None:
        note(text)
    elif not error.args or error.args == (str(error),):
        error.args = (str(error) + "\n" + text,)
