"""One listener in the place of all who listen on other machines, for all of their topics."""

from __future__ import annotations

from typing import Any, List, Optional, Sequence

from .._core.report import Reply, Report
from .._delivery.mailbox import CLOSED
from .._engine.messages import ResultMessage
from .._engine.published import Published
from .._time.clock import Clock
from ..errors import BadType
from .results import Results
from .shared import Shared

__all__ = ["RemoteListeners"]


class RemoteListeners:
    """It hears on the link's thread, which sends what it hears; its mailbox is the outbox."""

    def __init__(self, shared: Shared, results: Results, name: str) -> None:
        self.name: str = name
        self._shared = shared
        self._results = results
        self._ate_mailbox = shared.outbox
        self._ate_hears: Optional[Published] = None
        self._ate_failure: Optional[str] = None
        self._ate_warned = False
        #: For what it hears now: whose result it is.
        self._request: Optional[int] = None

    def hear(self, item: Any) -> None:
        """One message out of the outbox. Raises what keeps it from travelling."""
        self._request = item.request if isinstance(item, ResultMessage) else None
        item.hear(self)

    def process_dispatcher_result(self, topic: Any, response: Any) -> None:
        """Send it."""
        travels = False
        try:
            if topic.__class__ is not str:
                raise BadType(f"topic must be a str to reach other machines, not {topic!r}")
            self._results.send(topic, response, self._request)
            travels = True
        finally:
            self._shared.let_go((topic, response), is_known=travels)

    def process_dispatcher_reply(self, topic: Any, reply: Reply) -> None:
        """It heeds none, nor what follows."""

    def process_dispatcher_error(self, topic: Any, reply: Reply) -> None:
        """None."""

    def process_dispatcher_completion(self, topic: Any, report: Report) -> None:
        """None."""

    def is_alive(self) -> bool:
        """Whether it hears anything more."""
        return self._ate_mailbox.attention is not CLOSED

    def stop(self) -> None:
        """Nothing: the link is left behind all listeners."""

    def _ate_join_clock(self, clock: Clock) -> None:
        """It is the engine's."""

    def _ate_heeds(self, callback: str) -> bool:
        return False

    def _ate_was_started(self) -> bool:
        return True

    def _ate_stops_at_once(self) -> bool:
        return True

    def _ate_put_stop(self) -> None:
        """As `stop`."""

    def _ate_hearing(self) -> Sequence[Published]:
        hears: List[Optional[Published]] = [self._ate_hears]
        return [each for each in hears if each is not None]
