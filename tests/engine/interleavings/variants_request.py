"""How the way of a request can be broken: sent, begun, answered, waited for (P5 to P9)."""

from __future__ import annotations

from typing import Tuple

from .breaking import Variant

__all__ = ["REQUEST"]

REQUEST: Tuple[Variant, ...] = (
    Variant(
        "a request is in a mailbox before it has arrived",
        "P5",
        "_engine/scatter.py",
        "send",
        (
            ("        engine.arrivals.append(request)\n", ""),
            (
                "            engine.hold(request)\n",
                "            engine.arrivals.append(request)\n            engine.hold(request)\n",
            ),
            (
                "        if engine.disabled:\n",
                "        engine.arrivals.append(request)\n        if engine.disabled:\n",
            ),
        ),
        ("send_and_stop",),
    ),
    Variant(
        "a send does not look who was disabled meanwhile",
        "P7",
        "_engine/scatter.py",
        "send",
        (("            engine.crossed(request)\n", "            pass\n"),),
        ("disable_while_busy",),
    ),
    Variant(
        "who withdraws asks who is disabled before it takes anything out",
        "P7",
        "_engine/sweep.py",
        "sweep",
        (
            (
                "    def is_off(item: Request) -> bool:\n",
                (
                    "    engines = [each() for each in list(member.engines.values())]\n"
                    "    of = member.producer\n"
                    "    off = {id(each) for each in engines if is_disabled(each.disabled, of)}\n"
                    "\n"
                    "    def is_off(item: Request) -> bool:\n"
                ),
            ),
            (
                "        return shall_not_begin(item, member)\n",
                "        return id(item.engine) in off\n",
            ),
        ),
        ("disable_and_enable",),
    ),
    Variant(
        "whether an answer is in time is looked at before the section",
        "P8",
        "_engine/serve.py",
        "serve",
        (
            (
                "            enter()\n",
                "            until = request.until\n            enter()\n",
            ),
            (
                "                if stamp <= request.until and error is None:\n",
                "                if stamp <= until and error is None:\n",
            ),
        ),
        ("cancel", "first_of_two"),
    ),
    Variant(
        "an answer is handed in for what was served before the section",
        "P8",
        "_engine/serve.py",
        "serve",
        (
            (
                "                    effects = hand_in(engine, worker, value, error, stamp)\n",
                (
                    "                    effects = engine.ledger.replied("
                    "request, worker, value, error, stamp)\n"
                    "                    if effects & ACCEPTED:\n"
                    "                        forward(request, value)\n"
                    "                    apply(engine, request, effects, member)\n"
                ),
            ),
        ),
        ("cancel", "first_of_two"),
    ),
    Variant(
        "a request says that it is over before it says when",
        "P8",
        "_core/ledger.py",
        "Ledger.counted",
        (
            ("            request.ended = stamp\n", ""),
            (
                "            request.completion = _ALL_REPLIED\n",
                (
                    "            request.completion = _ALL_REPLIED\n"
                    "            request.ended = stamp\n"
                ),
            ),
        ),
        ("report_as_it_ends",),
    ),
    Variant(
        "who iterates looks at the replies before it looks at the end",
        "P8",
        "_engine/handle.py",
        "Handle.__iter__",
        (
            (
                (
                    "            ended = self.completion is not None\n"
                    "            newest = self.chain\n"
                ),
                (
                    "            newest = self.chain\n"
                    "            ended = self.completion is not None\n"
                ),
            ),
        ),
        ("waiters",),
    ),
    Variant(
        "who stands at a start line is let go before it has begun",
        "P8",
        "_core/books.py",
        "Books._start",
        (
            (
                (
                    "            claim.worker.running, claim.worker.began = request, "
                    "Start(now, claim.spent(now))\n"
                ),
                "            claim.standing = Standing.RUNNING\n",
            ),
            (
                (
                    "            # The last of all: its worker may happen to look.\n"
                    "            claim.standing = Standing.RUNNING\n"
                ),
                (
                    "            claim.worker.running, claim.worker.began = request, "
                    "Start(now, claim.spent(now))\n"
                ),
            ),
        ),
        ("barrier",),
    ),
    Variant(
        "who waits looks before it enlists",
        "P9",
        "_engine/waiting.py",
        "wait_for",
        (
            (
                (
                    "            _enlist(engine, request, waiter)\n"
                    "            if _moved(request, seen):\n"
                    "                return True\n"
                ),
                (
                    "            if _moved(request, seen):\n"
                    "                return True\n"
                    "            _enlist(engine, request, waiter)\n"
                ),
            ),
        ),
        ("one_request", "waiters"),
    ),
    Variant(
        "who waits looks before it says so",
        "P9",
        "_engine/waiting.py",
        "wait_for",
        (
            (
                (
                    "            _enlist(engine, request, waiter)\n"
                    "            if _moved(request, seen):\n"
                    "                return True\n"
                ),
                (
                    "            engine.waiting.setdefault(request.id, {})[id(waiter)] = waiter\n"
                    "            if _moved(request, seen):\n"
                    "                return True\n"
                    "            request.awaited = True\n"
                ),
            ),
        ),
        ("one_request", "waiters"),
    ),
    Variant(
        "who gives up takes the others of an open request away",
        "P9",
        "_engine/waiting.py",
        "_dismiss",
        (
            (
                "        if request.completion is not None and not waiters:\n",
                "        if not waiters:\n",
            ),
        ),
        ("impatient",),
    ),
    Variant(
        "who gives up looks for others before it looks at the end",
        "P9",
        "_engine/waiting.py",
        "_dismiss",
        (
            (
                "        if request.completion is not None and not waiters:\n",
                "        if not waiters and request.completion is not None:\n",
            ),
        ),
        ("impatient",),
    ),
    Variant(
        "who ends a request looks who waits before that",
        "P9",
        "_engine/serve.py",
        "serve",
        (
            (
                "                stamp = now()\n",
                "                stamp, somebody = now(), request.awaited\n",
            ),
            (
                "            if effects > ORDINARY or request.awaited:\n",
                "            if effects > ORDINARY or somebody:\n",
            ),
        ),
        ("one_request", "two_senders"),
    ),
    Variant(
        "who answers while a request ends in parts is judged in its turn",
        "P17",
        "_core/ends.py",
        "Ends.judge",
        (("        if ending is not None:\n", "        if False:\n"),),
        ("an_end_in_parts",),
    ),
    Variant(
        "nobody wakes the control loop to go on with an end",
        "P17",
        "_engine/gather.py",
        "apply",
        (
            (
                (
                    "    if effects & ENDING:\n"
                    "        # The control loop goes on with it.\n"
                    "        engine.orders.attend()\n"
                ),
                "",
            ),
        ),
        ("the_first_of_many",),
    ),
)
