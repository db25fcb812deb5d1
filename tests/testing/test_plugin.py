"""The pytest plugin, as projects see it: in runs of pytest of their own."""

from __future__ import annotations

import re
import sys
from typing import List, Tuple

import pytest
from inside import UNBALANCE
from projects import plugin

__all__ = ["plugin"]

pytest_plugins = ["pytester"]

RIG = """
import threading, time
import pytest
from ate_dispatcher import Dispatcher, Producer
from ate_dispatcher.testing import *
"""


@pytest.fixture
def project(pytester: pytest.Pytester, plugin: None) -> pytest.Pytester:
    """An empty project of somebody who has installed the package."""
    pytester.makeini("[pytest]\nfilterwarnings = error\n")
    return pytester


def run(project: pytest.Pytester, tests: str, *options: str) -> pytest.RunResult:
    """Run *tests* in a pytest of their own."""
    project.makepyfile(test_rig=RIG + tests)
    return project.runpytest_subprocess("-p", "no:cacheprovider", *options, timeout=50)


def sections(output: str) -> List[Tuple[str, str]]:
    """Our own parts of the report, as pairs of title and text."""
    return re.findall(r"^-+ (requests of .*?) -+\n(.*?)(?=^[-=_]{10})", output, re.M | re.S)


def test_tests_that_pass_print_nothing(project: pytest.Pytester) -> None:
    """On virtual time and on real time, whatever the order of fixtures, whoever hangs."""
    result = run(
        project,
        """
        def test_cutoff(dispatcher, scripted_producer, recording_listener, virtual_clock):
            quick = scripted_producer(dispatcher, "t", answers(1, after_ms=500))
            slow = scripted_producer(dispatcher, "t", answers(2, after_ms=1000))
            ear = recording_listener(dispatcher, "t")
            handle = dispatcher.send_request("t", ttl=600)
            assert_accepted(handle, 1, by=[quick])
            assert_missing(handle, slow)
            assert_late(handle, slow, by_ms=400)
            assert_ended(handle, "DEADLINE")
            assert ear.values == [1]
            assert virtual_clock.now() == 1.0

        def test_hung(scripted_producer, dispatcher):
            hung = scripted_producer(dispatcher, "t", hangs())
            assert_missing(dispatcher.send_request("t", ttl=3600_000), hung)

        def test_real(scripted_producer, real_dispatcher, recording_listener):
            quick = scripted_producer(real_dispatcher, "t", 1)
            hung = scripted_producer(real_dispatcher, "t", hangs())
            handle = real_dispatcher.send_request("t", ttl=20)
            assert_accepted(handle, 1)
            assert_missing(handle, hung)

        def test_both(dispatcher, real_dispatcher, scripted_producer):
            for each in (dispatcher, real_dispatcher):
                scripted_producer(each, "t", 1)
                assert_accepted(each.send_request("t"))

        def test_own_threads(dispatcher, virtual_clock, scripted_producer):
            scripted_producer(dispatcher, "t", answers(1, after_ms=20))
            found = []
            def ask():
                virtual_clock.sleep(1)
                found.append(dispatcher.send_request("t").results())
            thread = virtual_clock.thread(ask)
            thread.start()
            thread.join()
            assert (found, round(virtual_clock.now(), 6)) == ([[1]], 1.02)

        def test_left_in_the_middle(dispatcher, scripted_producer):
            scripted_producer(dispatcher, "t", answers(1, after_ms=1e9), raises(OSError))
            for _ in range(3):
                dispatcher.send_request("t", ttl=None)
        """.replace("\n        ", "\n"),
    )
    result.assert_outcomes(passed=6)
    assert "requests of" not in result.stdout.str()
    assert "lives on" not in result.stdout.str()
    assert result.stderr.str() == ""


def test_a_failure_shows_the_last_requests(project: pytest.Pytester) -> None:
    """A lane for each producer, the deadline, what was late, and where one was that still ran."""
    result = run(
        project,
        """
def measure(clock):
    clock.sleep(2)

def test_it(dispatcher, scripted_producer, virtual_clock):
    scripted_producer(dispatcher, "volts", answers(1, after_ms=250), name="quick")
    scripted_producer(dispatcher, "volts", raises(OSError, after_ms=100), name="broken")
    scripted_producer(dispatcher, "volts", hangs(), name="hung")
    slow = scripted_producer(
        dispatcher, "volts", computes(lambda *_: measure(virtual_clock)), name="slow"
    )
    handle = dispatcher.send_request("volts", ttl=1000)
    assert_late(handle, slow, by_ms=1000)
    assert_missing(handle)
""",
    )
    result.assert_outcomes(failed=1)
    ((title, text),) = sections(result.stdout.str())
    assert re.fullmatch(r"requests of Dispatcher-[0-9]+", title)
    written = (project.path / "test_rig.py").read_text(encoding="utf-8").splitlines()
    here = written.index("    clock.sleep(2)") + 1
    picture = """
request 1 on volts, ttl 1000 ms: DEADLINE after 1000.0 ms
  quick                =====*                |                      250.0 ms
  broken               ==x                   |                      100.0 ms, OSError
  hung                 ======================|====================> was running
  slow                 ======================|====================! LATE
                       0                                    2000 ms

. waits  : held up  = runs  * accepted  x raised  ! late  - skipped  > still at it  | deadline

virtual time: from 0 ms to 2000 ms
"""
    late = f"2000.0 ms, late by 1000.0 ms; was at test_rig.py:{here} in measure"
    assert text.strip() == picture.replace("LATE", late).strip()
    result.stdout.fnmatch_lines(
        ["E*AssertionError: missing are ?'hung', 'slow'?, not ??", "E*quick*OK*", "E*hung*MISSING*"]
    )


def test_what_a_test_leaves_running_is_an_error_of_that_test(project: pytest.Pytester) -> None:
    """It is named, and ended, so that the next test is not disturbed."""
    result = run(
        project,
        """
class Site(Producer):
    def produce_dispatcher_output(self, topic):
        return 1

def test_leaks(dispatcher):
    Site(name="forgotten").start()

def test_leaks_a_dispatcher(dispatcher):
    Dispatcher(name="second").start()

def test_is_clean(dispatcher):
    site = Site(name="deregistered")
    dispatcher.register_result_producer(site, "t", start=True)
    assert_accepted(dispatcher.send_request("t"), 1)
    dispatcher.deregister_result_producer(site, "t")
    site.stop()
    assert not [t for t in threading.enumerate() if t.name in ("forgotten", "second")]

def test_does_not_add_up(dispatcher):
    """
        + UNBALANCE,
        "-rA",
    )
    result.assert_outcomes(passed=4, errors=3)
    result.stdout.fnmatch_lines(
        [
            "*ERROR at teardown of test_leaks *",
            "the thread forgotten lives on after the test; was it stopped?",
            "*ERROR at teardown of test_leaks_a_dispatcher *",
            "the dispatcher second lives on after the test; was it stopped?",
            "*ERROR at teardown of test_does_not_add_up *",
            "its sums do not add up: *",
        ]
    )


@pytest.mark.thorough
def test_a_test_that_really_blocks_fails_loudly(project: pytest.Pytester) -> None:
    """After the clock's patience, which is a project's to choose by a fixture of its own."""
    result = run(
        project,
        """
gate = threading.Event()

@pytest.fixture
def virtual_clock():
    clock = VirtualClock(patience=1)
    yield clock
    clock.stop()

class Blocked(Producer):
    def produce_dispatcher_output(self, topic):
        gate.wait(40)

def test_blocks(dispatcher):
    dispatcher.register_result_producer(Blocked(name="blocked"), "t", start=True)
    dispatcher.send_request("t", ttl=5).results()

def test_next(dispatcher, scripted_producer):
    scripted_producer(dispatcher, "t", answers(1, after_ms=5))
    assert_accepted(dispatcher.send_request("t"), 1)
    gate.set()
""",
    )
    result.assert_outcomes(passed=1, failed=1, errors=1)
    result.stdout.fnmatch_lines(
        [
            "*ERROR at teardown of test_blocks*",
            "the thread blocked lives on after the test, in",
            "*in produce_dispatcher_output",
            "*gate.wait(40)",
            "*VirtualTimeStuck: no progress in 1.? s at virtual time 0.0:",
            "*blocked runs and does not come back:",
            "*requests of Dispatcher-*",
            "request 1 on t, ttl 5 ms: still open",
        ]
    )


@pytest.mark.thorough
def test_a_coroutine_that_does_not_end_is_told(project: pytest.Pytester) -> None:
    """Where it awaits; the next test has a loop of its own."""
    result = run(
        project,
        """
import asyncio

async def stubborn(topic):
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            pass

async def naps(topic):
    await asyncio.sleep(1)
    return 1

def test_hangs(dispatcher):
    dispatcher.register_result_producer(stubborn, "t", start=True)
    assert dispatcher.send_request("t", ttl=5).results() == []

def test_next(dispatcher):
    dispatcher.register_result_producer(naps, "t", start=True)
    assert_accepted(dispatcher.send_request("t"), 1)
""",
    )
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(
        [
            "*ERROR at teardown of test_hangs*",
            "the thread stubborn lives on after the test, in",
            "*in stubborn",
            "*await asyncio.Event().wait()",
        ]
    )


@pytest.mark.thorough
def test_a_test_that_is_stuck_costs_one_patience(project: pytest.Pytester) -> None:
    """Whatever is waited for afterwards: by the test, its fixtures or the report."""
    result = run(
        project,
        """
from ate_dispatcher._time import virtual_watch

waits = []
usual = virtual_watch.Vigil.in_vain

def in_vain(vigil, clock):
    why = usual(vigil, clock)
    if why is not None:
        waits[-1].append(float(why.split()[3]) >= 1)
    return why

virtual_watch.Vigil.in_vain = in_vain

class Blocked(Producer):
    def produce_dispatcher_output(self, topic):
        threading.Event().wait(40)

@pytest.fixture
def virtual_clock():
    waits.append([])
    clock = VirtualClock(patience=1)
    yield clock
    clock.stop()

def blocked(dispatcher):
    for n in range(3):
        dispatcher.register_result_producer(Blocked(name=f"blocked {n}"), "t", start=True)
    return dispatcher.send_request("t", ttl=5)

def test_waits(dispatcher):
    blocked(dispatcher).wait()

def test_leaves_a_block(virtual_clock):
    with Dispatcher(clock=virtual_clock) as dispatcher:
        blocked(dispatcher).wait()

def test_does_not_wait(dispatcher):
    blocked(dispatcher)
    assert 0

def test_hears_nothing(recording_listener, dispatcher):
    recording_listener(dispatcher, "t", name="ear").wait_for(1)

def test_all_in_all():
    assert [sum(each) for each in waits] == [1, 1, 1, 0]
""",
    )
    result.assert_outcomes(passed=1, failed=4, errors=2)
    result.stdout.fnmatch_lines(["*VirtualTimeStuck: ear heard 0 of 1 results: no progress in *"])


@pytest.mark.thorough
def test_time_that_does_not_move_is_told(project: pytest.Pytester) -> None:
    """Who has blocked it for real, and that the test has not let it pass; only if it fails."""
    result = run(
        project,
        """
from ate_dispatcher._time import virtual_watch

class Blocks(Producer):
    def produce_dispatcher_output(self, topic):
        until = time.monotonic() + 0.02
        while time.monotonic() < until:
            pass

def test_polls(dispatcher, scripted_producer, virtual_clock):
    scripted_producer(dispatcher, "t", answers(1, after_ms=20))
    assert_accepted(dispatcher.send_request("t"), 1)
    handle = dispatcher.send_request("t")
    for _ in range(1000):
        if handle.done():
            break
    assert handle.done()

def test_moves(dispatcher, scripted_producer, virtual_clock):
    scripted_producer(dispatcher, "t", answers(1, after_ms=20))
    dispatcher.send_request("t")
    virtual_clock.advance(ms=10)
    assert 0

@pytest.mark.parametrize("fails", [True, False])
def test_blocks(dispatcher, fails, monkeypatch):
    monkeypatch.setattr(virtual_watch, "LONG", 0.01)
    dispatcher.register_result_producer(Blocks(name="site 1"), "t", start=True)
    assert dispatcher.send_request("t").results() == ([] if fails else [None])
""",
    )
    result.assert_outcomes(passed=1, failed=3)
    polls, moves, blocks = [text for _, text in sections(result.stdout.str())]
    still = "virtual time has not moved since request 2 was sent: call wait(), results() or virtual"
    assert "virtual time: from 0 ms to 20 ms\n" + still in polls
    assert "virtual time: from 0 ms to 10 ms" in moves
    assert "not moved" not in moves + blocks
    assert re.search(r"^site 1 blocked for [0-9]+ ms of real time", blocks, re.M)
    assert "blocked for" not in polls + moves


@pytest.mark.thorough
def test_a_clock_alone_is_enough_for_the_check(project: pytest.Pytester) -> None:
    """Of dispatchers that the test makes itself."""
    result = run(
        project,
        """
def test_leaks(virtual_clock):
    dispatcher = Dispatcher(clock=virtual_clock, name="forgotten")
    dispatcher.start()
    dispatcher.register_result_producer(ScriptedProducer(1, name="too"), "t", start=True)
    assert_accepted(dispatcher.send_request("t"), 1)

def test_tidy(virtual_clock):
    with Dispatcher(clock=virtual_clock) as dispatcher:
        dispatcher.register_result_producer(ScriptedProducer(1), "t", start=True)
        assert_accepted(dispatcher.send_request("t"), 1)

def test_told_to_end(virtual_clock):
    Dispatcher(clock=virtual_clock).start()
    [each.stop() for each in threading.enumerate() if isinstance(each, Dispatcher)]
""",
    )
    result.assert_outcomes(passed=3, errors=1)
    result.stdout.fnmatch_lines(
        [
            "*ERROR at teardown of test_leaks *",
            "the dispatcher forgotten lives on after the test; was it stopped?",
            "the thread too lives on after the test; was it stopped?",
        ]
    )


# -- rigs for many tests -----------------------------------------------------------------------

WIDE = """
made = []

@pytest.fixture(scope="module")
def rig(dispatcher_factory):
    clock = dispatcher_factory.virtual_clock()
    dispatcher = dispatcher_factory(clock=clock, name="rig")
    dispatcher_factory.scripted_producer(dispatcher, "t", answers(5, after_ms=100), name="site")
    made.append(dispatcher)
    dispatcher.send_request("t", ttl=None).wait()
    yield dispatcher
    assert dispatcher.is_alive()
"""


@pytest.mark.thorough
def test_a_rig_is_set_up_once_for_a_module(project: pytest.Pytester) -> None:
    """It lives for all its tests, what they add leaves it at their end; then it is stopped."""
    project.makepyfile(
        test_z="""
        from ate_dispatcher.testing import assert_accepted

        def test_after_the_module():
            import test_rig
            (rig,) = test_rig.made
            assert not rig.is_alive()
            assert not [each for each in rig.producers() if each.is_alive()]

        def test_for_itself(dispatcher_factory):
            first = dispatcher_factory(clock=dispatcher_factory.virtual_clock())
            dispatcher_factory.scripted_producer(first, "t", 1)
            assert_accepted(first.send_request("t"), 1)
            globals()["first"] = first

        def test_after_that():
            assert not first.is_alive()
        """
    )
    result = run(
        project,
        WIDE
        + """
def test_one(rig):
    assert_accepted(rig.send_request("t"), 5)

def test_two(rig, scripted_producer, recording_listener):
    ear = recording_listener(rig, "t")
    scripted_producer(rig, "t", hangs(), name="guest")
    handle = rig.send_request("t", ttl=500)
    assert_accepted(handle, 5)
    assert_missing(handle, "guest")
    assert ear.values == [5]

def test_three(rig):
    handle = rig.send_request("t", ttl=500)
    assert_accepted(handle, 5)
    assert_missing(handle)
    assert made == [rig]

@pytest.fixture(scope="class")
def real(dispatcher_factory):
    dispatcher = dispatcher_factory(name="real")
    dispatcher_factory.scripted_producer(dispatcher, "t", hangs())
    made.append(dispatcher)
    return dispatcher

class TestWithOneOfItsOwn:
    def test_a(self, rig, real, recording_listener):
        recording_listener(real, "t")
        assert real.send_request("t", ttl=5).results() == []

    def test_b(self, real):
        assert real is made[1]

def test_after_the_class():
    assert not made.pop().is_alive()
""",
    )
    result.assert_outcomes(passed=9)


@pytest.mark.thorough
def test_who_is_kept_by_an_earlier_test_is_named(project: pytest.Pytester) -> None:
    """Its site is slow because it was not free, and that test's request is not shown."""
    result = run(
        project,
        WIDE
        + """
def test_gives_up(rig):
    assert_missing(rig.send_request("t", ttl=10), "site")

def test_after_it(rig):
    assert_accepted(rig.send_request("t", ttl=150), 5)

def test_after_a_rest(rig):
    rig.send_request("t", ttl=None).wait()
    assert_accepted(rig.send_request("t", ttl=150), 5)
    assert 0
""",
    )
    result.assert_outcomes(passed=1, failed=2)
    result.stdout.fnmatch_lines(["site was still at request 2, which was sent before these"])
    result.stdout.fnmatch_lines(["site was still at request 3, which was sent before these"])
    assert result.stdout.str().count("sent before these") == 2


@pytest.mark.thorough
def test_a_failure_shows_the_requests_of_that_test_only(project: pytest.Pytester) -> None:
    """And when on the clock of the rig; none of its setup, of other tests, of others' rigs."""
    result = run(
        project,
        WIDE
        + """
@pytest.fixture(scope="session")
def other(dispatcher_factory):
    return dispatcher_factory(name="other")

from ate_dispatcher._time import virtual_watch

def test_passes(rig, other, scripted_producer, monkeypatch):
    monkeypatch.setattr(virtual_watch, "LONG", 0)
    scripted_producer(rig, "t", 1, name="another test's")
    rig.send_request("t").wait()
    other.send_request("nobody")

def test_fails(rig):
    rig.send_request("t", ttl=1000).wait()
    assert 0

def test_fails_before_it_asks(rig):
    assert 0

@pytest.fixture(scope="module")
def broken(dispatcher_factory):
    dispatcher = dispatcher_factory(name="broken")
    dispatcher.send_request("self-test").wait()
    raise OSError("no rig")

def test_has_no_rig(broken):
    pass
""",
    )
    result.assert_outcomes(passed=1, failed=2, errors=1)
    found = sections(result.stdout.str())
    assert sorted(title for title, _ in found) == ["requests of broken", "requests of rig"]
    text = dict(found)["requests of rig"]
    assert "request 3 on t, ttl 1000 ms: ALL_REPLIED after 100.0 ms" in text
    assert text.count("request ") == 1
    assert text.rstrip().endswith("virtual time: from 200 ms to 300 ms")
    assert "request 1 on self-test" in dict(found)["requests of broken"]


@pytest.mark.thorough
def test_wide_rigs_are_checked_for_leaks(project: pytest.Pytester) -> None:
    """What their fixture has started, at its end; what a test has started, at the test's end."""
    result = run(
        project,
        WIDE
        + """
@pytest.fixture(scope="class")
def leaky(dispatcher_factory, rig):
    dispatcher_factory()
    ScriptedProducer(1, name="of the fixture").start()

class TestIt:
    def test_one(self, leaky):
        pass

    def test_two(self, leaky):
        ScriptedProducer(1, name="of the test").start()

    def test_three(self, leaky):
        pass

def test_four(rig):
    assert not [each for each in threading.enumerate() if each.name.startswith("of the")]
""",
    )
    result.assert_outcomes(passed=4, errors=2)
    result.stdout.fnmatch_lines(
        [
            "*ERROR at teardown of TestIt.test_two *",
            "the thread of the test lives on after the test; was it stopped?",
            "*ERROR at teardown of TestIt.test_three *",
            "the thread of the fixture lives on after the test; was it stopped?",
        ]
    )


def test_a_projects_own_fixture_wins(project: pytest.Pytester) -> None:
    """Silently, also one that is something else altogether."""
    project.makeconftest("import pytest\n@pytest.fixture\ndef dispatcher(): return 'ours'\n")
    result = run(project, "def test_it(dispatcher): assert dispatcher == 'ours'\n")
    result.assert_outcomes(passed=1)
    assert "warning" not in result.stdout.str().lower()


@pytest.mark.thorough
def test_it_lives_beside_dispatchers_of_the_project(project: pytest.Pytester) -> None:
    """Of fixtures of its own, of wider scope, made in the middle of a test; and ends quietly."""
    result = run(
        project,
        """
import gc, weakref
kept = []

@pytest.fixture(scope="module")
def rig():
    with Dispatcher() as made:
        yield made

@pytest.fixture
def own(virtual_clock):
    with Dispatcher(clock=virtual_clock) as made:
        yield made

@pytest.mark.parametrize("n", range(2))
def test_wide(rig, scripted_producer, recording_listener, n):
    ear = recording_listener(rig, n)
    scripted_producer(rig, n, n)
    hung = scripted_producer(rig, n, hangs())
    assert_missing(rig.send_request(n, ttl=20), hung)
    assert ear.wait_for(1, timeout=30) == [n]

def test_own(own, scripted_producer):
    scripted_producer(own, "t", answers(1, after_ms=500))
    assert_accepted(own.send_request("t", ttl=500), 1)

@pytest.fixture(scope="module")
def dynamic():
    made = Dispatcher()
    made.start()
    yield made
    made.stop()

def test_dynamic(request, dispatcher):
    request.getfixturevalue("dynamic")

def test_dynamic_again(dynamic, scripted_producer):
    scripted_producer(dynamic, "t", 1)
    assert_accepted(dynamic.send_request("t"), 1)

class Payload:
    pass

def test_keeps(dispatcher, scripted_producer):
    scripted_producer(dispatcher, "t", 1)
    payload = Payload()
    kept.append(weakref.ref(payload))
    dispatcher.send_request("t", payload).wait()

def test_kept(dispatcher):
    gc.collect()
    assert kept[0]() is None

def test_ticks(dispatcher, virtual_clock):
    def tick():
        while True:
            virtual_clock.sleep(1)
    virtual_clock.thread(tick).start()
    virtual_clock.advance(5000)

def test_after_that():
    pass
""",
    )
    result.assert_outcomes(passed=9)


@pytest.mark.thorough
def test_mistakes_are_told(project: pytest.Pytester) -> None:
    """The wrong order of arguments; and a topic that cannot be shown does not end the run."""
    result = run(
        project,
        """
def test_order(dispatcher, scripted_producer, recording_listener):
    for call in (
        lambda: scripted_producer("t", dispatcher, 3),
        lambda: recording_listener("t", dispatcher),
    ):
        with pytest.raises(TypeError, match="dispatcher must be a Dispatcher, not 't'"):
            call()
    with pytest.raises(TypeError, match="topic must not be an outcome"):
        scripted_producer(dispatcher, answers(3), "t")

class Topic:
    def __repr__(self):
        raise ValueError("no repr")

def test_shy(dispatcher):
    dispatcher.send_request(Topic())
    assert 0

from ate_dispatcher.testing import leaks
leaks.REAL_SECONDS = 0.2

def test_polls(dispatcher, virtual_clock):
    class Polls(Producer):
        def produce_dispatcher_output(self, topic):
            while True:
                virtual_clock.sleep(0.1)

    dispatcher.register_result_producer(Polls(name="polls"), "t", start=True)
    dispatcher.send_request("t", ttl=5).wait()
""",
    )
    result.assert_outcomes(passed=2, failed=1, errors=1)
    result.stdout.fnmatch_lines(
        [
            "the thread polls lives on after the test, in",
            "they cannot be shown: ValueError('no repr')",
        ]
    )


def test_a_run_that_does_not_use_it_imports_nothing(project: pytest.Pytester) -> None:
    """Beside the plugin itself, whose own lines are few."""
    project.makepyfile(
        """
        import sys

        def test_it():
            found = sorted(name for name in sys.modules if name.startswith("ate_dispatcher"))
            assert found == ["ate_dispatcher", "ate_dispatcher.pytest_plugin"]
        """
    )
    result = project.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=1)


@pytest.mark.thorough
def test_a_timeout_shows_the_last_requests(project: pytest.Pytester) -> None:
    """A test that hangs by itself is ended by pytest-timeout, and then tells what it asked."""
    if sys.platform == "win32":
        pytest.skip("only a signal lets the run go on")
    result = run(
        project,
        """
def test_hangs(real_dispatcher, scripted_producer):
    scripted_producer(real_dispatcher, "t", hangs(), name="hung")
    real_dispatcher.send_request("t", ttl=None).results()
""",
        "--timeout=1",
        "--timeout-method=signal",
    )
    result.assert_outcomes(failed=1)
    ((_, text),) = sections(result.stdout.str())
    assert "request 1 on t, no ttl: still open" in text


def test_it_works_with_several_processes(project: pytest.Pytester) -> None:
    """The timeline comes through from the worker."""
    pytest.importorskip("xdist")
    result = run(
        project,
        """
@pytest.mark.parametrize("n", range(6))
def test_it(dispatcher, scripted_producer, n):
    scripted_producer(dispatcher, "t", answers(n, after_ms=500))
    assert_accepted(dispatcher.send_request("t", ttl=500), min(n, 4))
""",
        "-n2",
    )
    result.assert_outcomes(passed=5, failed=1)
    ((_, text),) = sections(result.stdout.str())
    assert "request 1 on t, ttl 500 ms: ALL_REPLIED after 500.0 ms" in text


def test_the_factory_makes_nothing_at_the_end(project: pytest.Pytester) -> None:
    """Of a fixture or of a test: nobody would be left to stop it."""
    result = run(
        project,
        """
@pytest.fixture
def late(dispatcher_factory):
    yield dispatcher_factory
    dispatcher_factory()

def test_uses_it(late):
    late()

def test_does_not(late):
    pass
        """,
    )
    result.assert_outcomes(passed=2, errors=2)
    result.stdout.fnmatch_lines(
        [
            "the dispatcher * lives on*",
            "*DispatcherError: dispatcher_factory was called while fixtures*",
        ]
    )
