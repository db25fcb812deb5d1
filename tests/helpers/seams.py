"""The places in the package at which tests step in: one table, so that who moves one finds it.

A seam is a line of a function, named by a text that only that line of it has; a thread can be held
that is about to execute it. Behind these stand functions that tests replace.
"""

from __future__ import annotations

from typing import Any, Callable, NamedTuple, Tuple

from ate_dispatcher._core.ledger import Ledger
from ate_dispatcher._core.member import Hand, Member
from ate_dispatcher._delivery.registry import Roster, Side
from ate_dispatcher._engine import hands
from ate_dispatcher._engine.control import Keeper
from ate_dispatcher._engine.engine import Desk
from ate_dispatcher._engine.gather import _clear


class Seam(NamedTuple):
    """The only line of *function* that has *text* in it."""

    function: Callable[..., Any]
    text: str


# A worker that finds nothing in its mailbox.
WORKER_PUTS_UP_ITS_ALERT = Seam(Desk.serve, "mailbox.alert = [True]")
WORKER_LOOKS_AGAIN = Seam(Desk.serve, "if not items:")
WORKER_PARKS = Seam(Desk.serve, "mailbox.bell.park()")

# What has ended is taken out of a mailbox: the rest is put back.
CLEARED_MAILBOX_IS_FILLED = Seam(_clear, "items.extendleft(")

# A request has been opened, and no mailbox has it yet.
SEND_PUTS = Seam(Desk.send, "for append, mailbox in roster.puts")

# The dispatcher's own thread, and those who wake it.
LOOP_PARKS = Seam(Keeper._park, "desk.inbox.bell.wait(")
LOOP_ENDS = Seam(Keeper._finish, "desk.inbox.alert = DEAD")
ORDER_WAKES_THE_LOOP = Seam(Desk.leave, "inbox.attend()")
ORDER_WAS_APPENDED = Seam(Desk.post, "if self.inbox.alert is DEAD")

# A registration makes a new snapshot, and then looks whether it is still the newest.
ROSTER_IS_MADE = Seam(Roster.__init__, "self.attributes = ")
ROSTER_WAS_STORED = Seam(Side.refresh, "if self.token is token")

# A request has been given its end, which the sums do not know yet.
SUMS_ARE_ADDED = Seam(Ledger._close, "self.sums.add(")


Place = Tuple[Any, str]
"""For ``monkeypatch.setattr``: where a function stands, and its name."""

CAREFUL_TURN: Place = (hands, "take_turn")
"""A worker has taken a request out of the mailbox that it cannot begin in passing."""

SPAWN: Place = (hands, "spawn")
"""A worker, but the first, gets its thread."""

WAKES: Tuple[Place, ...] = ((Hand, "ring"), (Member, "ring"))
"""One of several workers is woken."""
