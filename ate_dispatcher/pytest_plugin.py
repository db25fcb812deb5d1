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
    Set,
)

import pytest

if TYPE_CHECKING:
    from ._participants.producer import Exclusive
    from .dispatcher import Dispatcher
    from .testing import DispatcherFactory, RecordingListener, Rig, ScriptedProducer, VirtualClock

__all__ = [
    "RecordingListenerFactory",
    "ScriptedProducerFactory",
    "dispatcher",
    "dispatcher_factory",
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
        exclusive: Exclusive = (),
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


class _Owner:
    """A fixture's request, or a test, with what the factory has made for it."""

    def __init__(self, node: Any) -> None:
        self.node = node
        self.rig: Optional[Rig] = None


_TOO_OLD = not hasattr(pytest, "StashKey")
"""Before pytest 7: this switches itself off, see the end."""


def _key() -> Any:
    return None if _TOO_OLD else pytest.StashKey()


_RIG: pytest.StashKey[Rig] = _key()
"""Of an item: what the fixtures of one test have made."""

_WIDER: pytest.StashKey[List[Rig]] = _key()
"""Of the config: what the factory has made and lives, once a fixture or a test has wanted it."""

_SETUPS: pytest.StashKey[List[_Owner]] = _key()
"""Of the config: the fixtures that are being set up, the innermost last."""

_TEST: pytest.StashKey[_Owner] = _key()
"""Of the config: the test that runs."""


# -- fixtures ----------------------------------------------------------------------------------


@pytest.fixture
def _ate_rig(request: pytest.FixtureRequest) -> Iterator[Rig]:
    rig = _rig_of(request.node)
    yield rig
    # Before fixtures that were there earlier end, among them perhaps a dispatcher of their own.
    rig.problems += rig.dismiss()


def _rig_of(item: pytest.Item) -> Rig:
    from .testing import Rig

    if _RIG not in item.stash:
        item.stash[_RIG] = Rig()
    return item.stash[_RIG]


@pytest.fixture
def virtual_clock(_ate_rig: Rig) -> Iterator[VirtualClock]:
    """A clock on which waiting takes no time; stopped at the end of the test.

    Time is ``now()`` seconds, 0 at first; ``sleep(seconds)``, ``advance(ms)``. No dispatcher,
    producer or listener that the test has started may live on.
    """
    clock = _ate_rig.virtual_clock()
    yield clock
    clock.stop()


@pytest.fixture
def dispatcher(virtual_clock: VirtualClock, _ate_rig: Rig) -> Iterator[Dispatcher]:
    """A started dispatcher on ``virtual_clock``, for one test.

    At the end it is stopped, and checked: no thread of ours lives on, every request has ended,
    every producer that was asked has its verdict.
    """
    yield from _dispatcher(_ate_rig, virtual_clock)


@pytest.fixture
def real_dispatcher(_ate_rig: Rig) -> Iterator[Dispatcher]:
    """A started dispatcher on real time, for one test; otherwise as ``dispatcher``."""
    yield from _dispatcher(_ate_rig, None)


def _dispatcher(rig: Rig, clock: Optional[VirtualClock]) -> Iterator[Dispatcher]:
    made = rig.dispatcher(clock=clock)
    yield made
    rig.problems += rig.close(made)


@pytest.fixture
def scripted_producer(_ate_rig: Rig) -> ScriptedProducerFactory:
    """Makes scripted producers, registered and started, for one test.

    ``scripted_producer(dispatcher, "topic", answers(5, after_ms=20), ...)``, times in milliseconds.
    At the end of the test they are deregistered and stopped; what hangs is released.
    """
    return _ate_rig.scripted_producer


@pytest.fixture
def recording_listener(_ate_rig: Rig) -> RecordingListenerFactory:
    """Makes listeners that remember what they hear, registered and started, for one test.

    ``recording_listener(dispatcher, "topic", takes_ms=20)``. At the end of the test they are
    deregistered and stopped.
    """
    return _ate_rig.recording_listener


@pytest.fixture(scope="session")
def dispatcher_factory(pytestconfig: pytest.Config) -> Iterator[DispatcherFactory]:
    """Makes dispatchers for fixtures of any scope, so that a rig is set up once for many tests.

    ::

        @pytest.fixture(scope="module")
        def rig(dispatcher_factory):
            clock = dispatcher_factory.virtual_clock()
            dispatcher = dispatcher_factory(clock=clock)
            dispatcher_factory.scripted_producer(dispatcher, "volts", answers(5, after_ms=20))
            return dispatcher

    What it makes is stopped at the end of the fixture that has made it, or of the test, and checked
    as ``dispatcher`` is; with it whatever else the fixture has started. A test that fails shows its
    own requests only, and has to end what it has started itself. Without ``clock=`` it is real
    time. A virtual clock goes on from test to test.
    """
    from .testing import DispatcherFactory

    pytestconfig.stash[_WIDER] = []
    yield DispatcherFactory(lambda: _rig_of_the_owner(pytestconfig))
    del pytestconfig.stash[_WIDER]


def _rig_of_the_owner(config: pytest.Config) -> Rig:
    """That of the innermost fixture that is being set up; of the test, if none is."""
    from .errors import DispatcherError
    from .testing import Rig

    setups, wider = config.stash[_SETUPS], config.stash[_WIDER]
    owner = setups[-1] if setups else config.stash[_TEST]
    if owner.rig is not None:
        return owner.rig
    rig = Rig()

    def end() -> None:
        wider.remove(rig)
        problems = rig.end()
        if problems:
            pytest.fail("\n".join(problems), pytrace=False)

    # Comes after what the fixture does itself at its end.
    try:
        owner.node.addfinalizer(end)
    except (AssertionError, AttributeError):
        raise DispatcherError(
            "dispatcher_factory was called while fixtures end: what it made would never be stopped"
        ) from None
    owner.rig = rig
    wider.append(rig)
    return rig


# -- the check and the report -------------------------------------------------------------------


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Another test begins; the dispatchers of wider scopes are there already."""
    item.config.stash[_TEST] = _Owner(item)
    item.config.stash[_SETUPS] = []
    wider = item.config.stash.get(_WIDER, None)
    if wider is not None:
        for rig in wider:
            rig.begins()
        if "dispatcher_factory" in getattr(item, "fixturenames", ()):
            _rig_of(item)


def _living() -> Set[Any]:
    """The threads of ours that live."""
    from .testing.leaks import workers

    return workers()


@pytest.hookimpl(hookwrapper=True)
def pytest_fixture_setup(
    fixturedef: Any, request: pytest.FixtureRequest
) -> Generator[None, Any, None]:
    """What a fixture of a wider scope starts in the middle of a test outlives that by right."""
    stash = request.config.stash
    owner, setups = _Owner(request), stash.setdefault(_SETUPS, [])
    item = getattr(request, "_pyfuncitem", None)
    rig = None if item is None else item.stash.get(_RIG, None)
    before = _living() if rig is not None or _WIDER in stash else None
    setups.append(owner)
    outcome = yield
    setups.remove(owner)
    if before is None:
        if item is not None and _WIDER in stash:
            # It is the first test that wants it.
            _rig_of(item)
        return
    started = _living() - before
    if rig is not None and fixturedef.scope != "function":
        rig.before |= started
    if owner.rig is not None:
        owner.rig.suspects(started)
        if outcome.excinfo is None:
            # What the setup has asked is no request of a test.
            owner.rig.begins()


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item) -> None:
    """When all fixtures of a test have ended: fail it if it has left something running."""
    rig = item.stash.get(_RIG, None)
    if rig is None:
        return
    problems = [*rig.problems, *rig.left()]
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
    if report.failed:
        wider = item.config.stash.get(_WIDER, [])
        for each in ([] if rig is None else [rig]) + wider:
            report.sections += each.pictures()
    if call.when == "teardown":
        # pytest keeps its items till the end of the run.
        if rig is not None:
            del item.stash[_RIG]
        item.config.stash[_TEST] = _Owner(None)


if _TOO_OLD:
    # A plugin breaks no run that does not use it. One that does is told what is missing.
    for _each in [*__all__, *filter(lambda name: name.startswith(("pytest_", "_ate")), globals())]:
        globals().pop(_each, None)

    def pytest_report_header() -> str:
        """One line, in the place of everything else."""
        return f"ate-dispatcher: its fixtures need pytest 7, this is {pytest.__version__}"
