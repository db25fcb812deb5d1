"""How the registry can be broken: who is registered is not asked, or who left is (P10)."""

from __future__ import annotations

from typing import Tuple

from .breaking import Variant

__all__ = ["REGISTRY"]

# Not here, for it takes three switches, more than is played: a topic that lost its last is gone
# before it is retired. Another producer comes as the last one leaves, and asks in between.
REGISTRY: Tuple[Variant, ...] = (
    Variant(
        "a reading of the registry takes the members before the version",
        "P10",
        "_delivery/registry.py",
        "Side.current",
        (
            (
                "            version = self.version\n",
                "            seats = self.registrations()\n            version = self.version\n",
            ),
            (
                "            for each in self.registrations():\n",
                "            for each in seats:\n",
            ),
        ),
        (
            "registry_of_three",
            "register_then_send",
        ),
    ),
    Variant(
        "the version moves on before the registration",
        "P10",
        "_delivery/registry.py",
        "Side.add",
        (
            ("        self.changed()\n", ""),
            (
                "        self._registrations.setdefault(",
                "        self.changed()\n        self._registrations.setdefault(",
            ),
        ),
        (
            "registry_of_three",
            "register_then_send",
        ),
    ),
    Variant(
        "the version moves on before the deregistration",
        "P10",
        "_delivery/registry.py",
        "Side.discard",
        (
            (
                "        self._registrations.pop(id(participant), None)\n",
                (
                    "        self.changed()\n"
                    "        self._registrations.pop(id(participant), None)\n"
                ),
            ),
            ("        self.changed()\n        # The one", "        # The one"),
            ("        self.roster = _STALE\n", ""),
        ),
        ("registry_of_three",),
    ),
    Variant(
        "a topic that lost its last is gone, whoever came meanwhile",
        "P10",
        "_delivery/registry.py",
        "Registry.discard",
        (("                self._settle(topic, removed)\n", "                pass\n"),),
        ("the_only_one_changes",),
    ),
    Variant(
        "a registration does not look whether its topic was taken away",
        "P10",
        "_delivery/registry.py",
        "Registry.add",
        (("        self._settle(topic, channel)\n", ""),),
        ("the_only_one_changes",),
    ),
)
