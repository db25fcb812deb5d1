"""Parts in processes of their own: each does what it is told, a line at a time."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from importlib import import_module
from pathlib import Path
from typing import Any, Callable, Dict, List, TextIO

PATIENCE = 30.0
"""Seconds after which what should come does not."""

HERE = Path(__file__).resolve()
ROOT = HERE.parents[2]
HELPERS = Path(__file__).resolve().parents[1] / "helpers"


class FarPart:
    """One process, with a dispatcher; *within* is a command that runs others."""

    def __init__(self, *within: str) -> None:
        self.name = ""
        self.process = subprocess.Popen(
            [*within, sys.executable, "-W", "error", str(HERE)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(HELPERS)])},
            text=True,
        )

    def send(self, code: str) -> None:
        """Have it run *code*; `answer` is to follow."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(code) + "\n")
        self.process.stdin.flush()

    def answer(self) -> Any:
        """Of what was sent last."""
        assert self.process.stdout is not None
        # A process that hangs is ended, so that the test is.
        watch = threading.Timer(PATIENCE, self.process.kill)
        watch.start()
        try:
            line = self.process.stdout.readline()
        finally:
            watch.cancel()
        assert line, f"part {self.name} has ended, or hung"
        error, value = json.loads(line)
        assert not error, f"part {self.name}: {error}"
        return value

    def do(self, code: str) -> None:
        """Run *code* there; the names it binds stay."""
        self.send(code)
        self.answer()

    def get(self, expression: str) -> Any:
        """The value of that, of JSON's types."""
        self.send(f"_ = {expression}")
        return self.answer()

    def freeze(self) -> None:
        """It does nothing more when this returns."""
        self.process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.process.pid, os.WSTOPPED)

    def thaw(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """As a power cut does."""
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        """Whatever its state."""
        with contextlib.suppress(OSError):
            self.thaw()
            self.kill()
        for each in (self.process.stdin, self.process.stdout):
            assert each is not None
            with contextlib.suppress(OSError):
                each.close()


class FarParts:
    """Processes, which are used again; what each of them has ends with the test it is for."""

    def __init__(self) -> None:
        self._idle: List[FarPart] = []
        self._used: List[FarPart] = []

    def start(self, url: str, namespace: str, *names: str, **options: Any) -> List[FarPart]:
        """Several at a time, which takes little longer than one."""
        parts = [self._idle.pop() if self._idle else FarPart() for _ in names]
        self._used += parts
        for part, name in zip(parts, names):
            part.name = name
            given = {"namespace": namespace, "name": name, **options}
            part.send(f"connection = dispatcher.connect({url!r}, **{given!r})")
        for part in parts:
            part.answer()
        return parts

    def tidy(self) -> None:
        """End what they have."""
        used, self._used = self._used, []
        alive = [part for part in used if part.process.poll() is None]
        for part in used:
            if part not in alive:
                part.close()
        for part in alive:
            part.thaw()
            part.send("fresh()")
        for part in alive:
            part.answer()
        self._idle += alive

    def close(self) -> None:
        for part in [*self._idle, *self._used]:
            part.close()


def eventually(condition: Callable[[], Any], patience: float = PATIENCE) -> Any:
    """What *condition* says when it first holds."""
    until = time.monotonic() + patience
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < until, "it does not come to that"
        time.sleep(0.002)


def _run(said: TextIO) -> None:
    """The program of a part."""
    from ate_dispatcher import (
        Dispatcher,
        Producer,
        ResultListener,
        TopicPattern,
        current_request,
    )

    heard: List[Any] = []
    done: List[Any] = []

    class Works(Producer):
        """Takes so long, and answers with its name and what it was given."""

        def __init__(self, name: str, ms: float = 0, **options: Any) -> None:
            super().__init__(name=name, **options)
            self.ms = ms

        def produce_dispatcher_output(self, topic: Any, *args: Any, **kwargs: Any) -> Any:
            done.append([time.monotonic(), *args])
            time.sleep(self.ms / 1e3)
            return [self.name, *args]

    class Hears(ResultListener):
        def process_dispatcher_result(self, topic: Any, response: Any) -> None:
            heard.append(response)

    always: Dict[str, Any] = {
        "heard": heard,
        "done": done,
        "Works": Works,
        "Hears": Hears,
        "TopicPattern": TopicPattern,
        "current_request": current_request,
        "time": time,
        "threading": threading,
        "engine_of": lambda found: import_module("inside").engine_of(found),
    }
    names: Dict[str, Any] = {}

    def fresh() -> None:
        if names:
            names["dispatcher"].stop(immediate=True)
            names["dispatcher"].join(5)
        names.clear()
        heard.clear()
        done.clear()
        names.update(always, fresh=fresh, dispatcher=Dispatcher())
        names["dispatcher"].start()

    fresh()
    for line in sys.stdin:
        error, value = "", None
        try:
            exec(json.loads(line), names)
            value = names.pop("_", None)
        except BaseException as raised:
            error = f"{type(raised).__name__}: {raised}"
        print(json.dumps([error, value]), file=said, flush=True)


if __name__ == "__main__":
    _run(sys.stdout)
