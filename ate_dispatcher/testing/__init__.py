"""Time under test: a virtual clock for real threads, scripted participants, and assertions.

Limits first: code that calls ``time.sleep`` or does real I/O still takes real time, and so do event
loops; in scripted work call ``clock.sleep`` instead.

    >>> from ate_dispatcher import Dispatcher
    >>> from ate_dispatcher.testing import ScriptedProducer, VirtualClock, answers, assert_late
    >>> clock = VirtualClock()
    >>> slow = ScriptedProducer(answers(5, after_ms=3600_000))
    >>> with Dispatcher(clock=clock) as dispatcher:
    ...     slow = dispatcher.register_result_producer(slow, "topic", start=True)
    ...     handle = dispatcher.send_request("topic", ttl=1000)
    ...     assert_late(handle, slow, by_ms=3599_000)
    ...     handle.results(), handle.completion.name
    ([], 'DEADLINE')

Needs no pytest; where there is pytest, the package's plugin offers all of it as fixtures. For
unittest there is :class:`DispatcherTestMixin`, for other frameworks :class:`Rig`.
"""

from __future__ import annotations

from .._time.virtual_clock import VirtualClock
from ..errors import ClockStopped, VirtualTimeStuck
from ..views.timeline import Timeline
from .assertions import (
    assert_accepted,
    assert_ended,
    assert_failed,
    assert_heard,
    assert_late,
    assert_missing,
)
from .mixin import DispatcherTestMixin
from .rigs import DispatcherFactory, Rig
from .scripts import (
    Asked,
    Heard,
    Outcome,
    RecordingListener,
    ScriptedProducer,
    answers,
    computes,
    dies,
    hangs,
    raises,
)
from .wire import Wire, WireTransport

__all__ = [
    "Asked",
    "ClockStopped",
    "DispatcherFactory",
    "DispatcherTestMixin",
    "Heard",
    "Outcome",
    "RecordingListener",
    "Rig",
    "ScriptedProducer",
    "Timeline",
    "VirtualClock",
    "VirtualTimeStuck",
    "Wire",
    "WireTransport",
    "answers",
    "assert_accepted",
    "assert_ended",
    "assert_failed",
    "assert_heard",
    "assert_late",
    "assert_missing",
    "computes",
    "dies",
    "hangs",
    "raises",
]
