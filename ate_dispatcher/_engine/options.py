"""What a sender is bound to beside the ttl, and sends that are not plain."""

from __future__ import annotations

import numbers
from typing import Any, Dict, Hashable, List, Optional, Sequence, Tuple

from .. import _log
from .._core.member import Member
from .._core.outcomes import Completion, Verdict
from .._core.policy_state import Need
from .._core.request import Entry, Line, Note
from .._delivery.ordering_keys import Key
from .._delivery.registry import unhashable
from .._observing.observers import event_opened
from .._time.clock import NEVER, milliseconds
from ..errors import BadType, BadValue, DispatcherStopped
from ..policies import All, Policy, policy_of
from .handle import Handle

__all__ = ["Options", "options_of", "send_with"]


class Options:
    """Checked options. Immutable: any number of threads send by them."""

    __slots__ = ("_key", "_only", "_policy", "_without", "after")

    def __init__(
        self,
        policy: Optional[Policy] = None,
        only: Optional[Tuple[Any, ...]] = None,
        without: Tuple[Any, ...] = (),
        key: Optional[Key] = None,
        after: Optional[float] = None,
    ) -> None:
        self._policy = policy
        self._only = only
        self._without = without
        self._key = key
        #: With a start line, how long to wait there, in seconds; None without.
        self.after: Optional[float] = after

    def choose(self, members: Tuple[Member, ...], off: Tuple[Member, ...]) -> Tuple[Member, ...]:
        """Those of *members* that shall be asked. Who is *off* may be named all the same."""
        if self._only is not None:
            chosen = _named("only", self._only, members, off)
            members = tuple([member for member in members if member in chosen])
        if self._without:
            spared = _named("without", self._without, members, off)
            members = tuple([member for member in members if member not in spared])
        return members

    def prepare(self, entry: Entry) -> bool:
        """Give *entry* its options, before anybody else knows it. False if they end it."""
        if self._key is not None:
            entry.more().key = self._key
        if self.after is not None:
            entry.lines_up(Line(self.after))
        if self._policy is None:
            return True
        need = Need(self._policy)
        entry.needs(need)
        if need.weigh(entry.left, 0, entry.sent) is None:
            return True
        # It cannot have what it needs: nobody is asked.
        entry.more().notes = [
            Note(entry, member, Verdict.WITHDRAWN, member.standing, entry.sent)
            for member in entry.roster
        ]
        entry.call = entry.kwargs = None
        entry.ended = entry.sent
        entry.completion = Completion.IMPOSSIBLE
        return False


def options_of(
    need: Any = None,
    only: Any = None,
    without: Any = (),
    key: Optional[Key] = None,
    barrier: Any = False,
) -> Optional[Options]:
    """The options, or None where there are none: such requests pay nothing."""
    policy = policy_of(need)
    chosen = None if only is None else _producers("only", only)
    spared = _producers("without", without)
    after = _patience(barrier)
    if policy == All() and chosen is None and not spared and key is None and after is None:
        return None
    return Options(None if policy == All() else policy, chosen, spared, key, after)


def _patience(barrier: Any) -> Optional[float]:
    """How long a start line waits for all, in seconds; None for no start line."""
    if barrier is None or barrier is False:
        return None
    if barrier is True:
        return NEVER
    if not isinstance(barrier, numbers.Real):
        raise BadType(f"barrier must be True or a number of milliseconds, not {barrier!r}")
    if not barrier > 0:  # type: ignore[operator]
        raise BadValue(f"barrier must be True or more than 0 ms, not {barrier!r}")
    return milliseconds("barrier", barrier)


def _can_start_together(members: Tuple[Member, ...]) -> None:
    """Who shares an instrument cannot: the second would wait for the first to end."""
    users: Dict[str, Member] = {}
    for member in members:
        for name in member.exclusive:
            other = users.setdefault(name, member)
            if other is not member:
                raise BadValue(
                    f"barrier: {other.name} and {member.name} both need {name!r} for themselves, "
                    "so they cannot start together"
                )


def send_with(
    desk: Any,
    topic: Hashable,
    args: Tuple[Any, ...],
    kwargs: Dict[str, Any],
    ttl: Any,
    options: Options,
) -> Handle:
    """As ``Desk.send``, under *options*, or where somebody is off. Never blocks."""
    now = desk.now()
    if desk.refusal is not None:
        raise DispatcherStopped(desk.refusal)
    deadline = now + milliseconds("ttl", ttl)
    try:
        channel = desk.registry.find(topic)
    except TypeError as error:
        raise unhashable(topic, error) from error
    roster = None if channel is None else channel.producers.current()
    off = () if roster is None else roster.off
    members = options.choose(() if roster is None else roster.members, off)
    off = options.choose(off, () if roster is None else roster.members)
    if options.after is not None:
        _can_start_together(members)
    if not members:
        handle: Handle = desk.nobody(topic, channel, now, deadline, off)
        return handle
    call = (topic, *args)
    number = desk.next_id()
    entry = Handle(desk, number, topic, channel, members, now, deadline, call, kwargs or None)
    if off:
        entry.more().off = off
    if not options.prepare(entry):
        desk.over(entry)
        return entry
    try:
        # As there: known before it is put anywhere, and called off if it does not come to its end.
        desk.ledger.nursery.append(entry)
        if desk.hooks:
            desk.observers.tell(event_opened, entry)
        if desk.gate or options.after is not None:
            # The keeper hands it out: all that have a start line in one order, and whatever is
            # sent meanwhile behind them.
            desk.hold(entry)
            return entry
        desk.scatter(entry)
        desk.crossed(entry)
        if deadline < desk.wakeup and desk.inbox.alert:
            desk.post("wake_by", deadline)
    except BaseException:
        desk.post("cancel", entry)
        raise
    return entry


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
    name: str, wanted: Tuple[Any, ...], members: Tuple[Member, ...], off: Tuple[Member, ...]
) -> List[Member]:
    found: List[Member] = []
    for each in wanted:
        same = [
            member
            for member in (*members, *off)
            if (member.name == each if isinstance(each, str) else member.producer is each)
        ]
        if not same:
            shown = each if isinstance(each, str) else _log.name_of(each)
            raise BadValue(f"{name} has {shown!r}, who is not registered for this topic")
        found += same
    return found
