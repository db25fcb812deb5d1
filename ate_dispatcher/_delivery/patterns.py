"""Topic patterns, and which of them match a topic: a trie that is read without a lock.

The trie is only added to, by single atomic operations, so it may know too much and never too
little; what it knows it does not keep. When more than half of that is gone a new one is made: it is
shown first, so that who is entered from now on is entered there too, then filled with all that
live, then put in the old one's place. Whoever reads takes the one that is complete. One at a time
makes a new one; who finds somebody at it, perhaps below in its own stack, leaves it to that.

Nothing is remembered of topics, and no code of users is called.
"""

from __future__ import annotations

import weakref
from collections import deque
from dataclasses import dataclass
from typing import (
    Any,
    Callable,
    Deque,
    Dict,
    Generic,
    Hashable,
    List,
    Optional,
    Sequence,
    Tuple,
    TypeVar,
)

from typing_extensions import Protocol, final

from ..errors import BadType, BadValue

__all__ = ["Index", "TopicPattern", "text_of", "tokens_of", "would_match"]

_ONE, _REST = "*", ">"
_WILDCARDS = frozenset([_ONE, _REST])


def text_of(topic: Any) -> Optional[str]:
    """The plain text of *topic*, if it is text. Calls no code of users."""
    # Not isinstance, which asks objects what they would like to be.
    return str.__str__(topic) if issubclass(type(topic), str) else None


def tokens_of(topic: Any) -> Sequence[str]:
    """What patterns see of *topic*; nothing if none can match it. Calls no code of users."""
    if not issubclass(type(topic), str):
        return ()
    tokens = str.split(topic, ".")
    return () if "" in tokens else tokens


@final
@dataclass(frozen=True, repr=False)
class TopicPattern:
    """Many topics by one text: ``TopicPattern("site.*.voltage")``, ``TopicPattern("site.>")``.

    It may stand wherever a participant is registered or deregistered, and among the topics of
    ``exclusive``; not where something is sent or published.

    The rules are those of NATS. A topic consists of tokens with a ``.`` between them; in a pattern
    ``*`` stands for exactly one token, and ``>``, at the end, for one or more. The others stand for
    themselves. Only topics that are text, and have no empty token, are matched.

    Immutable; equal and hashable by its text, but equal to no text.

    Parameters
    ----------
    text: str
        With at least one wildcard, or else it is a topic itself.

    Raises
    ------
    BadType, BadValue
        Naming the text, and why it is no pattern.
    """

    text: str

    def __post_init__(self) -> None:
        if not isinstance(self.text, str):
            raise BadType(f"text of a TopicPattern must be a str, not {self.text!r}")
        # Plain: it is compared and hashed where no code of users may run.
        object.__setattr__(self, "text", str.__str__(self.text))
        why = _why_none(self.text.split("."))
        if why:
            raise BadValue(f"text of a TopicPattern must be a pattern, not {self.text!r}: {why}")

    def matches(self, topic: Hashable) -> bool:
        """Whether it stands for *topic*, among others. On any thread; calls nobody's code."""
        tokens = tokens_of(topic)
        own = self.text.split(".")
        if own[-1] == _REST:
            del own[-1]
            if len(tokens) <= len(own):
                return False
        elif len(tokens) != len(own):
            return False
        return all(each in (_ONE, token) for each, token in zip(own, tokens))

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"TopicPattern({self.text!r})"


def _why_none(tokens: List[str]) -> str:
    """Why these are no pattern; nothing if they are one."""
    if "" in tokens:
        return "a token of it is empty"
    if _REST in tokens[:-1]:
        return f"{_REST!r} stands for all that follows, so it is the last token"
    for token in tokens:
        for wildcard in _WILDCARDS.intersection(token):
            if token != wildcard:
                return f"{wildcard!r} stands for a whole token, not for a part as in {token!r}"
    if _WILDCARDS.isdisjoint(tokens):
        return "it has no wildcard, so use the text itself as a topic"
    return ""


def would_match(text: Any, topic: Hashable) -> bool:
    """Whether *text*, which is a topic, would match *topic* if it were a pattern."""
    try:
        return TopicPattern(text).matches(topic)
    except (BadType, BadValue):
        return False


class OfPattern(Protocol):
    """What is there for a pattern."""

    @property
    def topic(self) -> Any: ...


T = TypeVar("T", bound=OfPattern)


class _Node:
    """What comes behind some tokens, and what is there for just those, weakly."""

    __slots__ = ("children", "one", "rest", "thing", "wild")

    def __init__(self) -> None:
        self.children: Dict[str, _Node] = {}
        # Apart: a topic may have a token that reads like a wildcard.
        self.wild: Dict[str, _Node] = {}
        #: The same, to be read quickly.
        self.one: Optional[_Node] = None
        self.rest: Optional[_Node] = None
        self.thing: Optional[weakref.ref[Any]] = None


class _Trie:
    """Things by the tokens of their patterns. Only added to, always by one atomic operation."""

    __slots__ = ("known", "top")

    def __init__(self) -> None:
        self.top = _Node()
        #: The texts of all patterns that it has.
        self.known: Dict[str, None] = {}

    def enter(self, thing: OfPattern) -> None:
        """Also a second time: there is never another that lives for the same pattern."""
        text = str(thing.topic)
        self.known[text] = None
        node = self.top
        for token in text.split("."):
            some = node.wild if token in _WILDCARDS else node.children
            child = some.get(token)
            if child is None:
                child = some.setdefault(token, _Node())
            # Perhaps again: whoever came before may have been cut short.
            if token == _ONE:
                node.one = child
            elif token == _REST:
                node.rest = child
            node = child
        node.thing = weakref.ref(thing)

    def matching(self, tokens: Sequence[str]) -> List[Any]:
        found: List[_Node] = []
        level = [self.top]
        for token in tokens:
            deeper: List[_Node] = []
            for node in level:
                child = node.rest
                if child is not None:
                    found.append(child)
                child = node.one
                if child is not None:
                    deeper.append(child)
                child = node.children.get(token)
                if child is not None:
                    deeper.append(child)
            level = deeper
        found += level
        things: List[Any] = []
        for node in found:
            reference = node.thing
            thing = None if reference is None else reference()
            if thing is not None:
                things.append(thing)
        return things


class Index(Generic[T]):
    """Things by topics that their patterns match.

    Each method may be called from anywhere, also where it interrupts another.

    Attributes: *version*, another one after each change.
    """

    __slots__ = ("_living", "_tries", "_turn", "version")

    def __init__(self, living: Callable[[], List[T]]) -> None:
        """Of what is *living*, which is asked for them all when a new trie is made."""
        self._living = living
        #: The complete one, and perhaps one that is being made; replaced whole.
        self._tries: Tuple[_Trie, ...] = (_Trie(),)
        #: Empty while somebody makes a new one.
        self._turn: Deque[bool] = deque([True])
        self.version: object = object()

    def enter(self, thing: T) -> None:
        """Make *thing*, which is among the living, be found."""
        # A trie that is shown from now on is filled with it from there.
        for trie in self._tries:
            trie.enter(thing)

    def changed(self) -> None:
        """What matches a topic is not what it was, or is something else."""
        self.version = object()

    def matching(self, tokens: Sequence[str]) -> List[T]:
        """What has patterns that match the topic of these *tokens*, and perhaps lives no more."""
        trie = self._tries[0]
        return trie.matching(tokens) if tokens and trie.known else []

    def tidy(self, count: int) -> None:
        """Forget what is gone, if that is more than the *count* of what is not."""
        if len(self._tries[0].known) <= 2 * count:
            return
        try:
            self._turn.pop()
        except IndexError:
            return
        try:
            made = _Trie()
            self._tries = self._tries[0], made
            for thing in self._living():
                made.enter(thing)
            self._tries = (made,)
        finally:
            self._turn.append(True)
