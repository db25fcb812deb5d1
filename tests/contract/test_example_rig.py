"""The example rig: what ``python -m ate_dispatcher.example_rig`` prints and how it ends.

The real program each time. Where a site has to answer in time its ttl is long, which costs nothing
because the request ends with the last answer; where one has to be missing only few are asked.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Dict, List

import pytest

from ate_dispatcher.example_rig import main

COMMAND = [sys.executable, "-X", "dev", "-W", "error", "-m", "ate_dispatcher.example_rig"]
SITES = ["fsync", "tcp", "sha256", "handoff", "sleep", "slow"]
FOREVER = "40000"
"""A ttl, or a slow site, that no test waits for: the subprocess would be killed first."""

Finished = subprocess.CompletedProcess


def rig(*arguments: str, **environment: str) -> Finished[str]:
    """Run the program to its end, with every warning an error; it must not hang."""
    return subprocess.run(
        [*COMMAND, *arguments],
        capture_output=True,
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=30,
        check=False,
        # A narrow terminal would break the lines of messages.
        env={**os.environ, "COLUMNS": "200", "NO_COLOR": "1", **environment},
    )


def sites_of(block: str) -> List[str]:
    """Whose lines a block of the output holds, in order; the name is the first word of a site."""
    found = [re.search(r"\b(" + "|".join(SITES) + r")\b", line) for line in block.splitlines()]
    return [match.group(1) for match in found if match]


def verdicts(output: str) -> Dict[str, str]:
    """The words of the report for each site."""
    lines = re.findall(r"^  (\w+) +([A-Z]+(?: \([a-z ]+\))?)  ", output, re.MULTILINE)
    return dict(lines)


@pytest.fixture(scope="module")
def everything() -> Finished[str]:
    """A run in which all six sites answer."""
    return rig("--ttl", FOREVER, "--slow", "0")


@pytest.fixture(scope="module")
def overdue() -> Finished[str]:
    """A run in which one site answers, or may, and the slow one cannot."""
    return rig("--ttl", "1000", "--slow", FOREVER, "--only", "slow", "--only", "sleep")


def test_all_answered(everything: Finished[str]) -> None:
    """When every site answers in time the status is 0 and every verdict is OK."""
    assert everything.returncode == 0, everything
    assert verdicts(everything.stdout) == dict.fromkeys(SITES, "OK")
    assert "ALL_REPLIED" in everything.stdout


def test_results_come_first(everything: Finished[str]) -> None:
    """One line for each result, as they arrived, then the report in the order of the roster."""
    results, report = everything.stdout.rstrip("\n").split("\n\n")
    assert sorted(sites_of(results)) == sorted(SITES)
    arrivals = [float(line.split()[0]) for line in results.splitlines()]
    assert arrivals == sorted(arrivals)
    head, _, members = report.partition("\n")
    assert head.startswith("request 1 on 'measure': ")
    assert sites_of(members) == SITES


def test_measurements(everything: Finished[str]) -> None:
    """Every site gives a number with its unit: positive, but a sleep may be cut short by a tick."""
    units = {"fsync": "us", "tcp": "us", "sha256": "MB/s", "handoff": "us", "sleep": "us"}
    lines = [line.split() for line in everything.stdout.split("\n\n")[0].splitlines()]
    found = {words[2]: words[3:5] for words in lines}
    for site, unit in units.items():
        assert found[site][1] == unit
        assert float(found[site][0]) > 0 or site == "sleep"


def test_quiet(everything: Finished[str], overdue: Finished[str]) -> None:
    """Nothing is written to stderr, neither when all answer nor when one is missing."""
    assert everything.stderr == ""
    assert overdue.stderr == ""


def test_slow_site_is_missing(overdue: Finished[str]) -> None:
    """The site that takes longer than the ttl is named as missing and still running: status 3.

    The program ends without it, or this run would have been killed.
    """
    assert overdue.returncode == 3, overdue
    assert "DEADLINE" in overdue.stdout
    assert verdicts(overdue.stdout)["slow"] == "MISSING (running)"
    results, _, closing = overdue.stdout.rstrip("\n").split("\n\n")
    assert "slow" not in sites_of(results)
    assert re.match(r"no answer in time from: .*\bslow$", closing)


def test_default_is_overdue() -> None:
    """Without any option the slow site misses the deadline."""
    finished = rig()
    assert finished.returncode == 3, finished
    # A busy machine may not even have begun it.
    assert verdicts(finished.stdout)["slow"].startswith("MISSING")
    assert "DEADLINE" in finished.stdout


def test_nothing_is_awaited() -> None:
    """With a ttl of 0 nobody answers: all six are missing, nothing is printed before the report."""
    finished = rig("--ttl", "0")
    assert finished.returncode == 3, finished
    assert finished.stdout.startswith("\nrequest 1")
    assert list(verdicts(finished.stdout)) == SITES
    assert "OK" not in verdicts(finished.stdout).values()
    assert finished.stderr == ""


@pytest.mark.parametrize("ttl", ["inf", "1e308", "250000.5"])
def test_long_ttl(ttl: str) -> None:
    """A ttl of any length, or none, ends with the last answer."""
    finished = rig("--ttl", ttl, "--only", "tcp")
    assert finished.returncode == 0, finished
    assert verdicts(finished.stdout) == {"tcp": "OK"}


def test_broken_site() -> None:
    """A site that raises costs nobody else their answer: ERROR in the report, status 4."""
    finished = rig("--ttl", FOREVER, "--slow", "0", "--break", "sha256")
    assert finished.returncode == 4, finished
    expected = {**dict.fromkeys(SITES, "OK"), "sha256": "ERROR"}
    assert verdicts(finished.stdout) == expected
    assert re.search(r" ms  sha256 +raised RuntimeError: broken on purpose", finished.stdout)
    assert finished.stdout.endswith("\nraised: sha256\n")


def test_traceback_on_stderr() -> None:
    """What a site raised is on stderr, once, with its traceback, before the program ends."""
    finished = rig("--ttl", FOREVER, "--only", "tcp", "--break", "tcp")
    assert finished.returncode == 4, finished
    assert finished.stderr.startswith("tcp raised")
    assert finished.stderr.count("Traceback (most recent call last):") == 1
    assert finished.stderr.endswith("RuntimeError: broken on purpose (--break tcp)\n")


def test_broken_weighs_more_than_missing() -> None:
    """When one raised and another is missing, both are named and the error decides."""
    finished = rig(
        *("--ttl", "1000", "--slow", FOREVER),
        *("--only", "slow", "--only", "sleep", "--break", "sleep"),
    )
    assert finished.returncode == 4, finished
    assert verdicts(finished.stdout) == {"sleep": "ERROR", "slow": "MISSING (running)"}
    assert finished.stdout.endswith("raised: sleep\nno answer in time from: slow\n")


def test_no_file_is_left(tmp_path: Path) -> None:
    """The temporary file of the fsync site is gone at the end, in time or not."""
    here = str(tmp_path)
    for ttl in (FOREVER, "20"):
        rig("--ttl", ttl, "--only", "fsync", TMPDIR=here, TEMP=here, TMP=here)
        assert list(tmp_path.iterdir()) == []


def test_help() -> None:
    """--help explains every option, site and exit status."""
    finished = rig("--help")
    assert finished.returncode == 0
    assert finished.stderr == ""
    for word in ["--ttl MS", "--slow MS", "--only SITE", "--break SITE", "exit status", *SITES]:
        assert word in finished.stdout
    explained = finished.stdout.split("exit status:")[1]
    assert re.findall(r"^  (\d+)  \w", explained, re.MULTILINE) == ["0", "2", "3", "4"]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ("--ttl -1", "--ttl: must be a number of milliseconds >= 0, not '-1'"),
        ("--ttl nan", "--ttl: must be a number of milliseconds >= 0, not 'nan'"),
        ("--ttl soon", "--ttl: must be a number of milliseconds >= 0, not 'soon'"),
        ("--ttl=", "--ttl: must be a number of milliseconds >= 0, not ''"),
        ("--ttl", "--ttl: expected one argument"),
        ("--slow -0.5", "--slow: must be a number of milliseconds >= 0, not '-0.5'"),
        ("--break door", "--break: invalid choice: 'door'"),
        ("--only door", "--only: invalid choice: 'door'"),
        ("--only tcp --break slow", "--break: names a site that --only leaves out"),
        ("--tt 5", "unrecognized arguments: --tt 5"),
        ("250", "unrecognized arguments: 250"),
    ],
)
def test_bad_arguments(
    arguments: str, named: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Arguments that make no sense are named on stderr, nothing is measured, status 2."""
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("NO_COLOR", "1")
    with pytest.raises(SystemExit) as exit_:
        main(arguments.split())
    assert exit_.value.code == 2
    out, err = capsys.readouterr()
    assert named in err.splitlines()[-1]
    assert out == ""
