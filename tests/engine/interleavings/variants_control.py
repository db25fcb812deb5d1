"""How the control loop, the gate and the end can be broken (P4, P6, P14)."""

from __future__ import annotations

from typing import Tuple

from .breaking import Variant

__all__ = ["CONTROL"]

CONTROL: Tuple[Variant, ...] = (
    Variant(
        "the loop goes to sleep before it says until when",
        "P4",
        "_engine/control.py",
        "ControlLoop._park",
        (
            ("        engine.wakeup = wakeup\n", ""),
            (
                "            until = past(wakeup)",
                "            engine.wakeup = wakeup\n            until = past(wakeup)",
            ),
        ),
        ("deadline_after_another", "deadline_while_it_goes_to_sleep", "two_deadlines"),
    ),
    Variant(
        "the loop does not look again at what has arrived",
        "P4",
        "_engine/control.py",
        "ControlLoop._park",
        (("            or engine.arrivals\n", ""),),
        ("deadline_after_another", "deadline_while_it_goes_to_sleep", "two_deadlines"),
    ),
    Variant(
        "the loop does not look again at its orders",
        "P4",
        "_engine/control.py",
        "ControlLoop._park",
        (("            or engine.orders.items\n", ""),),
        ("two_cancels", "cancel_and_cancel"),
    ),
    Variant(
        "the loop does not look again whether all is over",
        "P4",
        "_engine/control.py",
        "ControlLoop._park",
        (("            or self._is_done()\n", ""),),
        ("stop_while_busy",),
    ),
    Variant(
        "who ends the last request does not tell a loop that waits for that",
        "P4",
        "_engine/serve.py",
        "serve",
        (("                            or engine.gate.refusal is not None\n", ""),),
        (
            "stop_while_busy",
            "send_and_stop",
        ),
    ),
    Variant(
        "an order to keep a request does not look whether it is kept, or over",
        "P4",
        "_engine/control.py",
        "ControlLoop._keep",
        (
            (
                "            if request.completion is None and request.cell is None:\n",
                "            if True:\n",
            ),
        ),
        ("deadline", "two_deadlines"),
    ),
    Variant(
        "a registration does not look whether it came too late",
        "P6",
        "_participants/admission.py",
        "register",
        (
            (
                "    if engine.gate.refusal is not None:\n        # A stop",
                "    if False:\n        # A stop",
            ),
        ),
        ("register_and_stop",),
    ),
    Variant(
        "what the gate holds is out before it is handed on",
        "P6",
        "_engine/gate.py",
        "Gate.hand_out",
        (
            (
                "            if first.__class__ is not Leaving and not first.is_over:\n",
                (
                    "            removed(self.held, first)\n"
                    "            if first.__class__ is not Leaving and not first.is_over:\n"
                ),
            ),
            (
                (
                    "            removed(self.held, first)\n"
                    "            if first.__class__ is Leaving:\n"
                ),
                "            if first.__class__ is Leaving:\n",
            ),
        ),
        ("send_and_start",),
    ),
    Variant(
        "who is held looks before that whether it is refused",
        "P6",
        "_engine/gate.py",
        "Gate.hold",
        (
            ("        self.held.append(item)\n", ""),
            (
                "            raise DispatcherStopped(self.refusal)\n",
                (
                    "            raise DispatcherStopped(self.refusal)\n"
                    "        self.held.append(item)\n"
                ),
            ),
        ),
        ("send_and_early_stop", "send_and_stop"),
    ),
    Variant(
        "the gate is shut before it is said why",
        "P6",
        "_engine/gate.py",
        "Gate.refuse",
        (
            ("            self.refusal = why\n", ""),
            (
                "            self.held.append(SHUT)\n",
                "            self.held.append(SHUT)\n            self.refusal = why\n",
            ),
        ),
        ("stop_and_send",),
    ),
    Variant(
        "a stop is ordered before anybody is refused",
        "P6",
        "dispatcher.py",
        "Dispatcher.stop",
        (
            (
                (
                    '        engine.gate.refuse(f"{_log.name_of(self)} was stopped; make a new '
                    'dispatcher")\n'
                ),
                "",
            ),
            (
                "        engine.post(Order.STOP, bool(immediate or unstarted), until)\n",
                (
                    "        engine.post(Order.STOP, bool(immediate or unstarted), until)\n"
                    '        engine.gate.refuse("stopped")\n'
                ),
            ),
        ),
        (
            "stop_and_send",
            "send_and_stop",
        ),
    ),
    Variant(
        "a request that was refused stays in the gate",
        "P14",
        "_engine/engine.py",
        "Engine.forget",
        (("        self.gate.forget(request)\n", ""),),
        ("send_and_early_stop", "stop_within_a_send"),
    ),
    Variant(
        "who takes its own out of the gate relies on it being there",
        "P14",
        "_engine/gate.py",
        "Gate.forget",
        (("        removed(self.held, request)\n", "        self.held.remove(request)\n"),),
        ("stop_within_a_send",),
    ),
    Variant(
        "whether a send that failed has kept its request is looked at before it has arrived",
        "P14",
        "_engine/control.py",
        "ControlLoop._abandon",
        (
            ("        known = request in engine.arrivals\n", ""),
            (
                "            known = known or request.cell is not None\n",
                (
                    "            known = request.cell is not None\n"
                    "        known = known or request in engine.arrivals\n"
                ),
            ),
        ),
        ("refused_while_others_end",),
    ),
    Variant(
        "a send that failed leaves its request open",
        "P14",
        "_engine/control.py",
        "ControlLoop._abandon",
        (("            self._cancel(request)\n", "            pass\n"),),
        ("send_and_stop",),
    ),
    Variant(
        "who waits for the end looks before it enlists whether it has come",
        "P9",
        "_engine/control.py",
        "ControlLoop.run",
        (
            (
                "            self._waiting.append(parker)\n",
                "            over = self._over\n            self._waiting.append(parker)\n",
            ),
            ("            if not self._over:\n", "            if not over:\n"),
        ),
        ("start_and_slow_stop",),
    ),
)
