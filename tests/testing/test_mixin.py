"""unittest: the same dispatcher, timeline and check, with and without pytest around it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any, Callable, Tuple

import pytest
from projects import plugin
from rig import PACKAGE_PARENT

from ate_dispatcher import DispatcherError
from ate_dispatcher.testing import DispatcherTestMixin, Rig, answers, hangs

__all__ = ["plugin"]

pytest_plugins = ["pytester"]

pytestmark = pytest.mark.thorough

HEAD = """
import sys
import threading
import unittest
from ate_dispatcher import Dispatcher
from ate_dispatcher.testing import *

class Rigged(DispatcherTestMixin, unittest.TestCase):
"""

Run = Callable[[str], Tuple[str, int]]
"""Runs test methods: what was shown, and how many of them failed."""


def without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """By ``python -m unittest``, which finds no pytest."""
    monkeypatch.setenv("PYTHONPATH", PACKAGE_PARENT)

    def run(tests: str) -> Tuple[str, int]:
        text = HEAD + tests
        text += "\n    def tearDown(self):\n        assert 'pytest' not in sys.modules\n"
        (tmp_path / "test_it.py").write_text(text, encoding="utf-8")
        done = subprocess.run(
            [sys.executable, "-m", "unittest", "test_it"],
            cwd=tmp_path,
            capture_output=True,
            encoding="utf-8",
            timeout=50,
        )
        return done.stderr, done.stderr.count("\nFAIL: ") + done.stderr.count("\nERROR: ")

    return run


def collected(pytester: pytest.Pytester) -> Run:
    """By pytest, with the plugin."""

    def run(tests: str) -> Tuple[str, int]:
        pytester.makepyfile(test_it=HEAD + tests)
        result = pytester.runpytest_subprocess("-p", "no:cacheprovider", timeout=50)
        return result.stdout.str(), result.parseoutcomes().get("failed", 0)

    return run


@pytest.fixture(params=["unittest", "pytest"])
def run(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    pytester: pytest.Pytester,
    plugin: None,
) -> Run:
    """Either of them."""
    if request.param == "unittest":
        return without(tmp_path, monkeypatch)
    return collected(pytester)


def test_each_test_has_a_dispatcher(run: Run) -> None:
    """Made when it is used, on virtual time; also in setUp, in coroutines and cleanups."""
    shown, failed = run(
        """
    def setUp(self):
        self.quick = self.scripted_producer(self.dispatcher, "t", answers(1, after_ms=500))
        self.addCleanup(lambda: self.assertTrue(self.dispatcher.is_alive()))

    def test_cutoff(self):
        slow = self.scripted_producer(self.dispatcher, "t", answers(2, after_ms=1000))
        ear = self.recording_listener(self.dispatcher, "t")
        handle = self.dispatcher.send_request("t", ttl=600)
        assert_accepted(handle, 1, by=[self.quick])
        assert_late(handle, slow, by_ms=400)
        self.assertEqual(ear.values, [1])
        self.assertEqual(self.virtual_clock.now(), 1.0)

    def test_is_a_new_one(self):
        self.assertEqual(self.virtual_clock.now(), 0)
        self.assertEqual(len(self.dispatcher.producers()), 1)
        self.scripted_producer(self.dispatcher, "t", hangs())
        self.dispatcher.send_request("t", ttl=None)

    def test_real(self):
        self.scripted_producer(self.real_dispatcher, "t", 1)
        assert_accepted(self.real_dispatcher.send_request("t"), 1)

    def test_skips(self):
        self.skipTest("why not")

class InLoop(DispatcherTestMixin, unittest.IsolatedAsyncioTestCase):
    async def test_in_a_loop(self):
        self.scripted_producer(self.real_dispatcher, "t", 1)
        report = await self.real_dispatcher.send_request("t")
        assert report.complete

class Last(unittest.TestCase):
    def test_all_have_ended(self):
        assert not [each for each in threading.enumerate() if isinstance(each, Dispatcher)]
"""
    )
    assert failed == 0, shown
    assert "requests of" not in shown


def test_a_failure_shows_the_requests(run: Run) -> None:
    """In its message, once; in that of a subtest what was asked since the last."""
    shown, failed = run(
        """
    def setUp(self):
        self.scripted_producer(self.dispatcher, "t", answers(1, after_ms=500), name="site")

    def test_fails(self):
        self.assertEqual(self.dispatcher.send_request("t").results(), [2])

    def test_polls(self):
        handle = self.dispatcher.send_request("t")
        assert handle.done()
"""
    )
    assert failed == 2
    assert "request 1 on t, ttl 5000 ms: ALL_REPLIED after 500.0 ms" in shown
    assert shown.count("[1] != [2]") >= 1
    assert "virtual time: from 0 ms to 500 ms" in shown
    assert "virtual time has not moved since request 1 was sent" in shown


def test_a_subtest_shows_its_requests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those since the last that has failed."""
    shown, failed = without(tmp_path, monkeypatch)(
        """
    def test_several(self):
        self.scripted_producer(self.dispatcher, "t", answers(1, after_ms=500), name="site")
        for n in range(3):
            with self.subTest(n=n):
                self.assertEqual(self.dispatcher.send_request("t").results(), [n])
"""
    )
    assert failed == 2
    assert shown.count("requests of Dispatcher-1:") == 2
    assert shown.count("request 1 on t, ttl 5000 ms: ALL_REPLIED after 500.0 ms") == 1
    assert shown.count("request 3 on t, ttl 5000 ms: ALL_REPLIED after 500.0 ms") == 1


def test_what_a_test_leaves_running_fails_it(run: Run) -> None:
    """It is named and ended; what lived before is nobody's leak."""
    shown, failed = run(
        """
    @classmethod
    def setUpClass(cls):
        cls.rig = Dispatcher()
        cls.rig.start()

    @classmethod
    def tearDownClass(cls):
        cls.rig.stop()

    def test_a_leaks(self):
        Dispatcher(name="forgotten", clock=self.virtual_clock).start()

    def test_b_is_clean(self):
        self.dispatcher
        names = [each.name for each in threading.enumerate()]
        self.assertNotIn("forgotten", names)
"""
    )
    assert failed == 1
    assert "the dispatcher forgotten lives on after the test; was it stopped?" in shown


def test_outside_of_a_test_there_is_none() -> None:
    """Nobody would end it."""

    class Odd(DispatcherTestMixin):
        pass

    with pytest.raises(DispatcherError, match="only a test that runs"):
        _ = Odd().dispatcher


def test_any_framework_can_do_the_same() -> None:
    """With a rig: it makes, shows and ends."""
    rig: Any = Rig()
    clock = rig.virtual_clock()
    dispatcher = rig.dispatcher(clock=clock, name="rig")
    rig.scripted_producer(dispatcher, "t", answers(1, after_ms=100), name="site")
    rig.scripted_producer(dispatcher, "t", hangs(), name="hung")
    ear = rig.recording_listener(dispatcher, "t")
    assert dispatcher.send_request("t", ttl=200).results() == ear.values == [1]
    ((title, text),) = rig.pictures()
    assert title == "requests of rig"
    assert "request 1 on t, ttl 200 ms: DEADLINE after 200.0 ms" in text
    assert rig.pictures() == []
    other = rig.dispatcher()
    assert rig.end() == []
    assert not dispatcher.is_alive()
    assert not other.is_alive()
    assert clock.stopped
    leaves: Any = Rig()
    real = leaves.dispatcher()
    assert [title for title, _ in leaves.pictures()] == [f"requests of {real.name}"]
    assert leaves.end() == []


def test_debug_is_looked_after(run: Run) -> None:
    """Without a result there is nobody to tell but the caller; what was made ends all the same."""
    shown, failed = run(
        """
    def fails(self):
        self.scripted_producer(self.real_dispatcher, "t", hangs())
        raise KeyError("mine")

    def passes(self):
        self.scripted_producer(self.dispatcher, "t", answers(5))
        assert self.dispatcher.send_request("t").results() == [5]

    def test_debug(self):
        Rigged("passes").debug()
        with self.assertRaisesRegex(KeyError, "mine"):
            Rigged("fails").debug()
        assert not [each for each in threading.enumerate() if isinstance(each, Dispatcher)]
"""
    )
    assert failed == 0, shown
