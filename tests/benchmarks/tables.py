"""Rounds of figures as tables: medians, ratios per round, and how far they spread."""

from __future__ import annotations

import math
import statistics
from typing import Dict, Iterable, Sequence

# metric -> placement -> contestant -> round -> figure
Results = Dict[str, Dict[str, Dict[str, Dict[int, float]]]]

UNITS = {
    "throughput": "results/s, 4 producers, 2 listeners, 64 requests outstanding (more is better)",
    "latency": "us to the callback, 1 producer, 1 listener, all parked, p50 (less is better)",
    "blocked": "us in the send, 4 producers, 2 listeners, all parked, p50 (less is better)",
    "burst enqueue": "sends/s without waiting, 4 producers, 2 listeners (more is better)",
    "burst drain": "results/s, first send to last result (more is better)",
    "fanout": "us to the last result, 1 listener, all parked, p50 (less is better)",
    "bus CPU": "us of CPU per value, publisher and listeners together (less is better)",
    "bus rate": "values/s, heard by all listeners (more is better)",
    "bus blocked": "us in the publish, all listeners parked, p50 (less is better)",
    "bus beside": "ms from the publish to three others, one takes 20 ms (less is better)",
    "link throughput": "results/s, 4 processes, 64 requests outstanding (more is better)",
    "link lone": "us until all have answered, of so many processes, p50 (less is better)",
    "link local": "results/s of 4 producers of the same process (more is better)",
    "link connect": "ms in the connect (less is better)",
    "link registration": "ms until a request elsewhere reaches it, polled (less is better)",
    "link gone": "ms from SIGKILL to the end of the request, GONE (less is better)",
}
"""By how the metric begins."""
BASELINES = {
    "0.1.0": "0.1.0",
    "simplequeue": "floor",
    "honest": "honest",
    "natsext": "natsext",
    "bare": "bare inbox",
    "no link": "no link",
}


def number(x: float) -> str:
    """Four significant digits at most, thousands apart."""
    if math.isnan(x):
        return "unknown"
    if abs(x) >= 1000:
        return f"{x:,.0f}"
    return f"{x:.0f}" if x == int(x) else f"{x:.3g}"


def spread(values: Sequence[float]) -> str:
    """The median, and min..max where there are several."""
    if not values:
        return "-"
    middle = number(statistics.median(values))
    if len(values) == 1:
        return middle
    return f"{middle} ({number(min(values))}..{number(max(values))})"


def ratios(rounds: Dict[int, float], base: Dict[int, float]) -> list[float]:
    """One to the other, round by round: both were measured within seconds of each other."""
    return [rounds[i] / base[i] for i in sorted(rounds) if base.get(i)]


def row(cells: Iterable[str]) -> str:
    """A line of a table."""
    return "| " + " | ".join(cells) + " |"


def timed_table(metric: str, placements: Dict[str, Dict[str, Dict[int, float]]]) -> str:
    """One metric: a line per contestant, for each placement the figure and its ratios."""
    head, names = ["contestant"], []
    for contestants in placements.values():
        names += [name for name in contestants if name not in names]
    bases = [name for name in BASELINES if name in names]
    for placement in placements:
        head += [placement] + [f"x {BASELINES[base]}" for base in bases]
    unit = next(unit for begin, unit in UNITS.items() if metric.startswith(begin))
    lines = ["", f"**{metric}**: {unit}", "", row(head), row("---" for _ in head)]
    for name in names:
        cells = [name]
        for contestants in placements.values():
            rounds = contestants.get(name, {})
            cells.append(spread(list(rounds.values())))
            cells += [spread(ratios(rounds, contestants.get(base, {}))) for base in bases]
        lines.append(row(cells))
    return "\n".join(lines)


def checked_table(results: Results, contestants: Sequence[str]) -> str:
    """What only dispatchers are asked: a line per metric."""
    lines = ["", row(["check", *contestants]), row("---" for _ in ("", *contestants))]
    for metric, placements in results.items():
        (figures,) = placements.values()
        cells = [spread(list(figures.get(name, {}).values())) for name in contestants]
        lines.append(row([metric, *cells]))
    return "\n".join(lines)
