"""Whatever the order of the threads, scenarios end as they must; and broken variants do not.

The ordinary suite plays each scenario in a few orders, and the schedules that have found something.
With ``-m interleavings`` each is played in hundreds to thousands: two processes, a few minutes. A
failure prints a plan; ``hunt.py`` replays it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Dict, Iterator, List

import pytest
from mistakes import share

from . import adapter, hunt
from .kept import Kept, kept
from .scenarios import SCENARIOS
from .variants import VARIANTS, Variant, make

LONG = [pytest.mark.interleavings, pytest.mark.timeout(600)]
"""All long runs share two processes, so the first result may wait for a busy machine."""

SCALE = os.environ.get("INTERLEAVINGS_SCALE", "1.0")
"""How many times the schedules that a scenario is worth; variants always get all of theirs."""

TRIED = share(VARIANTS)


# -- in the ordinary suite ---------------------------------------------------------------------


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_scenario_at_a_glance(name: str) -> None:
    """By default, and by chance."""
    failure = hunt.glance(name)
    assert failure is None, failure


@pytest.mark.parametrize("schedule", kept(), ids=lambda each: each.scenario)
def test_what_was_found_stays_mended(schedule: Kept) -> None:
    """Schedules that failed once pass, as long as their places are there."""
    failure, unmet = hunt.replay(schedule.scenario, schedule.plan)
    assert failure is None, f"{schedule.found} {failure}"
    if unmet:
        pytest.skip(f"proves nothing any more, its places are gone: {', '.join(unmet)}")


# -- in thousands of orders --------------------------------------------------------------------

Findings = List[Dict[str, Any]]


def explored(package: Path, *arguments: str) -> Findings:
    """What a process finds that plays scenarios of *package*."""
    # Not where it is run, which comes first on the path: a checkout has a package too.
    here = str(Path(__file__).resolve().parents[1])
    done = subprocess.run(
        [sys.executable, "-m", "interleavings.hunt", "--json", *arguments],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join((str(package.parent), here)),
            "PYTHONHASHSEED": "0",
        },
        cwd=here,
        capture_output=True,
        text=True,
        timeout=500,
    )
    findings = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode in (0, 1), done.stderr
    assert findings, done.stderr
    assert {each["package"] for each in findings} == {str(package)}, "another package was played"
    return findings


@pytest.fixture(scope="module")
def runs(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Dict[str, Future[Findings]]]:
    """Those of the chosen tests, by the name of a scenario or variant; two at a time."""
    asked: List[Dict[str, Any]] = [
        item.callspec.params
        for item in request.session.items
        if isinstance(item, pytest.Function) and "runs" in item.fixturenames
    ]
    chosen = {params.get("name") or params["variant"].name for params in asked}

    def tried(variant: Variant) -> Findings:
        folder = tmp_path_factory.mktemp("variant", numbered=True).resolve()
        # More than a scenario is worth by itself: it ends as soon as one fails.
        made = make(variant, adapter.PACKAGE, folder)
        return explored(made, "--scale", "2", "--until", *variant.caught_by)

    with ThreadPoolExecutor(max_workers=2) as pool:
        futures = {
            name: pool.submit(explored, adapter.PACKAGE, "--scale", SCALE, name)
            for name in SCENARIOS
            if name in chosen
        }
        futures.update(
            {each.name: pool.submit(tried, each) for each in VARIANTS if each.name in chosen}
        )
        yield futures
        for future in futures.values():
            future.cancel()


class TestInThousandsOfOrders:
    """Each once, with everything that its budget allows."""

    pytestmark = LONG

    @pytest.mark.parametrize("name", SCENARIOS)
    def test_a_scenario_ends_as_it_must(self, name: str, runs: Dict[str, Future[Findings]]) -> None:
        """In all orders with one deviation from the default, many with two, and some by chance."""
        for finding in runs[name].result():
            again = f'\npython -m interleavings.hunt {name} --plan "{finding["plan"]}"'
            assert finding["failure"] is None, finding["failure"] + again
            assert finding["how"] == "all", f"not all was played: {finding}"

    @pytest.mark.parametrize("variant", TRIED, ids=[each.name.replace(" ", "-") for each in TRIED])
    def test_a_variant_is_caught(self, variant: Variant, runs: Dict[str, Future[Findings]]) -> None:
        """One of the scenarios that are named for it fails."""
        findings = runs[variant.name].result()
        assert findings[-1]["failure"] is not None, f"nobody noticed: {findings}"
