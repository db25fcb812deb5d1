"""What is asked of ours alone: what an open link costs, and how soon one part knows of another."""

from __future__ import annotations

import contextlib
import importlib
import os
import random
import statistics
import time
from pathlib import Path
from typing import Any, Dict, Iterator, List, Sequence

from link_callers import VALUE, window
from link_responders import NAMESPACE, Process
from workloads import PRODUCERS

Found = Dict[str, Dict[str, List[float]]]
"""By metric and contestant: several figures of one round."""

SLICES, CONNECTS, REGISTERED, KILLED = 12, 5, 30, 10


def local(url: str, seconds: float) -> Found:
    """Results/s of four local producers, without a link and with one to four parts, by turns.

    The medians of many short turns: a machine that is busy for a while would decide otherwise.
    """
    rates: Dict[str, List[float]] = {"no link": [], "a link open": []}
    with dispatcher() as mine:
        for number in range(PRODUCERS):
            mine.producer("local", name=f"local{number}")(lambda topic, value: value)

        def measure(which: str) -> None:
            send = mine.send_request
            rates[which].append(window(lambda: send("local", VALUE), seconds / SLICES))

        for _ in range(SLICES):
            measure("no link")
            with mine.connect(url, namespace=NAMESPACE, name="local") as link:
                measure("a link open")
            link.join()
    medians = {which: [statistics.median(found)] for which, found in rates.items()}
    return {"link local": medians}


def connect(url: str, seconds: float) -> Found:
    """ms until `connect` returns, not for the first time in the process."""
    alone, beside = f"alone{os.getpid()}", NAMESPACE
    took: Dict[str, List[float]] = {"alone": [], "beside 4 parts": []}
    with dispatcher() as mine:
        mine.connect(url, namespace=alone).disconnect()
        for _ in range(CONNECTS):
            for which, namespace in zip(took, (alone, beside)):
                time.sleep(0.1)
                begin = time.perf_counter()
                link = mine.connect(url, namespace=namespace, name="connects")
                took[which].append((time.perf_counter() - begin) * 1e3)
                if which != "alone" and len(link.parts) < PRODUCERS:
                    raise RuntimeError(f"only {link.parts} are seen after the connect")
                link.disconnect()
                link.join()
    return {"link connect": took}


def registered(url: str, seconds: float) -> Found:
    """ms from before a producer is registered until a request elsewhere reaches it."""
    took: List[float] = []
    with own_parts(url, 1) as (mine, _):
        for number in range(REGISTERED):
            wanted = f"new{number}"
            (begin,) = mine.send_request("register", wanted, ttl=5000).results()
            # It says once that nobody is registered: so it is.
            while not mine.send_request(wanted, VALUE, ttl=5000).report().members:
                time.sleep(0.0001)
            took.append((time.monotonic() - begin) * 1e3)
    return {"link registration": {"ours": took}}


def gone(url: str, seconds: float) -> Found:
    """ms from SIGKILL until the request ends, as its member is GONE."""
    took: List[float] = []
    verdict: Any = importlib.import_module("ate_dispatcher").Verdict
    with own_parts(url, KILLED if seconds >= 0.5 else 2) as (mine, parts):
        for number, part in enumerate(parts):
            handle = mine.options(only=f"part{number}/hang", ttl=20_000).send_request("hang")
            time.sleep(random.uniform(0.2, 0.5))
            begin = time.monotonic()
            part.kill()
            handle.wait(10)
            took.append((time.monotonic() - begin) * 1e3)
            if [each.verdict for each in handle.report().members] != [verdict.GONE]:
                raise RuntimeError(f"not GONE: {handle.report()}")
    return {"link gone": {"ours": took}}


@contextlib.contextmanager
def dispatcher() -> Iterator[Any]:
    """One that runs."""
    made: Any = importlib.import_module("ate_dispatcher").Dispatcher()
    with made:
        yield made


@contextlib.contextmanager
def own_parts(url: str, number: int) -> Iterator[Any]:
    """A dispatcher, and so many processes as its other parts."""
    namespace = f"own{os.getpid()}"
    paths: Sequence[Path] = [Path(each) for each in os.environ["PYTHONPATH"].split(os.pathsep)]
    parts = [Process(paths, "ours", url, str(each), namespace) for each in range(number)]
    try:
        for each in parts:
            each.wait()
        with dispatcher() as mine, mine.connect(url, namespace=namespace, name="caller"):
            yield mine, parts
    finally:
        for each in parts:
            each.close()


CHECKS = {"local": local, "connect": connect, "registered": registered, "gone": gone}
ONCE = ("gone",)
"""Not in every round."""
