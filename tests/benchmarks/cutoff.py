"""Is every reply near its deadline decided rightly? Judged from outside, by clocks of our own.

The deadline of a request lies between the moments just before and just after its send, plus the
ttl. The library reads its clock after the producer's method took `returned` as the last thing it
did, and before the same producer enters its next request (`chased`), which waits in its mailbox. So

* a reply that was passed on although `returned` is past the latest possible deadline,
* and one that was not although `chased` is before the earliest possible deadline,

are wrong decisions, whatever the scheduler did. Right are those passed on with `chased` in time,
and those not passed on with `returned` too late. What lies between cannot be told: counted apart.
(0.1.0 starts its clock later, on the dispatcher's thread, and stops it when it gets to the reply.)
"""

from __future__ import annotations

import queue
import sys
import threading
import time
from typing import Tuple

from checks import HOUR_MS, Rig
from workloads import Build, Figures, clock

TTL_S = 0.020
AIM_S = 0.002
SITES = 4
VERDICTS = ("accepted", "late", "undecidable", "WRONG")


class Trial:
    """One request to one site, the request that chases it, and the times that judge it."""

    def __init__(self, rig: Rig, topic: str, aim: float) -> None:
        self.accepted = False
        self.returned = self.chased = float("nan")
        before = clock()
        self.target = before + TTL_S + aim
        rig.send(topic, self, ttl=TTL_S * 1000)
        self.earliest, self.latest = before + TTL_S, clock() + TTL_S
        rig.send(topic, self, True, ttl=HOUR_MS)

    def verdict(self) -> str:
        if self.accepted and self.returned > self.latest:
            return "WRONG"
        if not self.accepted and self.chased <= self.earliest:
            return "WRONG"
        if self.accepted and self.chased <= self.earliest:
            return "accepted"
        if not self.accepted and self.returned > self.latest:
            return "late"
        return "undecidable"


def produce(topic: str, trial: Trial, chaser: bool = False) -> Tuple[Trial, bool]:
    """Returns at the time aimed at, as exactly as `sleep` can; a chaser only looks at the clock."""
    entered = clock()
    answer = trial, chaser
    if chaser:
        trial.chased = entered
    else:
        time.sleep(max(0.0, trial.target - entered))
        trial.returned = clock()
    return answer


def decisions(rig: Rig, rounds: int, done: queue.SimpleQueue[None]) -> dict[str, float]:
    """Rounds of one trial per site, aimed at just before and just after the deadline in turn."""
    tally = dict.fromkeys(VERDICTS, 0.0)
    for i in range(rounds):
        aims = [AIM_S if (i + site) % 2 else -AIM_S for site in range(SITES)]
        trials = [Trial(rig, f"site {site}", aim) for site, aim in enumerate(aims)]
        for _ in trials:
            done.get()
        for trial in trials:
            tally[trial.verdict()] += 1
    return tally


def cutoff(build: Build, seconds: float) -> Figures:
    """Replies aimed at ttl -+ 2 ms, with the interpreter free and while another thread burns CPU.

    Burning is done with the interpreter's usual switch interval (5 ms, so most replies come late)
    and with 0.5 ms (so that both sides of the deadline are met).
    """
    rig = Rig()
    done: queue.SimpleQueue[None] = queue.SimpleQueue()

    def hear(topic: str, answer: Tuple[Trial, bool]) -> None:
        trial, chaser = answer
        if chaser:
            done.put(None)
        else:
            trial.accepted = True

    for site in range(SITES):
        rig.produce(f"site {site}", produce)
        rig.listen(f"site {site}", hear)
    rounds = 100 if seconds >= 1 else 10
    tallies = {"free": decisions(rig, rounds, done)}
    burning = True

    def burn() -> None:
        while burning:
            pass

    threading.Thread(target=burn, daemon=True).start()
    tallies["burning"] = decisions(rig, rounds, done)
    sys.setswitchinterval(0.0005)
    tallies["burning, 0.5 ms switches"] = decisions(rig, rounds, done)
    burning = False
    return {
        f"cutoff, {how}: {verdict}": tally[verdict]
        for how, tally in tallies.items()
        for verdict in VERDICTS
    }
