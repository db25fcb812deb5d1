"""How mailboxes can be broken: wake-ups, and what is put into closed ones, are lost (P1, P2)."""

from __future__ import annotations

from typing import Tuple

from .breaking import Variant

__all__ = ["MAILBOX"]

_JUDGED = "    _judge_left(member, Ledger.died if member.failure is None else Ledger.declined)\n"

# Not here, for nothing would be different: a closed mailbox is cleared of what has ended. Its
# producer counts as dead before it closes, and of a dead one no end buries anything.
#
# Not here, for it takes three switches, more than is played: who clears or sweeps a mailbox wakes
# nobody for the rest. The reader finds nothing, a putter comes before the token is up, and the
# reader looks again while all is out.
MAILBOX: Tuple[Variant, ...] = (
    Variant(
        "the reader looks before it says that it parks",
        "P1",
        "_delivery/mailbox.py",
        "Mailbox.park",
        (
            ("        self.attention = [True]\n", ""),
            (
                "            park = self.parker.park\n",
                "            self.attention = [True]\n            park = self.parker.park\n",
            ),
        ),
        ("mailbox_of_one_reader", "one_request"),
    ),
    Variant(
        "the putter looks whether anybody parks before it puts",
        "P1",
        "_delivery/mailbox.py",
        "Mailbox.put",
        (
            (
                "        self.items.append(item)\n        if self.attention:\n",
                (
                    "        parks = self.attention\n"
                    "        self.items.append(item)\n"
                    "        if parks:\n"
                ),
            ),
        ),
        ("mailbox_of_one_reader",),
    ),
    Variant(
        "the putter uses up a token that it has not seen",
        "P1",
        "_delivery/mailbox.py",
        "Mailbox.attend",
        (("            attention.clear()\n", "            self.attention = CALM\n"),),
        ("mailbox_of_one_reader", "two_senders", "callback"),
    ),
    Variant(
        "a producer does not look again before it parks",
        "P1",
        "_delivery/mailbox.py",
        "Mailbox.rest",
        (
            (
                (
                    "        if not self.items:\n"
                    "            park = self.parker.park\n"
                    "            park()\n"
                ),
                "        park = self.parker.park\n        park()\n",
            ),
        ),
        (
            "send_as_it_parks",
            "send_as_it_parks_with_an_instrument",
        ),
    ),
    Variant(
        "the sender looks whether the producer parks before it puts",
        "P1",
        "_engine/scatter.py",
        "send",
        (
            (
                (
                    "            append(request)\n"
                    "            attention: Any = outlet.mailbox.attention\n"
                ),
                (
                    "            attention: Any = outlet.mailbox.attention\n"
                    "            append(request)\n"
                ),
            ),
        ),
        (
            "send_as_it_parks",
            "two_senders",
        ),
    ),
    Variant(
        "the sender uses up a token that it has not seen",
        "P1",
        "_engine/scatter.py",
        "send",
        (
            (
                "                    attention.clear()\n",
                "                    outlet.mailbox.attention = False\n",
            ),
        ),
        (
            "one_after_the_other",
            "two_senders",
        ),
    ),
    Variant(
        "a producer looks whether the listener parks before it puts",
        "P1",
        "_engine/serve.py",
        "serve",
        (
            (
                (
                    "                        append(value)\n"
                    "                        attention = outlet.mailbox.attention\n"
                ),
                (
                    "                        attention = outlet.mailbox.attention\n"
                    "                        append(value)\n"
                ),
            ),
        ),
        ("two_senders",),
    ),
    Variant(
        "a worker looks before it says that it parks",
        "P1",
        "_delivery/keyed_mailbox.py",
        "KeyedMailbox.idles",
        (
            (
                (
                    "        self._parked.append(worker)\n"
                    "        self.attention = [True]\n"
                    "        if not self._ended and not self._has_more():\n"
                    "            return True\n"
                ),
                (
                    "        more = self._ended or self._has_more()\n"
                    "        self._parked.append(worker)\n"
                    "        self.attention = [True]\n"
                    "        if not more:\n"
                    "            return True\n"
                ),
            ),
        ),
        ("send_as_workers_park",),
    ),
    Variant(
        "a worker does not wake the next one",
        "P1",
        "_delivery/keyed_mailbox.py",
        "KeyedMailbox.take",
        (("        self._look_round()\n", ""),),
        ("workers_at_a_time", "workers_behind_a_key", "workers_of_which_one_is_busy"),
    ),
    Variant(
        "a putter forgets the worker that it has woken",
        "P1",
        "_delivery/keyed_mailbox.py",
        "KeyedMailbox._wake",
        (
            (
                "        worker.unpark()\n",
                (
                    "        worker.unpark()\n"
                    "        if worker in self._parked:\n"
                    "            self._parked.remove(worker)\n"
                ),
            ),
        ),
        ("workers_at_a_time", "workers_of_which_one_is_busy"),
    ),
    Variant(
        "a producer is buried before it says that it is dead",
        "P2",
        "_engine/sweep.py",
        "ended",
        (
            ("    with SECTION:\n        member.mailbox.close()\n", ""),
            (
                _JUDGED,
                _JUDGED + "    with SECTION:\n        member.mailbox.close()\n",
            ),
        ),
        ("register_what_ends", "stop_a_producer"),
    ),
    Variant(
        "a sender does not see to what it has put into a closed mailbox",
        "P2",
        "_engine/scatter.py",
        "send",
        (
            (
                "                    engine.post(Order.BURY, outlet.mailbox.owner, request)\n",
                "                    pass\n",
            ),
        ),
        ("register_what_ends", "stop_a_producer"),
    ),
    Variant(
        "an order to an engine that has ended is nobody's",
        "P2",
        "_engine/engine.py",
        "Engine.post",
        (("            self.post_mortem()\n", "            pass\n"),),
        ("callback_and_stop", "send_and_stop"),
    ),
    Variant(
        "who leaves an order looks before that whether somebody reads it",
        "P2",
        "_engine/engine.py",
        "Engine.post",
        (
            (
                ("        self.leave(what, *data)\n        if self.orders.attention is CLOSED:\n"),
                (
                    "        closed = self.orders.attention is CLOSED\n"
                    "        self.leave(what, *data)\n"
                    "        if closed:\n"
                ),
            ),
        ),
        ("callback_and_early_stop", "callback_and_stop"),
    ),
    Variant(
        "the end reads its orders before it says that it reads no more",
        "P2",
        "_engine/control.py",
        "ControlLoop._finish",
        (
            ("        engine.orders.close()\n", ""),
            (
                "            pass\n        self._stopping.give_up_values()\n",
                (
                    "            pass\n        engine.orders.close()\n"
                    "        self._stopping.give_up_values()\n"
                ),
            ),
        ),
        ("callback_and_early_stop",),
    ),
)
