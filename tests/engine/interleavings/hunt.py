"""Plays scenarios from the command line: ``python -m interleavings.hunt`` in ``tests/engine``.

Without arguments all of them, else those that are named. ``--plan "..."`` replays what was printed.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple

from . import adapter
from .explorer import Budget, Explorer, Finding
from .scenarios import SCENARIOS
from .strategies import ByNames, Priorities, deviations_of

__all__ = ["glance", "hunt", "replay"]

WIDE, DEEP = 400, 250
"""How many schedules with one and with two deviations a scenario is worth in its focus."""


def hunt(name: str, scale: float = 1.0, seed: str = "0") -> Iterator[Finding]:
    """Explore a scenario, everywhere and then deeper in its focus, until it fails."""
    entry = SCENARIOS[name]
    depths = [("", entry.singles, entry.pairs)]
    if entry.focus:
        depths.append((entry.focus, WIDE, DEEP))
    for focus, singles, pairs in depths:
        budget = Budget(*(int(limit * scale) for limit in (singles, pairs, 30)))
        with Explorer(adapter.package_points(focus), adapter.installed) as explorer:
            finding = explorer.explore(entry.play, budget, seed)
        yield finding
        if finding.failure:
            return


def glance(name: str, chances: int = 1) -> Optional[str]:
    """How a scenario fails by default or by a few random priorities; None if it does not."""
    with Explorer(adapter.package_points(), adapter.installed) as explorer:
        play = SCENARIOS[name].play
        failure = explorer.run(play, ByNames(()), counted=True).failure
        for number in range(chances):
            failure = failure or explorer.run(play, Priorities(f"glance/{number}", 300)).failure
        return failure


def replay(name: str, plan: str) -> Tuple[Optional[str], List[str]]:
    """How a scenario fails by *plan*, and which of its deviations were not met."""
    with Explorer(adapter.package_points(), adapter.installed) as explorer:
        stage, strategy = explorer.replay(SCENARIOS[name].play, tuple(deviations_of(plan)))
    return stage.failure, sorted(map(str, strategy.unmet))


def _as_data(name: str, finding: Finding) -> Dict[str, Any]:
    plan = " ".join(map(str, finding.plan))
    return {**finding._asdict(), "scenario": name, "plan": plan, "package": str(adapter.PACKAGE)}


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Play, print, and say by the exit status whether anything failed."""
    parser = argparse.ArgumentParser(prog="python -m interleavings.hunt", description=__doc__)
    parser.add_argument("scenarios", nargs="*", metavar="scenario", help=", ".join(SCENARIOS))
    parser.add_argument("--scale", type=float, default=1.0, help="so many times the schedules")
    parser.add_argument("--seed", default="0", help="other samples")
    parser.add_argument("--plan", help="replay it instead")
    parser.add_argument("--json", action="store_true", help="one finding a line")
    parser.add_argument("--until", action="store_true", help="end with the first failure")
    given = parser.parse_args(arguments)
    failed = False
    for name in given.scenarios or SCENARIOS:
        if given.plan is not None:
            failure, unmet = replay(name, given.plan)
            failed = failed or failure is not None
            sys.stdout.write(f"{name}: {failure or 'passes'}\n")
            sys.stdout.writelines(f"  not met: {each}\n" for each in unmet)
            continue
        for finding in hunt(name, given.scale, given.seed):
            failed = failed or finding.failure is not None
            said = json.dumps(_as_data(name, finding)) if given.json else f"{name}: {finding}"
            sys.stdout.write(said + "\n")
            sys.stdout.flush()
        if failed and given.until:
            break
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
