"""How fast this checkout is: beside 0.1.0, beside what else one would use, beside the floor.

    python tests/benchmarks/compare.py [--rounds N] [--seconds S] [--only WORKLOAD] [--quick]

Installs with pip into a throw-away folder what it compares with, says what cannot be installed and
goes on without, then runs every workload on every contestant, each in a process of its own.
Contestants take turns within a round, so that a machine that is busy now and free later does not
favour anyone; ratios are taken round by round and their median is printed with their min..max. A
figure counts when two runs agree.

Requests are compared with `ate-dispatcher==0.1.0`, Pykka and the standard library; the bus
(`--only bus`), which is `publish`, with geeteventbus, pyee, blinker, PyPubSub and psygnal. For the
bus there are limits, and a table says whether they are kept.

Threads are pinned, because a scheduler that moves them makes any hand-over bimodal: once all on one
CPU, once the caller, the listeners and the dispatcher's thread on one and the producers on another;
of a bus the listeners.

`simplequeue` is the floor: the same threads relaying over bare `SimpleQueue`s, without ttl or ids;
`honest` the same with the least that keeps a lock, a deadline, a stamp, a record and a handle, or
for a bus a deadline, an id, and a verdict of each listener.
The exit status is 1 if any process failed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Dict, Iterable

from buses import BUSES
from contestants import CONTESTANTS
from musts import bus_musts, musts_table
from tables import Results, checked_table, timed_table
from worker import ALL, BUS, CHECKED, CHECKOUT

DISPATCHERS = ("ours", "0.1.0")
OURS_ONLY = ("memory-million", "memory-flat")
NOT_WHEN_QUICK = ("memory-million",)
CHECK_ROUNDS = 2
PATIENCE_S = 300
PEERS = {
    "0.1.0": "ate-dispatcher==0.1.0",
    "pykka": "pykka",
    "geeteventbus": "geeteventbus",
    "pyee-executor": "pyee",
    "pyee": "pyee",
    "blinker": "blinker",
    "pypubsub": "PyPubSub",
    "psygnal": "psygnal",
}
"""What is installed for which contestant."""


def arguments() -> argparse.Namespace:
    """The command line, checked."""
    parser = argparse.ArgumentParser(description="Compare this checkout with 0.1.0 and others.")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each workload (5)")
    parser.add_argument("--seconds", type=float, default=1.0, help="how long each measures (1)")
    parser.add_argument(
        "--only",
        metavar="WORKLOAD",
        action="append",
        default=[],
        help="workloads that begin so: " + ", ".join(ALL),
    )
    parser.add_argument(
        "--contestant",
        choices=list({**CONTESTANTS, **BUSES}),
        action="append",
        default=[],
        help="only these (may be given several times)",
    )
    parser.add_argument("--quick", action="store_true", help="one short round: does it run?")
    parser.add_argument("--json", metavar="FILE", help="write every figure of every round there")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.seconds = 1, 0.1
    if options.rounds < 1 or not options.seconds > 0:
        parser.error("--rounds and --seconds must be positive")
    for wanted in options.only:
        if not any(name.startswith(wanted) for name in ALL):
            parser.error(f"no workload begins with {wanted!r}")
    options.workloads = [
        name for name in ALL if not options.only or name.startswith(tuple(options.only))
    ]
    return options


def placements() -> Dict[str, list[int]]:
    """Where threads may be pinned on this machine."""
    allowed = getattr(os, "sched_getaffinity", None)
    if allowed is None:
        return {"not pinned": []}
    cpus = sorted(allowed(0))
    return {"one CPU": cpus[:1], "two CPUs": cpus[:2]} if len(cpus) > 1 else {"one CPU": cpus}


def contestants_of(workload: str) -> list[str]:
    """Who may take part in it."""
    if workload in BUS:
        return list(BUSES)
    return list(DISPATCHERS if workload in CHECKED else CONTESTANTS)


def fetched(folder: Path, package: str, *options: str) -> Path | None:
    """Where *package* was installed, with what it needs; None if it could not be."""
    target = folder / package
    if not target.exists():
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        command = [*pip, *options, "--target", str(target), package]
        if subprocess.run(command, check=False).returncode:
            return None
    return target


def install(folder: Path, names: Iterable[str]) -> Dict[str, list[Path]]:
    """Fetches what to compare with; what each contestant finds on its import path.

    Those that could not be fetched are left out.
    """
    common = fetched(folder, "typing-extensions")
    if common is None:
        sys.exit("could not install what this package itself needs: typing-extensions")
    paths = {}
    for name in names:
        package = PEERS.get(name)
        # 0.1.0 names what it does not import.
        options = ["--no-deps"] if name == "0.1.0" else []
        home = fetched(folder, package, *options) if package else CHECKOUT
        if home is not None:
            paths[name] = [home, common]
    return paths


class Comparison:
    """The runs, what they gave, and what went wrong."""

    def __init__(self, options: argparse.Namespace, paths: Dict[str, list[Path]]) -> None:
        self.options = options
        self.paths = paths
        self.timed: Results = {}
        self.checked: Results = {}
        self.failures: list[str] = []

    def run(self) -> None:
        for index in range(self.options.rounds):
            for workload in self.options.workloads:
                print(f"round {index + 1}: {workload}", file=sys.stderr)
                names = self.contestants(workload)
                if workload not in CHECKED:
                    for placement, cpus in placements().items():
                        for name in turns(names, index):
                            self.one(self.timed, workload, placement, cpus, name, index)
                elif index < CHECK_ROUNDS and not self.left_out(workload):
                    for name in names:
                        if name == "ours" or workload not in OURS_ONLY:
                            self.one(self.checked, workload, "not pinned", [], name, index)

    def contestants(self, workload: str) -> list[str]:
        """Those that take part and are there."""
        return [name for name in contestants_of(workload) if name in self.paths]

    def left_out(self, workload: str) -> bool:
        return bool(self.options.quick) and workload in NOT_WHEN_QUICK

    def one(
        self,
        results: Results,
        workload: str,
        placement: str,
        cpus: list[int],
        name: str,
        index: int,
    ) -> None:
        """Runs one process and files its figures; a failure is noted and has none."""
        try:
            figures = self.process(workload, cpus, name)
        except (RuntimeError, ValueError, subprocess.TimeoutExpired) as error:
            self.failures.append(f"{workload}, {placement}, {name}, round {index + 1}: {error}")
            return
        for metric, figure in figures.items():
            contestants = results.setdefault(metric, {}).setdefault(placement, {})
            for each in self.contestants(workload):
                contestants.setdefault(each, {})
            contestants[name][index] = figure

    def process(self, workload: str, cpus: list[int], name: str) -> Dict[str, float]:
        """What a process of its own says about one contestant."""
        worker = Path(__file__).with_name("worker.py")
        seconds = str(self.options.seconds)
        done = subprocess.run(
            [sys.executable, str(worker), name, workload, json.dumps(cpus), seconds],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, self.paths[name]))},
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        if done.stderr:
            print(f"{workload}, {name}, says:\n{done.stderr.rstrip()}", file=sys.stderr)
        if done.returncode:
            said = done.stderr.strip().splitlines() or ["nothing said"]
            raise RuntimeError(f"exit status {done.returncode}: {said[-1]}")
        figures: Dict[str, float] = json.loads(done.stdout)
        return figures

    def report(self) -> None:
        for key, value in facts(self.options).items():
            print(f"* {key}: {value}")
        for metric, found in self.timed.items():
            print(timed_table(metric, found))
        if any(workload in BUS for workload in self.options.workloads):
            print(musts_table("the bus must", bus_musts(), self.timed, list(placements())))
        if self.checked:
            there = [name for name in DISPATCHERS if name in self.paths]
            print(checked_table(self.checked, there))
        if self.failures:
            print("\n**FAILED**\n")
        for failure in self.failures:
            print(f"* {failure}")


def turns(names: list[str], index: int) -> list[str]:
    """Everybody, beginning with another one in each round."""
    first = index % len(names) if names else 0
    return names[first:] + names[:first]


def facts(options: argparse.Namespace) -> Dict[str, str]:
    """What a reader must know about the machine and the run."""
    pinned = ", ".join(f"{name} {cpus}" for name, cpus in placements().items() if cpus)
    return {
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs",
        "pinned": pinned or "no: this system has no sched_setaffinity",
        "rounds": f"{options.rounds} of {options.seconds:g} s; median (min..max)",
    }


def main() -> int:
    """Installs, runs, prints; 1 if anything failed."""
    options = arguments()
    names = [name for workload in options.workloads for name in contestants_of(workload)]
    wanted = [name for name in names if not options.contestant or name in options.contestant]
    with tempfile.TemporaryDirectory(prefix="ate-compare-") as folder:
        comparison = Comparison(options, install(Path(folder), dict.fromkeys(wanted)))
        comparison.run()
    for name in dict.fromkeys(wanted):
        if name not in comparison.paths:
            print(f"* left out, because it could not be installed: {name}")
    comparison.report()
    if options.json:
        everything = {
            "facts": facts(options),
            "timed": comparison.timed,
            "checked": comparison.checked,
            "failures": comparison.failures,
        }
        Path(options.json).write_text(json.dumps(everything, indent=1) + "\n", encoding="utf-8")
    return 1 if comparison.failures else 0


if __name__ == "__main__":
    sys.exit(main())
