"""Where things go on a NATS server: who speaks always stands in the subject.

So the server's permissions enforce it: a part may publish on ``ate1.<ns>.p.*.<itself>``,
``ate1.<ns>.all.<itself>``, ``ate1.<ns>.r.<itself>.>``, and subscribe to what is addressed to it.
"""

from __future__ import annotations

import re
from typing import Optional, Set

__all__ = ["LONGEST_SUBJECT", "Subjects"]

LONGEST_SUBJECT = 3900
"""Bytes of a subject and its reply-to: beyond one line of 4,096 the server ends the connection."""

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")

_MOST_NAMES = 10_000


class Subjects:
    """The subjects of one part of one namespace. For one thread.

    Attributes
    ----------
    to_us, to_all, results, questions, notices: str
        What the subjects begin with on which something arrives: for this part, for all, on topics,
        open requests, and what answers our own: that nobody was there, or an open request's.
    """

    def __init__(self, namespace: str, part: str) -> None:
        base = f"ate1.{namespace}."
        self._base = base
        self._part = part
        self._names: Set[str] = set()
        self.to_us: str = f"{base}p.{part}."
        self.to_all: str = f"{base}all."
        self.results: str = f"{base}r."
        self.questions: str = f"{base}q."
        self.notices: str = f"{base}n.{part}."
        self.all: str = f"{base}all.{part}"
        self.nobody: str = f"{self.notices}all.-"

    def part(self, name: str) -> str:
        """Where the part *name* hears us."""
        return f"{self._base}p.{name}.{self._part}"

    def topic(self, tail: str) -> str:
        """Where what we say on a topic is heard."""
        return f"{self.results}{self._part}.{tail}"

    def inbox(self, number: int) -> str:
        """Where answers to our open request of that *number* arrive."""
        return f"{self.notices}q.{number}"

    def sender(self, tail: str) -> Optional[str]:
        """Who has sent what arrived on a subject, after the first of it; None if nobody can."""
        name = tail.partition(".")[0]
        if name in self._names:
            return name
        if _NAME.fullmatch(name) is None:
            return None
        if len(self._names) >= _MOST_NAMES:
            self._names.clear()
        self._names.add(name)
        return name

    def number(self, tail: str) -> Optional[int]:
        """Of which open request of ours an answer is, after `notices`; None if of none."""
        first, _, rest = tail.partition(".")
        return int(rest) if first == "q" and rest.isascii() and rest.isdigit() else None

    def may_answer(self, reply: str) -> bool:
        """Whether what we answer there is heard as an answer, not as something that we say.

        Whoever asks names the subject, and could have us speak to others, or to the server.
        """
        if reply.startswith("ate1."):
            tokens = reply.split(".")
            return len(tokens) == 6 and tokens[2] == "n" and tokens[4] == "q"
        return bool(reply) and not reply.startswith("$")
