"""Parts over a real server: some in this process, some in processes of their own."""

from __future__ import annotations

import random
import threading
import time
from pathlib import Path
from typing import Any, Iterator, List, Set, Tuple

import pytest
from far_parts import FarPart, FarParts, eventually
from inside import engine_of
from nats_server import Server

from ate_dispatcher import Connection, Dispatcher, Producer, ResultListener, Verdict


class Works(Producer):
    """Answers with its name and what it was given."""

    def produce_dispatcher_output(self, topic: Any, *args: Any, **kwargs: Any) -> Any:
        return [self.name, *args]


class Hears(ResultListener):
    """Remembers."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: List[Any] = []

    def process_dispatcher_result(self, topic: Any, response: Any) -> None:
        self.heard.append(response)


class Here:
    """What a test needs in this process, and ends with it."""

    def __init__(self, folder: Path, far: FarParts) -> None:
        self._folder = folder
        self._far = far
        self._servers: List[Server] = []
        self._dispatchers: List[Dispatcher] = []
        self.namespace = f"n{random.randrange(1 << 60):x}"

    def server(self, config: str = "", host: str = "127.0.0.1") -> Server:
        made = Server(self._folder, config, host)
        self._servers.append(made)
        return made

    def dispatcher(self, *producers: str) -> Dispatcher:
        """Started, with a producer on "volts" of each of these names."""
        made = Dispatcher()
        self._dispatchers.append(made)
        made.start()
        for name in producers:
            made.register_result_producer(Works(name=name), "volts", start=True)
        return made

    def connect(
        self, url: str, name: str = "a", *producers: str, **options: Any
    ) -> Tuple[Dispatcher, Connection]:
        dispatcher = self.dispatcher(*producers)
        given = {"namespace": self.namespace, "name": name, **options}
        return dispatcher, dispatcher.connect(url, **given)

    def far(self, url: str, *names: str, on: str = "volts", ms: float = 0) -> List[FarPart]:
        """Parts in processes of their own, each with one producer that is called like it."""
        parts = self._far.start(url, self.namespace, *names)
        made = f"Works(connection.name, {ms})"
        for part in parts:
            part.do(f"dispatcher.register_result_producer({made}, {on!r}, start=True)")
        return parts

    def close(self) -> None:
        self._far.tidy()
        for each in self._dispatchers:
            each.stop(immediate=True)
        for each in self._dispatchers:
            each.join(5)
        for server in self._servers:
            server.thaw()
            server.kill()


@pytest.fixture(scope="module")
def far_parts() -> Iterator[FarParts]:
    """Processes for all tests: to start one takes long."""
    made = FarParts()
    yield made
    made.close()


@pytest.fixture
def here(tmp_path: Path, far_parts: FarParts) -> Iterator[Here]:
    """Nothing yet."""
    made = Here(tmp_path, far_parts)
    yield made
    made.close()


def known(dispatcher: Dispatcher, topic: str, number: int) -> None:
    """Wait until so many producers are known on *topic*."""
    registry = engine_of(dispatcher).registry

    def there() -> bool:
        # Where nobody is any more, there may be none.
        channel = registry.find(topic)
        return (0 if channel is None else len(channel.producers.registrations())) == number

    eventually(there)


def all_answer(dispatcher: Dispatcher, *args: Any, ttl: float = 1000) -> bool:
    """Whether who is on "volts" does, elsewhere too."""
    handle = dispatcher.send_request("volts", *args, ttl=ttl)
    handle.wait()
    return set(verdicts(handle)) == {Verdict.OK} and len(handle.roster) > 1


def verdicts(handle: Any) -> List[Verdict]:
    """In roster order."""
    return [each.verdict for each in handle.report().members]


class Load(threading.Thread):
    """Does something again and again, until its `end`."""

    pause = 0.001

    def __init__(self, dispatcher: Dispatcher) -> None:
        super().__init__()
        self.dispatcher = dispatcher
        self.ends = False

    def once(self) -> None:
        raise NotImplementedError

    def run(self) -> None:
        while not self.ends:
            self.once()
            time.sleep(self.pause)

    def end(self) -> None:
        self.ends = True
        self.join(10)
        assert not self.is_alive()


class Asking(Load):
    """Asks, and remembers each request."""

    pause = 0.002

    def __init__(self, dispatcher: Dispatcher, ttl: float) -> None:
        super().__init__(dispatcher)
        self.ttl = ttl
        self.handles: List[Any] = []
        self.longest = 0.0

    def once(self) -> None:
        began = time.monotonic()
        handle = self.dispatcher.send_request("volts", self.name, len(self.handles), ttl=self.ttl)
        self.handles.append(handle)
        handle.wait()
        self.longest = max(self.longest, time.monotonic() - began)

    def verdicts_of(self, name: str) -> Set[Verdict]:
        """Of the producer of that name, which every request has."""
        reports = [handle.report().members for handle in self.handles]
        return {{each.producer: each.verdict for each in members}[name] for members in reports}


class Telling(Load):
    """Publishes one number after the other."""

    def __init__(self, dispatcher: Dispatcher, topic: str) -> None:
        super().__init__(dispatcher)
        self.topic = topic
        self.number = 0

    def once(self) -> None:
        self.dispatcher.publish(self.topic, self.number)
        self.number += 1


def heard_elsewhere(dispatcher: Dispatcher, topic: str) -> None:
    """Wait until others are known to listen on *topic*."""
    eventually(lambda: engine_of(dispatcher).registry.find(topic) is not None)
