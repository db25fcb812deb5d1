"""One process of `links.py`: a responder, or one contestant with one workload."""

from __future__ import annotations

import json
import os
import sys
import threading
from typing import Callable, Dict, List

from link_callers import CALLERS, Caller
from link_checks import CHECKS, Found
from link_responders import ALL, ONE, RESPONDERS
from worker import refuse_the_wrong_library
from workloads import median_us


def throughput(caller: Caller, seconds: float) -> Dict[str, float]:
    """Results/s."""
    return {"link throughput": caller.busy(seconds)}


def lone(caller: Caller, seconds: float) -> Dict[str, float]:
    """p50 of the us until all have answered; and the first alone."""
    return {
        "link lone 4": median_us(caller.lone(ALL, seconds / 2)),
        "link lone 1": median_us(caller.lone(ONE, seconds / 2)),
    }


TIMED: Dict[str, Callable[[Caller, float], Dict[str, float]]] = {
    "throughput": throughput,
    "lone": lone,
}


def call(contestant: str, workload: str, url: str, seconds: float, places: List[str]) -> Found:
    """The figures of one round."""
    if contestant.startswith("ours"):
        refuse_the_wrong_library("ours")
    if workload in CHECKS:
        return CHECKS[workload](url, seconds)
    caller = CALLERS[contestant](url, places)
    caller.ask(ALL)
    figures = TIMED[workload](caller, seconds)
    caller.close()
    return {metric: {contestant: [figure]} for metric, figure in figures.items()}


def respond(kind: str, *args: str) -> None:
    """Until standard input ends, as it does with the process that has the other end."""

    def follow() -> None:
        sys.stdin.read()
        os._exit(0)

    threading.Thread(target=follow, daemon=True).start()
    RESPONDERS[kind](lambda place: print(f"ready {place}", flush=True), *args)


if __name__ == "__main__":
    role, name, *given = sys.argv[1:]
    if role == "respond":
        respond(name, *given)
    else:
        workload, url, seconds, places = given
        print(json.dumps(call(name, workload, url, float(seconds), json.loads(places))))
        sys.stdout.flush()
    os._exit(0)  # not all contestants end their threads
