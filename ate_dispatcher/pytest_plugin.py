"""Fixtures for tests of rigs, and a timeline of the last requests when such a test fails.

Loaded by pytest wherever the package is installed; imports the rest of it when a fixture is used.
A project's own fixture of one of these names takes its place.
"""

from __future__ import annotations

from typing import (
    TYPE_CHECKING,
    Any,
    Generator,
    Iterator,
    List,
    Optional,
    Protocol,
    Sequence,
    Set,
    Tuple,
    Union,
)

import pytest

if TYPE_CHECKING:
    from .dispatcher import Dispatcher
    from .testing import RecordingListener, ScriptedProducer, Timeline, VirtualClock

__all__ = [
    "RecordingListenerFactory",
    "ScriptedProducerFactory",
    "dispatcher",
    "real_dispatcher",
    "recording_listener",
    "scripted_producer",
    "virtual_clock",
]


class ScriptedProducerFactory(Protocol):
    """What the fixture ``scripted_producer`` is."""

    def __call__(
        self,
        dispatcher: Dispatcher,
        topic: Any,
        *script: Any,
        name: Optional[str] = None,
        start_ms: float = 0,
        exclusive: Union[str, Sequence[str]] = (),
        workers: int = 1,
    ) -> ScriptedProducer:
        """Register it for *topic* with *dispatcher*, start it."""
        ...


class RecordingListenerFactory(Protocol):
    """What the fixture ``recording_listener`` is."""

    def __call__(
        self,
        dispatcher: Dispatcher,
        topic: Any,
        *,
        name: Optional[str] = None,
        takes_ms: float = 0,
    ) -> RecordingListener:
        """Register it for *topic* with *dispatcher*, start it."""
        ...


class _Rig:
    """What one test has of ours: dispatchers with their timelines, scripted participants.

    *before* is what lived when it began.
    """

    def __init__(self, before: Set[Any]) -> None:
        self.before = before
        self.dispatchers: List[Tuple[Dispatcher, Timeline]] = []
        self.cast: List[Any] = []
        self.problems: List[str] = []


_TOO_OLD = not hasattr(pytest, "StashKey")
"""Before pytest 7: this switches itself off, see the end."""

_RIG: pytest.StashKey[_Rig] = None if _TOO_OLD else pytest.StashKey()  # type: ignore[assignment]


# -- fixtures ----------------------------------------------------------------------------------


@pytest.fixture
def _ate_rig(request: pytest.FixtureRequest) -> Iterator[_Rig]:
    from .testing.leaks import ended, workers

    node: pytest.Item = request.node
    rig = node.stash[_RIG] = _Rig(workers())
    yield rig
    # Before fixtures that were there earlier end, among them perhaps a dispatcher of their own.
    rig.problems += ended(rig.cast)


@pytest.fixture
def virtual_clock() -> Iterator[VirtualClock]:
    """A clock on which waiting takes no time; stopped at the end of the test."""
    from .testing import VirtualClock

    clock = VirtualClock()
    yield clock
    clock.stop()


@pytest.fixture
def dispatcher(virtual_clock: VirtualClock, _ate_rig: _Rig) -> Iterator[Dispatcher]:
    """A started dispatcher on ``virtual_clock``.

    At the end it is stopped, and checked: no thread of ours lives on, every request has ended,
    every producer that was asked has its verdict.
    """
    yield from _dispatcher(_ate_rig, virtual_clock)


@pytest.fixture
def real_dispatcher(_ate_rig: _Rig) -> Iterator[Dispatcher]:
    """A started dispatcher on real time; otherwise as ``dispatcher``."""
    yield from _dispatcher(_ate_rig, None)


@pytest.fixture
def scripted_producer(_ate_rig: _Rig) -> ScriptedProducerFactory:
    """Makes scripted producers, registered and started.

    ``scripted_producer(dispatcher, "topic", answers(5, after_ms=20), ...)``. What hangs is released
    at the end of the test.
    """
    from .testing import ScriptedProducer

    def make(
        dispatcher: Dispatcher,
        topic: Any,
        *script: Any,
        name: Optional[str] = None,
        start_ms: float = 0,
        exclusive: Union[str, Sequence[str]] = (),
        workers: int = 1,
    ) -> ScriptedProducer:
        _check(dispatcher, topic)
        producer = ScriptedProducer(
            *script, name=name, start_ms=start_ms, exclusive=exclusive, workers=workers
        )
        _ate_rig.cast.append(producer)
        dispatcher.register_result_producer(producer, topic, start=True)
        return producer

    return make


@pytest.fixture
def recording_listener(_ate_rig: _Rig) -> RecordingListenerFactory:
    """Makes listeners that remember what they hear, registered and started.

    ``recording_listener(dispatcher, "topic", takes_ms=20)``.
    """
    from .testing import RecordingListener

    def make(
        dispatcher: Dispatcher, topic: Any, *, name: Optional[str] = None, takes_ms: float = 0
    ) -> RecordingListener:
        _check(dispatcher, topic)
        listener = RecordingListener(name=name, takes_ms=takes_ms)
        _ate_rig.cast.append(listener)
        dispatcher.register_result_listener(listener, topic, start=True)
        return listener

    return make


def _check(dispatcher: Any, topic: Any) -> None:
    from .dispatcher import Dispatcher
    from .errors import BadType
    from .testing import Outcome

    if not isinstance(dispatcher, Dispatcher):
        raise BadType(f"dispatcher must be a Dispatcher, not {dispatcher!r}; then comes the topic")
    if isinstance(topic, Outcome):
        raise BadType(f"topic must not be an outcome; it comes before the script: {topic!r}")


def _dispatcher(rig: _Rig, clock: Optional[VirtualClock]) -> Iterator[Dispatcher]:
    from .dispatcher import Dispatcher
    from .testing import ScriptedProducer, Timeline
    from .testing.leaks import closed

    timeline = Timeline()
    made = Dispatcher(clock=clock, hooks=[timeline], diagnose=True)
    rig.dispatchers.append((made, timeline))
    made.start()
    yield made
    scripted = [each for each in rig.cast if isinstance(each, ScriptedProducer)]
    rig.problems += closed(made, scripted)


# -- the check and the report -------------------------------------------------------------------


@pytest.hookimpl(hookwrapper=True)
def pytest_fixture_setup(
    fixturedef: Any, request: pytest.FixtureRequest
) -> Generator[None, Any, None]:
    """What a fixture of a wider scope starts in the middle of a test outlives that by right."""
    rig = None
    if fixturedef.scope != "function":
        item = getattr(request, "_pyfuncitem", None)
        rig = None if item is None else item.stash.get(_RIG, None)
    if rig is None:
        yield
        return
    from .testing.leaks import workers

    before = workers()
    yield
    rig.before |= workers() - before


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item) -> None:
    """When all fixtures of a test have ended: fail it if it has left something running."""
    rig = item.stash.get(_RIG, None)
    if rig is None:
        return
    from .testing.leaks import left

    problems = [*rig.problems, *left(rig.before)]
    if problems:
        pytest.fail("\n".join(problems), pytrace=False)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[Any]
) -> Generator[None, Any, None]:
    """Show the last requests of a test that failed, with the first report that says so."""
    outcome = yield
    report: pytest.TestReport = outcome.get_result()
    rig = item.stash.get(_RIG, None)
    if rig is None:
        return
    if report.failed:
        from .testing.leaks import told

        while rig.dispatchers:
            made, timeline = rig.dispatchers.pop(0)
            try:
                told(made, timeline)
                picture = str(timeline)
            except Exception as error:
                # A topic's own repr, for example: no reason to end the run.
                picture = f"they cannot be shown: {error!r}"
            report.sections.append((f"requests of {made.name}", picture))
    if call.when == "teardown":
        # pytest keeps its items till the end of the run.
        del item.stash[_RIG]


if _TOO_OLD:
    # A plugin breaks no run that does not use it. One that does is told what is missing.
    for _each in [*__all__, *filter(lambda name: name.startswith(("pytest_", "_ate")), globals())]:
        globals().pop(_each, None)

    def pytest_report_header() -> str:
        """One line, in the place of everything else."""
        return f"ate-dispatcher: its fixtures need pytest 7, this is {pytest.__version__}"
