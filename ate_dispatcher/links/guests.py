"""What other parts have asked us; on the link's thread."""

from __future__ import annotations

from typing import Any, Dict, Iterable, List, NamedTuple, Optional, Tuple, Union

from .._core.durations import NEVER
from .._core.snapshots import copied
from .._delivery.channel import Channel
from .._delivery.local_member import LocalMember
from .._delivery.patterns import Index
from .._engine.engine import Engine
from .._engine.remote import open_guest, withdraw_guest
from ..errors import BadType, BadValue
from . import frames
from .answers import Answers, Anybody, Guest
from .frame_reader import Coded
from .parts import Part
from .questions import question_of
from .shared import ROOM, Shared, is_too_much
from .subjects import topic_of

__all__ = ["Guests"]

_LATE, _PAUSE = 1.0, 0.25
"""So many seconds late, and its asker may have taken this part for gone meanwhile; so many are
waited then for that word, which follows what was asked."""


_PAGES, _ASKERS = 16, 1_000
"""So much is remembered of what one part has asked, some 65,000 requests; and so many parts are."""


_NO_ROOM = "part %s has more open here than there is room for: the rest is declined"


class _Asked(NamedTuple):
    """What has come, as it was read; but for *until*, the instant of its deadline here."""

    asker: Part
    number: int
    until: float
    topic: str
    keys: List[int]
    args: Union[List[Any], Coded]
    kwargs: Dict[str, Any]
    options: Dict[str, Any]


class _Begun:
    """What one instance has asked that was begun here: numbers that mostly follow one another."""

    __slots__ = ("_pages", "instance")

    def __init__(self, instance: str) -> None:
        self.instance: str = instance
        # A byte for each number; 4,096 of them are a page.
        self._pages: Dict[int, bytearray] = {}

    def __contains__(self, number: int) -> bool:
        page = self._pages.get(number >> 12)
        return page is not None and page[number & 4095] == 1

    def add(self, number: int) -> None:
        page = self._pages.get(number >> 12)
        if page is None:
            page = self._pages[number >> 12] = bytearray(4096)
            if len(self._pages) > _PAGES:
                del self._pages[min(self._pages)]
        page[number & 4095] = 1


class Guests:
    """The requests of other parts that are open here, by whose they are and their ids there."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._engine: Engine = shared.engine
        self._answers = Answers(shared)
        #: The requests that are open, by whose they are and their ids there.
        self._open: Dict[str, Dict[int, Guest]] = {}
        #: Who is there, by name; kept up to date by who hears of that.
        self.parts: Dict[str, Part] = self._answers.parts
        #: Those that may be over where they were asked; each with when that is known here.
        self._doubted: Dict[str, Dict[int, Tuple[float, _Asked]]] = {}
        #: What was begun, by who has asked; kept also if that is lost, for it may be back.
        self._begun: Dict[str, _Begun] = {}
        #: Who may be asked, by number; kept up to date by who says so to the others.
        self.members: Dict[int, LocalMember] = {}
        self._index: Index[Channel] = Index(list)
        #: For each topic one on which nobody listens: those who do hear it from who has asked.
        self._channels: Dict[str, Channel] = {}

    def __len__(self) -> int:
        """How many are open."""
        begun = sum(map(len, copied(self._open.values())))
        return begun + sum(map(len, copied(self._doubted.values())))

    def ask(
        self,
        sender: str,
        number: int,
        ttl_ms: Optional[float],
        sent: float,
        topic: str,
        keys: List[int],
        args: Union[List[Any], Coded],
        kwargs: Dict[str, Any],
        options: Dict[str, Any],
        size: int,
    ) -> None:
        """*sender* has sent a request at *sent* of its clock, with *ttl_ms* left.

        Of *size* characters: who has so much open here that there is no room for it is declined.
        """
        asker, now = self.parts.get(sender), self._engine.now()
        if asker is None:
            # Not heard of, or gone: it shall say who it is, and ask again.
            self._will_not(sender, number, keys, "declined")
            return
        doubted = self._doubted.get(sender)
        is_doubted = doubted is not None and number in doubted
        if is_doubted or number in self._begun_for(asker):
            self._shared.count("duplicates")
            if not is_doubted and number not in self._open.get(sender, ()):
                # One of the two has taken the other for gone: nothing more comes of it.
                self._will_not(sender, number, keys, "gone")
            return
        there = self._open.get(sender)
        unheard = self._shared.sequences.waiting_for(sender)
        if unheard > ROOM or is_too_much(len(there or ()) + len(doubted or ()), size):
            self._shared.has_no_room(sender, _NO_ROOM)
            self._will_not(sender, number, keys, "declined")
            return
        late = asker.delayed(sent, now)
        until = NEVER if ttl_ms is None else now + (ttl_ms / 1e3 - late)
        asked = _Asked(asker, number, until, topic, keys, args, kwargs, options)
        if late > _LATE and until > now:
            self._doubted.setdefault(sender, {})[number] = now + _PAUSE, asked
        elif doubted:
            # Behind those: what one part asks is begun in its order.
            at, _ = next(reversed(doubted.values()))
            doubted[number] = at, asked
        else:
            self._begin(asked, now)

    def look(self, now: float) -> float:
        """Begin what is doubted no more; when to look again."""
        until = NEVER
        for sender, doubted in list(self._doubted.items()):
            while doubted:
                number, (at, asked) = next(iter(doubted.items()))
                if at > now:
                    until = min(until, at)
                    break
                del doubted[number]
                self._begin(asked, now)
            else:
                self._doubted.pop(sender, None)
        return until

    def _will_not(self, asker: str, number: int, keys: Iterable[int], why: str) -> None:
        for key in keys:
            self._shared.to(frames.not_(number, key, why), asker)

    def _skip(self, asker: str, number: int, keys: Iterable[int]) -> None:
        self._shared.count("stale")
        for key in keys:
            self._shared.to(frames.skip(number, key), asker)

    def _begin(self, asked: _Asked, now: float) -> None:
        part, number, until, topic, keys, args, kwargs, options = asked
        shared, asker = self._shared, part.name
        if until < now:
            self._skip(asker, number, keys)
            return
        members = [self.members[key] for key in keys if key in self.members]
        order = None
        try:
            if isinstance(args, Coded):
                args, kwargs = shared.codec.decode_call(args.found, kwargs)
            if "key" in options:
                order = shared.codec.decode(options["key"])
                hash(order)
        except (BadType, BadValue, TypeError) as error:
            # Perhaps a type that is not known here: who asks is told, and so is who looks here.
            shared.unreadable(asker, topic, error)
            for key in keys:
                told = type(error).__name__, f"on {shared.part}: {error}", ""
                shared.to(frames.err(number, key, 0.0, 0.0, *told), asker)
            return
        if members:
            self._begun_for(part).add(number)
            guest = Guest(self._answers, asker, number, part.instance)
            found = self._open.get(asker)
            if found is None:
                found = self._open[asker] = {}
            # Before anybody can answer: one that has ended is taken out behind its last word.
            found[number], guest.among = guest, found
            channel, whom = self._channel(topic), tuple(members)
            rest = open_guest(self._engine, guest, channel, whom, args, kwargs, until, order)
            guest.request = rest
            if rest is None:
                del found[number]
                members, guest.among = [], None
        if shared.codec.has_types:
            shared.let_go((args, kwargs, order))
        if len(members) < len(keys):
            there = {each.number for each in members}
            self._will_not(asker, number, [key for key in keys if key not in there], "declined")

    def ask_anybody(self, subject: str, payload: bytes, reply: str) -> None:
        """Somebody asks whoever is on the topic of that *subject*."""
        try:
            topic = topic_of(subject)
            question = question_of(payload, self._shared.codec)
        except (BadType, BadValue):
            self._shared.count("malformed")
            return
        channel = self._engine.registry.find(topic)
        there = () if channel is None else channel.asked().members
        whom = tuple([each for each in there if isinstance(each, LocalMember)])
        if is_too_much(len(self._answers.anybody), len(payload)):
            self._shared.has_no_room("that asks whoever there is", _NO_ROOM)
        elif whom:
            guest = Anybody(self._answers, reply, 0)
            self._answers.anybody.add(guest)
            ttl_ms, now = question.ttl_ms, self._shared.now
            until = NEVER if ttl_ms is None else now + ttl_ms / 1e3
            whose = self._channel(topic)
            rest = open_guest(self._engine, guest, whose, whom, *question[:2], until, None)
            if rest is None:
                self._answers.anybody.discard(guest)

    def cancel(self, asker: str, number: int, keys: Optional[List[int]]) -> None:
        """Its caller does not want it any more; or not those producers, if they have not begun."""
        doubted = self._doubted.get(asker)
        if doubted is not None and number in doubted:
            at, asked = doubted[number]
            off = set(asked.keys if keys is None else keys)
            left = [key for key in asked.keys if key not in off]
            if left:
                # In its place: they are in the order in which they are begun.
                doubted[number] = at, asked._replace(keys=left)
            else:
                del doubted[number]
            if keys is None:
                self._skip(asker, number, asked.keys)
            # Their request goes on.
            self._will_not(asker, number, keys or (), "withdrawn")
            return
        guest = self._open.get(asker, {}).get(number)
        if guest is None or guest.request is None:
            return
        if keys is None:
            guest.request.cancel()
            return
        off = set(keys)
        # Also of who is not registered here any more.
        there = [each for each in guest.request.roster if isinstance(each, LocalMember)]
        members = [each for each in there if each.number in off]
        guest.withdraw(members)
        withdraw_guest(self._engine, guest.request, members)

    def gone(self, asker: str) -> None:
        """Nobody waits any more for what it has asked."""
        self._doubted.pop(asker, None)
        for guest in self._open.pop(asker, {}).values():
            guest.among = None
            guest.is_given_up = True
            if guest.request is not None:
                guest.request.cancel()

    def _begun_for(self, asker: Part) -> _Begun:
        found = self._begun.get(asker.name)
        if found is None or found.instance != asker.instance:
            found = self._begun[asker.name] = _Begun(asker.instance)
            if len(self._begun) > _ASKERS:
                del self._begun[next(iter(self._begun))]
        return found

    def _channel(self, topic: str) -> Channel:
        channel = self._channels.get(topic)
        if channel is None:
            if len(self._channels) > 10_000:
                # They are no more than a saving.
                self._channels.clear()
            channel = self._channels[topic] = Channel(topic, {}, self._index)
        return channel
