"""The explorer finds what it must, says how, and does the same again."""

from __future__ import annotations

from pathlib import Path

import pytest

from .explorer import Budget, Explorer, Finding, Scenario
from .lab import claim
from .points import Points
from .stage import Stage
from .standins import Lock, Parker, Queue
from .strategies import deviations_of
from .unlucky import Counter

BUDGET = Budget(singles=100, pairs=20, chances=10)


def explored(scenario: Scenario) -> Finding:
    """What comes of *scenario*, in which nothing but the unlucky counter is watched."""
    file = str(Path(__file__).with_name("unlucky.py"))
    with Explorer(Points([file])) as explorer:
        return explorer.explore(scenario, BUDGET)


def two_count(stage: Stage) -> None:
    """One of the two may be lost."""
    counter = Counter(Lock(stage))
    stage.play(one=counter.count, two=counter.count)
    claim(counter.value == 2, f"counted {counter.value}")


def two_count_alone(stage: Stage) -> None:
    """None is lost."""
    counter = Counter(Lock(stage))
    stage.play(one=counter.count_alone, two=counter.count_alone)
    claim(counter.value == 2, f"counted {counter.value}")


def a_wake_up(stage: Stage) -> None:
    """It may come between the look and the parking."""
    counter = Counter(Lock(stage))
    stage.play(waits=lambda: counter.wait(Parker(stage)), wakes=counter.wake)


def test_a_lost_update_is_found() -> None:
    """By one deviation, which is named."""
    finding = explored(two_count)
    assert finding.failure == "main: AssertionError: counted 1"
    assert finding.how == "one deviation"
    assert [each.place for each in finding.plan] == ["unlucky.count+2"]


def test_a_lost_wake_up_is_found() -> None:
    """Nobody goes on, and no time is waited for."""
    failure = explored(a_wake_up).failure
    assert failure is not None
    assert failure.startswith("all wait for ever: ")
    assert "waits for to be unparked" in failure


def test_what_is_right_passes() -> None:
    """All of it is played."""
    finding = explored(two_count_alone)
    assert finding.failure is None
    assert finding.how == "all"
    assert finding.one[0] == finding.one[1] > 0


def test_a_printed_plan_is_played_again() -> None:
    """It comes back from its text, and leads to the same failure; without it there is none."""
    plan = tuple(deviations_of(" ".join(map(str, explored(two_count).plan))))
    file = str(Path(__file__).with_name("unlucky.py"))
    with Explorer(Points([file])) as explorer:
        stage, strategy = explorer.replay(two_count, plan)
        assert stage.failure == "main: AssertionError: counted 1"
        assert not strategy.unmet
        assert explorer.replay(two_count, ())[0].failure is None
        _, strategy = explorer.replay(two_count, tuple(deviations_of("one@nowhere.f+1#1>two")))
        assert len(strategy.unmet) == 1


@pytest.mark.parametrize("scenario", [two_count, two_count_alone, a_wake_up])
def test_it_is_the_same_every_time(scenario: Scenario) -> None:
    """But for how long it takes."""
    first, second = (explored(scenario)._replace(seconds=0.0) for _ in range(2))
    assert first == second


def test_time_passes_when_nobody_else_goes_on() -> None:
    """And not before."""
    seen = []

    def scenario(stage: Stage) -> None:
        def sleeps(seconds: float) -> None:
            stage.sleep(seconds)
            seen.append(stage.time)

        def parks() -> None:
            seen.append(Parker(stage).park_until(2.5))

        stage.play(long=lambda: sleeps(3.0), short=lambda: sleeps(2.0), parks=parks)

    with Explorer(Points([])) as explorer:
        stage, _ = explorer.replay(scenario, ())
    assert (stage.failure, seen) == (None, [2.0, False, 3.0])


def test_a_queue_with_a_token_is_a_lock() -> None:
    """Whoever has taken it is alone until it is back."""
    inside = []

    def scenario(stage: Stage) -> None:
        token = Queue(stage)
        token.put(None)

        def enters() -> None:
            token.get()
            inside.append(True)
            claim(len(inside) == 1, "two are inside")
            stage.point()
            inside.clear()
            token.put(None)

        stage.play(one=enters, two=enters)

    with Explorer(Points([])) as explorer:
        finding = explorer.explore(scenario, BUDGET)
    assert finding.failure is None
    assert finding.schedules > 10


def test_a_thread_that_raises_fails_the_run() -> None:
    """With its name."""

    def scenario(stage: Stage) -> None:
        def raises() -> None:
            raise KeyError("lost")

        stage.play(raises=raises)

    assert explored(scenario).failure == "raises: KeyError: 'lost'"
