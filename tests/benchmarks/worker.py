"""One contestant, one workload, one placement: `compare.py` runs this in a process of its own."""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path
from typing import Any, Callable, Dict

import bus_workloads
import checks
import cutoff
import workloads
from buses import BUSES
from contestants import CONTESTANTS

CHECKOUT = Path(__file__).resolve().parents[2]
Workload = Callable[[Any, float], workloads.Figures]
TIMED: Dict[str, Workload] = {
    "throughput": workloads.throughput,
    "latency": workloads.latency,
    "blocked": workloads.blocked,
    "fanout": workloads.fanout,
    "burst": workloads.burst,
}
BUS: Dict[str, Workload] = {
    "bus-cpu": bus_workloads.cpu,
    "bus-blocked": bus_workloads.blocked,
    "bus-slow": bus_workloads.slow,
}
CHECKED: Dict[str, Workload] = {
    "memory-open": checks.memory_open,
    "memory-million": checks.memory_million,
    "memory-freed": checks.memory_freed,
    "memory-flat": checks.memory_flat,
    "idle": checks.idle,
    "cutoff": cutoff.cutoff,
}
ALL: Dict[str, Workload] = {**TIMED, **BUS, **CHECKED}


def pin(cpu: int) -> None:
    """Binds the calling thread, and those it will start, to one CPU."""
    bind = getattr(os, "sched_setaffinity", None)
    if bind is not None:
        bind(0, {cpu})


def refuse_the_wrong_library(contestant: str) -> None:
    """Ours must come from this checkout, and 0.1.0 must not."""
    home = Path(str(importlib.import_module("ate_dispatcher").__file__)).resolve()
    if (CHECKOUT in home.parents) != (contestant == "ours"):
        raise ImportError(f"{contestant} must not be measured with {home}")


def main(contestant: str, workload: str, cpus: list[int], seconds: float) -> workloads.Figures:
    """Runs it. `cpus`: none (not pinned), one (for all threads) or two.

    On the second are the producers, or the listeners of a bus.
    """
    if contestant in ("ours", "0.1.0"):
        refuse_the_wrong_library(contestant)
    if cpus:
        pin(cpus[0])

    contestants: Dict[str, Any] = BUSES if workload in BUS else CONTESTANTS

    def build() -> Any:
        return contestants[contestant](lambda: pin(cpus[1]) if len(cpus) > 1 else None)

    return ALL[workload](build, seconds)


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], sys.argv[2], json.loads(sys.argv[3]), float(sys.argv[4]))))
    sys.stdout.flush()
    os._exit(0)  # some workloads leave threads that hang on purpose
