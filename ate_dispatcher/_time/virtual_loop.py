"""An event loop that lives under a virtual clock: where others wait for the system it parks."""

from __future__ import annotations

import asyncio
from typing import Any, Callable, Sequence, Tuple

from .._core.durations import NEVER, past
from ..errors import DispatcherError
from .clock import Parker

__all__ = ["VirtualLoop"]

_REAL = (
    *("run_in_executor", "getaddrinfo", "getnameinfo", "sendfile", "start_tls"),
    *("create_connection", "create_server", "create_datagram_endpoint"),
    *("create_unix_connection", "create_unix_server", "connect_accepted_socket"),
    *("add_reader", "add_writer", "sock_recv", "sock_recv_into", "sock_recvfrom"),
    *("sock_recvfrom_into", "sock_sendall", "sock_sendto", "sock_connect", "sock_accept"),
    *("sock_sendfile", "connect_read_pipe", "connect_write_pipe"),
    *("subprocess_shell", "subprocess_exec", "add_signal_handler"),
)
"""What waits for something real."""


class VirtualLoop(asyncio.BaseEventLoop):
    """Its time is that of *clock*, and its thread one of the clock's, which parks on *parker*.

    So time passes only while none of its coroutines can run, and ``asyncio.sleep`` and time limits
    take virtual time. What would wait for something real is refused.
    """

    def __init__(self, clock: Any, parker: Parker) -> None:
        self.clock = clock
        self._parker = parker
        #: What the base waits with.
        self._selector = self
        super().__init__()

    def time(self) -> float:
        """The present instant of the clock."""
        now: float = self.clock.now()
        return now

    @property
    def _clock_resolution(self) -> float:
        # What is due at this very instant is; nothing later, however large the numbers are.
        now = self.time()
        return past(now) - now

    @_clock_resolution.setter
    def _clock_resolution(self, of_the_system: float) -> None:
        """That of another clock."""

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., Any], *args: Any, **more: Any
    ) -> Any:
        """As every loop; ClockStopped when there is no time any more."""
        self.clock.refuse_if_stopped()
        return super().call_at(when, callback, *args, **more)

    async def asleep(self, seconds: float) -> None:
        """Let so much time pass."""
        await asyncio.sleep(seconds)

    def select(self, timeout: Any) -> Sequence[Tuple[Any, int]]:
        """Park, for so many seconds at most; None is for ever."""
        if timeout is None:
            self._parker.park_until(NEVER)
        elif timeout > 0:
            self._parker.park_until(self.time() + timeout)
        return ()

    def _process_events(self, event_list: Any) -> None:
        """There are none."""

    def _write_to_self(self) -> None:
        self._parker.unpark(None)


def _refuses(name: str) -> Callable[..., Any]:
    def refuse(self: Any, *args: Any, **kwargs: Any) -> Any:
        raise DispatcherError(
            f"{name}() waits for something real, and a coroutine under a virtual clock must not: "
            "let something stand for it that awaits virtual_clock.asleep(seconds)"
        )

    return refuse


for _name in _REAL:
    setattr(VirtualLoop, _name, _refuses(_name))
