"""Ask many, take what comes in time: a threaded scatter-gather dispatcher.

The daily names; everything else is one module further: ``errors``, ``events``, ``testing``.

A name is imported when it is first asked for: the pytest plugin of this package is loaded by every
pytest run on the machine, also by those that have nothing to do with it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._core.delivery_report import DeliveryReport, ListenerReport
    from ._core.outcomes import Completion, Standing, Verdict
    from ._core.report import MemberReport, Progress, Reply, Report
    from ._core.statistics import Statistics
    from ._delivery.overflow import Overflow
    from ._delivery.patterns import TopicPattern
    from ._engine.delivery import Delivery
    from ._engine.handle import Handle
    from ._participants.connection import Connection
    from ._participants.current_request import CurrentRequest, current_request
    from ._participants.subscription import Item, Stream
    from ._time.clock import Clock
    from .dispatcher import ATEDispatcher, Dispatcher, Producer, ResultListener, Sender
    from .errors import (
        ConnectionFailed,
        DispatcherError,
        DispatcherStopped,
        IncompleteError,
        RemoteError,
        RequestTimeout,
        SlowConsumer,
    )
    from .policies import All, First, Quorum, Stall, StopOnError, Until
else:
    _HOMES = {
        "_core.delivery_report": ("DeliveryReport", "ListenerReport"),
        "_core.outcomes": ("Completion", "Standing", "Verdict"),
        "_core.report": ("MemberReport", "Progress", "Reply", "Report"),
        "_core.statistics": ("Statistics",),
        "_delivery.overflow": ("Overflow",),
        "_delivery.patterns": ("TopicPattern",),
        "_engine.delivery": ("Delivery",),
        "_engine.handle": ("Handle",),
        "_participants.connection": ("Connection",),
        "_participants.current_request": ("CurrentRequest", "current_request"),
        "_participants.subscription": ("Item", "Stream"),
        "_time.clock": ("Clock",),
        "dispatcher": ("ATEDispatcher", "Dispatcher", "Producer", "ResultListener", "Sender"),
        "policies": ("All", "First", "Quorum", "Stall", "StopOnError", "Until"),
        "errors": (
            "ConnectionFailed",
            "DispatcherError",
            "DispatcherStopped",
            "IncompleteError",
            "RemoteError",
            "RequestTimeout",
            "SlowConsumer",
        ),
    }
    _HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

    def __getattr__(name):
        """Import all names at the first that is asked for; afterwards they are simply there.

        All at once: a test may take modules out of ``sys.modules`` between two of them, and what
        was imported again would be another copy.
        """
        if name in ("dispatcher", "errors", "events", "policies"):
            return import_module(f"{__name__}.{name}")
        if name not in _HOME_OF:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        found = {}
        for home, names in _HOMES.items():
            module = import_module(f"{__name__}.{home}")
            found.update((each, getattr(module, each)) for each in names)
        for each, value in found.items():
            globals().setdefault(each, value)
        return globals()[name]

    def __dir__():
        return sorted({*globals(), *__all__})


VERSION_STR = (1, 0, 0)
__version__ = ".".join(map(str, VERSION_STR))

__all__ = [
    "VERSION_STR",
    "ATEDispatcher",
    "All",
    "Clock",
    "Completion",
    "Connection",
    "ConnectionFailed",
    "CurrentRequest",
    "Delivery",
    "DeliveryReport",
    "Dispatcher",
    "DispatcherError",
    "DispatcherStopped",
    "First",
    "Handle",
    "IncompleteError",
    "Item",
    "ListenerReport",
    "MemberReport",
    "Overflow",
    "Producer",
    "Progress",
    "Quorum",
    "RemoteError",
    "Reply",
    "Report",
    "RequestTimeout",
    "ResultListener",
    "Sender",
    "SlowConsumer",
    "Stall",
    "Standing",
    "Statistics",
    "StopOnError",
    "Stream",
    "TopicPattern",
    "Until",
    "Verdict",
    "__version__",
    "current_request",
]
