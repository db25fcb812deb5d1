"""What a sender is bound to beside the ttl."""

from __future__ import annotations

from typing import Any, Dict, Hashable, List, Optional, Sequence, Set, Tuple

from .. import _log
from .._arguments import real
from .._core.durations import NEVER, milliseconds
from .._core.member import Member
from .._core.names import listed, may_be_called
from .._core.outcomes import Completion, Verdict
from .._core.policy_state import PolicyState
from .._core.request import Request, Unanswered
from .._core.start_line import StartLine
from .._delivery.ordering_keys import Key
from ..errors import BadType, BadValue, DispatcherError
from ..policies import All, Policy, policy_of
from .context import InContext
from .link import Elsewhere, Link, Route, elsewhere_of

__all__ = ["NONE", "Options", "check_keywords", "options_of"]


class Options:
    """Checked options. Immutable: any number of threads send by them."""

    __slots__ = ("_context", "_key", "_only", "_policy", "_without", "after", "is_open")

    def __init__(
        self,
        policy: Optional[Policy] = None,
        only: Optional[Tuple[Any, ...]] = None,
        without: Tuple[Any, ...] = (),
        key: Optional[Key] = None,
        after: Optional[float] = None,
        context: bool = False,
        is_open: bool = False,
    ) -> None:
        self._context = context
        #: Whether whoever there is may answer, beside those of this machine.
        self.is_open: bool = is_open
        self._policy = policy
        self._only = only
        self._without = without
        self._key = key
        #: With a start line, how long to wait there, in seconds; None without.
        self.after: Optional[float] = after

    def widen(self, links: Sequence[Link], members: Tuple[Member, ...]) -> Tuple[Member, ...]:
        """Of *members* those of this machine, and who stands for all who are elsewhere."""
        if not links:
            raise DispatcherError('members="open": the dispatcher is not connected')
        here = [each for each in members if each.part is None]
        return (*here, links[0].others)

    def choose(
        self,
        members: Tuple[Member, ...],
        disabled: Tuple[Member, ...],
        channel: Any,
        links: Sequence[Link],
    ) -> Tuple[Tuple[Member, ...], Tuple[Member, ...]]:
        """Those of *members* that shall be asked, and of the *disabled* that would have been."""
        there = (*members, *disabled)
        own = links[0].part if links else None
        if self._only is not None:
            chosen = _named("only", self._only, there, own)
            members = tuple([member for member in members if id(member) in chosen])
            disabled = tuple([member for member in disabled if id(member) in chosen])
        if self._without:
            spared = _named("without", self._without, there, own)
            members = tuple([member for member in members if id(member) not in spared])
            disabled = tuple([member for member in disabled if id(member) not in spared])
        if self.after is not None:
            can_start_together(members, channel)
        return members, disabled

    def pack(
        self,
        routes: Sequence[Route],
        topic: Hashable,
        args: Tuple[Any, ...],
        kwargs: Dict[str, Any],
    ) -> Optional[Elsewhere]:
        """Those who are asked by *routes*, with what they are asked."""
        key = None if self._key is None else self._key.value
        return elsewhere_of(routes, topic, args, kwargs, key, self.after is not None)

    def prepare(self, request: Request) -> Optional[Completion]:
        """Give *request* its options, before anybody else knows it. Why it is over, if it is."""
        if self._context:
            request.kwargs = InContext(request.kwargs or {})
        if self._key is not None:
            request.more().key = self._key
        if self.after is not None:
            request.lines_up(StartLine(self.after))
        if self._policy is None and not self.is_open:
            return None
        need = PolicyState(self._policy or All())
        need.is_open = self.is_open
        request.needs(need)
        if need.evaluate(request.left, 0, request.sent) is None:
            return None
        # It cannot have what it needs: nobody is asked.
        for member in request.roster:
            standing = member.standing
            request.misses(Unanswered(request, member, Verdict.WITHDRAWN, standing, request.sent))
        request.call = request.kwargs = None
        return Completion.IMPOSSIBLE


_MEANT = frozenset(["need", "only", "without", "barrier", "ordering_key"])
"""Keywords that are options elsewhere."""

_told: Set[str] = set()
"""Those that were told of."""

NONE = Options()
"""No options at all, where the careful way is needed for another reason."""


def options_of(
    need: Any = None,
    only: Any = None,
    without: Any = (),
    key: Optional[Key] = None,
    barrier: Any = False,
    context: Any = False,
    members: Any = None,
) -> Optional[Options]:
    """The options, or None where there are none: such requests pay nothing."""
    policy = policy_of(need)
    chosen = None if only is None else _producers("only", only)
    spared = _producers("without", without)
    after = _patience(barrier)
    if not isinstance(context, bool):
        raise BadType(f"context must be True or False, not {context!r}")
    if members not in (None, "open") or not isinstance(members, (str, type(None))):
        raise BadValue(f'members must be "open" or None, not {members!r}')
    is_open = members == "open"
    if is_open and (chosen is not None or spared or after is not None):
        raise BadValue('members="open" asks whoever there is: without only, without and barrier')
    ordinary = policy == All() and chosen is None and not spared and not is_open
    if ordinary and key is None and after is None and not context:
        return None
    wanted = None if policy == All() else policy
    return Options(wanted, chosen, spared, key, after, context, is_open)


def check_keywords(kwargs: Dict[str, Any]) -> None:
    """Of the keywords for producers, refuse what can only have been meant as an option.

    What may have been is told of once in a process. On the thread of the call.
    """
    for name, value in kwargs.items():
        if isinstance(value, Policy):
            raise BadValue(
                f"{name}={value!r} would go to the producers: "
                f"write dispatcher.options({name}=...).send_request(...)"
            )
        if name in _MEANT and name not in _told:
            _told.add(name)
            _log.lost(
                "%s= in send_request goes to the producers; the option is "
                "dispatcher.options(%s=...).send_request(...). Said once",
                name,
                name,
            )


def _patience(barrier: Any) -> Optional[float]:
    """How long a start line waits for all, in seconds; None for no start line."""
    if barrier is None or barrier is False:
        return None
    if barrier is True:
        return NEVER
    if not real("barrier", barrier, "True or a number of milliseconds") > 0:
        raise BadValue(f"barrier must be True or more than 0 ms, not {barrier!r}")
    return milliseconds("barrier", barrier)


def can_start_together(members: Tuple[Member, ...], channel: Any) -> None:
    """Who shares an instrument cannot: the second would wait for the first to end."""
    users: Dict[str, Member] = {}
    for member in members:
        for name in member.needed_on(channel):
            other = users.setdefault(name, member)
            if other is not member:
                raise BadValue(
                    f"barrier: {other.name} and {member.name} both need {name!r} for themselves, "
                    "so they cannot start together"
                )


def _producers(name: str, value: Any) -> Tuple[Any, ...]:
    """One producer or name, or a sequence of them."""
    if isinstance(value, str) or hasattr(value, "_ate_member"):
        return (value,)
    if not isinstance(value, Sequence):
        raise BadType(f"{name} must be producers or their names, not {value!r}")
    for each in value:
        if not isinstance(each, str) and not hasattr(each, "_ate_member"):
            raise BadType(f"{name} must be producers or their names, not {each!r}")
    return tuple(value)


def _named(
    name: str, wanted: Tuple[Any, ...], there: Tuple[Member, ...], own: Optional[str]
) -> Set[int]:
    """Those of *there* that are *wanted*, by identity; this part is called *own*."""
    by_name: Dict[str, List[int]] = {}
    by_producer: Dict[int, int] = {}
    for member in there:
        by_producer[id(member.producer)] = id(member)
    if any(isinstance(each, str) for each in wanted):
        for member in there:
            for called in may_be_called(member, own):
                by_name.setdefault(called, []).append(id(member))
    found: Set[int] = set()
    for each in wanted:
        if isinstance(each, str):
            same = by_name.get(each, [])
        else:
            same = [by_producer[id(each)]] if id(each) in by_producer else []
        if not same:
            shown = each if isinstance(each, str) else _log.name_of(each)
            known = listed([may_be_called(m, None)[-1] for m in there])
            raise BadValue(
                f"{name} has {shown!r}, who is not registered for this topic; there is {known}"
            )
        found.update(same)
    return found
