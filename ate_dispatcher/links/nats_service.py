"""What ``$SRV`` requests are answered, so that tools for NATS services see parts.

As ADR-32 of NATS describes it: PING, INFO and STATS, to all services, to those of one name, to one.
The services of a namespace have the name ``ate1-<namespace>``, and the part's as their id.
"""

from __future__ import annotations

import json
import re
from datetime import datetime, timezone
from typing import Any, Dict, List, Optional, Tuple

from .._time.clock import REAL

__all__ = ["Service"]

_VERSION = "1.0.0"
"""Of the wire, "ate1": what a part says is the same with every version of this package."""

_VERBS = ("PING", "INFO", "STATS")

_MOST_OPEN = 10_000

_FRESH, _MOST = 0.05, 20
"""For so many seconds, or ten times as many as it took to make it, an answer serves all who ask, so
many of them: it is as long as there are topics, and a question is short."""


class _Endpoint:
    """One subject on which something is asked, and what came of it."""

    __slots__ = ("busy", "error", "errors", "name", "queue", "requests", "subject")

    def __init__(self, name: str, subject: str, queue: str) -> None:
        self.name = re.sub(r"[^A-Za-z0-9_-]", "_", name)
        self.subject = subject
        self.queue = queue
        self.requests = 0
        self.errors = 0
        self.error = ""
        self.busy = 0.0

    def described(self) -> Dict[str, Any]:
        return {
            "name": self.name,
            "subject": self.subject,
            "queue_group": self.queue,
            "metadata": {},
        }

    def counted(self) -> Dict[str, Any]:
        busy = int(self.busy * 1e9)
        return {
            "name": self.name,
            "subject": self.subject,
            "queue_group": self.queue,
            "num_requests": self.requests,
            "num_errors": self.errors,
            "last_error": self.error,
            "processing_time": busy,
            "average_processing_time": busy // max(1, self.requests),
        }


class Service:
    """One part as a service: its own endpoint, and one per topic on which it may be asked.

    For one thread.
    """

    def __init__(self, namespace: str, part: str, subject: str) -> None:
        self.name: str = f"ate1-{namespace}"
        self.id = part
        self._identity = {
            "name": self.name,
            "id": part,
            "version": _VERSION,
            "metadata": {"namespace": namespace, "part": part, "wire": "ate1"},
        }
        self._description = f"part {part} of {namespace} (ate-dispatcher)"
        self._started = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        self._own = _Endpoint("part", subject, "")
        self._topics: Dict[str, _Endpoint] = {}
        self._open: Dict[str, Tuple[_Endpoint, float]] = {}
        #: What was answered, until when that serves, and how many may still ask.
        self._made: Dict[str, bytes] = {}
        self._serves_until = 0.0
        self._left = 0

    def subjects(self) -> List[str]:
        """Where it is asked; the verb is the second token."""
        return ["$SRV.*", f"$SRV.*.{self.name}", f"$SRV.*.{self.name}.{self.id}"]

    def offer(self, topics: Dict[str, str], group: str) -> None:
        """The topics on which the part is asked, with the subject of each."""
        known = self._topics
        self._topics = {
            topic: known.get(topic) or _Endpoint(topic, subject, group)
            for topic, subject in topics.items()
        }
        for each in self._topics.values():
            each.queue = group

    def received(self) -> None:
        """Something came for the part itself."""
        self._own.requests += 1

    def failed(self, error: str) -> None:
        """Of something that came, nothing could be made."""
        self._own.errors += 1
        self._own.error = error

    def asked(self, topic: str, reply: str, now: float) -> None:
        """Somebody asks on *topic*."""
        endpoint = self._topics.get(topic)
        if endpoint is None:
            return
        endpoint.requests += 1
        if reply:
            if len(self._open) >= _MOST_OPEN:
                # Nobody will answer that.
                del self._open[next(iter(self._open))]
            self._open[reply] = (endpoint, now)

    def answered(self, reply: str, now: float) -> None:
        """That was answered."""
        endpoint, since = self._open.pop(reply, (None, now))
        if endpoint is not None:
            endpoint.busy += now - since

    def answer(self, verb: str) -> Optional[bytes]:
        """What to say to *verb*; None to those that are not known, and to too many."""
        if verb not in _VERBS:
            return None
        now = REAL.now()
        if now >= self._serves_until:
            self._made.clear()
            self._left, self._serves_until = _MOST, now + _FRESH
        if self._left <= 0:
            return None
        self._left -= 1
        if verb not in self._made:
            self._made[verb] = self._make(verb)
            after = REAL.now()
            self._serves_until = max(self._serves_until, after + 10 * (after - now))
        return self._made[verb]

    def _make(self, verb: str) -> bytes:
        every = [self._own, *self._topics.values()]
        if verb == "PING":
            more: Dict[str, Any] = {}
        elif verb == "INFO":
            more = {
                "description": self._description,
                "endpoints": [each.described() for each in every],
            }
        else:
            more = {
                "started": self._started,
                "endpoints": [each.counted() for each in every],
            }
        kind = f"io.nats.micro.v1.{verb.lower()}_response"
        return json.dumps({"type": kind, **self._identity, **more}).encode()
