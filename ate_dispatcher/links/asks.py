"""What we have asked other parts, and what comes of it; all of it on the link's thread."""

from __future__ import annotations

from functools import partial
from typing import Any, Callable, Dict, Iterable, List, Mapping, Optional, Tuple

from .._core.durations import NEVER
from .._core.effects import NOTED
from .._core.ledger import Ledger
from .._core.outcomes import Completion, Standing, Verdict
from .._core.request import Request
from .._engine.gather import Fact, tell
from .._engine.link import RemoteMember, Route, groups_of
from .._engine.remote import (
    Answer,
    hand_in,
    joined_in,
    nobody_else,
    part,
    progressed,
    settle,
    stream_ended,
)
from ..errors import BadType, BadValue, RemoteError
from . import frames
from .frame_reader import Coded
from .parts import PartMember, RemoteProducer
from .pending import OTHERS, Packed, Pending, PendingRequests, Said
from .questions import answer_of, question_text
from .shared import ROOM, Shared
from .subjects import subject_of

__all__ = ["Asks"]

_FACTS: Dict[str, Fact] = {
    "declined": Ledger.declined,
    "withdrawn": Ledger.withdrawn,
    "died": Ledger.died,
    "gone": Ledger.gone,
}
_FINAL = {each.value: each for each in (Verdict.CANCELLED, Verdict.SKIPPED, Verdict.WITHDRAWN)}
_SKIPPED = (Verdict.SKIPPED, None)
_LATE = {
    "died": (Verdict.MISSING, Standing.DEAD),
    "gone": (Verdict.MISSING, Standing.AWAY),
}
_UNBEGUN = (Verdict.CANCELLED, Verdict.SKIPPED)
_STANDINGS = {each.value: each for each in Standing}


class Asks:
    """The pending requests, by their ids."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._engine = shared.engine
        #: By their ids.
        self.pending: PendingRequests = PendingRequests()
        self._answers: List[Answer] = []
        # One of a stream; the end of that.
        self.in_part: Callable[..., None] = partial(self.in_ans, fact=part)
        self.in_fin: Callable[..., None] = partial(self.in_ans, fact=stream_ended)

    def __len__(self) -> int:
        """How many are open. From anywhere."""
        return len(self.pending.open)

    # -- out -----------------------------------------------------------------------------------

    def ask(self, request: Request, packed: Packed, route: Route) -> None:
        """Ask those on *route*, now or when that is possible again."""
        pending = Pending(request, packed, route, self._shared.now)
        if request.completion is not None:
            self._settle(request, dict.fromkeys(pending.left.values(), _SKIPPED))
            return
        self.pending.begins(pending)
        for member in route.places.values():
            if isinstance(member, PartMember) and member.home.is_gone:
                # It has left while this was on its way here.
                self.will_not(Ledger.gone, request.id, pending, member)
        self._send(pending, route.groups if len(pending.left) == len(route.places) else None)

    def send_rest(self) -> None:
        """We are connected again: ask what is still to be asked, of those who are still there."""
        for pending in list(self.pending.values()):
            self._send(pending)

    def _send(
        self, pending: Pending, groups: Optional[Mapping[Tuple[int, ...], List[str]]] = None
    ) -> None:
        """*groups* are of all that are left."""
        shared, request, packed = self._shared, pending.request, pending.packed
        if packed is None or request.is_over or not shared.connected:
            return
        if shared.sequences.crowded and self._decline(pending):
            groups = None
            if request.is_over:
                return
        pending.packed, now = None, shared.now
        pending.since = now
        ttl_ms = None if request.deadline == NEVER else max(0.0, (request.deadline - now) * 1e3)
        topic = request.topic
        assert isinstance(topic, str)
        if OTHERS in pending.left:
            # Nobody is asked by name.
            question = question_text(packed.args, packed.kwargs, ttl_ms)
            shared.transport.ask(subject_of(topic), question, request.id)
            return
        groups = groups or groups_of(pending.left)
        said = frames.asks(request.id, ttl_ms, now, topic, groups, *packed)
        for parts, frame in zip(groups.values(), said):
            shared.to(frame, *parts)

    def _decline(self, pending: Pending) -> bool:
        """Those of parts that have so much to take already that there is no room for more.

        Whether there are any.
        """
        shared, number = self._shared, pending.request.id
        full = [each for each in pending.parts() if shared.sequences.waiting_for(each) > ROOM]
        for part_name in full:
            shared.has_no_room(part_name, "part %s has too much to take: the rest is declined")
            for place in pending.of(part_name):
                self.will_not(Ledger.declined, number, pending, pending.left[place])
        return bool(full)

    def wait_for(self, said: List[bytes]) -> bool:
        """Whether something was asked with what was *said* that has not ended."""
        return any(frames.number_asked(frame) in self.pending.open for frame in said)

    def over(self, request: Request) -> None:
        """It has ended here: who has not begun it need not."""
        pending = self.pending.get(request.id)
        if pending is None:
            return
        if pending.packed is not None:
            self.pending.forget(request.id)
            self._settle(request, dict.fromkeys(pending.left.values(), _SKIPPED))
            return
        if pending.left.pop(OTHERS, None) is not None:
            self._shared.transport.ask_no_more(request.id)
        # From here on what counts is how late they are: nobody's results are kept for that.
        left = {id(member) for member in pending.left.values()}
        unanswered = [each for each in request.unanswered() if id(each.member) in left]
        pending.request = request.stub(request.completion or Completion.STOPPED, unanswered)
        if request.completion is not Completion.DEADLINE:
            # Else they know it by themselves.
            self._shared.to(frames.can(request.id), *pending.parts())
        self.pending.ends(request.id, self._shared.now)
        said, pending.said = pending.said or {}, None
        for member, each in said.items():
            if member.place in pending.left:
                self._says(request.id, pending, member, each)
        for late in pending.late or ():
            self.in_late(*late)
        self.hand_in()
        if not pending.left:
            self.pending.forget(request.id)

    def withdraw(self, member: RemoteMember) -> None:
        """It was disabled: what it has not begun shall not be begun."""
        for number, pending in list(self.pending.items()):
            if member.place not in pending.left or pending.request.is_over:
                continue
            if pending.packed is None:
                # It may be that it waits to be asked.
                pending.withdrawn = pending.withdrawn or set()
                pending.withdrawn.add(member.place)
                self._shared.to(frames.can(number, [member.key]), member.part)
            else:
                # It was not asked, and will not be.
                self.will_not(Ledger.withdrawn, number, pending, member)

    # -- in ------------------------------------------------------------------------------------

    def in_ans(
        self,
        sender: str,
        number: int,
        key: int,
        waited_ms: float,
        ran_ms: float,
        value: Any = None,
        error: Optional[BaseException] = None,
        fact: Any = Ledger.replied,
    ) -> None:
        """It has answered."""
        # As `_find`, in place, and below as `PendingRequests.answered`.
        pending = self.pending.get(number)
        place = sender, key
        member = None if pending is None else pending.left.get(place)
        if pending is None or member is None:
            self._shared.count("duplicates")
            return
        if value.__class__ is Coded:
            try:
                value = self._shared.codec.decode(value.found)
            except (BadType, BadValue) as refused:
                self._shared.count("malformed")
                error = RemoteError("BadValue", str(refused), "", sender)
                value, fact = None, Ledger.replied
        if fact is not part:
            del pending.left[place]
            if not pending.left:
                self.pending.forget(number)
        waited, ran = waited_ms / 1e3, ran_ms / 1e3
        self._answers.append((fact, pending.request, member, value, error, waited, ran))

    def in_err(
        self,
        sender: str,
        number: int,
        key: int,
        waited_ms: float,
        ran_ms: float,
        kind: str,
        message: str,
        trace: str,
    ) -> None:
        """It has raised."""
        error = RemoteError(kind, message, trace, sender)
        self.in_ans(sender, number, key, waited_ms, ran_ms, None, error)

    def in_late(self, sender: str, number: int, key: int, waited_ms: float, ran_ms: float) -> None:
        """It has come to its end after that of the request."""
        pending, member = self._find(sender, number, key)
        if pending is None or member is None:
            return
        if pending.request.completion is not None:
            self.in_ans(sender, number, key, waited_ms, ran_ms)
        else:
            late = pending.late = pending.late or []
            if len(late) < len(pending.left):
                late.append((sender, number, key, waited_ms, ran_ms))

    def hand_in(self) -> None:
        """What has come so far, to the ledger."""
        if self._answers:
            answers, self._answers = self._answers, []
            hand_in(self._engine, answers)
            self._shared.let_go(answers)

    def joined_in(self, number: int, payload: bytes) -> None:
        """Somebody has answered who was not asked by name; b"" if nobody will."""
        pending = self.pending.get(number)
        others = None if pending is None else pending.left.get(OTHERS)
        if pending is None or others is None:
            self._shared.count("duplicates")
            return
        if not payload:
            # Those who have come before first.
            self.hand_in()
            self.pending.answered(number, pending, OTHERS)
            self._shared.transport.ask_no_more(number)
            nobody_else(self._engine, pending.request, others)
            return
        said = answer_of(payload, self._shared.codec)
        producer = RemoteProducer(said.producer or "somebody", said.part)
        member = producer._ate_member = RemoteMember(producer, others.link, said.part, 0)
        self._answers.append((joined_in, pending.request, member, said.value, said.error, 0.0, 0.0))

    def in_not(self, sender: str, number: int, key: int, why: str) -> None:
        """It was not asked, or has not begun, and will not."""
        pending, member = self._find(sender, number, key)
        if pending is not None and member is not None:
            self.will_not(_FACTS[why], number, pending, member, _LATE.get(why, _SKIPPED))

    def in_skip(self, sender: str, number: int, key: int) -> None:
        """It will not begin: the request was over."""
        pending, member = self._find(sender, number, key)
        if pending is None or member is None:
            return
        if pending.request.deadline == NEVER and pending.request.completion is None:
            # It never was: what it had said of that is lost, and it was asked again (`Recovery`).
            self.will_not(Ledger.gone, number, pending, member)
        else:
            self._says(number, pending, member, _SKIPPED)

    def in_end(self, sender: str, number: int, left: List[List[Any]]) -> None:
        """The request is over there: where those stood who have not answered."""
        for key, verdict, standing, *_ in left:
            pending, member = self._find(sender, number, key)
            if pending is None or member is None:
                continue
            final = _FINAL.get(verdict, Verdict.MISSING)
            self._says(number, pending, member, (final, _STANDINGS.get(standing)))

    def in_prog(self, sender: str, number: int, key: int, fraction: float, text: str) -> None:
        """How far it is."""
        pending, member = self._find(sender, number, key)
        if pending is None or member is None or pending.request.completion is not None:
            return
        progressed(self._engine, pending.request, member, fraction, text)

    def gone(self, part_name: str, for_good: bool, before: float = NEVER) -> int:
        """Nobody there will answer; who only was silent, *for_good* or not, shall not begin it.

        What was asked *before* that. How many answers are waited for no more.
        """
        given_up = 0
        asked = [each for each in self.pending.items() if each[1].since < before]
        for number, pending in asked:
            keys = pending.of(part_name)
            if keys and not for_good and pending.packed is None:
                self._shared.to(frames.can(number, [key for _, key in keys]), part_name)
            for each in keys:
                member, is_open = pending.left[each], pending.request.completion is None
                if is_open and tell(self._engine, Ledger.gone, pending.request, member) & NOTED:
                    given_up += 1
                elif is_open or not for_good:
                    # It was over before: what was, or will be, said of that still counts.
                    continue
                del pending.left[each]
            if keys and not pending.left:
                self.pending.forget(number)
        return given_up

    def gone_from(self, part_name: str, keys: Iterable[int]) -> None:
        """Those of its producers have left."""
        # Those that were not asked, and will not be.
        unsent = [each for each in self.pending.items() if each[1].packed is not None]
        for number, pending in unsent:
            for key in keys:
                member = pending.left.get((part_name, key))
                if member is not None:
                    self.will_not(Ledger.gone, number, pending, member)

    # -- inside --------------------------------------------------------------------------------

    def _find(
        self, sender: str, number: int, key: int
    ) -> Tuple[Optional[Pending], Optional[RemoteMember]]:
        pending = self.pending.get(number)
        member = None if pending is None else pending.left.get((sender, key))
        if member is None:
            self._shared.count("duplicates")
        return pending, member

    def will_not(
        self, fact: Fact, number: int, pending: Pending, member: RemoteMember, late: Said = _SKIPPED
    ) -> None:
        """That *fact* of who does not begin it; *late* is what it comes to behind the end."""
        request = pending.request
        if request.completion is None and tell(self._engine, fact, request, member) & NOTED:
            self.pending.answered(number, pending, member.place)
        else:
            # Its deadline has come first, perhaps just now.
            self._says(number, pending, member, late)

    def _says(self, number: int, pending: Pending, member: RemoteMember, said: Said) -> None:
        if pending.request.completion is None:
            # A little early by our clock: it comes to that.
            early = pending.said = pending.said or {}
            before = early.get(member, said)
            early[member] = said[0], said[1] or before[1]
            return
        self._settle(pending.request, {member: said})
        verdict, standing = said
        if verdict is not Verdict.MISSING or standing is Standing.DEAD:
            self.pending.answered(number, pending, member.place)

    def _settle(self, request: Request, settled: Dict[RemoteMember, Said]) -> None:
        # Who has not begun it: the word to stop is the same, whatever the caller's end was.
        is_cancelled = request.completion is Completion.CANCELLED
        unbegun = Verdict.CANCELLED if is_cancelled else Verdict.SKIPPED
        settled = {
            member: (unbegun if verdict in _UNBEGUN else verdict, standing)
            for member, (verdict, standing) in settled.items()
        }
        settle(self._engine, request, settled)
