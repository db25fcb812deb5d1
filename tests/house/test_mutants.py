"""The tests of the ledger bite: each of these mistakes, made on purpose, turns them red.

A mutant is one small textual change to a copy of the package. Most must be caught by the stateful
test alone, because an oracle that lets ``<`` pass for ``<=`` is no oracle; what leaves every answer
right and only keeps too much in memory is for the examples. A text that no longer occurs fails: the
list follows the code. Run it with ``pytest -m mutants``.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Dict, Iterator, NamedTuple, Optional

import pytest

import ate_dispatcher

PACKAGE = Path(ate_dispatcher.__file__).resolve().parent
TESTS = Path(__file__).resolve().parents[1]
LEDGER, ENTRY, REPORT, NEED = (
    "_core/ledger.py",
    "_core/request.py",
    "_core/report.py",
    "_core/policy_state.py",
)
STATISTICS = "_core/statistics.py"
VERDICTS, SUMS, MEMBER = "_core/verdicts.py", "_core/sums.py", "_core/member.py"
# Nobody reads why a mutant fails: without rewritten asserts a run is quicker.
QUICK = ["-xq", "-p", "no:cacheprovider", "--tb=line", "--assert=plain"]
TESTED = (
    "core/test_ledger_properties.py",
    "core/test_ledger.py",
    "core/test_ledger_policies.py",
    "core/test_instruments_properties.py",
    "delivery/test_rack.py",
)
PROPERTIES, EXAMPLES, POLICIES, ORDER, HANDS = (path.split("/")[1] for path in TESTED)
MODEL = f"{PROPERTIES}::TestTheLedgerAgainstItsModel"
POLICIES_MODEL = f"{PROPERTIES}::TestPoliciesAgainstTheirModel"
CROWD = f"{ORDER}::test_nobody_waits_for_ever"
INSTRUMENTS, RACK = "_core/instruments.py", "_delivery/keyed_mailbox.py"
LINES_MODEL = f"{PROPERTIES}::TestStartLinesAgainstTheirModel"

# All runs share two processes, so the first result may wait for a busy machine.
pytestmark = [pytest.mark.mutants, pytest.mark.thorough, pytest.mark.timeout(300)]


class Mutant(NamedTuple):
    """*old* becomes *new* in *file*; *breaks* says what that is; *caught_by* must notice."""

    file: str
    old: str
    new: str
    breaks: str
    caught_by: str = MODEL


IN_SHORT = "entry.extra is None and entry.cell is None and nursery[0] is entry"

MUTANTS = [
    # The deadline.
    Mutant(LEDGER, "if stamp <= entry.until or", "if stamp <= entry.until + 0.1 or", "a step late"),
    Mutant(
        LEDGER, "DEADLINE if entry.deadline < now", "DEADLINE if entry.deadline <= now", "early"
    ),
    Mutant(
        LEDGER, "return self._time_ends(entry, now) or self", "return self", "a cancel too late"
    ),
    Mutant(LEDGER, "heap[0][0] < now", "heap[0][0] <= now", "expiry takes what is due at now"),
    Mutant(
        LEDGER,
        "heap and len(due) < limit",
        "heap and len(due) < limit - 1",
        "expiry leaves one of the due",
    ),
    Mutant(LEDGER, "stamp - entry.deadline)", "stamp - note.stamp)", "late counts from the end"),
    # Verdicts.
    Mutant(
        LEDGER,
        "Verdict.LATE if note.late else Verdict.SURPLUS",
        "Verdict.SURPLUS if note.late else Verdict.LATE",
        "late and surplus are swapped",
    ),
    Mutant(
        LEDGER,
        "self.sums.judge(note, Verdict.SKIPPED)",
        "self.sums.judge(note, Verdict.CANCELLED)",
        "cancelled instead of skipped",
    ),
    Mutant(
        VERDICTS,
        "return Verdict.CANCELLED",
        "return Verdict.SKIPPED",
        "skipped instead of cancelled",
    ),
    Mutant(
        VERDICTS,
        "HELD), Verdict.WITHDRAWN)",
        "HELD), Verdict.MISSING)",
        "a stop at once does not withdraw what is queued",
    ),
    Mutant(LEDGER, "if at_once else None", "if not at_once else None", "stops are swapped"),
    Mutant(
        MEMBER,
        "running.id == entry.id and running.desk is entry.desk",
        "running.id > 0",
        "whoever runs anything runs this",
    ),
    Mutant(ENTRY, "judged.update(id(member)", "set(id(member)", "who answered is judged again"),
    Mutant(LEDGER, "Verdict.DECLINED, None, now)", "Verdict.MISSING, None, now)", "not declined"),
    # Effects.
    Mutant(LEDGER, "effects = FAILED", "effects = ACCEPTED", "an error passes for a value"),
    Mutant(LEDGER, "effects |= ABSENT", "pass", "nobody clears the mailboxes"),
    Mutant(LEDGER, "return DISCARDED", "return 0", "nobody hears of late answers"),
    Mutant(LEDGER, "return NOTED | self._end(", "return self._end(", "the last note is not told"),
    Mutant(LEDGER, "return ACCEPTED | ENDED", "return ENDED", "the last value is not forwarded"),
    Mutant(
        LEDGER,
        "return effects | self._end(entry, Completion.ALL",
        "return self._end(entry, Completion.ALL",
        "the last answer of an overtaken request is not forwarded",
    ),
    Mutant(LEDGER, "effects = ENDED | SPECIAL", "effects = ENDED", "nobody looks at its extra"),
    # What is open.
    Mutant(
        LEDGER,
        "entry.pending = pending = entry.pending - 1",
        "pending = entry.pending - 1",
        "answers do not count",
    ),
    Mutant(LEDGER, "note]\n        entry.pending -= 1", "note]", "who will not answer is awaited"),
    Mutant(LEDGER, "chain))\n        entry.pending -= 1", "chain))", "who streamed is awaited"),
    Mutant(
        LEDGER,
        "self._heard(entry, False, stamp)",
        "self._heard(entry, True, stamp)",
        "a vote",
        EXAMPLES,
    ),
    Mutant(
        ENTRY,
        "if record.__class__ is not Part:\n                found",
        "if True:\n                found",
        "a part ends it",
        EXAMPLES,
    ),
    Mutant(
        LEDGER,
        "if entry.cell is None:\n            return 0",
        "if entry.cell is None:\n            pass",
        "cancelling opens",
    ),
    Mutant(LEDGER, "self._keep(eldest)", "pass", "who is overtaken is forgotten"),
    Mutant(LEDGER, "self._keep(entry)", "pass", "gathering forgets"),
    Mutant(LEDGER, IN_SHORT, IN_SHORT.replace("nursery[0] is entry", "nursery"), "pops", EXAMPLES),
    Mutant(LEDGER, IN_SHORT, IN_SHORT[len("entry.extra is None and ") :], "extra is forgotten"),
    Mutant(LEDGER, "heapq.heapify(self._heap)", "pass", "a rebuilt heap is in disorder", EXAMPLES),
    Mutant(LEDGER, "self._heap[:] = [", "self._heap = [", "expiry goes on in the heap of before"),
    Mutant(
        LEDGER,
        "self._empty -= 1\n            else:\n                entry.cell",
        "pass\n            else:\n                entry.cell",
        "a stop forgets that it took empty cells away",
    ),
    Mutant(LEDGER, "cell[2] = entry.cell = None", "entry.cell = None", "a cell is not emptied"),
    Mutant(LEDGER, "self._empty += 1", "pass", "empty cells are not counted"),
    Mutant(LEDGER, "self._empty > _MANY and", "False and", "the heap grows", EXAMPLES),
    Mutant(
        LEDGER,
        "entry.call = entry.kwargs = None\n        entry",
        "entry",
        "payloads of ended requests stay",
        EXAMPLES,
    ),
    Mutant(
        LEDGER,
        "entry.call = entry.kwargs = None\n                    entry",
        "entry",
        "payloads of answered requests stay",
        EXAMPLES,
    ),
    Mutant(
        LEDGER,
        "hand.running = entry.stub(completion)",
        "pass",
        "who hangs keeps what came of others",
        EXAMPLES,
    ),
    # Sums.
    Mutant(LEDGER, "member.absences.pop(", "member.absences.get(", "settled again"),
    Mutant(LEDGER, "if note.verdict is Verdict.MISSING:", "if False:", "never settled"),
    Mutant(SUMS, "self._verdicts[note.verdict] -= 1", "pass", "counted twice"),
    Mutant(SUMS, "self._fan_out += len(entry.roster)", "pass", "the fan-out is not counted"),
    Mutant(LEDGER, "all_ok += len(entry.roster)", "all_ok += 1", "one ok for all", EXAMPLES),
    Mutant(SUMS, "self._completions[completion] += 1", "pass", "ends are not counted"),
    Mutant(LEDGER, "entry.more().errors += 1", "entry.more()", "errors are not counted"),
    Mutant(
        LEDGER, "Verdict.WITHDRAWN, None, now)", "Verdict.DECLINED, None, now)", "not withdrawn"
    ),
    # What is needed.
    Mutant(
        NEED, "if self.oks >= n:", "if self.oks > n:", "a quorum wants one more", POLICIES_MODEL
    ),
    Mutant(
        NEED, "self.oks + left < n", "self.oks + left <= n", "a quorum gives up too soon", POLICIES
    ),
    Mutant(
        NEED, "self.oks + left < n", "left < n - 1", "those that came do not count", POLICIES_MODEL
    ),
    Mutant(
        NEED,
        "policy.ms / 1000 < now",
        "policy.ms / 1000 <= now",
        "quiet ends too soon",
        POLICIES_MODEL,
    ),
    Mutant(
        NEED,
        "not left and not self.asking",
        "not left",
        "nobody waits for predicates",
        POLICIES_MODEL,
    ),
    Mutant(NEED, "StopOnError) and errors", "StopOnError) and not errors", "no error", POLICIES),
    Mutant(
        NEED, "return yes[0]", "return yes[-1]", "the last of either gives the reason", POLICIES
    ),
    Mutant(
        NEED,
        "return last[-1] if last",
        "return last[0] if last",
        "the first of both does",
        POLICIES,
    ),
    Mutant(
        NEED,
        "None if None in answers else",
        "None if answers else",
        "either never gives up",
        POLICIES,
    ),
    Mutant(
        NEED,
        "if Completion.IMPOSSIBLE in answers",
        "if not answers",
        "both never give up",
        POLICIES_MODEL,
    ),
    Mutant(
        NEED,
        "return min(instants)",
        "return max(instants)",
        "only the longest quiet counts",
        POLICIES,
    ),
    Mutant(
        "_core/open_requests.py",
        "reason.cell = None\n                return",
        "return",
        "once only",
        POLICIES,
    ),
    Mutant(
        LEDGER,
        "entry, effects == ACCEPTED, stamp",
        "entry, True, stamp",
        "an error is a vote",
        POLICIES,
    ),
    Mutant(LEDGER, "need.last = stamp", "pass", "no reply is remembered", POLICIES_MODEL),
    Mutant(LEDGER, "need.asking -= 1", "pass", "somebody asks for ever", POLICIES),
    Mutant(LEDGER, "need.agreed(yes)", "pass", "what predicates say is lost", POLICIES),
    Mutant(LEDGER, "min(now, entry.deadline)", "now", "quiet beyond the deadline", POLICIES_MODEL),
    Mutant(
        LEDGER, "min(entry.deadline, stall)", "entry.deadline", "a late look lets one in", POLICIES
    ),
    Mutant(
        LEDGER, "NOTED | self._weighed(entry, now)", "NOTED", "the absent are not weighed", POLICIES
    ),
    Mutant(
        LEDGER,
        "self._alarms.forget(entry.extra.need, entry.extra.line)",
        "pass",
        "it is kept",
        POLICIES,
    ),
    # Start lines, and who is held before it begins.
    Mutant(
        LEDGER,
        "len(present) == entry.left",
        "len(present) >= entry.left - 1",
        "without the last",
        LINES_MODEL,
    ),
    Mutant(
        LEDGER, "if turn.hand.member is not member]", "]", "who was withdrawn begins", LINES_MODEL
    ),
    Mutant(
        LEDGER,
        "return effects | self._start_when_complete(entry, now)",
        "return effects",
        "all wait for nobody",
        LINES_MODEL,
    ),
    Mutant(LEDGER, "line.started = True", "pass", "it starts again", LINES_MODEL),
    Mutant(
        LEDGER,
        "turn.lined = Standing.AT_LINE, now",
        "turn.lined = Standing.AT_LINE, turn.came",
        "waited longer",
        LINES_MODEL,
    ),
    Mutant(
        LEDGER,
        "self._alarms.expect(line, entry.sent + line.after, entry)",
        "pass",
        "waits for all for ever",
        LINES_MODEL,
    ),
    Mutant(
        LEDGER,
        "entry.sent + line.after, entry",
        "entry.sent, entry",
        "starts without anybody",
        LINES_MODEL,
    ),
    Mutant(LEDGER, "self._alarms.forget(line)", "pass", "starts twice", LINES_MODEL),
    Mutant(
        LEDGER,
        "            return overdue\n        line = entry.line",
        "            pass\n        line = entry.line",
        "late at the line",
        EXAMPLES,
    ),
    Mutant(
        LEDGER,
        "in NOT_BEGUN or standing in HELD",
        "in NOT_BEGUN",
        "nobody tells those who wait",
        LINES_MODEL,
    ),
    Mutant(
        VERDICTS,
        "Verdict.SKIPPED if standing in HELD",
        "Verdict.MISSING if standing in HELD",
        "missing",
        LINES_MODEL,
    ),
    Mutant(
        VERDICTS, "(*NOT_BEGUN, *HELD):", "NOT_BEGUN:", "who waits is not cancelled", LINES_MODEL
    ),
    Mutant(
        MEMBER,
        "max(now, self.came) if self.taken is None else self.taken",
        "now",
        "an instrument for ever",
        LINES_MODEL,
    ),
    Mutant(
        MEMBER, " or (turn is not None and turn.entry is entry)", "", "nobody is held", LINES_MODEL
    ),
    Mutant(ENTRY, "self.began = hand.began", "pass", "when it began is lost"),
    # Instruments.
    Mutant(
        INSTRUMENTS, "if self._is_held_up(turn):", "if False:", "who is held up is served", ORDER
    ),
    Mutant(INSTRUMENTS, "taken.update(names)", "pass", "others are passed over", ORDER),
    Mutant(INSTRUMENTS, "self._waiting.pop(turn, None)", "pass", "who gave up waits", ORDER),
    Mutant(
        INSTRUMENTS, "self._with.get(name) is turn", "name in self._with", "who waits frees", ORDER
    ),
    Mutant(
        INSTRUMENTS,
        "if line is turn.line:\n                break",
        "if line is turn.line:\n                continue",
        "later lines bar as well",
        ORDER,
    ),
    Mutant(INSTRUMENTS, " and not turn.line.started", "", "a line is for ever", ORDER),
    Mutant(
        INSTRUMENTS,
        "dict.fromkeys(names, turn)",
        "dict.fromkeys(names[:1], turn)",
        "one of several",
        ORDER,
    ),
    Mutant(
        INSTRUMENTS,
        "if not left and not self._starts:",
        "if not left:",
        "not all are looked at",
        ORDER,
    ),
    Mutant(INSTRUMENTS, "self._starts[line] = members", "pass", "nothing is reserved", CROWD),
    Mutant(
        INSTRUMENTS,
        "here = self._number in member.desks",
        "here = line in self._lines",
        "guests",
        CROWD,
    ),
    Mutant(
        INSTRUMENTS, "if other is not None and _is_at_a_line(other):", "if False:", "between", CROWD
    ),
    Mutant(
        INSTRUMENTS, "self._starts.pop(line, ())", "self._starts.get(line, ())", "bars on", CROWD
    ),
    # Several hands.
    Mutant(
        RACK, "self.look_round()\n        return found", "return found", "nobody is woken", HANDS
    ),
    Mutant(
        RACK,
        "[True] if self._parked else CALM\n        self.look",
        "CALM\n        self.look",
        "no alert",
        HANDS,
    ),
    Mutant(RACK, "return IDLE if self._shelves else STOP", "return STOP", "stops too early", HANDS),
    Mutant(RACK, "min(free", "max(free", "the youngest shelf first", HANDS),
    Mutant(RACK, "self._busy.pop(key, None)", "pass", "a key for ever", HANDS),
    Mutant(
        RACK,
        "if entry.completion is not None:\n                continue",
        "",
        "what has ended is begun",
        HANDS,
    ),
    Mutant(RACK, "self.items.appendleft(STOP)", "pass", "only one hand stops", HANDS),
    Mutant(
        RACK,
        "for hand in self._parked:\n            hand.ring()",
        "pass",
        "who is parked stays",
        HANDS,
    ),
    Mutant(
        RACK,
        "key=lambda pair: pair[0]",
        "key=lambda pair: -pair[0]",
        "shelves are in disorder",
        HANDS,
    ),
    # Ordering keys.
    Mutant(
        "_delivery/ordering_keys.py",
        "mine.value is others.value or ",
        "",
        "nan is never the same",
        HANDS,
    ),
    Mutant(
        "_delivery/ordering_keys.py",
        "or bool(mine.value == others.value)",
        "or self.hash == other.hash",
        "hashes",
        HANDS,
    ),
    Mutant(
        "_delivery/ordering_keys.py",
        "        self._clear()\n        while",
        "        while",
        "never cleared",
        HANDS,
    ),
    # What is told of them.
    Mutant(STATISTICS, "pending += entry.left", "pending += len(entry.roster)", "all are pending"),
    Mutant(REPORT, "verdict=outcome or note.verdict", "verdict=note.verdict", "outcomes are lost"),
    Mutant(REPORT, "None if at_the_end else note.outcome", "note.outcome", "the end changes"),
]

CONFTEST = """
import os, pathlib, ate_dispatcher
from hypothesis import Phase, settings

# Exit status 4 rather than 1, should another package be imported than the copy.
assert pathlib.Path(ate_dispatcher.__file__).parent.parent == pathlib.Path(os.environ["PYTHONPATH"])
# One failure is enough; the smallest is of no interest.
settings.register_profile(
    "mutants", deadline=None, derandomize=True, database=None, phases=[Phase.generate]
)
settings.load_profile("mutants")
"""


class Bench:
    """Copies of the package, and one folder with the tests, where they run against a copy."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tests = folder / "tests"
        self.tests.mkdir()
        helpers = [*(TESTS / "helpers").glob("*.py"), TESTS / "core/ledger_books.py"]
        for path in (*(TESTS / each for each in TESTED), *helpers):
            shutil.copy2(str(path), str(self.tests))
        (self.tests / "conftest.py").write_text(CONFTEST, encoding="utf-8")
        (self.tests / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")

    def copy(self, name: str) -> Path:
        """A copy of the package in a folder called *name*, with what is compiled of it."""
        shutil.copytree(str(PACKAGE), str(self.folder / name / PACKAGE.name))
        return self.folder / name / PACKAGE.name

    def run(self, copy: Path, *files: str) -> subprocess.CompletedProcess[str]:
        """pytest, without plugins of this machine, until the first failure."""
        environ = {
            name: value for name, value in os.environ.items() if not name.startswith("PYTEST")
        }
        return subprocess.run(
            [sys.executable, "-m", "pytest", *QUICK, *files],
            cwd=str(self.tests),
            env={
                **environ,
                "PYTHONPATH": str(copy.parent),
                "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=240,
        )

    def try_out(self, number: int) -> subprocess.CompletedProcess[str]:
        """Make one mutant, and run the tests that must catch it."""
        mutant = MUTANTS[number]
        copy = self.copy(f"mutant{number}")
        source = copy / mutant.file
        text = source.read_text(encoding="utf-8")
        if text.count(mutant.old) != 1:
            raise LookupError(f"{text.count(mutant.old)} times in {mutant.file}: {mutant.old!r}")
        source.write_text(text.replace(mutant.old, mutant.new), encoding="utf-8")
        for compiled in (copy / "__pycache__").glob(f"{source.stem}.*"):
            compiled.unlink()
        return self.run(copy, mutant.caught_by)


Runs = Dict[Optional[int], "Future[subprocess.CompletedProcess[str]]"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    """That of the package as it is, under None, and one for each mutant; two at a time."""
    bench = Bench(tmp_path_factory.mktemp("bench").resolve())
    with ThreadPoolExecutor(max_workers=2) as pool:
        futures: Runs = {None: pool.submit(bench.run, bench.copy("unchanged"))}
        futures.update({n: pool.submit(bench.try_out, n) for n in range(len(MUTANTS))})
        yield futures
        for future in futures.values():
            future.cancel()


def test_the_package_as_it_is_passes(runs: Runs) -> None:
    """Without this, the mutants' failures would mean nothing."""
    done = runs[None].result()
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    "number", range(len(MUTANTS)), ids=[mutant.breaks.replace(" ", "-") for mutant in MUTANTS]
)
def test_mutant_is_caught(runs: Runs, number: int) -> None:
    """The mistake turns the tests red: not an error of theirs, nor a passing run."""
    done = runs[number].result()
    assert done.returncode == 1, f"{MUTANTS[number]}\n{done.stdout}"
    assert "failed" in done.stdout.splitlines()[-1], done.stdout
