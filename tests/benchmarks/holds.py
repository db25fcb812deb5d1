"""How long is the section held at most? The loads that once held it for tens of milliseconds.

    python tests/benchmarks/holds.py [--scale 1.0] [--only WORD] [--rounds 3] [--gc]

For each load, in a process of its own: the longest pass of the section in microseconds, by the CPU
time of its thread and by the clock, the 99.9th percentile of the former, and the number of passes.
By the clock a thread that is switched away inside counts as holding it: on a machine that is free
both agree. Of some rounds the least counts. The garbage collector is off, unless asked for: it may
begin anywhere, also inside, and takes the longer the more the program keeps.
"""

from __future__ import annotations

import argparse
import gc
import logging
import subprocess
import sys
import threading
import time
from typing import Any, Callable, Dict, List, Tuple

from ate_dispatcher import Dispatcher, Producer, ResultListener
from ate_dispatcher._engine.process import SECTION

HOUR_MS = 3_600_000.0


# -- the measure -------------------------------------------------------------------------------


class Holds:
    """The durations of all passes, of all threads that are started later: CPU time and clock."""

    def __init__(self) -> None:
        self.seconds: List[Tuple[float, float]] = []
        self._since = self._worked = 0.0
        enter, leave, clock, cpu = SECTION.enter, SECTION.leave, time.perf_counter, time.thread_time

        def entered() -> None:
            enter()
            self._since, self._worked = clock(), cpu()

        def left(token: None) -> None:
            self.seconds.append((cpu() - self._worked, clock() - self._since))
            leave(token)

        SECTION.enter, SECTION.leave = entered, left

    def forget(self) -> None:
        self.seconds.clear()

    def __str__(self) -> str:
        found = self.seconds or [(0.0, 0.0)]
        ordered = sorted(cpu for cpu, _ in found)
        high = ordered[int(len(ordered) * 0.999)]
        clock = max(each for _, each in found)
        figures = [f"{each * 1e6:12.0f}" for each in (ordered[-1], clock, high)]
        return " ".join(figures) + f" {len(found):10d}"


# -- the cast ----------------------------------------------------------------------------------


class Quick(Producer):
    """Answers at once."""

    def produce_dispatcher_output(self, topic: Any, *args: Any) -> int:
        return 1


class Hung(Producer):
    """Does not come back before the end."""

    gate = threading.Event()

    def produce_dispatcher_output(self, topic: Any, *args: Any) -> None:
        self.gate.wait()


class Deaf(ResultListener):
    """Hears, and that is all."""

    def process_dispatcher_result(self, topic: Any, response: Any) -> None:
        pass


def rig(*producers: Producer) -> Dispatcher:
    """A started dispatcher with these on topic "t"."""
    dispatcher = Dispatcher()
    for producer in producers:
        dispatcher.register_result_producer(producer, "t", start=True)
    dispatcher.start()
    return dispatcher


def quiet(dispatcher: Dispatcher) -> None:
    """Wait until the dispatcher's thread has nothing to do any more."""
    same = 0
    while same < 3:
        state = dispatcher._ate_engine.describe()
        same = same + 1 if state.parked and not state.orders else 0
        time.sleep(0.01)


# -- the loads ---------------------------------------------------------------------------------


def deadlines(holds: Holds, scale: float) -> None:
    """32 hung members, 300 requests with one deadline."""
    dispatcher = rig(*[Hung() for _ in range(32)])
    dispatcher.send_request("t", ttl=None)
    until = time.perf_counter() + 2 * scale + 0.5
    handles = [
        dispatcher.send_request("t", ttl=(until - time.perf_counter()) * 1000)
        for _ in range(int(300 * scale))
    ]
    holds.forget()
    for each in handles:
        each.wait()
    quiet(dispatcher)


def cancel_without_ttl(holds: Holds, scale: float) -> None:
    """One cancel, 400,000 arrivals without a ttl."""
    arrivals(holds, int(400_000 * scale), None)


def first_cancel(holds: Holds, scale: float) -> None:
    """The first cancel, 100,000 arrivals with a ttl."""
    arrivals(holds, int(100_000 * scale), HOUR_MS)


def arrivals(holds: Holds, count: int, ttl: Any) -> None:
    """The newest of so many is cancelled."""
    dispatcher = rig(Hung())
    handles = [dispatcher.send_request("t", ttl=ttl) for _ in range(count)]
    holds.forget()
    handles[-1].cancel()
    handles[-1].wait()
    quiet(dispatcher)


def quorum(holds: Holds, scale: float) -> None:
    """Quorums against a hung producer, 100,000 waiting behind one that is open."""
    hung, quick = Hung(), Quick()
    dispatcher = rig(hung)
    dispatcher.register_result_producer(quick, "t")
    dispatcher.options(ttl=None, only=hung).send_request("t")
    dispatcher.options(ttl=None, only=hung).send_request("t")
    first = dispatcher.options(ttl=None, need=1)
    handles = [first.send_request("t") for _ in range(int(100_000 * scale))]
    quiet(dispatcher)
    holds.forget()
    quick.start()
    for each in handles:
        each.wait()
    quiet(dispatcher)


def disable_hung(holds: Holds, scale: float) -> None:
    """Disabling a hung producer with 100,000 waiting."""
    hung = Hung()
    dispatcher = rig(hung)
    handles = [dispatcher.send_request("t", ttl=None) for _ in range(int(100_000 * scale))]
    quiet(dispatcher)
    holds.forget()
    dispatcher.disable(hung)
    handles[-1].wait()
    quiet(dispatcher)


def disable_workers(holds: Holds, scale: float) -> None:
    """Disabling a hung producer of two workers with 100,000 of one ordering key waiting."""
    hung = Hung(workers=2)
    dispatcher = rig(hung)
    sender = dispatcher.options(ttl=None, ordering_key="key")
    handles = [sender.send_request("t") for _ in range(int(100_000 * scale))]
    quiet(dispatcher)
    holds.forget()
    dispatcher.disable(hung)
    handles[-1].wait()
    quiet(dispatcher)


def sort_keys(holds: Holds, scale: float) -> None:
    """A second worker looks for what it may begin among 100,000 of one busy key."""
    first, gate = [True], threading.Event()

    class Once(Producer):
        def produce_dispatcher_output(self, topic: Any) -> None:
            if first:
                first.clear()
                gate.wait()

    once = Once(workers=2)
    dispatcher = Dispatcher()
    dispatcher.register_result_producer(once, "t")
    dispatcher.start()
    sender = dispatcher.options(ttl=None, ordering_key="key")
    for _ in range(int(100_000 * scale)):
        sender.send_request("t")
    quiet(dispatcher)
    holds.forget()
    once.start()
    time.sleep(0.5 * scale)


def one_deadline_large(holds: Holds, scale: float) -> None:
    """One request with 4,000 members, none of which was started, at its deadline."""
    dispatcher = Dispatcher()
    for _ in range(int(4000 * scale)):
        dispatcher.register_result_producer(Quick(), "t")
    dispatcher.start()
    holds.forget()
    dispatcher.send_request("t", ttl=200).wait()
    quiet(dispatcher)


def listeners(holds: Holds, scale: float) -> None:
    """10,000 listeners are registered, then one reply comes."""
    dispatcher = rig(Quick())
    dispatcher.send_request("t").wait()
    for _ in range(int(10_000 * scale)):
        dispatcher.register_result_listener(Deaf(), "t")
    holds.forget()
    dispatcher.send_request("t").wait()


def stop_open(holds: Holds, scale: float) -> None:
    """A stop at once with 100,000 open."""
    dispatcher = rig(Hung())
    for _ in range(int(100_000 * scale)):
        dispatcher.send_request("t", ttl=HOUR_MS)
    quiet(dispatcher)
    holds.forget()
    dispatcher.stop(immediate=True)
    dispatcher.join()


def dead_producer(holds: Holds, scale: float) -> None:
    """A producer ends with 100,000 waiting behind its STOP."""
    hung = Hung()
    dispatcher = rig(hung)
    dispatcher.send_request("t", ttl=None)
    hung.stop()
    handles = [dispatcher.send_request("t", ttl=None) for _ in range(int(100_000 * scale))]
    quiet(dispatcher)
    holds.forget()
    hung.gate.set()
    handles[-1].wait()
    quiet(dispatcher)


def nothing(holds: Holds, scale: float) -> None:
    """Plain requests, for comparison."""
    dispatcher = rig(Quick())
    holds.forget()
    for _ in range(int(20_000 * scale)):
        dispatcher.send_request("t").wait()


# -- calls that hold no section, but their caller ----------------------------------------------


def call(holds: Holds, deed: Callable[[], Any]) -> None:
    """The time of one call, in the place of a hold."""
    began, worked = time.perf_counter(), time.thread_time()
    deed()
    holds.seconds.append((time.thread_time() - worked, time.perf_counter() - began))


def disable_topics_of_others(holds: Holds, scale: float) -> None:
    """Disabling and enabling with 100,000 topics of another (time of a call)."""
    producer = Quick()
    dispatcher = rig(producer)
    dispatcher.register_result_producer(Quick(), *range(int(100_000 * scale)))
    quiet(dispatcher)
    holds.forget()
    call(holds, lambda: dispatcher.disable(producer))
    call(holds, lambda: dispatcher.enable(producer))


def disable_topics_of_its_own(holds: Holds, scale: float) -> None:
    """Disabling and enabling with 100,000 topics of its own (time of a call)."""
    producer = Quick()
    dispatcher = rig(producer)
    dispatcher.register_result_producer(producer, *range(int(100_000 * scale)))
    quiet(dispatcher)
    holds.forget()
    call(holds, lambda: dispatcher.disable(producer))
    call(holds, lambda: dispatcher.enable(producer))


def disabled_already(holds: Holds, scale: float) -> None:
    """Disabling one more, with a send, where 1,000 are disabled on one topic (time of a call)."""
    producers = [Quick() for _ in range(int(1000 * scale) + 20)]
    dispatcher = Dispatcher()
    for producer in producers:
        dispatcher.register_result_producer(producer, "t")
    dispatcher.start()
    for producer in producers[20:]:
        dispatcher.disable(producer)
    quiet(dispatcher)
    holds.forget()
    for producer in producers[1:20]:
        call(holds, lambda producer=producer: dispatcher.disable(producer))  # type: ignore[misc]
        call(holds, lambda: dispatcher.send_request("t", ttl=None))


LOADS: Dict[str, Callable[[Holds, float], None]] = {
    each.__name__: each
    for each in (
        nothing,
        deadlines,
        cancel_without_ttl,
        first_cancel,
        quorum,
        disable_hung,
        disable_workers,
        sort_keys,
        one_deadline_large,
        listeners,
        stop_open,
        dead_producer,
        disable_topics_of_others,
        disable_topics_of_its_own,
        disabled_already,
    )
}


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description="The longest holds of the section.")
    parser.add_argument("--scale", type=float, default=1.0, help="of the loads (1.0)")
    parser.add_argument("--only", default="", help="loads with this in their names")
    parser.add_argument("--rounds", type=int, default=3, help="the best of so many (3)")
    parser.add_argument("--gc", action="store_true", help="with the garbage collector")
    parser.add_argument("--load", choices=list(LOADS), help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.load:
        sys.setswitchinterval(0.1)
        logging.disable()
        if not chosen.gc:
            gc.disable()
        holds = Holds()
        LOADS[chosen.load](holds, chosen.scale)
        print(holds, flush=True)
        # Whoever hangs shall not keep this process.
        Hung.gate.set()
        return
    print(f"{'':26} {'longest, us':>12} {'by the clock':>12} {'99.9 %':>12} {'passes':>10}")
    for name, load in LOADS.items():
        if chosen.only not in name:
            continue
        command = [sys.executable, __file__, "--load", name, "--scale", str(chosen.scale)]
        command += ["--gc"] if chosen.gc else []
        found = []
        for _ in range(chosen.rounds):
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
            lines = done.stdout.splitlines()
            if done.returncode == 0 and lines:
                found.append(lines[-1])
        best = min(found, key=lambda line: float(line.split()[0]), default="failed")
        print(f"{name:26} {best}   {(load.__doc__ or '').strip()}", flush=True)


if __name__ == "__main__":
    main()
