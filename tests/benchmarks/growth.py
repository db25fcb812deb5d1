"""Does anything cost more the more of it there is? CPU seconds for n, 2n and 4n of each.

    python tests/benchmarks/growth.py [--scale 1.0] [--only WORD]

Each figure in a process of its own, by `process_time`; the loads are made ready before. What takes
more than six times as long for four times as many is flagged; so are 5,000 producers of one topic,
or 10,000 listeners, that do not register in 2 s. The exit status is 1 if anything was.
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

FLAGGED = 6.0
LIMIT_S = 2.0

Deed = Callable[[], Any]


class Quick(Producer):
    """Answers at once."""

    def produce_dispatcher_output(self, topic: Any, *args: Any) -> int:
        return 1


class Hung(Producer):
    """Says that it has come, and does not come back before its gate is opened."""

    come = threading.Semaphore(0)
    gate = threading.Event()

    def produce_dispatcher_output(self, topic: Any, *args: Any) -> int:
        self.come.release()
        self.gate.wait()
        return 1


class Deaf(ResultListener):
    """Hears, and that is all."""

    def process_dispatcher_result(self, topic: Any, response: Any) -> None:
        pass


def asked(n: int, kind: Callable[[], Producer] = Quick, **options: Any) -> Tuple[Any, List[Any]]:
    """A started dispatcher with so many on topic "t"."""
    dispatcher = Dispatcher(**options)
    producers = [kind() for _ in range(n)]
    for producer in producers:
        dispatcher.register_result_producer(producer, "t")
    dispatcher.start()
    return dispatcher, producers


def all_hung(n: int, **options: Any) -> Tuple[Any, List[Any], Any]:
    """The same, in their methods for one request."""
    dispatcher, producers = asked(n, Hung, **options)
    handle = dispatcher.send_request("t", ttl=None)
    for producer in producers:
        producer.start()
    for _ in producers:
        Hung.come.acquire()
    return dispatcher, producers, handle


def quiet(dispatcher: Any) -> None:
    """Wait until the dispatcher's thread has nothing to do any more."""
    same = 0
    while same < 3:
        state = dispatcher._ate_engine.describe()
        same = same + 1 if state.parked and not state.orders else 0
        time.sleep(0.005)


def accounted(dispatcher: Any, n: int, verdict: str) -> None:
    """Wait until so many verdicts of that name are in the sums."""
    while sum(c for v, c in dispatcher.statistics().verdicts.items() if v.name == verdict) < n:
        time.sleep(0.005)


# -- the loads: what is made ready, and then measured ------------------------------------------


def register_producers(n: int) -> Deed:
    """Registering producers one by one on one topic."""
    dispatcher, producers = Dispatcher(), [Quick() for _ in range(n)]
    return lambda: [dispatcher.register_result_producer(each, "t") for each in producers]


def register_listeners(n: int) -> Deed:
    """Registering listeners one by one on one topic."""
    dispatcher, listeners = Dispatcher(), [Deaf() for _ in range(n)]
    return lambda: [dispatcher.register_result_listener(each, "t") for each in listeners]


def register_busy(n: int) -> Deed:
    """Registering producers on one topic, with a send after each hundredth."""
    dispatcher, producers = Dispatcher(), [Quick() for _ in range(n)]

    def deed() -> None:
        for number, producer in enumerate(producers):
            dispatcher.register_result_producer(producer, "t")
            if number % 100 == 0:
                dispatcher.send_request("other")

    return deed


def deregister_producers(n: int) -> Deed:
    """Deregistering producers one by one."""
    dispatcher, producers = asked(n)
    return lambda: [dispatcher.deregister_result_producer(each, "t") for each in producers]


def deregister_listeners(n: int) -> Deed:
    """Deregistering listeners one by one."""
    dispatcher, listeners = Dispatcher(), [Deaf() for _ in range(n)]
    for listener in listeners:
        dispatcher.register_result_listener(listener, "t")
    return lambda: [dispatcher.deregister_result_listener(each, "t") for each in listeners]


def late_replies(n: int) -> Deed:
    """Late replies to one request."""
    dispatcher, _, handle = all_hung(n)
    handle.cancel()
    handle.wait()
    return lambda: (Hung.gate.set(), accounted(dispatcher, n, "SURPLUS"))


def diagnosed_end(n: int) -> Deed:
    """An end with hung members, diagnose=True."""
    dispatcher, _, handle = all_hung(n, diagnose=True)
    return lambda: (handle.cancel(), handle.wait(), quiet(dispatcher))


def retired_topics(n: int) -> Deed:
    """Topics that nobody is on any more, while a request on each is open."""
    dispatcher, producer = Dispatcher(), Quick()
    handles: List[Any] = []

    def deed() -> None:
        for number in range(n):
            dispatcher.register_result_producer(producer, number)
            handles.append(dispatcher.send_request(number, ttl=None))
            dispatcher.deregister_result_producer(producer, number)
            dispatcher.send_request(-1 - number)

    return deed


def waiters(n: int) -> Deed:
    """Threads that wait for one request, at its end."""
    _, _, handle = all_hung(1)
    threads = [threading.Thread(target=handle.wait, daemon=True) for _ in range(n)]
    for thread in threads:
        thread.start()
    return lambda: (Hung.gate.set(), [thread.join() for thread in threads])


def waits_that_time_out(n: int) -> Deed:
    """Waits for one request that time out, with as many enlisted."""
    dispatcher, _, handle = all_hung(1)
    loop_waiters = [iter(handle) for _ in range(n)]
    return lambda: ([handle.wait(0) for _ in loop_waiters], quiet(dispatcher))


def callbacks(n: int) -> Deed:
    """Done callbacks of one request, added and called."""
    _, _, handle = all_hung(1)
    called: List[Any] = []
    done = threading.Event()

    def deed() -> None:
        for _ in range(n):
            handle.add_done_callback(called.append)
        handle.add_done_callback(lambda _: done.set())
        Hung.gate.set()
        done.wait()

    return deed


def open_report(n: int) -> Deed:
    """report() of an open request whose members have not begun."""
    dispatcher, _ = asked(n)
    handle = dispatcher.send_request("t", ttl=None)
    return lambda: [handle.report() for _ in range(10)]


def half_open_report(n: int) -> Deed:
    """report() of an open request, half of which has answered."""
    dispatcher, producers = asked(n)
    handle = dispatcher.send_request("t", ttl=None)
    for producer in producers[::2]:
        producer.start()
    while len(handle.replies) < len(producers[::2]):
        time.sleep(0.01)
    return lambda: [handle.report() for _ in range(10)]


def disable_all(n: int) -> Deed:
    """Disabling one by one on one topic, nothing waiting."""
    dispatcher, producers = asked(n)

    def deed() -> None:
        for producer in producers:
            dispatcher.disable(producer)
        quiet(dispatcher)

    return deed


def disable_all_waiting(n: int) -> Deed:
    """Disabling one by one those of whom an open request was asked."""
    dispatcher, producers = asked(n)
    handle = dispatcher.send_request("t", ttl=None)

    def deed() -> None:
        for producer in producers:
            dispatcher.disable(producer)
        handle.wait()

    return deed


def disable_at_a_start_line(n: int) -> Deed:
    """Disabling one by one those who stand at a start line, all but the last."""
    dispatcher, producers = asked(n)
    absent = Quick()
    dispatcher.register_result_producer(absent, "t")
    handle = dispatcher.options(ttl=None, barrier=True).send_request("t")
    for producer in producers:
        producer.start()
    while sum(str(m.standing) == "Standing.AT_LINE" for m in handle.report().members) < n:
        time.sleep(0.02)

    def deed() -> None:
        for producer in producers:
            dispatcher.disable(producer)
        dispatcher.disable(absent)
        handle.wait()

    return deed


def start_line(n: int) -> Deed:
    """Members that come to a start line, and go."""
    dispatcher, producers = asked(n)
    handle = dispatcher.options(ttl=None, barrier=True).send_request("t")
    return lambda: ([each.start() for each in producers], handle.wait())


def declined(n: int) -> Deed:
    """Members of one request that decline: all of them have ended."""
    dispatcher, producers = asked(n)
    for producer in producers:
        producer.start()
        producer.stop()
        producer.join()
    return lambda: dispatcher.send_request("t", ttl=None).wait()


def only_names(n: int) -> Deed:
    """A send with options(only=[...]), by name, and one with without=[...], by object."""
    dispatcher, producers = asked(n)
    names = dispatcher.options(ttl=0, only=[producer.name for producer in producers])
    without = dispatcher.options(ttl=0, without=producers[1:])
    return lambda: [
        (names.send_request("t"), without.send_request("t"), quiet(dispatcher)) for _ in range(3)
    ]


def middle_of_a_mailbox(n: int) -> Deed:
    """Quorums against a hung producer, of which every third waits for it alone."""
    dispatcher, (hung,), _ = all_hung(1)
    quick = Quick()
    dispatcher.register_result_producer(quick, "t")
    first = dispatcher.options(ttl=None, need=1)
    alone = dispatcher.options(ttl=None, only=hung)
    handles = []
    for _ in range(n):
        alone.send_request("t")
        handles += [first.send_request("t"), first.send_request("t")]

    def deed() -> None:
        quick.start()
        for each in handles:
            each.wait()
        quiet(dispatcher)

    return deed


def finished_streams(n: int) -> Deed:
    """Streams of one request under a policy, each of ten values."""

    class Stream(Producer):
        def __init__(self) -> None:
            super().__init__(stream=True)

        def produce_dispatcher_output(self, topic: Any) -> Any:
            yield from range(10)

    dispatcher, producers = asked(n, Stream)
    handle = dispatcher.options(ttl=None, need=n).send_request("t")
    return lambda: ([each.start() for each in producers], handle.wait())


def keys(n: int) -> Deed:
    """Requests with an ordering key of their own each, for two workers."""
    dispatcher, (quick,) = asked(1, lambda: Quick(workers=2))
    handles = [
        dispatcher.options(ttl=None, ordering_key=number).send_request("t") for number in range(n)
    ]
    return lambda: (quick.start(), [each.wait() for each in handles])


def busy_keys(n: int) -> Deed:
    """Requests of n keys, two of each, for two workers: the second waits for the first."""
    dispatcher, (quick,) = asked(1, lambda: Quick(workers=2))
    handles = [
        dispatcher.options(ttl=None, ordering_key=number // 2).send_request("t")
        for number in range(2 * n)
    ]
    return lambda: (quick.start(), [each.wait() for each in handles])


def instruments(n: int) -> Deed:
    """Producers that share one instrument, each asked once."""
    dispatcher, producers = asked(n, lambda: Quick(exclusive="one"))
    handle = dispatcher.send_request("t", ttl=None)
    return lambda: ([each.start() for each in producers], handle.wait())


def barriers(n: int) -> Deed:
    """Barrier requests to two producers with instruments, all waiting at once."""
    dispatcher = Dispatcher()
    producers = [Quick(exclusive=name) for name in ("a", "b")]
    for producer in producers:
        dispatcher.register_result_producer(producer, "t")
    dispatcher.start()
    sender = dispatcher.options(ttl=None, barrier=True)
    handles = [sender.send_request("t") for _ in range(n)]
    return lambda: ([each.start() for each in producers], [each.wait() for each in handles])


LOADS: Dict[str, Tuple[Callable[[int], Deed], int]] = {
    "register_producers": (register_producers, 1250),
    "register_listeners": (register_listeners, 2500),
    "register_busy": (register_busy, 1250),
    "deregister_producers": (deregister_producers, 1250),
    "deregister_listeners": (deregister_listeners, 1250),
    "late_replies": (late_replies, 100),
    "diagnosed_end": (diagnosed_end, 250),
    "retired_topics": (retired_topics, 1000),
    "waiters": (waiters, 50),
    "waits_that_time_out": (waits_that_time_out, 2000),
    "callbacks": (callbacks, 5000),
    "open_report": (open_report, 1000),
    "half_open_report": (half_open_report, 250),
    "disable_all": (disable_all, 1000),
    "disable_all_waiting": (disable_all_waiting, 1000),
    "disable_at_a_start_line": (disable_at_a_start_line, 200),
    "start_line": (start_line, 250),
    "declined": (declined, 500),
    "only_names": (only_names, 1000),
    "middle_of_a_mailbox": (middle_of_a_mailbox, 500),
    "finished_streams": (finished_streams, 200),
    "keys": (keys, 1000),
    "busy_keys": (busy_keys, 1000),
    "instruments": (instruments, 200),
    "barriers": (barriers, 250),
}
"""What is made ready, and n."""

IN_TIME = {"register_producers": 5000, "register_listeners": 10_000}
"""So many have to register within the limit."""


def measured(name: str, n: int) -> float:
    """CPU seconds, in a process of its own: the least of some."""
    found = []
    for _ in range(3):
        command = [sys.executable, __file__, "--load", name, "--count", str(n)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, timeout=300)
        found.append(float(done.stdout.split()[-1]) if done.stdout.split() else float("nan"))
    return min(found)


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description="What grows faster than linearly.")
    parser.add_argument("--scale", type=float, default=1.0, help="of the loads (1.0)")
    parser.add_argument("--only", default="", help="loads with this in their names")
    parser.add_argument("--load", choices=list(LOADS), help=argparse.SUPPRESS)
    parser.add_argument("--count", type=int, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.load:
        logging.disable()
        threading.stack_size(256 * 1024)
        deed = LOADS[chosen.load][0](chosen.count)
        # What it takes grows with all that the program keeps, not with what is measured.
        gc.collect()
        gc.disable()
        began = time.process_time()
        deed()
        print(time.process_time() - began, flush=True)
        Hung.gate.set()
        return
    failed = False
    print(f"{'CPU ms':26} {'n':>6} {'n':>9} {'2n':>9} {'4n':>9} {'4n / n':>7}")
    for name, (load, least) in LOADS.items():
        if chosen.only not in name:
            continue
        n = max(4, int(least * chosen.scale))
        times = [measured(name, n * factor) for factor in (1, 2, 4)]
        ratio = times[2] / max(times[0], 1e-6)
        said = f"   {(load.__doc__ or '').strip()}"
        if not ratio < FLAGGED:
            failed, said = True, said + "  <-- FASTER THAN LINEARLY"
        if name in IN_TIME:
            took = measured(name, IN_TIME[name])
            said += f" {IN_TIME[name]}: {took:.3f} s"
            if not took < LIMIT_S:
                failed, said = True, said + "  <-- TOO LONG"
        shown = " ".join(f"{each * 1000:9.1f}" for each in times)
        print(f"{name:26} {n:6d} {shown} {ratio:7.1f}{said}", flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()
