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


def test_a_test_that_really_blocks_fails_loudly(project: pytest.Pytester) -> None:
    """After the clock's patience, which is a project's to choose by a fixture of its own."""
    result = run(
        project,
        """
gate = threading.Event()

@pytest.fixture
def virtual_clock():
    clock = VirtualClock(patience=0.2)
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
            "*VirtualTimeStuck: no progress in 0.2 s at virtual time 0.0:",
            "*blocked runs and does not come back:",
            "*requests of Dispatcher-*",
            "request 1 on t, ttl 5 ms: still open",
        ]
    )


def test_a_projects_own_fixture_wins(project: pytest.Pytester) -> None:
    """Silently, also one that is something else altogether."""
    project.makeconftest("import pytest\n@pytest.fixture\ndef dispatcher(): return 'ours'\n")
    result = run(project, "def test_it(dispatcher): assert dispatcher == 'ours'\n")
    result.assert_outcomes(passed=1)
    assert "warning" not in result.stdout.str().lower()


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
