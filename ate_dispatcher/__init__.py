"""Ask many, take what comes in time: a threaded scatter-gather dispatcher.

The daily names; everything else is one module further: ``errors``, ``events``, ``testing``.
"""

from ._clock import Clock
from ._completion import Completion, Standing, Verdict
from ._handle import Handle
from ._report import MemberReport, Reply, Report, Statistics
from ._workers import CurrentRequest, current_request
from .dispatcher import ATEDispatcher, Dispatcher, Producer, ResultListener, Sender
from .errors import (
    DispatcherError,
    DispatcherStopped,
    IncompleteError,
    RequestTimeout,
)

VERSION_STR = (1, 0, 0)
__version__ = ".".join(map(str, VERSION_STR))

__all__ = [
    "VERSION_STR",
    "ATEDispatcher",
    "Clock",
    "Completion",
    "CurrentRequest",
    "Dispatcher",
    "DispatcherError",
    "DispatcherStopped",
    "Handle",
    "IncompleteError",
    "MemberReport",
    "Producer",
    "Reply",
    "Report",
    "RequestTimeout",
    "ResultListener",
    "Sender",
    "Standing",
    "Statistics",
    "Verdict",
    "__version__",
    "current_request",
]
