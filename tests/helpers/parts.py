"""Several dispatchers on one virtual clock, connected by a wire that can be troubled."""

from __future__ import annotations

from typing import Any, Dict, Iterator, List, Optional

import pytest
from virtual import Hearing

from ate_dispatcher import Connection, Dispatcher, Handle, Producer
from ate_dispatcher.testing import ScriptedProducer, VirtualClock, Wire, computes

NAMESPACE = "lab"


class Parts:
    """The cast: parts by name, each a started dispatcher; whatever it has is stopped at the end."""

    def __init__(self, wire: Optional[Wire] = None) -> None:
        self.clock = VirtualClock()
        self.wire = wire or Wire()
        self.dispatchers: Dict[str, Dispatcher] = {}
        self.connections: Dict[str, Connection] = {}
        self._all: List[Dispatcher] = []

    def part(
        self, name: str, connect: bool = True, start: bool = True, **options: Any
    ) -> Dispatcher:
        dispatcher = self.dispatchers[name] = Dispatcher(clock=self.clock, name=name, **options)
        self._all.append(dispatcher)
        if start:
            dispatcher.start()
        if connect:
            self.connect(name)
        return dispatcher

    def connect(self, name: str, **options: Any) -> Connection:
        dispatcher = self.dispatchers[name]
        options = {"namespace": NAMESPACE, "name": name, **options}
        found = dispatcher.connect(self.wire.transport(), **options)
        self.connections[name] = found
        self.clock.settle()
        return found

    def producer(
        self,
        part: str,
        ms: float = 0,
        answer: Any = None,
        topic: Any = "volts",
        name: Optional[str] = None,
        **options: Any,
    ) -> Producer:
        """One on *part* that takes *ms* and answers with *answer*, or its first argument."""

        def answered(topic: Any, *args: Any, **kwargs: Any) -> Any:
            if isinstance(answer, BaseException):
                raise answer
            if callable(answer):
                return answer(topic, *args, **kwargs)
            return args[0] if answer is None and args else answer

        made = ScriptedProducer(computes(answered, after_ms=ms), name=name, **options)
        self.dispatchers[part].register_result_producer(made, topic, start=True)
        self.clock.settle()
        self.clock.advance(1)
        return made

    def listener(self, part: str, topic: Any = "volts") -> Hearing:
        made = Hearing(self.clock, 0, None, None)
        self.dispatchers[part].register_result_listener(made, topic, start=True)
        self.clock.advance(1)
        return made

    def ask(self, part: str, *args: Any, ttl: Optional[float] = 1000, **options: Any) -> Handle:
        dispatcher = self.dispatchers[part]
        if options:
            return dispatcher.options(ttl=ttl, **options).send_request("volts", *args)
        return dispatcher.send_request("volts", *args, ttl=ttl)

    def counted(self, part: str, what: str) -> int:
        return self.connections[part].statistics()[what]

    def tidy(self) -> None:
        for dispatcher in self._all:
            dispatcher.stop(immediate=True)
        for dispatcher in self._all:
            dispatcher.join()
        # Whoever sleeps, or is about to end, has no time to wait for.
        self.clock.stop()


@pytest.fixture
def parts() -> Iterator[Parts]:
    """None yet."""
    made = Parts()
    yield made
    made.tidy()
