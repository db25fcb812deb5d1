"""What must be reached, as ratios taken round by round, and whether it was."""

from __future__ import annotations

import operator
import statistics
from typing import Callable, Dict, List, NamedTuple, Optional, Tuple

from bus_workloads import FEW_AND_MANY, listeners
from buses import THREADED
from tables import Results, ratios, row, spread

Figure = Tuple[str, str]  # metric, contestant


class Must(NamedTuple):
    """That the median of one figure, or of its ratio to another, is within a limit."""

    claim: str
    within: Callable[[float, float], bool]
    limit: float
    figure: Figure
    to: Optional[Figure] = None

    def verdict(self, results: Results, placement: str) -> str:
        """The figure, and whether that will do; both taken in the same round."""

        def rounds(metric: str, contestant: str) -> Dict[int, float]:
            return results.get(metric, {}).get(placement, {}).get(contestant, {})

        found = rounds(*self.figure)
        values = ratios(found, rounds(*self.to)) if self.to else list(found.values())
        if not values:
            return "-"
        met = self.within(statistics.median(values), self.limit)
        return f"{spread(values)} {'met' if met else '**MISSED**'}"


def bus_musts() -> List[Must]:
    """Those of the bus."""
    at_most, at_least = operator.le, operator.ge
    found = []
    for n, floor in ((1, 4), (4, 3)):
        for how in ("bursts", "one at a time"):
            metric = f"bus CPU, {listeners(n)}, {how}"
            ours = metric, "ours"
            claim = f"CPU per value, {listeners(n)}, {how}"
            found.append(Must(f"{claim}: x floor", at_most, floor, ours, (metric, "simplequeue")))
            for peer in THREADED:
                limit = 8 if peer == "geeteventbus" else 2
                found.append(Must(f"{claim}: {peer} x ours", at_least, limit, (metric, peer), ours))
    one = "bus blocked, 1 listener", "simplequeue"
    for n in FEW_AND_MANY:
        claim = f"blocked, {listeners(n)}: x one put with wake-up"
        found.append(Must(claim, at_most, 2.5, (f"bus blocked, {listeners(n)}", "ours"), one))
    claim = "heard beside a slow one: ms, median"
    return [*found, Must(claim, at_most, 0.1, ("bus beside a slow one, median", "ours"))]


def link_musts() -> List[Must]:
    """Those of requests to other processes."""
    at_most, at_least = operator.le, operator.ge

    def ours(metric: str, contestant: str = "ours") -> Figure:
        return f"link {metric}", contestant

    found = []
    for peer, limit in (("natsext", 1.5), ("bare", 0.8), ("zerorpc", 5), ("pyro5", 5)):
        both = ours("throughput"), ours("throughput", peer)
        found.append(Must(f"results/s: x {peer}", at_least, limit, *both))
    for n, limit in ((4, 1.9), (1, 1.5)):
        both = ours(f"lone {n}"), ours(f"lone {n}", "natsext")
        found.append(Must(f"p50 of one to {n}: x natsext", at_most, limit, *both))
    for peer in ("zerorpc", "pyro5"):
        both = ours("lone 4", peer), ours("lone 4")
        found.append(Must(f"p50 of one to 4: {peer} x ours", at_least, 5, *both))
    for within, limit in ((at_least, 0.97), (at_most, 1.03)):
        both = ours("local", "a link open"), ours("local", "no link")
        found.append(Must("local requests, a link open: x no link", within, limit, *both))
    return [
        *found,
        Must("connect, alone: ms", at_most, 20, ours("connect", "alone")),
        Must("connect, beside 4 parts: ms", at_most, 100, ours("connect", "beside 4 parts")),
        Must("a registration seen elsewhere: ms", at_most, 10, ours("registration")),
        Must("SIGKILL to GONE: ms", at_most, 400, ours("gone")),
    ]


def musts_table(title: str, musts: List[Must], results: Results, placements: List[str]) -> str:
    """A line per must, those that nobody measured left out."""
    lines = ["", f"**{title}**", "", row(["must", "limit", *placements])]
    lines.append(row("---" for _ in (*placements, "", "")))
    for must in musts:
        verdicts = [must.verdict(results, placement) for placement in placements]
        if any(verdict != "-" for verdict in verdicts):
            sign = "at most" if must.within is operator.le else "at least"
            lines.append(row([must.claim, f"{sign} {must.limit:g}", *verdicts]))
    return "\n".join(lines)
