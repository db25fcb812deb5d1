"""A forgotten stop at the end of the interpreter."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from rig import CAST, PATIENCE, UNHURRIED, pace, python, seconds_to_exit

__all__ = ["pace"]

pytestmark = pytest.mark.usefixtures("pace")


STRICT = ("-X", "dev", "-W", "error")


def test_a_forgotten_stop_loses_no_result() -> None:
    """What a listener takes within the time at the exit, it gets, although nobody waited."""
    done = python(
        CAST
        + """
    import atexit

    class Slow(Log):
        def process_dispatcher_result(self, topic, response):
            started.wait(30)
            super().process_dispatcher_result(topic, response)
            if len(self.heard) == 50:
                sys.stdout.write('all heard')
                sys.stdout.flush()

    started = threading.Event()
    dispatcher = Dispatcher()
    dispatcher.register_result_producer(Site(), 't', start=True)
    dispatcher.register_result_listener(Slow(), 't', start=True)
    dispatcher.start()
    for n in range(50):
        dispatcher.send_request('t', n)
    atexit.register(started.set)
    """,
        *STRICT,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "all heard", "")


def test_a_forgotten_stop_lets_the_interpreter_go_at_once_when_nothing_is_open() -> None:
    """Idle dispatchers and participants cost no time at the exit, however many there are."""
    took = seconds_to_exit(
        CAST
        + """
    kept = []
    for n in range(20):
        dispatcher = Dispatcher()
        dispatcher.register_result_producer(Site(), 't', start=True)
        dispatcher.register_result_listener(Log(), 't', start=True)
        dispatcher.add_hook(lambda event: None)
        dispatcher.start()
        assert dispatcher.send_request('t', 1, ttl=None).results(30) == [(1,)]
        kept.append(dispatcher)
    print('the end', flush=True)
    """,
        limit=PATIENCE,
    )
    assert took < 1.9


def test_overridden_stops_are_called_at_the_exit() -> None:
    """Participants that close an instrument in stop() do so for a forgotten stop too."""
    done = python(
        CAST
        + """
    class Instrument(Site):
        def stop(self):
            sys.stdout.write('closed')
            sys.stdout.flush()
            super().stop()

    dispatcher = Dispatcher()
    dispatcher.register_result_producer(Instrument(), 't', start=True)
    dispatcher.start()
    """,
        *STRICT,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "closed", "")


HUNG = {
    "producer": """
    class Hung(Site):
        def produce_dispatcher_output(self, topic, *args, **kwargs):
            entered.set()
            threading.Event().wait()

    hung, log = Hung(), Log()
    """,
    "listener": """
    class Hung(Log):
        def process_dispatcher_result(self, topic, response):
            entered.set()
            threading.Event().wait()

    hung, log = Site(), Hung()
    """,
    "hook": """
    hung, log = Site(), Log()
    dispatcher.add_hook(lambda event: entered.set() or threading.Event().wait())
    """,
    "stop": """
    class Hung(Site):
        def produce_dispatcher_output(self, topic, *args, **kwargs):
            entered.set()

        def stop(self):
            threading.Event().wait()

    hung, log = Hung(), Log()
    """,
}


@pytest.mark.thorough
@UNHURRIED
def test_nobody_who_hangs_hangs_the_interpreter() -> None:
    """A producer, listener, hook or stop() that never returns: the exit comes within the drain
    time and the listeners' time, 5 seconds with all that is around it.
    """

    def exit_with(who: str) -> float:
        return seconds_to_exit(
            CAST
            + """
    entered = threading.Event()
    dispatcher = Dispatcher()
    dispatcher.start()
    """
            + HUNG[who]
            + """
    dispatcher.register_result_producer(hung, 't', start=True)
    dispatcher.register_result_listener(log, 't', start=True)
    dispatcher.send_request('t', ttl=None)
    assert entered.wait(30)
    print('the end', flush=True)
    """,
            limit=PATIENCE,
        )

    with ThreadPoolExecutor(len(HUNG)) as pool:
        took = dict(zip(HUNG, pool.map(exit_with, HUNG)))
    assert max(took.values()) < 5, took


def test_a_dispatcher_that_is_joined_keeps_a_program_alive() -> None:
    """What shall live on after its main thread's work calls join(): until somebody stops it."""
    done = python(
        CAST
        + """
    class Quit(Site):
        def produce_dispatcher_output(self, topic, *args, **kwargs):
            dispatcher.stop()

    dispatcher = Dispatcher()
    dispatcher.register_result_producer(Quit(), 't', start=True)
    dispatcher.start()
    threading.Thread(target=lambda: dispatcher.send_request('t')).start()
    dispatcher.join()
    print('stopped')
    """,
        *STRICT,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "stopped\n", "")


EXECUTOR = """
import atexit
import time
from concurrent.futures import ThreadPoolExecutor

from ate_dispatcher import Dispatcher, Producer, ResultListener


class Site(Producer):
    def produce_dispatcher_output(self, topic, number):
        time.sleep(0.1)
        return pool.submit(lambda: number + 1).result()


class Log(ResultListener):
    def process_dispatcher_result(self, topic, value):
        print(value, flush=True)


def leave_safely():
    print("safe", dispatcher.send_request("safe").results(), flush=True)


class Safe(Producer):
    def produce_dispatcher_output(self, topic):
        return "off"


dispatcher = Dispatcher()
dispatcher.start()
dispatcher.register_result_producer(Site(), "t", start=True)
dispatcher.register_result_producer(Safe(), "safe", start=True)
dispatcher.register_result_listener(Log(), "t", start=True)
atexit.register(leave_safely)
pool = ThreadPoolExecutor(1)
# Python 3.12 starts no thread at the exit.
pool.submit(int).result()
for number in range(3):
    dispatcher.send_request("t", number)
"""


def test_what_is_open_at_the_exit_still_has_its_executor() -> None:
    """And a handler of the program's own still has the dispatcher: the rig is left safely."""
    done = subprocess.run(
        [sys.executable, "-c", EXECUTOR], capture_output=True, text=True, timeout=60
    )
    assert done.stderr == ""
    # Python 3.8 calls the handler first.
    assert sorted(done.stdout.splitlines()) == ["1", "2", "3", "safe ['off']"]


@pytest.mark.thorough
@UNHURRIED
def test_what_the_exit_cuts_short_is_told_of() -> None:
    """Once, with how many; nothing is said where all came to their end."""
    program = (
        CAST
        + """
    class Hung(Producer):
        def produce_dispatcher_output(self, topic):
            threading.Event().wait()

    dispatcher = Dispatcher(name='rig')
    dispatcher.register_result_producer(Hung(), 'hung', start=True)
    dispatcher.register_result_producer(Site(), 't', start=True)
    dispatcher.start()
    dispatcher.send_request('t', ttl=None).wait()
    """
    )
    cut = program + "dispatcher.send_request('hung', ttl=None)\n    " * 2
    with ThreadPoolExecutor(2) as pool:
        quiet, told = pool.map(python, (program, cut))
    assert (quiet.returncode, quiet.stderr) == (0, "")
    said = "the exit cut 2 open requests of rig short: wait for them, or join() it"
    assert (told.returncode, told.stderr.splitlines()) == (0, [said])


@pytest.mark.thorough
@UNHURRIED
@pytest.mark.parametrize("how", ["raise KeyError", "sys.exit()", "pass", "dispatcher.join"])
def test_whoever_has_something_to_switch_off_does_so(how: str) -> None:
    """However the program ends; the interpreter waits for that, and the with block too."""
    program = (
        CAST
        + """
    class Supply(Site):
        def on_stop(self):
            time.sleep(0.2)
            print('off', flush=True)

    def use(dispatcher):
        dispatcher.register_result_producer(Supply(), 't', start=True)
        dispatcher.send_request('t', ttl=None).wait()
    """
    )
    if how == "dispatcher.join":
        program += """
    dispatcher = Dispatcher()
    dispatcher.start()
    use(dispatcher)
    dispatcher.stop()
    dispatcher.join()
    """
    else:
        program += f"""
    with Dispatcher() as dispatcher:
        use(dispatcher)
        {how}
    """
    assert python(program).stdout == "off\n"
