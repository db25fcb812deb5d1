"""A small rig that measures this very machine: ``python -m ate_dispatcher.example_rig --ttl 250``.

Six sites are asked at once and measure side by side, as on a real rig: each feels the others' load.
One is slow on purpose. What arrives within the ttl is printed as it comes, then the report.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import queue
import socket
import statistics
import sys
import tempfile
import threading
import time
from functools import partial
from typing import Any, Callable, List, NamedTuple, Optional, Sequence

from . import Dispatcher, Producer, Reply, Report, ResultListener, current_request

__all__ = ["main"]

OK, MISSING, RAISED, INTERRUPTED = 0, 3, 4, 130
"""Exit statuses. Bad arguments are argparse's, 2; 130 is what shells make of Ctrl-C."""

EPILOG = """\
sites:
  fsync    time to write 4 KiB to a temporary file and force it to disk
  tcp      round trip over a TCP connection on 127.0.0.1
  sha256   throughput of SHA-256
  handoff  time until another thread has what this one put into a queue
  sleep    how much longer than asked a sleep of 1 ms takes
  slow     measures nothing and takes --slow milliseconds for it

exit status:
  0  every site answered in time
  2  bad arguments
  3  some site gave no answer in time
  4  some site raised (whether or not others are missing)
"""


class Measurement(NamedTuple):
    """What a site answers."""

    value: float
    unit: str
    what: str


def median_of(action: Callable[[], object]) -> float:
    """Seconds *action* takes, measured at least once and for a fifth of the time that is left."""
    request = current_request()
    left = None if request is None else request.remaining_ms
    began = time.perf_counter()
    until = began + (0.05 if left is None else min(0.05, left / 5000))
    took: List[float] = []
    while not took or began < until:
        began = time.perf_counter()
        action()
        took.append(time.perf_counter() - began)
    return statistics.median(took)


def fsync() -> Measurement:
    # The system itself removes this file, even if the program ends in the middle of a slow fsync.
    with tempfile.TemporaryFile(buffering=0) as file:

        def write_through() -> None:
            file.write(bytes(4096))
            os.fsync(file.fileno())

        return Measurement(median_of(write_through) * 1e6, "us", "to write 4 KiB and fsync")


def tcp() -> Measurement:
    # One thread holds both ends: this is the time of the system, without a switch of threads.
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        door.listen(1)
        with socket.create_connection(door.getsockname()) as near, door.accept()[0] as far:

            def round_trip() -> None:
                near.sendall(b"?")
                far.sendall(far.recv(1))
                near.recv(1)

            return Measurement(median_of(round_trip) * 1e6, "us", "round trip on 127.0.0.1")


def sha256() -> Measurement:
    block = bytes(1_000_000)
    seconds = median_of(lambda: hashlib.sha256(block).digest())
    return Measurement(1 / seconds, "MB/s", "through SHA-256")


def handoff() -> Measurement:
    there: queue.SimpleQueue[bool] = queue.SimpleQueue()
    back: queue.SimpleQueue[bool] = queue.SimpleQueue()

    def echo() -> None:
        while there.get():
            back.put(True)

    def round_trip() -> None:
        there.put(True)
        back.get()

    # A daemon: it must not keep a program alive that did not wait for this answer.
    threading.Thread(target=echo, name="handoff-echo", daemon=True).start()
    try:
        return Measurement(median_of(round_trip) / 2 * 1e6, "us", "to reach another thread")
    finally:
        there.put(False)


def sleep() -> Measurement:
    overshoot = median_of(lambda: time.sleep(0.001)) - 0.001
    return Measurement(overshoot * 1e6, "us", "more than asked for a sleep of 1 ms")


def slow(ms: float) -> Measurement:
    # Unlike time.sleep, this takes any length on every system.
    threading.Event().wait(min(ms / 1000, threading.TIMEOUT_MAX))
    return Measurement(ms, "ms", "taken on purpose (--slow)")


MEASURES = {measure.__name__: measure for measure in (fsync, tcp, sha256, handoff, sleep)}
SITES = (*MEASURES, "slow")


class Site(Producer):
    """One site of the rig; it raises instead of measuring if it is *broken*."""

    def __init__(self, name: str, measure: Callable[[], Measurement], broken: bool) -> None:
        super().__init__(name=name)
        self._measure = measure
        self._broken = broken

    def produce_dispatcher_output(self, topic: Any, *args: Any, **kwargs: Any) -> Measurement:
        if self._broken:
            raise RuntimeError(f"broken on purpose (--break {self.name})")
        return self._measure()


class Recorder(ResultListener):
    """Keeps the report as it stood at the end: one taken later shows late answers too."""

    def __init__(self) -> None:
        super().__init__(name="recorder")
        self.reports: queue.SimpleQueue[Report] = queue.SimpleQueue()

    def process_dispatcher_result(self, topic: Any, response: Any) -> None:
        """The results are taken from the handle."""

    def process_dispatcher_completion(self, topic: Any, report: Report) -> None:
        self.reports.put(report)


def ask(names: Sequence[str], ttl: float, slow_ms: float, broken: Sequence[str]) -> Report:
    """Ask the sites *names* and print each reply as it arrives; the report of the end."""
    measures = {**MEASURES, "slow": lambda: slow(slow_ms)}
    recorder = Recorder()
    dispatcher = Dispatcher(name="rig")
    dispatcher.start()
    answered: List[Producer] = []
    try:
        dispatcher.register_result_listener(recorder, "measure", start=True)
        for name in names:
            site = Site(name, measures[name], name in broken)
            dispatcher.register_result_producer(site, "measure", start=True)
        for reply in dispatcher.send_request("measure", ttl=ttl):
            answered.append(reply.producer)
            print(line(reply), flush=True)  # at once, also into a pipe
        return recorder.reports.get()
    finally:
        # Not `with Dispatcher()`, which would give the slow site time to finish.
        dispatcher.stop(immediate=True)
        for producer in answered:
            # An error is logged after it was handed in: not too late for the end of the program.
            producer.join(1)


def line(reply: Reply) -> str:
    """One printed result."""
    if reply.ok:
        result = "{:10.1f} {:<5} {}".format(*reply.value)
    else:
        result = f"raised {type(reply.error).__name__}: {reply.error}"
    return f"{reply.elapsed_ms:8.1f} ms  {reply.producer.name:<8} {result}"


def milliseconds(text: str) -> float:
    """A duration of the command line."""
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not value >= 0:
        raise argparse.ArgumentTypeError(f"must be a number of milliseconds >= 0, not {text!r}")
    return value


def arguments(argv: Optional[Sequence[str]]) -> argparse.Namespace:
    """The options; the program ends with status 2 if they make no sense."""
    parser = argparse.ArgumentParser(
        prog="python -m ate_dispatcher.example_rig",
        description="Measure this machine at several sites at once; take what comes in time.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    duration = partial(parser.add_argument, metavar="MS", type=milliseconds)
    duration("--ttl", default=250.0, help="milliseconds to answer in; inf waits (default: 250)")
    duration("--slow", default=2000.0, help="milliseconds the slow site takes (default: 2000)")
    sites = partial(parser.add_argument, metavar="SITE", choices=SITES, action="append", default=[])
    sites("--only", help="ask this site; may be repeated (default: all)")
    sites("--break", dest="broken", help="let this site raise; may be repeated")
    options = parser.parse_args(argv)
    options.only = [name for name in SITES if name in (options.only or SITES)]
    if not set(options.broken) <= set(options.only):
        parser.error("argument --break: names a site that --only leaves out")
    return options


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run the program with the arguments *argv*; its exit status."""
    options = arguments(argv)
    try:
        report = ask(options.only, options.ttl, options.slow, options.broken)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    print(f"\n{report}\n")
    if report.failed:
        print("raised:", ", ".join(report.failed))
    if report.missing:
        print("no answer in time from:", ", ".join(report.missing))
    return RAISED if report.failed else MISSING if report.missing else OK


if __name__ == "__main__":
    sys.exit(main())
