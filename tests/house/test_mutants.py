"""The tests of the core and of delivery bite: each of these mistakes turns them red.

A mutant is one small textual change to one function in a copy of the package. Most must be caught
by a stateful test alone, because an oracle that lets ``<`` pass for ``<=`` is no oracle; what
leaves every answer right and only keeps too much in memory is for the examples. A function that is
gone, or a text that it has not got, fails: the list follows the code. Run it with
``pytest -m mutants``.
"""

from __future__ import annotations

import ast
import json
import os
import queue
import shutil
import subprocess
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Dict, Iterator, NamedTuple, Optional

import pytest
from mistakes import share

import ate_dispatcher

PACKAGE = Path(ate_dispatcher.__file__).resolve().parent
TESTS = Path(__file__).resolve().parents[1]
# Nobody reads why a mutant fails: without rewritten asserts a run is quicker.
QUICK = ["-xq", "-p", "no:cacheprovider", "--tb=line", "--assert=plain"]
TESTED = (
    "core/test_ledger_properties.py",
    "core/test_ledger.py",
    "core/test_ledger_policies.py",
    "core/test_refusals.py",
    "core/test_instruments_properties.py",
    "core/test_open_requests.py",
    "delivery/test_mailbox.py",
    "delivery/test_keyed_mailbox.py",
    "delivery/test_registry.py",
    "delivery/test_patterns.py",
    "core/test_ends.py",
    "delivery/test_room.py",
)
(PROPERTIES, EXAMPLES, POLICIES, REFUSALS, ORDER, STORE, READING, WORKERS, REGISTER) = (
    path.split("/")[1] for path in TESTED[:9]
)
OF_PATTERNS, PARTS, PLACES = (path.split("/")[1] for path in TESTED[9:])
# All three, the richest first.
MODEL = PROPERTIES
POLICIES_MODEL = f"{PROPERTIES}::TestPoliciesAgainstTheirModel"
LINES_MODEL = f"{PROPERTIES}::TestStartLinesAgainstTheirModel"
CROWD = f"{ORDER}::test_nobody_waits_for_ever"
LIST = f"{READING}::TestTheMailboxAgainstAList"
ROSTERS = f"{REGISTER}::TestTheRegistryAgainstItsModel"
BY_PATTERNS = f"{OF_PATTERNS}::TestThePatternsAgainstTheirModel"

# All runs share two processes, so the first result may wait for a busy machine.
pytestmark = [pytest.mark.mutants, pytest.mark.timeout(300)]


class Mutant(NamedTuple):
    """In *function*, by its module and qualified name, *old* becomes *new*.

    *breaks* says what that is; *caught_by* must notice. What is no function but has a name at the
    top of its module is found as well.
    """

    function: str
    old: str
    new: str
    breaks: str
    caught_by: str = MODEL


LEDGER = "_core.ledger:Ledger"
BOOKS = "_core.books:Books"
REQUEST, EXTRAS = "_core.request:Request", "_core.request:Extras"
VERDICTS = "_core.verdicts"
ENDS_MODULE = "_core.ends"
ENDS = f"{ENDS_MODULE}:Ends"
NEED = "_core.policy_state:PolicyState"
OPEN = "_core.open_requests:OpenRequests"
SUMS = "_core.statistics:Sums"
INSTRUMENTS = "_core.instruments:Instruments"
FIFO, MAILBOX = "_delivery.fifo:Fifo", "_delivery.mailbox:Mailbox"
KEYED = "_delivery.keyed_mailbox:KeyedMailbox"
REGISTRY, CHANNEL, MATCHED = "_delivery.registry", "_delivery.channel", "_delivery.matched"
PATTERNS, LIVING = "_delivery.patterns", "_delivery.living"
REFUSE = "return self._refuse()"

ROOM = "_delivery.room:Room"

MUTANTS = [
    # The deadline.
    Mutant(
        f"{LEDGER}.replied",
        "if stamp <= request.until or",
        "if stamp <= request.until + 0.1 or",
        "a step late",
        EXAMPLES,
    ),
    Mutant(
        f"{ENDS_MODULE}:overdue",
        "DEADLINE if request.deadline < now",
        "DEADLINE if request.deadline <= now",
        "early",
    ),
    Mutant(
        f"{LEDGER}.cancelled",
        "return self._time_ends(request, now) or self",
        "return self",
        "a cancel too late",
    ),
    Mutant(
        f"{OPEN}.past",
        "not heap[0][0] < now",
        "not heap[0][0] <= now",
        "expiry takes what is due at now",
    ),
    Mutant(
        f"{LEDGER}.time_passed",
        "while budget > 0:",
        "while budget > 1:",
        "expiry leaves one of the due",
        EXAMPLES,
    ),
    Mutant(
        f"{BOOKS}._discarded",
        "stamp - request.deadline)",
        "stamp - each.stamp)",
        "late counts from the end",
    ),
    # Verdicts.
    Mutant(
        f"{BOOKS}._discarded",
        "Verdict.LATE if each.late else Verdict.SURPLUS",
        "Verdict.SURPLUS if each.late else Verdict.LATE",
        "late and surplus are swapped",
    ),
    Mutant(
        f"{LEDGER}.come_to",
        "self.sums.judge(each, Verdict.SKIPPED)",
        "self.sums.judge(each, Verdict.CANCELLED)",
        "cancelled instead of skipped",
    ),
    Mutant(
        "_core.outcomes:_at_the_end",
        "return Verdict.CANCELLED",
        "return Verdict.SKIPPED",
        "skipped instead of cancelled",
    ),
    Mutant(
        "_core.outcomes:WITHDRAWN_AT_ONCE",
        "HELD), Verdict.WITHDRAWN)",
        "HELD), Verdict.MISSING)",
        "a stop at once does not withdraw what is queued",
    ),
    Mutant(f"{LEDGER}.stopped", "if at_once else", "if not at_once else", "stops are swapped"),
    Mutant(
        "_core.member:Worker.runs",
        "running.id == request.id and running.engine is request.engine",
        "running.id > 0",
        "whoever runs anything runs this",
    ),
    Mutant(
        f"{REQUEST}.judged",
        "{id(member) for member in self.answered()}",
        "set()",
        "who answered is judged again",
    ),
    Mutant(
        f"{REQUEST}.has_answered",
        "if record[MEMBER] is member",
        "if False",
        "among a few nobody has answered",
        EXAMPLES,
    ),
    Mutant(
        f"{REQUEST}.has_answered",
        "record = record[PREVIOUS]",
        "record = None",
        "among a few only the last one has answered",
        EXAMPLES,
    ),
    Mutant(
        f"{LEDGER}.declined",
        "Verdict.DECLINED, None, now)",
        "Verdict.MISSING, None, now)",
        "not declined",
    ),
    Mutant(
        f"{LEDGER}.withdrawn",
        "Verdict.WITHDRAWN, None, now)",
        "Verdict.DECLINED, None, now)",
        "not withdrawn",
    ),
    # Effects, and what follows from the request.
    Mutant(
        f"{LEDGER}.replied", "effects = FAILED", "effects = ACCEPTED", "an error passes for a value"
    ),
    Mutant(
        f"{VERDICTS}:_judge",
        "Unanswered(request, member, verdict, where,",
        "Unanswered(request, member, verdict, None,",
        "nobody clears the mailboxes",
    ),
    Mutant(f"{BOOKS}._discarded", "return DISCARDED", "return 0", "nobody hears of late answers"),
    Mutant(
        f"{BOOKS}._unanswered",
        "return NOTED | self._end(",
        "return self._end(",
        "the last verdict is not told",
    ),
    Mutant(
        f"{LEDGER}.replied",
        "effects |= self.counted(",
        "effects = self.counted(",
        "the last value is not forwarded",
    ),
    Mutant(
        f"{LEDGER}.replied",
        "if request.pending <= 0:",
        "if request.pending < 0:",
        "the last answer ends nothing",
    ),
    Mutant(
        f"{ENDS}._complete",
        "return ENDED | ALARM if self._store.stale or self._store.left else ENDED",
        "return ENDED",
        "nobody takes in what was left among the arrivals",
    ),
    # What is open.
    Mutant(f"{LEDGER}.replied", "request.pending -= 1", "pass", "answers do not count"),
    Mutant(f"{REQUEST}.misses", "self.pending -= 1", "pass", "who will not answer is awaited"),
    Mutant(f"{LEDGER}.finished", "request.pending -= 1", "pass", "who streamed is awaited"),
    Mutant(
        f"{LEDGER}.streamed",
        "self._heard(request, False, stamp)",
        "self._heard(request, True, stamp)",
        "a vote",
        EXAMPLES,
    ),
    Mutant(
        f"{REQUEST}._count_answers",
        "if record.__class__ is not Part:",
        "if True:",
        "a part ends it",
    ),
    Mutant(
        f"{LEDGER}.cancelled",
        "if request.completion is not None:\n            return 0",
        "",
        "what is over is cancelled",
    ),
    Mutant(f"{OPEN}.release", "self.keep(eldest)", "pass", "who is overtaken is forgotten"),
    Mutant(f"{OPEN}.gather", "self.keep(request)", "pass", "gathering forgets"),
    Mutant(f"{LEDGER}.counted", "and arrivals[0] is request", "", "pops", EXAMPLES),
    Mutant(f"{LEDGER}.counted", "request.cell is None", "True", "what is kept is forgotten"),
    Mutant(f"{EXTRAS}.are_all_ok", "self.unanswered or ", "", "who gave no answer is OK", EXAMPLES),
    Mutant(f"{EXTRAS}.are_all_ok", " or self.errors", "", "who raised is OK"),
    Mutant(f"{EXTRAS}.are_all_ok", " or self.need", "", "policies are forgotten"),
    Mutant(
        f"{OPEN}._renew",
        "heapq.heappush(self._heap, cell)",
        "self._heap.append(cell)",
        "a renewed heap is in disorder",
        EXAMPLES,
    ),
    Mutant(
        f"{OPEN}.forget",
        "self._old, self._heap = self._heap, []",
        "self._heap = []",
        "what is to be renewed is lost",
    ),
    Mutant(
        f"{OPEN}.take_any",
        "self._empty -= 1",
        "pass",
        "a stop forgets that it took empty cells away",
    ),
    Mutant(
        f"{OPEN}.forget",
        "reason.cell[_REASON] = reason.cell[_REQUEST] = reason.cell = None",
        "reason.cell = None",
        "a cell is not emptied",
    ),
    Mutant(f"{OPEN}.forget", "self._empty += 1", "pass", "empty cells are not counted"),
    Mutant(f"{OPEN}.forget", "self._empty > _MANY and", "False and", "the heap grows", EXAMPLES),
    Mutant(
        f"{ENDS}._complete",
        "request.end(completion, now)",
        "request.end(completion, now)\n        request.call = request.kwargs = None",
        "payloads of ended requests are let go inside",
        EXAMPLES,
    ),
    Mutant(
        f"{LEDGER}.counted",
        "request.ended = stamp",
        "request.ended = stamp\n            request.call = request.kwargs = None",
        "payloads of answered requests are let go inside",
        EXAMPLES,
    ),
    Mutant(
        f"{VERDICTS}:_judge",
        "worker.running = request.stub(ending.completion, [each])",
        "pass",
        "who hangs keeps what came of others",
        EXAMPLES,
    ),
    # Sums.
    Mutant(f"{LEDGER}.come_to", "del waiting[:limit]", "pass", "settled again"),
    Mutant(
        f"{VERDICTS}:_judge",
        "if verdict is Verdict.MISSING:",
        "if False:",
        "never settled",
    ),
    Mutant(f"{SUMS}.judge", "self._verdicts[unanswered.verdict] -= 1", "pass", "counted twice"),
    Mutant(f"{SUMS}.add", "self._fan_out += _count", "_count", "the fan-out is not counted"),
    Mutant(
        f"{LEDGER}.counted",
        "all_ok += len(request.roster)",
        "all_ok += 1",
        "one ok for all",
        EXAMPLES,
    ),
    Mutant(f"{SUMS}.add", "self._completions[completion] += 1", "pass", "ends are not counted"),
    Mutant(
        f"{LEDGER}.replied",
        "request.more().errors += 1",
        "request.more()",
        "errors are not counted",
    ),
    # What is needed.
    Mutant(
        f"{NEED}._ask",
        "if self.oks >= n:",
        "if self.oks > n:",
        "a quorum wants one more",
        POLICIES_MODEL,
    ),
    Mutant(
        f"{NEED}._ask",
        "self.oks + left < n",
        "self.oks + left <= n",
        "a quorum gives up too soon",
        POLICIES,
    ),
    Mutant(
        f"{NEED}._ask",
        "self.oks + left < n",
        "left < n - 1",
        "those that came do not count",
        POLICIES_MODEL,
    ),
    Mutant(
        f"{NEED}._ask",
        "policy.ms / 1000 < now",
        "policy.ms / 1000 <= now",
        "quiet ends too soon",
        POLICIES_MODEL,
    ),
    Mutant(
        f"{NEED}._ask",
        "not left and not self.asking",
        "not left",
        "nobody waits for predicates",
        POLICIES_MODEL,
    ),
    Mutant(
        f"{NEED}._ask",
        "StopOnError) and errors",
        "StopOnError) and not errors",
        "no error",
        POLICIES,
    ),
    Mutant(
        f"{NEED}._ask",
        "return yes[0]",
        "return yes[-1]",
        "the last of either gives the reason",
        POLICIES,
    ),
    Mutant(
        f"{NEED}._ask",
        "return last[-1] if last",
        "return last[0] if last",
        "the first of both does",
        POLICIES,
    ),
    Mutant(
        f"{NEED}._ask",
        "None if None in answers else",
        "None if answers else",
        "either never gives up",
        POLICIES,
    ),
    Mutant(
        f"{NEED}._ask",
        "if Completion.IMPOSSIBLE in answers",
        "if not answers",
        "both never give up",
        POLICIES_MODEL,
    ),
    Mutant(
        f"{NEED}.next_stall",
        "return min(instants)",
        "return max(instants)",
        "only the longest quiet counts",
        POLICIES,
    ),
    Mutant(f"{OPEN}.past", "reason.cell = None", "pass", "once only", POLICIES),
    Mutant(
        f"{LEDGER}.replied",
        "self.counted(request, error is None, stamp)",
        "self.counted(request, True, stamp)",
        "an error is a vote",
        POLICIES,
    ),
    Mutant(
        f"{BOOKS}._heard", "need.last = stamp", "pass", "no reply is remembered", POLICIES_MODEL
    ),
    Mutant(f"{LEDGER}.agreed", "need.asking -= 1", "pass", "somebody asks for ever", POLICIES),
    Mutant(f"{LEDGER}.agreed", "need.agreed(yes)", "pass", "what predicates say is lost", POLICIES),
    Mutant(
        f"{ENDS_MODULE}:overdue",
        "min(now, request.deadline)",
        "now",
        "quiet beyond the deadline",
        POLICIES_MODEL,
    ),
    Mutant(
        f"{BOOKS}._evaluated",
        "min(request.deadline, stall)",
        "request.deadline",
        "a late look lets one in",
        POLICIES,
    ),
    Mutant(
        f"{BOOKS}._unanswered",
        "effects |= self._evaluated(request, request.need, now)",
        "pass",
        "the absent are not evaluated",
        POLICIES,
    ),
    Mutant(
        f"{ENDS}.begin",
        "self._store.forget(extras.need, extras.line)",
        "pass",
        "it is kept",
        POLICIES,
    ),
    # Start lines, and who is held before it begins.
    Mutant(
        f"{BOOKS}._start_when_complete",
        "len(present) == request.left",
        "len(present) >= request.left - 1",
        "without the last",
        LINES_MODEL,
    ),
    Mutant(
        f"{LEDGER}.withdrawn",
        " if claim.worker.member is not member]",
        "]",
        "who was withdrawn begins",
        LINES_MODEL,
    ),
    Mutant(
        f"{BOOKS}._unanswered",
        "return effects | self._start_when_complete(request, now)",
        "return effects",
        "all wait for nobody",
        LINES_MODEL,
    ),
    Mutant(f"{BOOKS}._start", "line.started = True", "pass", "it starts again", LINES_MODEL),
    Mutant(
        f"{LEDGER}.lined_up",
        "claim.lined = Standing.AT_LINE, now",
        "claim.lined = Standing.AT_LINE, claim.came",
        "waited longer",
        LINES_MODEL,
    ),
    Mutant(
        f"{OPEN}.keep",
        "self.expect(line, request.sent + line.after, request)",
        "pass",
        "waits for all for ever",
        LINES_MODEL,
    ),
    Mutant(
        f"{OPEN}.keep",
        "request.sent + line.after, request)",
        "request.sent, request)",
        "starts without anybody",
        EXAMPLES,
    ),
    Mutant(f"{BOOKS}._start", "self.open.forget(line)", "pass", "starts twice", EXAMPLES),
    Mutant(
        f"{LEDGER}.lined_up",
        "            return effects\n        line",
        "            pass\n        line",
        "late at the line",
        EXAMPLES,
    ),
    Mutant(
        f"{VERDICTS}:_judge",
        "member.standing_of(worker, request)",
        "member.standing",
        "nobody tells those who wait",
        LINES_MODEL,
    ),
    Mutant(
        "_core.outcomes:_at_the_end",
        "Verdict.SKIPPED if standing in HELD",
        "Verdict.MISSING if standing in HELD",
        "missing",
        LINES_MODEL,
    ),
    Mutant(
        "_core.outcomes:_at_the_end",
        "(*NOT_BEGUN, *HELD):",
        "NOT_BEGUN:",
        "who waits is not cancelled",
        LINES_MODEL,
    ),
    Mutant(
        "_core.member:Claim.spent",
        "max(now, self.came) if self.taken is None else self.taken",
        "now",
        "an instrument for ever",
        LINES_MODEL,
    ),
    Mutant(
        "_core.member:Member.worker_at",
        " or worker.claims(request)",
        "",
        "nobody is held",
        LINES_MODEL,
    ),
    Mutant(
        "_core.request:Unanswered.__init__",
        "self.began = worker.began",
        "pass",
        "when it began is lost",
    ),
    # What cannot be. Not here: what `_discarded` refuses beside a second answer, of a worker that
    # is in an ended request although its member has another verdict, or none. No fact leads there:
    # `began` refuses what is over, and who got another verdict is at nothing any more.
    Mutant(f"{LEDGER}.began", REFUSE, "pass", "what is over begins", REFUSALS),
    Mutant(f"{LEDGER}.replied", REFUSE, "pass", "anybody answers", REFUSALS),
    Mutant(f"{LEDGER}.replied", REFUSE, "pass", "anybody answers the model"),
    Mutant(f"{LEDGER}.streamed", REFUSE, "pass", "anybody streams", REFUSALS),
    Mutant(
        f"{VERDICTS}:lacks_answer_of",
        "not request.has_answered(worker.member)",
        "True",
        "one elsewhere answers twice",
        REFUSALS,
    ),
    Mutant(f"{LEDGER}.finished", REFUSE, "pass", "anybody ends a stream", REFUSALS),
    Mutant(
        f"{LEDGER}.lined_up",
        " or claim in line.present",
        "",
        "one stands at the line twice",
        REFUSALS,
    ),
    Mutant(f"{BOOKS}._unanswered", REFUSE, "pass", "a second verdict", REFUSALS),
    Mutant(f"{BOOKS}._unanswered", REFUSE, "pass", "a second verdict in the model"),
    Mutant(
        f"{BOOKS}._discarded",
        "each.outcome is not None or ",
        "",
        "a second answer after the end",
        REFUSALS,
    ),
    Mutant(f"{BOOKS}._refuse", "self.refused += 1", "pass", "refusals are not counted", REFUSALS),
    # Budgets.
    Mutant(
        f"{LEDGER}.time_passed",
        "budget -= len(request.roster)",
        "pass",
        "expiry counts requests, not verdicts",
        EXAMPLES,
    ),
    Mutant(
        f"{LEDGER}.time_passed",
        "return due, True",
        "return due, False",
        "expiry says that it is done",
        EXAMPLES,
    ),
    Mutant(
        f"{LEDGER}.stopped",
        "budget -= len(request.roster)",
        "pass",
        "a stop counts requests, not verdicts",
        EXAMPLES,
    ),
    Mutant(
        f"{LEDGER}.stopped",
        ", budget <= 0",
        ", False",
        "a stop says that it is done",
    ),
    Mutant(
        f"{LEDGER}.come_to",
        "judged = waiting[:limit]",
        "judged = waiting[:]",
        "more is settled than was asked for",
    ),
    Mutant(
        f"{OPEN}.past", "self._empty -= 1", "pass", "expiry forgets that it took empty cells away"
    ),
    # The store, and its renewal.
    Mutant(
        f"{OPEN}._first",
        "self._heap[0] < self._old[0]",
        "self._heap[0] > self._old[0]",
        "while it is renewed the later comes first",
        STORE,
    ),
    Mutant(
        f"{OPEN}._first",
        "if not self._old:",
        "if self._heap:",
        "what is not renewed yet is overlooked",
        STORE,
    ),
    Mutant(
        f"{OPEN}.forget", "self._renew(2)", "pass", "it is renewed by nobody but who gathers", STORE
    ),
    Mutant(
        f"{OPEN}._renew",
        "self._empty -= 1",
        "pass",
        "renewal forgets that it took empty cells away",
        STORE,
    ),
    Mutant(
        f"{OPEN}.expect",
        "if reason.cell is not None and reason.cell[0] <= instant:",
        "if reason.cell is not None:",
        "a nearer instant is not noticed",
        STORE,
    ),
    Mutant(
        f"{OPEN}.expect",
        "self.forget(reason)",
        "pass",
        "what is expected sooner is expected later too",
        STORE,
    ),
    Mutant(f"{OPEN}.release", "self._timed -= 1", "pass", "what was released is counted", STORE),
    Mutant(
        f"{OPEN}.release",
        "self.stale = True",
        "pass",
        "what was left among the arrivals is not told",
        STORE,
    ),
    Mutant(f"{OPEN}.all", " and request.id not in seen", "", "one is told twice", STORE),
    Mutant(
        f"{OPEN}._timed_ones", ", *self._old[:]", ",", "what is not renewed yet is not told", STORE
    ),
    Mutant(
        f"{OPEN}.take_any",
        "cell = heap.pop()",
        "cell = heap.pop(0)",
        "a stop leaves no heap",
        STORE,
    ),
    Mutant(
        f"{OPEN}.next_instant",
        "self._empty -= 1\n        return -math.inf",
        "self._empty -= 1\n        return NEVER",
        "nobody comes again",
        STORE,
    ),
    # Ends in parts.
    Mutant(f"{REQUEST}.misses", "extras.tally[each.verdict] =", "_ =", "not in the sums", PARTS),
    Mutant(f"{VERDICTS}:judge_some", "looks -= _LOOKS - 1", "pass", "too many at a time", PARTS),
    Mutant(
        f"{VERDICTS}:judge_early",
        "if id(member) not in request.more().unanswered:",
        "if True:",
        "judged twice",
        PARTS,
    ),
    Mutant(f"{ENDS}.judge", "if ending is not None:", "if False:", "who comes is missed", PARTS),
    Mutant(f"{ENDS}.go_on", "self._store.endings.popleft()", "pass", "it goes on for ever", PARTS),
    Mutant(f"{ENDS}.begin", "request.until = OVER", "pass", "answered while it ends", PARTS),
    Mutant(
        f"{ENDS_MODULE}:overdue",
        "if extras.ending is not None:",
        "if False:",
        "ended twice",
        PARTS,
    ),
    Mutant(f"{LEDGER}.began", "request.is_over", "request.completion", "begun too late", PARTS),
    Mutant(f"{OPEN}.__bool__", "or self.endings", "", "a stop does not wait for what ends", PARTS),
    # Instruments.
    Mutant(
        f"{INSTRUMENTS}._grant",
        "if self._is_held_up(claim):",
        "if False:",
        "who is held up is served",
        ORDER,
    ),
    Mutant(f"{INSTRUMENTS}._grant", "taken.update(names)", "pass", "others are passed over", ORDER),
    Mutant(
        f"{INSTRUMENTS}.drop", "self._waiting.pop(claim, None)", "pass", "who gave up waits", ORDER
    ),
    Mutant(
        f"{INSTRUMENTS}.drop",
        "self._with.get(name) is claim",
        "name in self._with",
        "who waits frees",
        ORDER,
    ),
    Mutant(
        f"{INSTRUMENTS}._is_held_up",
        "if line is claim.line:\n                break",
        "if line is claim.line:\n                continue",
        "later lines bar as well",
        ORDER,
    ),
    Mutant(
        "_core.instruments:_is_at_a_line",
        " and not claim.line.started",
        "",
        "a line is for ever",
        ORDER,
    ),
    Mutant(
        f"{INSTRUMENTS}._grant",
        "dict.fromkeys(names, claim)",
        "dict.fromkeys(names[:1], claim)",
        "one of several",
        ORDER,
    ),
    Mutant(
        f"{INSTRUMENTS}._grant",
        "if not left and not self._starts:",
        "if not left:",
        "not all are looked at",
        ORDER,
    ),
    Mutant(
        f"{INSTRUMENTS}.reserve",
        "self._starts[line] = members",
        "pass",
        "nothing is reserved",
        CROWD,
    ),
    Mutant(
        f"{INSTRUMENTS}._is_held_up",
        "here = self._number in member.engines",
        "here = [self._number] == [*member.engines]",
        "guests",
        CROWD,
    ),
    Mutant(
        f"{INSTRUMENTS}._is_held_up",
        "here = self._number in member.engines",
        "here = self._number in [*member.engines][:1]",
        "guests of a second one",
        ORDER,
    ),
    Mutant(
        f"{INSTRUMENTS}._is_held_up",
        "if other is not None and _is_at_a_line(other):",
        "if False:",
        "between",
        CROWD,
    ),
    Mutant(
        f"{INSTRUMENTS}.free",
        "self._starts.pop(line, ())",
        "self._starts.get(line, ())",
        "bars on",
        CROWD,
    ),
    # One reader, and what ends before it comes there.
    Mutant(
        f"{FIFO}.look_through",
        "else looked).append(item)",
        "else looked).appendleft(item)",
        "what was looked through is in disorder",
        LIST,
    ),
    Mutant(
        f"{FIFO}.look_through",
        "self._looked, self._old = self._old, self._looked",
        "pass",
        "the last round is not before this one",
        LIST,
    ),
    Mutant(
        f"{FIFO}.look_through",
        "self._round = len(self.items) + len(self._looked) + len(self._old)",
        "self._round = len(self.items)",
        "a round leaves some out",
        LIST,
    ),
    Mutant(f"{FIFO}.look_through", "self._round -= 1", "pass", "a round has no end", READING),
    Mutant(
        f"{FIFO}.oldest",
        "(self._looked, self._old, self.items)",
        "(self._old, self._looked, self.items)",
        "the younger comes first",
        LIST,
    ),
    Mutant(
        f"{FIFO}.front",
        "(self._looked, self._old, self.items)",
        "(self.items,)",
        "what lies beside is not at the front",
        LIST,
    ),
    Mutant(
        f"{FIFO}.remove",
        "(self._looked, self._old, self.items)",
        "(self.items,)",
        "what lies beside is not found",
        LIST,
    ),
    Mutant(
        f"{FIFO}.emptied",
        "(self._looked, self._old, self.items)",
        "(self.items, self._looked, self._old)",
        "the younger goes first",
        LIST,
    ),
    Mutant(f"{MAILBOX}.sweep", " or gone(item)", "", "what shall not be begun stays", LIST),
    Mutant(f"{MAILBOX}.sweep", "item is not STOP and ", "", "a stop is swept", LIST),
    Mutant(
        f"{MAILBOX}._mark",
        "items.appendleft(SWEPT)",
        "pass",
        "what was looked through is overlooked",
        LIST,
    ),
    Mutant(
        f"{MAILBOX}.sweep",
        "            self.attend()",
        "            pass",
        "who looked meanwhile sleeps on",
        READING,
    ),
    Mutant(
        f"{MAILBOX}.bury", "self.tombstones * 2", "self.tombstones", "nobody is told to sweep", LIST
    ),
    Mutant(
        f"{MAILBOX}.bury",
        "if self.front() is request or ",
        "if ",
        "what is at the front waits",
        LIST,
    ),
    Mutant(
        f"{MAILBOX}.bury",
        " or self.backlog() < _SHORT:",
        ":",
        "what has ended in a short one waits",
        LIST,
    ),
    Mutant(f"{MAILBOX}.attend", "attention.clear()", "pass", "everybody unparks", READING),
    # Several workers, and their lanes.
    Mutant(
        f"{KEYED}.take",
        "self._look_round()\n        return found",
        "return found",
        "nobody is woken",
        WORKERS,
    ),
    Mutant(
        f"{KEYED}._is_awake",
        "[True] if self._parked else CALM",
        "CALM",
        "no attention",
        WORKERS,
    ),
    Mutant(
        f"{KEYED}._next",
        "if self._lanes:",
        "if False:",
        "stops too early",
        WORKERS,
    ),
    Mutant(f"{KEYED}._next", "min(free", "max(free", "the youngest lane first", WORKERS),
    Mutant(f"{KEYED}._is_free", " and key in self._shared", "", "shares with one alone", WORKERS),
    Mutant(f"{KEYED}._next", "key not in self._lanes and ", "", "shares past a lane", WORKERS),
    Mutant(f"{KEYED}._drop_key", "self._shared.discard(key)", "pass", "shared for ever", WORKERS),
    Mutant(f"{ROOM}.has_settled", "<=", "<", "never settled", PLACES),
    Mutant(f"{ROOM}.has_room", "len(self._free) >", "len(self._free) >=", "owed is room", PLACES),
    Mutant(f"{ROOM}.take", "islice(leaving, 1)", "islice(leaving, 2)", "takes two", PLACES),
    Mutant(f"{ROOM}.give", "_tokens(places)", "_tokens(1)", "gives one back", PLACES),
    Mutant(f"{KEYED}._drop_key", "readers.remove(worker)", "pass", "a key for ever", WORKERS),
    Mutant(
        f"{KEYED}._taken",
        "if message.completion is None:",
        "if True:",
        "what has ended has a key",
        WORKERS,
    ),
    Mutant(f"{KEYED}._next", "self._at_stop = True", "pass", "a stop is forgotten", WORKERS),
    Mutant(
        f"{KEYED}.end",
        "for worker in self._parked:\n            worker.unpark()",
        "pass",
        "who is parked stays",
        WORKERS,
    ),
    Mutant(
        f"{KEYED}.emptied",
        "key=lambda pair: pair[0]",
        "key=lambda pair: -pair[0]",
        "lanes are in disorder",
        WORKERS,
    ),
    Mutant(
        f"{KEYED}.take", "self._drop_key(worker)", "pass", "who comes again keeps its key", WORKERS
    ),
    Mutant(
        f"{KEYED}.let_go",
        "            self._look_round()",
        "            pass",
        "who goes wakes nobody",
        WORKERS,
    ),
    Mutant(f"{KEYED}.let_go", "self._is_awake(worker)", "pass", "who has gone is woken", WORKERS),
    Mutant(
        f"{KEYED}.sweep",
        " or gone(pair[1])",
        "",
        "what shall not be begun stays in its lane",
        WORKERS,
    ),
    Mutant(
        f"{KEYED}.sweep",
        "swept = [message for _, message in pairs]",
        "pass",
        "what comes out of lanes is lost",
        WORKERS,
    ),
    Mutant(f"{KEYED}.sweep", "self._unswept.pop()", "pass", "a round of lanes has no end", WORKERS),
    Mutant(
        f"{KEYED}.sweep",
        "if not lane.backlog():",
        "if False:",
        "a lane is kept for nothing",
        WORKERS,
    ),
    # Ordering keys.
    Mutant(
        "_delivery.ordering_keys:_Trace.__eq__",
        "mine.value is others.value or ",
        "",
        "nan is never the same",
        WORKERS,
    ),
    Mutant(
        "_delivery.ordering_keys:_Trace.__eq__",
        "or bool(mine.value == others.value)",
        "or self.hash == other.hash",
        "hashes",
        WORKERS,
    ),
    Mutant(
        "_delivery.ordering_keys:Keys.intern",
        "        self._clear()\n",
        "",
        "never cleared",
        WORKERS,
    ),
    # Who is registered.
    Mutant(
        f"{CHANNEL}:Side.changed",
        "self.version = object()",
        "pass",
        "no version is another",
        ROSTERS,
    ),
    Mutant(
        f"{CHANNEL}:Side.current",
        "if self.version is version:",
        "if True:",
        "a change while a roster is made is missed",
        REGISTER,
    ),
    Mutant(
        f"{CHANNEL}:Side.current",
        "if roster.made_for is version:",
        "if False:",
        "each look makes a roster",
        REGISTER,
    ),
    Mutant(
        f"{CHANNEL}:Side.lessened",
        "self.roster = STALE",
        "pass",
        "the last roster keeps who has gone",
        ROSTERS,
    ),
    Mutant(
        f"{CHANNEL}:Roster.__init__",
        "None if disabled or self.any_remote else version",
        "version",
        "who is disabled is not looked for",
        ROSTERS,
    ),
    Mutant(
        f"{CHANNEL}:_chain",
        "in reversed(registrations)",
        "in registrations",
        "outlets are in disorder",
        ROSTERS,
    ),
    Mutant(
        f"{REGISTRY}:Registry._changed",
        "channel.producers.changed()\n        self._index",
        "pass\n        self._index",
        "who is disabled is asked on",
        ROSTERS,
    ),
    Mutant(
        f"{REGISTRY}:Registry._add",
        "living.first(Channel(topic, self.disabled, self._index))",
        "Channel(topic, self.disabled, self._index)",
        "who comes back hears nothing of before",
        OF_PATTERNS,
    ),
    Mutant(
        f"{REGISTRY}:Registry._discard",
        "where.pop(id(channel), None)",
        "pass",
        "where one was registered is kept",
        ROSTERS,
    ),
    Mutant(
        f"{LIVING}:Living.first",
        "bucket[id(reference)] = reference",
        "pass",
        "what is asked about the gone is lost",
        ROSTERS,
    ),
    Mutant(
        f"{REGISTRY}:Registry.enable",
        "absence.reasons.pop(by, None)",
        "absence.reasons.clear()",
        "anybody enables",
        ROSTERS,
    ),
    Mutant(
        f"{LIVING}:Living.find",
        "if found.topic == topic:",
        "if found:",
        "equal hashes are equal topics",
        ROSTERS,
    ),
    # Patterns.
    Mutant(
        f"{LIVING}:Living._clear",
        ".pop(id(reference), None)",
        "",
        "what is gone is kept",
        REGISTER,
    ),
    Mutant(
        f"{REGISTRY}:Registry._changed",
        "channel.producers.changed()\n        self._index.changed()",
        "channel.producers.changed()",
        "who is disabled is asked on matched topics",
        BY_PATTERNS,
    ),
    Mutant(
        f"{REGISTRY}:Registry.add_all",
        "getattr(each, side).changed()",
        "pass",
        "topics do not notice a pattern",
        BY_PATTERNS,
    ),
    Mutant(
        f"{REGISTRY}:Registry.add_all",
        "        self._index.changed()\n",
        "",
        "what was sent does not notice who comes",
        BY_PATTERNS,
    ),
    Mutant(
        f"{REGISTRY}:Registry.discard_all",
        "            self._matches.forget()\n",
        "",
        "who has left is kept by what was read",
        BY_PATTERNS,
    ),
    Mutant(
        f"{REGISTRY}:Registry.discard_all",
        "self._index.tidy(len(self._patterns))",
        "pass",
        "patterns that are gone pile up",
        BY_PATTERNS,
    ),
    Mutant(
        f"{CHANNEL}:in_order",
        "found.sort(key=_number)",
        "pass",
        "names come before patterns",
        BY_PATTERNS,
    ),
    Mutant(
        f"{CHANNEL}:in_order",
        "once.setdefault(id(each.participant), each)",
        "once.setdefault(id(each), each)",
        "who is there twice is asked twice",
        BY_PATTERNS,
    ),
    Mutant(
        f"{CHANNEL}:Channel.lessened",
        "self._matching = None, []",
        "pass",
        "patterns that are gone are kept by topics",
        BY_PATTERNS,
    ),
    Mutant(
        f"{MATCHED}:MatchedTopic._look",
        "self._named or matches.named(self.topic)",
        "self._named",
        "what was sent does not hear of a name",
        BY_PATTERNS,
    ),
    Mutant(
        f"{MATCHED}:MatchedTopic.asked",
        "join(self)",
        "pass",
        "instruments of matched topics are not known",
        BY_PATTERNS,
    ),
    Mutant(
        f"{PATTERNS}:_Trie.matching",
        "child = node.rest\n",
        "child = None if len(tokens) == 1 else node.rest\n",
        "the rest may not be all",
        OF_PATTERNS,
    ),
    Mutant(
        f"{PATTERNS}:TopicPattern.matches",
        "if len(tokens) <= len(own):",
        "if len(tokens) < len(own):",
        "the rest may be nothing",
        OF_PATTERNS,
    ),
    # What is told of them.
    Mutant(f"{SUMS}.shown", "pending += left", "pending += len(request.roster)", "all are pending"),
    Mutant(
        "_core.reporting:_missed",
        "verdict=outcome or each.verdict",
        "verdict=each.verdict",
        "outcomes are lost",
    ),
    Mutant(
        "_core.reporting:_missed",
        "None if at_the_end else each.outcome",
        "each.outcome",
        "the end changes",
    ),
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


def place_of(name: str, tree: ast.AST) -> ast.stmt:
    """The definition of that qualified name."""
    for part in name.split("."):
        for node in ast.iter_child_nodes(tree):
            target = node.target if isinstance(node, ast.AnnAssign) else None
            if part in (getattr(node, "name", None), getattr(target, "id", None)):
                tree = node
                break
        else:
            raise LookupError(f"no {part} of {name}")
    assert isinstance(tree, ast.stmt)
    return tree


def mutated(text: str, name: str, mutant: Mutant) -> str:
    """The source of its module, with the mistake in it."""
    lines = text.splitlines(keepends=True)
    place = place_of(name, ast.parse(text))
    first, last = place.lineno - 1, place.end_lineno or place.lineno
    within = "".join(lines[first:last])
    if within.count(mutant.old) != 1:
        raise LookupError(f"{within.count(mutant.old)} times in {mutant.function}: {mutant.old!r}")
    within = within.replace(mutant.old, mutant.new)
    return "".join([*lines[:first], within, *lines[last:]])


SERVER = """
import json, os, signal, sys
import pytest, hypothesis.stateful

for line in sys.stdin:
    folder, log, arguments = json.loads(line)
    child = os.fork()
    if not child:
        signal.alarm(240)
        out = os.open(log, os.O_WRONLY | os.O_CREAT)
        os.dup2(out, 1)
        os.dup2(out, 2)
        sys.path.insert(0, folder)
        os.environ["PYTHONPATH"] = folder
        status = pytest.main(arguments)
        sys.stdout.flush()
        os._exit(status)
    _, status = os.waitpid(child, 0)
    print(os.WEXITSTATUS(status) if os.WIFEXITED(status) else -1, flush=True)
"""
"""Imports take longer than most runs."""


class Done(NamedTuple):
    """How a run of pytest has ended, and what it has printed."""

    returncode: int
    stdout: str


class Bench:
    """Copies of the package, and one folder with the tests, where they run against a copy."""

    def __init__(self, folder: Path) -> None:
        self.servers: queue.Queue[subprocess.Popen[str]] = queue.Queue()
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

    def run(self, copy: Path, *files: str) -> Done:
        """pytest, without plugins of this machine, until the first failure."""
        log = copy.parent / "log"
        server = self.servers.get()
        try:
            assert server.stdin is not None
            assert server.stdout is not None
            server.stdin.write(json.dumps([str(copy.parent), str(log), [*QUICK, *files]]) + "\n")
            server.stdin.flush()
            return Done(int(server.stdout.readline()), log.read_text(encoding="utf-8"))
        finally:
            self.servers.put(server)

    def serve(self) -> subprocess.Popen[str]:
        """Start a process that runs pytest in children of its own, and has imported what it can."""
        environ = {
            name: value for name, value in os.environ.items() if not name.startswith("PYTEST")
        }
        server = subprocess.Popen(
            [sys.executable, "-c", SERVER],
            cwd=str(self.tests),
            env={
                **environ,
                "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
                "PYTHONDONTWRITEBYTECODE": "1",
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.servers.put(server)
        return server

    def try_out(self, number: int) -> Done:
        """Make one mutant, and run the tests that must catch it."""
        mutant = MUTANTS[number]
        copy = self.copy(f"mutant{number}")
        module, name = mutant.function.split(":")
        source = copy.joinpath(*module.split(".")).with_suffix(".py")
        source.write_text(mutated(source.read_text(encoding="utf-8"), name, mutant), "utf-8")
        for compiled in (source.parent / "__pycache__").glob(f"{source.stem}.*"):
            compiled.unlink()
        return self.run(copy, mutant.caught_by)


@pytest.mark.parametrize(
    "mutant", MUTANTS, ids=[f"{each.function}-{each.breaks}" for each in MUTANTS]
)
def test_mutant_fits(mutant: Mutant) -> None:
    """It has its place, and what becomes of that is a program."""
    module, name = mutant.function.split(":")
    source = PACKAGE.joinpath(*module.split(".")).with_suffix(".py")
    ast.parse(mutated(source.read_text(encoding="utf-8"), name, mutant))


Runs = Dict[Optional[int], "Future[Done]"]

TRIED = share(range(len(MUTANTS)))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    """That of the package as it is, under None, and one for each mutant; two at a time."""
    bench = Bench(tmp_path_factory.mktemp("bench").resolve())
    with bench.serve(), bench.serve(), ThreadPoolExecutor(max_workers=2) as pool:
        futures: Runs = {None: pool.submit(bench.run, bench.copy("unchanged"))}
        futures.update({n: pool.submit(bench.try_out, n) for n in TRIED})
        yield futures
        for future in futures.values():
            future.cancel()


def test_the_package_as_it_is_passes(runs: Runs) -> None:
    """Without this, the mutants' failures would mean nothing."""
    done = runs[None].result()
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    "number", TRIED, ids=[MUTANTS[number].breaks.replace(" ", "-") for number in TRIED]
)
def test_mutant_is_caught(runs: Runs, number: int) -> None:
    """The mistake turns the tests red: not an error of theirs, nor a passing run."""
    done = runs[number].result()
    assert done.returncode == 1, f"{MUTANTS[number]}\n{done.stdout}"
    assert "failed" in done.stdout.splitlines()[-1], done.stdout
