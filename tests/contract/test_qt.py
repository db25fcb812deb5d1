"""In a window of Qt, without a screen; skipped without PySide6, and before Python 3.12."""

from __future__ import annotations

import os
import sys
import threading
from typing import Any, Callable, List

import pytest
from rig import PATIENCE, came, over, settle

from ate_dispatcher import Dispatcher, Overflow, ResultListener, Verdict

if sys.version_info < (3, 12):
    pytest.skip("PySide6 6.12 itself ends older Pythons in a fatal error", allow_module_level=True)
os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
QtCore: Any = pytest.importorskip("PySide6.QtCore")


class Window(QtCore.QObject):  # type: ignore[misc]
    """What only the thread of the window may touch."""

    to_call = QtCore.Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.shown: List[Any] = []
        self.threads: List[int] = []
        #: How many calls Qt has got and not made yet; and the most there were.
        self.queued: List[object] = []
        self.most = 0
        self.to_call.connect(self._call, QtCore.Qt.ConnectionType.QueuedConnection)

    def deliver(self, call: Callable[[], None]) -> None:
        """On the listener's thread."""
        self.queued.append(call)
        self.most = max(self.most, len(self.queued))
        self.to_call.emit(call)

    def _call(self, call: Callable[[], None]) -> None:
        self.queued.remove(call)
        call()

    def show_value(self, topic: Any, value: Any) -> None:
        self.shown.append(value)
        self.threads.append(threading.get_ident())


@pytest.fixture
def application() -> Any:
    """The one that this process has."""
    return QtCore.QCoreApplication.instance() or QtCore.QCoreApplication([])


def turns_until(application: Any, is_done: Callable[[], bool]) -> None:
    """Let Qt call what there is to call until then."""
    patience = QtCore.QDeadlineTimer(int(PATIENCE * 1000))
    while not is_done():
        assert not patience.hasExpired()
        application.processEvents(QtCore.QEventLoop.ProcessEventsFlag.AllEvents, 10)


def test_a_window_hears_on_its_own_thread_in_order(application: Any) -> None:
    """However many publish; one call is in front of Qt's queue at a time."""
    window = Window()
    with Dispatcher() as dispatcher:
        listener = ResultListener(window.show_value, name="window", deliver=window.deliver)
        dispatcher.register_result_listener(listener, "t", start=True)

        def publish(name: int) -> None:
            for number in range(50):
                dispatcher.publish("t", (name, number))

        publishers = [threading.Thread(target=publish, args=(name,)) for name in range(3)]
        for publisher in publishers:
            publisher.start()
        turns_until(application, lambda: len(window.shown) == 150)
        over(*publishers)
    for name in range(3):
        assert [count for who, count in window.shown if who == name] == list(range(50))
    assert set(window.threads) == {threading.get_ident()}
    assert window.most == 1


def test_a_bound_holds_in_front_of_a_window_that_is_busy(application: Any) -> None:
    """What is too much is declined while the window does something else."""
    window = Window()
    with Dispatcher() as dispatcher:
        listener = ResultListener(
            window.show_value, deliver=window.deliver, maxsize=5, overflow=Overflow.DROP_OLDEST
        )
        dispatcher.register_result_listener(listener, "t", start=True)
        first = dispatcher.publish("t", "first")
        while not window.queued:
            pass
        deliveries = [dispatcher.publish("t", number) for number in range(100)]
        while sum(each.done() for each in deliveries) < 95:
            settle(dispatcher)
        turns_until(application, lambda: all(each.done() for each in (first, *deliveries)))
    assert window.shown == ["first", *range(95, 100)]
    assert window.most == 1
    counts = dispatcher.statistics().deliveries
    assert (counts[Verdict.OK], counts[Verdict.DECLINED]) == (6, 95)


def test_a_window_that_is_closed_keeps_nobody(application: Any) -> None:
    """Qt drops what it has still to call: the listener goes on, and ends."""
    window = Window()
    with Dispatcher() as dispatcher:
        is_sent = threading.Event()

        def deliver(call: Callable[[], None]) -> None:
            window.to_call.emit(call)
            is_sent.set()

        listener = ResultListener(window.show_value, deliver=deliver)
        dispatcher.register_result_listener(listener, "t", start=True)
        delivery = dispatcher.publish("t", 1)
        came(is_sent)
        QtCore.QCoreApplication.removePostedEvents(window)
        assert delivery.wait(PATIENCE)
        assert delivery.report().listeners[0].verdict is Verdict.ERROR
        listener.stop()
        over(listener)
    assert window.shown == []
