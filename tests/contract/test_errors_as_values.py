"""Whatever producers and listeners raise harms nobody else; on virtual time."""

from __future__ import annotations

import io
import logging
import pickle
import sys
from typing import Any, Callable, List

import pytest
from virtual import Attentive, Ours, World, bare_logger, errors, verdicts, world

from ate_dispatcher import Completion, DispatcherError
from ate_dispatcher import errors as all_errors

__all__ = ["bare_logger", "world"]


BUILT_IN = {
    "BadType": TypeError,
    "BadValue": ValueError,
    "ClockMismatch": ValueError,
    "ClockStopped": RuntimeError,
    "ConnectionFailed": ConnectionError,
    "DispatcherStopped": RuntimeError,
    "RequestTimeout": TimeoutError,
    "SlowConsumer": RuntimeError,
    "VirtualTimeStuck": RuntimeError,
}
"""The errors that are a built-in one as well; there is none for the others."""


def test_every_error_is_of_one_family_and_is_the_built_in_one_that_one_expects() -> None:
    """Also after it was pickled; the text is what was said."""
    for name in all_errors.__all__:
        kind = getattr(all_errors, name)
        assert issubclass(kind, DispatcherError)
        assert issubclass(kind, BUILT_IN.get(name, Exception))
    for name, built_in in BUILT_IN.items():
        again = pickle.loads(pickle.dumps(getattr(all_errors, name)("it was so")))
        assert isinstance(again, built_in)
        assert str(again) == "it was so"


THROWABLE = [ValueError("v"), Ours("o"), SystemExit(3), KeyboardInterrupt(), GeneratorExit()]


@pytest.mark.parametrize("problem", THROWABLE, ids=lambda e: type(e).__name__)
def test_whatever_a_producer_raises_is_its_answer(
    world: World, caplog: pytest.LogCaptureFixture, problem: BaseException
) -> None:
    """On the handle, with its traceback into the producer's code; the thread goes on; the log has
    it once, from the producer's thread.
    """
    listener = world.listener(Attentive)
    producer = world.producer(10, problem)
    handle = world.send()
    assert handle.results() == []
    assert [reply.error for reply in handle.replies] == [problem]
    assert handle.completion is Completion.ALL_REPLIED
    world.clock.settle()
    reply, report = listener.heard
    assert (reply.error, reply.producer, reply.ok) == (problem, producer, False)
    assert report.failed == (producer.name,)
    (record,) = errors(caplog)
    assert record.exc_info is not None
    assert record.exc_info[1] is problem
    assert record.threadName == producer.name
    assert producer.name in record.getMessage()
    traceback, functions = problem.__traceback__, []
    while traceback is not None:
        functions.append(traceback.tb_frame.f_code.co_name)
        traceback = traceback.tb_next
    assert functions[0] == "produce_dispatcher_output"
    producer.answer = "better now"
    assert world.send().results() == ["better now"]


@pytest.mark.parametrize("problem", THROWABLE, ids=lambda e: type(e).__name__)
def test_whatever_a_listener_raises_is_logged_once_and_it_goes_on(
    world: World, caplog: pytest.LogCaptureFixture, problem: BaseException
) -> None:
    """On its own thread; others are not touched."""
    world.producer(10)
    raising = world.listener(error=problem)
    other = world.listener()
    assert world.send().results() == ["value"]
    world.clock.settle()
    (record,) = errors(caplog)
    assert record.exc_info is not None
    assert record.exc_info[1] is problem
    assert record.threadName == raising.name
    assert raising.name in record.getMessage()
    raising.error = None
    assert world.send().results() == ["value"]
    world.clock.settle()
    assert raising.heard == other.heard == ["value", "value"]


@pytest.mark.parametrize("callback", ["error", "completion"])
def test_a_listener_that_raises_elsewhere_goes_on_too(
    world: World, caplog: pytest.LogCaptureFixture, callback: str
) -> None:
    """The callbacks for errors and completions are user code as well."""
    listener = world.listener(Attentive)

    def breaks(*_: Any) -> None:
        raise Ours(callback)

    setattr(listener, f"process_dispatcher_{callback}", breaks)
    world.producer(10, ValueError("x"))
    world.producer(20)
    world.send().wait()
    world.clock.settle()
    assert len(errors(caplog)) == 2
    assert "value" in listener.heard
    assert len(listener.heard) == 2


def test_a_late_error_is_logged_as_well(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Never silent, though nobody waits for it any more."""
    world.producer(100, ValueError("x"))
    world.send(ttl=10).wait()
    assert not errors(caplog)
    world.clock.advance(100)
    assert len(errors(caplog)) == 1


class Breaking(logging.Handler):
    """Raises what no handler should."""

    def emit(self, record: logging.LogRecord) -> None:
        raise Ours("handler")


def broken_reports(bare_logger: Callable[..., None], how: str, patch: pytest.MonkeyPatch) -> None:
    """See to it that nothing can be reported."""
    bare_logger(*([Breaking()] if how == "raising handler" else []))
    if how == "no stderr":
        patch.setattr(sys, "stderr", None)
    elif how == "closed stderr":
        closed = io.StringIO()
        closed.close()
        patch.setattr(sys, "stderr", closed)


@pytest.mark.parametrize("how", ["raising handler", "no stderr", "closed stderr"])
def test_a_report_that_fails_changes_nothing(
    world: World, bare_logger: Callable[..., None], monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """Errors of producers, listeners, hooks and callbacks are survived although none is told."""
    broken_reports(bare_logger, how, monkeypatch)
    raiser = world.producer(10, ValueError("x"))
    world.producer(start=False)
    listener = world.listener(error=Ours("y"))

    def breaks(_: Any) -> None:
        raise Ours("z")

    world.dispatcher.add_hook(breaks)
    handle = world.send(ttl=100)
    handle.add_done_callback(breaks)
    handle.wait()
    world.clock.settle()
    assert verdicts(handle) == ["ERROR", "MISSING(NOT_STARTED)"]
    raiser.answer = "fine"
    called: List[Any] = []
    second = world.send(ttl=100)
    second.add_done_callback(called.append)
    assert second.results() == ["fine"]
    world.clock.settle()
    assert listener.heard == ["fine"]
    assert called == [second]


def test_without_any_configuration_errors_are_seen_on_stderr(
    world: World, bare_logger: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No NullHandler swallows them."""
    bare_logger()
    stderr = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stderr)
    world.producer(10, ValueError("the cause"), name="site 3")
    world.send().wait()
    world.clock.settle()
    assert "site 3" in stderr.getvalue()
    assert "ValueError: the cause" in stderr.getvalue()
