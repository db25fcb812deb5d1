"""A part on another network, and its cable pulled: nobody is told that anything has ended.

The other network is a namespace of Linux. Where there may be none, these are skipped.
"""

from __future__ import annotations

import random
import shutil
import subprocess
import time
from typing import Iterator

import pytest
from far_parts import FarPart, eventually
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
)

from ate_dispatcher import Verdict

__all__ = ["far_parts", "here"]

pytest.importorskip("nats")

pytestmark = pytest.mark.thorough


class Network:
    """One that is joined to ours by a cable."""

    def __init__(self) -> None:
        number = random.randrange(1 << 15)
        self.name = f"ate{number}"
        self._end = f"ate{number}a"
        # Of 198.18.0.0/15, which is for such tests.
        net = f"198.{18 + (number >> 14)}.{number >> 6 & 255}."
        ours, theirs = (f"{net}{(number & 63) * 4 + each}" for each in (1, 2))
        self.host = ours
        try:
            _ip("netns", "add", self.name)
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"no network namespaces here: {error}")
        try:
            other = f"ate{number}b"
            _ip("link", "add", self._end, "type", "veth", "peer", other, "netns", self.name)
            _ip("addr", "add", f"{ours}/30", "dev", self._end)
            _ip("-n", self.name, "addr", "add", f"{theirs}/30", "dev", other)
            _ip("-n", self.name, "link", "set", other, "up")
            self.plug()
        except subprocess.CalledProcessError as error:
            self.close()
            pytest.skip(f"no cable between network namespaces here: {error}")

    def pull(self) -> None:
        """Both ends notice, but no connection over it does."""
        _ip("link", "set", self._end, "down")

    def plug(self) -> None:
        _ip("link", "set", self._end, "up")

    def part(self) -> FarPart:
        """A process there."""
        return FarPart("ip", "netns", "exec", self.name)

    def close(self) -> None:
        """The cable goes with its other end."""
        _ip("netns", "del", self.name)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, timeout=10)


@pytest.fixture
def network() -> Iterator[Network]:
    """Joined to ours."""
    if shutil.which("ip") is None:
        pytest.skip("no ip to make network namespaces with")
    made = Network()
    yield made
    made.close()


@pytest.fixture
def there(network: Network) -> Iterator[FarPart]:
    """A part on it, which has not connected."""
    part = network.part()
    yield part
    part.close()


@pytest.mark.parametrize("seconds", [0.7, 3.2])
def test_a_part_whose_cable_is_pulled_loses_nothing(
    here: Here, network: Network, there: FarPart, seconds: float
) -> None:
    """Under load, for as long as TCP mends it by itself, and for longer than anybody waits.

    No request hangs, who is near answers each, and whoever listens on the other network hears each
    value once, in order.
    """
    server = here.server(host="0.0.0.0")
    a, connection = here.connect(server.url, "a", "here")
    hears = Hears()
    a.register_result_listener(hears, "news of b", start=True)
    url = f"nats://{network.host}:{server.port}"
    there.do(
        f"connection = dispatcher.connect({url!r}, namespace={here.namespace!r}, name='b')\n"
        "dispatcher.register_result_producer(Works('there'), 'volts', start=True)\n"
        "dispatcher.register_result_listener(Hears(), 'news of a', start=True)"
    )
    known(a, "volts", 2)
    heard_elsewhere(a, "news of a")
    assert all_answer(a)
    there.do(
        "from over_nats import Asking, Telling, heard_elsewhere\n"
        "heard_elsewhere(dispatcher, 'news of b')\n"
        "telling, asking = Telling(dispatcher, 'news of b'), Asking(dispatcher, ttl=200)\n"
        "telling.start()\n"
        "asking.start()"
    )
    telling, asking = Telling(a, "news of a"), Asking(a, ttl=200)
    telling.start()
    asking.start()
    time.sleep(0.2)
    network.pull()
    pulled_at = time.monotonic()
    assert not all_answer(a, "", 0, ttl=100)
    time.sleep(pulled_at + seconds - time.monotonic())
    assert there.get("connection.is_connected") is (seconds < 2)
    # Three silent beats, of which the last had just come.
    eventually(lambda: connection.parts == (("b",) if seconds < 3 else ()), 2)
    network.plug()
    known(a, "volts", 2)
    eventually(lambda: all_answer(a, "", 0, ttl=200))
    asking.end()
    telling.end()
    there.do("asking.end()\ntelling.end()")
    told, told_there = telling.number, there.get("telling.number")
    assert max(asking.longest, there.get("asking.longest")) < 0.2 + 1
    assert there.get("[each.name for each in asking.verdicts_of('there')]") == ["OK"]
    assert asking.verdicts_of("here") == {Verdict.OK}
    eventually(lambda: there.get("len(heard)") >= told, 5)
    eventually(lambda: len(hears.heard) >= told_there, 5)
    assert there.get("heard") == list(range(told))
    assert hears.heard == list(range(told_there))
    assert connection.is_connected
    assert connection.statistics()["lost"] == there.get("connection.statistics()['lost']") == 0
