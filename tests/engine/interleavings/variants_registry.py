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
        "_delivery/channel.py",
        "Side.current",
        (
            (
                "            version = self.version\n",
                ("            seats = in_order([self])\n            version = self.version\n"),
            ),
            ("roster_of(version, there, ", "roster_of(version, seats, "),
        ),
        (
            "registry_of_three",
            "register_then_send",
        ),
    ),
    Variant(
        "the version moves on before the registration",
        "P10",
        "_delivery/channel.py",
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
        "_delivery/channel.py",
        "Side.discard",
        (
            (
                "        self._registrations.pop(id(participant), None)\n",
                (
                    "        self.changed()\n"
                    "        self._registrations.pop(id(participant), None)\n"
                ),
            ),
            ("        self.lessened()\n", ""),
        ),
        ("registry_of_three",),
    ),
    Variant(
        "a topic that lost its last is gone, whoever came meanwhile",
        "P10",
        "_delivery/registry.py",
        "Registry._discard",
        (("                table.setdefault(topic, channel)\n", "                pass\n"),),
        ("the_only_one_changes",),
    ),
    Variant(
        "a registration does not look whether its topic was taken away",
        "P10",
        "_delivery/registry.py",
        "Registry._add",
        (
            (
                "last registration being gone.\n        table.setdefault(topic, channel)\n",
                "last registration being gone.\n",
            ),
        ),
        ("the_only_one_changes",),
    ),
    Variant(
        "who sends looks for a channel before the version",
        "P10",
        "_delivery/registry.py",
        "Registry.find",
        (
            ("        version = self._index.version\n", ""),
            ("find(topic, version)", "find(topic, self._index.version)"),
        ),
        ("a_matched_topic_gets_a_name",),
    ),
    Variant(
        "what patterns make of topics is past before a registration by name",
        "P10",
        "_delivery/registry.py",
        "Registry.add_all",
        (
            ("        self._index.changed()\n", ""),
            (
                "        patterns = False\n",
                "        patterns = False\n        self._index.changed()\n",
            ),
        ),
        ("a_matched_topic_gets_a_name", "register_by_pattern_then_send"),
    ),
    Variant(
        "a pattern is not entered in a trie that is being made",
        "P10",
        "_delivery/patterns.py",
        "Index.enter",
        (("        for trie in self._tries:\n", "        for trie in self._tries[:1]:\n"),),
        ("patterns_come_and_leave",),
    ),
    Variant(
        "a trie is filled before it is shown",
        "P10",
        "_delivery/patterns.py",
        "Index.tidy",
        (("            self._tries = self._tries[0], made\n", ""),),
        ("patterns_come_and_leave",),
    ),
)
