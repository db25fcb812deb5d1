"""Two servers that are one cluster, with parts on each; and if they lose each other."""

from __future__ import annotations

import select
import socket
import threading
import time
from typing import Dict, Iterator

import pytest
from far_parts import eventually
from nats_server import free_port
from over_nats import (
    Asking,
    Hears,
    Here,
    Telling,
    all_answer,
    far_parts,
    heard_elsewhere,
    here,
    known,
    verdicts,
)

from ate_dispatcher import Verdict

__all__ = ["far_parts", "here"]

pytest.importorskip("nats")


class Relay(threading.Thread):
    """Hands on what comes at its port, both ways; until it is cut, or stopped for a while."""

    def __init__(self, to: int) -> None:
        super().__init__(name="relay")
        self._to = to
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listening.getsockname()[1])
        self._pairs: Dict[socket.socket, socket.socket] = {}
        self._is_cut = self._is_stopped = self._ends = False
        self._wake, self._woken = socket.socketpair()
        self.start()

    def cut(self) -> None:
        """Both sides see their connections end; new ones end at once."""
        self._change(True, False)

    def stop(self) -> None:
        """Nothing is handed on, and nobody is told."""
        self._change(False, True)

    def heal(self) -> None:
        """What waits is handed on, and new connections too."""
        self._change(False, False)

    def close(self) -> None:
        self._ends = True
        self._change(True, False)
        self.join(10)
        assert not self.is_alive()

    def _change(self, cut: bool, stopped: bool) -> None:
        self._is_cut, self._is_stopped = cut, stopped
        self._wake.send(b"!")

    def run(self) -> None:
        with self._listening, self._wake, self._woken:
            while True:
                if self._ends:
                    break
                self._turn()
            self._drop_all()

    def _turn(self) -> None:
        flowing = [] if self._is_stopped else [self._listening, *self._pairs]
        readable = select.select([self._woken, *flowing], [], [], 10)[0]
        if self._woken in readable:
            self._woken.recv(100)
        if self._is_cut:
            self._drop_all()
        for each in readable:
            if each is self._listening:
                self._accept()
            elif each in self._pairs:
                self._hand_on(each)

    def _accept(self) -> None:
        accepted = self._listening.accept()[0]
        try:
            if self._is_cut:
                raise OSError("cut")
            other = socket.create_connection(("127.0.0.1", self._to))
        except OSError:
            accepted.close()
        else:
            self._pairs.update({accepted: other, other: accepted})

    def _hand_on(self, source: socket.socket) -> None:
        target = self._pairs[source]
        try:
            data = source.recv(1 << 16)
            target.sendall(data)
        except OSError:
            data = b""
        if not data:
            for each in (source, target):
                del self._pairs[each]
                each.close()

    def _drop_all(self) -> None:
        for each in self._pairs:
            each.close()
        self._pairs.clear()


class Cluster:
    """Two servers, and the way between them."""

    def __init__(self, here: Here) -> None:
        route = free_port()
        self.relay = Relay(route)
        common = "name: c, no_advertise: true, "
        self.first = here.server(f'cluster {{ {common} listen: "127.0.0.1:{route}" }}')
        self.second = here.server(
            f'cluster {{ {common} listen: "127.0.0.1:{free_port()}", '
            f'routes: ["nats://127.0.0.1:{self.relay.port}"] }}'
        )


@pytest.fixture
def cluster(here: Here) -> Iterator[Cluster]:
    """Whole."""
    made = Cluster(here)
    yield made
    made.relay.close()


def test_parts_on_two_servers_are_one_namespace(here: Here, cluster: Cluster) -> None:
    """Requests, results, published values; and who is killed there is gone here."""
    a, connection = here.connect(cluster.first.url, "a", "here")
    b, _ = here.connect(cluster.second.url, "b", "there")
    hears = Hears()
    b.register_result_listener(hears, "volts", "news", start=True)
    known(a, "volts", 2)
    known(b, "volts", 2)
    heard_elsewhere(a, "news")
    assert all_answer(a, 1)
    assert all_answer(b, 2)
    for number in range(100):
        a.publish("news", number)
    eventually(lambda: len(hears.heard) == 104)
    assert [each for each in hears.heard if isinstance(each, int)] == list(range(100))
    (far,) = here.far(cluster.second.url, "mortal", on="slow", ms=20_000)
    known(a, "slow", 1)
    handle = a.send_request("slow", ttl=20_000)
    eventually(lambda: far.get("len(done)"))
    began = time.monotonic()
    far.kill()
    handle.wait()
    assert verdicts(handle) == [Verdict.GONE]
    assert time.monotonic() - began < 2
    assert connection.parts == ("b",)


@pytest.mark.thorough
@pytest.mark.parametrize(("how", "seconds"), [("cut", 0.3), ("cut", 3.5), ("stop", 3.5)])
def test_servers_that_lose_each_other_take_nothing_with_them(
    here: Here, cluster: Cluster, how: str, seconds: float
) -> None:
    """Under load, for a moment and for longer than three beats.

    No request hangs, who is here answers each, and whoever listens elsewhere hears each value once,
    in order.
    """
    a, connection = here.connect(cluster.first.url, "a", "here")
    b, other = here.connect(cluster.second.url, "b", "there")
    parts = [(a, connection, "news of b"), (b, other, "news of a")]
    heard = []
    for dispatcher, _, topic in parts:
        heard.append(Hears())
        dispatcher.register_result_listener(heard[-1], topic, start=True)
    for dispatcher, _, _ in parts:
        known(dispatcher, "volts", 2)
    heard_elsewhere(a, "news of a")
    heard_elsewhere(b, "news of b")
    telling = [Telling(b, "news of b"), Telling(a, "news of a")]
    # Who has to begin first, or is on a busy machine, does not answer in a moment.
    assert all_answer(a, "")
    assert all_answer(b, "")
    asking = [Asking(a, ttl=500), Asking(b, ttl=500)]
    for each in (*telling, *asking):
        each.start()
    time.sleep(0.2)
    cut_at = time.monotonic()
    getattr(cluster.relay, how)()
    assert all_answer(a, "", 0, ttl=100) is all_answer(b, "", 0, ttl=100) is False
    time.sleep(max(0.0, cut_at + seconds - time.monotonic()))
    cluster.relay.heal()
    for dispatcher, _, _ in parts:
        eventually(lambda dispatcher=dispatcher: all_answer(dispatcher, "", 0, ttl=200))
    for each, mine in zip(asking, ("here", "there")):
        each.end()
        assert each.longest < 0.5 + 1
        assert each.verdicts_of(mine) == {Verdict.OK}
        assert len(verdicts(each.handles[0])) == len(verdicts(each.handles[-1])) == 2
    for hears, teller in zip(heard, telling):
        teller.end()
        eventually(lambda hears=hears, teller=teller: len(hears.heard) >= teller.number, 5)
        assert hears.heard == list(range(teller.number))
    for _, each, _ in parts:
        assert each.is_connected
        assert each.statistics()["lost"] == each.statistics()["malformed"] == 0
