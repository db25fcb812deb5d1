"""The places in the package at which tests step in: one table, so that who moves one finds it.

A seam is a line of a function, named by a text that only that line of it has; a thread can be held
that is about to execute it. Behind these stand functions that tests replace.
"""

from __future__ import annotations

from typing import Any, Callable, NamedTuple, Tuple

from ate_dispatcher._core.ends import Ends
from ate_dispatcher._delivery.channel import Roster, Side
from ate_dispatcher._delivery.local_member import FurtherWorker, LocalMember
from ate_dispatcher._delivery.mailbox import Mailbox
from ate_dispatcher._engine import scatter, serve, threads
from ate_dispatcher._engine.control import ControlLoop
from ate_dispatcher._engine.engine import Engine


class Seam(NamedTuple):
    """The only line of *function* that has *text* in it."""

    function: Callable[..., Any]
    text: str


# A worker that finds nothing in its mailbox.
WORKER_PUTS_UP_ITS_TOKEN = Seam(serve.serve, "mailbox.attention = [True]")
WORKER_LOOKS_AGAIN = Seam(Mailbox.rest, "if not self.items:")
WORKER_CALLS = Seam(serve.serve, "if kwargs:")
WORKER_PARKS = Seam(Mailbox.rest, "park = self.parker.park")

# What has ended is taken out of a mailbox: the rest is put back.
CLEARED_MAILBOX_IS_FILLED = Seam(Mailbox.sweep, "self._mark()")

# A request has been opened, and no mailbox has it yet.
SEND_PUTS = Seam(scatter.send, "append = outlet.append")

# The dispatcher's own thread, and those who wake it.
LOOP_PARKS = Seam(ControlLoop._park, "orders.parker.park_until(")
LOOP_ENDS = Seam(ControlLoop._finish, "engine.orders.close()")
ORDER_WAKES_THE_LOOP = Seam(Engine.leave, "orders.attend()")
ORDER_WAS_APPENDED = Seam(Engine.post, "if self.orders.attention is CLOSED")

# A registration makes a new snapshot, and then looks whether it is still the newest.
ROSTER_IS_MADE = Seam(Roster.__init__, "self.size: int = ")
ROSTER_WAS_STORED = Seam(Side.current, "if self.version is version")

# A request has been given its end, which the sums do not know yet.
SUMS_ARE_ADDED = Seam(Ends._complete, "self._sums.add(")


Place = Tuple[Any, str]
"""For ``monkeypatch.setattr``: where a function stands, and its name."""

SPAWN: Place = (threads, "spawn")
"""A worker, but the first, gets its thread."""

WAKES: Tuple[Place, ...] = ((FurtherWorker, "unpark"), (LocalMember, "unpark"))
"""One of several workers is woken."""
