"""How fast this checkout is: beside 0.1.0, beside what else one would use, beside the floor.

    python tests/benchmarks/compare.py [--rounds N] [--seconds S] [--only WORKLOAD] [--quick]

Installs `ate-dispatcher==0.1.0` and Pykka with pip into a throw-away folder, then runs every
workload on every contestant, each in a process of its own. Contestants take turns within a round,
so that a machine that is busy now and free later does not favour anyone; ratios are taken round by
round and their median is printed with their min..max. A figure counts when two runs agree.

Threads are pinned, because a scheduler that moves them makes any hand-over bimodal: once all on one
CPU, once the caller, the listeners and the dispatcher's thread on one and the producers on another.

`simplequeue` is the floor: the same threads relaying over bare `SimpleQueue`s, without ttl or ids;
`honest` the same with the least that keeps a lock, a deadline, a stamp, a record and a handle.
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
from typing import Dict

from contestants import CONTESTANTS
from tables import Results, checked_table, timed_table
from worker import CHECKED, CHECKOUT, TIMED

DISPATCHERS = ("ours", "0.1.0")
OURS_ONLY = ("memory-million", "memory-flat")
NOT_WHEN_QUICK = ("memory-million",)
CHECK_ROUNDS = 2
PATIENCE_S = 300


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
        help="workloads that begin so: " + ", ".join([*TIMED, *CHECKED]),
    )
    parser.add_argument(
        "--contestant",
        choices=list(CONTESTANTS),
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
    names = [*TIMED, *CHECKED]
    for wanted in options.only:
        if not any(name.startswith(wanted) for name in names):
            parser.error(f"no workload begins with {wanted!r}")
    options.workloads = [
        name for name in names if not options.only or name.startswith(tuple(options.only))
    ]
    return options


def placements() -> Dict[str, list[int]]:
    """Where threads may be pinned on this machine."""
    allowed = getattr(os, "sched_getaffinity", None)
    if allowed is None:
        return {"not pinned": []}
    cpus = sorted(allowed(0))
    return {"one CPU": cpus[:1], "two CPUs": cpus[:2]} if len(cpus) > 1 else {"one CPU": cpus}


def install(folder: Path) -> Dict[str, list[Path]]:
    """Fetches what to compare with; returns what each contestant finds on its import path."""
    old, rest = folder / "old", folder / "rest"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    for command in (
        [*pip, "--no-deps", "--target", str(old), "ate-dispatcher==0.1.0"],
        [*pip, "--target", str(rest), "pykka", "typing-extensions"],
    ):
        if subprocess.run(command, check=False).returncode:
            sys.exit("could not install what to compare with: " + " ".join(command[1:]))
    return {name: [{"ours": CHECKOUT, "0.1.0": old}.get(name, rest), rest] for name in CONTESTANTS}


class Comparison:
    """The runs, what they gave, and what went wrong."""

    def __init__(self, options: argparse.Namespace, paths: Dict[str, list[Path]]) -> None:
        self.options = options
        self.paths = paths
        self.timed: Results = {}
        self.checked: Results = {}
        self.failures: list[str] = []
        self.contestants = options.contestant or list(CONTESTANTS)
        self.dispatchers = [name for name in DISPATCHERS if name in self.contestants]

    def run(self) -> None:
        for index in range(self.options.rounds):
            for workload in self.options.workloads:
                print(f"round {index + 1}: {workload}", file=sys.stderr)
                if workload in TIMED:
                    for placement, cpus in placements().items():
                        for name in self.turns(index):
                            self.one(self.timed, workload, placement, cpus, name, index)
                elif index < CHECK_ROUNDS and not self.left_out(workload):
                    for name in self.dispatchers:
                        if name == "ours" or workload not in OURS_ONLY:
                            self.one(self.checked, workload, "not pinned", [], name, index)

    def turns(self, index: int) -> list[str]:
        """Everybody, beginning with another one in each round."""
        first = index % len(self.contestants)
        return self.contestants[first:] + self.contestants[:first]

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
            for each in self.contestants:
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
        if self.checked:
            print(checked_table(self.checked, self.dispatchers))
        if self.failures:
            print("\n**FAILED**\n")
        for failure in self.failures:
            print(f"* {failure}")


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
    with tempfile.TemporaryDirectory(prefix="ate-compare-") as folder:
        comparison = Comparison(options, install(Path(folder)))
        comparison.run()
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
