"""Who may take part, and how it comes to be registered; on the thread of the call."""

from __future__ import annotations

import inspect
import weakref
from typing import Any, Hashable, List, Optional, Tuple

from typing_extensions import Protocol

from .. import _log
from .._arguments import check_awaited, check_callable
from .._core.member import Member
from .._core.names import listed, may_be_called
from .._delivery.channel import Registration
from .._delivery.mailbox import CLOSED, Mailbox
from .._delivery.registry import check_hashable
from .._delivery.sentinels import Sentinel
from .._engine.engine import Engine
from .._engine.messages import COMPLETION, REPLY
from .._time.clock import Clock
from ..errors import BadType, BadValue, DispatcherStopped
from .functions import is_function
from .listener import OPTIONAL, ResultListener
from .participant import Participant
from .producer import Producer

__all__ = ["EVERY", "admit", "check_decorates", "deregister", "register", "to_switch"]

EVERY: Any = Sentinel("every topic")
"""In the place of topics: all that it is registered for."""

_spelling_looked_at: weakref.WeakSet[type] = weakref.WeakSet()
_answers_looked_at: weakref.WeakSet[type] = weakref.WeakSet()
"""The classes that were looked at for what is easily meant otherwise."""


def admit(participant: Any, kind: Any, parameter: str, method: str) -> None:
    """Refuse what is no *kind*, or cannot be one."""
    if not isinstance(participant, kind):
        raise BadType(f"{parameter} must be a {kind.__name__}, not {participant!r}")
    if isinstance(participant, Producer) and isinstance(participant, ResultListener):
        raise BadType(f"{parameter} must not be a Producer and a ResultListener at once")
    shown = type(participant).__qualname__
    if "_ate_mailbox" not in participant.__dict__:
        raise BadType(f"{parameter} of class {shown} has not called super().__init__()")
    inherited = getattr(type(participant), method) is getattr(kind, method)
    replies = False
    if isinstance(participant, ResultListener):
        participant._ate_looks_at_class()
        replies = participant._ate_heeds(REPLY)
    if inherited and method not in participant.__dict__ and not replies:
        raise BadType(f"{parameter} of class {shown} does not override {method}")
    called = (method, *OPTIONAL) if kind is ResultListener else (method,)
    streams = participant._ate_stream if isinstance(participant, Producer) else None
    for each in called:
        where = f"{each} of {parameter} of class {shown}"
        check_awaited(where, getattr(participant, each), streams)
    if participant._ate_is_async():
        participant._ate_check_async()
    else:
        for each in ("on_start", "on_stop"):
            # Programs may have an attribute of that name which is no method.
            if callable(getattr(participant, each, None)):
                check_callable(
                    f"{each} of {parameter} of class {shown}", getattr(participant, each)
                )
    participant._ate_check_names()
    if isinstance(participant, Producer) and not participant._ate_stream:
        _look_for_generator(participant)
    _look_for_misspelt(type(participant), (*called, "on_start", "on_stop"))
    life = participant._ate_threadless
    if participant._ate_mailbox.attention is CLOSED or (life is not None and life.is_over()):
        raise BadValue(
            f"{parameter} {_log.name_of(participant)} has ended, and a thread runs only once: "
            f"make a new {shown}"
        )


def _reads_like_several(topic: Any) -> bool:
    return isinstance(topic, tuple) and topic != () and all(isinstance(t, str) for t in topic)


def _look_for_misspelt(kind: type, called: Tuple[str, ...]) -> None:
    """Say so, once, if a method of *kind* reads like one of those that are *called*."""
    if kind in _spelling_looked_at:
        return
    from difflib import get_close_matches

    _spelling_looked_at.add(kind)
    plain = {each.replace("_", ""): each for each in called}
    for name in dir(kind):
        if name.startswith(("process_", "produce_", "on")) and name not in called:
            # Short names are near to many others: `on_state` is not meant to be `on_start`.
            likeness = 0.87 if name.startswith("on") else 0.8
            close = get_close_matches(name.replace("_", "").lower(), plain, 1, likeness)
            meant = plain[close[0]] if close else ""
            if meant and not _overrides(kind, meant):
                _log.lost("%s.%s is never called; %s would be", kind.__qualname__, name, meant)
                return


def _overrides(kind: type, method: str) -> bool:
    """Whether *kind* has that *method* from users, so that another is not meant to be it."""
    home = str(getattr(getattr(kind, method), "__module__", ""))
    return home.partition(".")[0] != __name__.partition(".")[0]


def _look_for_generator(producer: Producer) -> None:
    """Say so, once for a class, if *producer* answers with generators, and does not stream."""
    kind, own = type(producer), producer.__dict__.get("produce_dispatcher_output")
    if own is None and kind in _answers_looked_at:
        return
    if own is None:
        _answers_looked_at.add(kind)
    if inspect.isgeneratorfunction(own or kind.produce_dispatcher_output):
        _log.lost(
            "%s is a generator, which is the value of its answers; made with stream=True each "
            "value that it yields is one",
            _log.name_of(producer) if own else f"{kind.__qualname__}.produce_dispatcher_output",
        )


class Registrable(Protocol):
    """A participant, or a stream."""

    @property
    def ident(self) -> Optional[int]: ...

    @property
    def _ate_mailbox(self) -> Mailbox: ...

    def _ate_join_clock(self, clock: Clock) -> None: ...


def register(
    engine: Engine, participant: Registrable, side: str, topics: Tuple[Hashable, ...], start: bool
) -> None:
    """Let *participant* be on *side* of *topics*; DispatcherStopped when it comes too late."""
    for topic in topics:
        if _reads_like_several(topic) and engine.registry.find(topic) is None:
            _log.lost(
                "the tuple %r is registered as one topic; for several write them one by one: "
                "register_...(participant, %s)",
                topic,
                repr(topic)[1:-1],
            )
        check_hashable(topic)
    if any(isinstance(topic, bool) for topic in topics[1:]):
        raise BadType(f"topics must not be {topics[-1]!r}: to start {side} write start=True")
    if engine.gate.refusal is not None:
        raise DispatcherStopped(engine.gate.refusal)
    participant._ate_join_clock(engine.clock)
    member: Any = participant
    mailbox = participant._ate_mailbox
    heeding = False
    #: As a stream is.
    apart = True
    joins = None
    if isinstance(participant, Producer):
        member = participant._ate_member
        participant._ate_joins(engine)
        if participant._ate_member.exclusive_on is not None:
            joins = participant._ate_member.joins
    elif isinstance(participant, ResultListener):
        heeding = participant._ate_heeds(COMPLETION)
        apart = participant._ate_is_apart()
    registration = Registration(participant, member, mailbox, heeding, apart, joins)
    for topic in topics:
        engine.registry.add(topic, side, registration)
    if isinstance(participant, ResultListener):
        participant._ate_joins()
    if engine.gate.refusal is not None:
        # A stop came in between and may not have seen it.
        for topic in topics:
            engine.registry.discard(topic, side, participant)
        raise DispatcherStopped(engine.gate.refusal)
    if start and isinstance(participant, Participant) and not participant._ate_was_started():
        participant.start()


def deregister(engine: Engine, participant: Any, side: str, topics: Tuple[Hashable, ...]) -> None:
    """Let *participant* be on *side* of *topics* no more; silent where it is not."""
    if is_function(participant):
        raise BadType(
            f"{_log.name_of(participant)} is a function: deregister what its registration returned"
        )
    if topics[0] is EVERY:
        topics = engine.registry.topics_of(participant, side)
    for topic in topics:
        engine.registry.discard(topic, side, participant)
    room = participant._ate_mailbox.room
    if room is not None:
        room.waiting.wake_all()


def check_decorates(decorator: str, topic: Any) -> None:
    """Refuse a function where *decorator* wants the topic."""
    if is_function(topic):
        raise BadType(f'the topic is missing: write @dispatcher.{decorator}("topic")')


def to_switch(engine: Engine, producer: Any, by: Optional[str]) -> List[Producer]:
    """Whom to disable or enable: *producer*, or all that are registered by that name."""
    if by is not None and not isinstance(by, str):
        raise BadType(f"by must be text, not {by!r}")
    if isinstance(getattr(producer, "_ate_member", None), Member):
        return [producer]
    if not isinstance(producer, str):
        raise BadType(f"producer must be a Producer or the name of one, not {producer!r}")
    there: List[Producer] = engine.registry.participants("producers", remote=True)
    own = engine.links[0].part if engine.links else None
    found = [each for each in there if producer in may_be_called(each._ate_member, own)]
    if not found:
        names = listed(sorted([may_be_called(each._ate_member, None)[-1] for each in there]))
        raise BadValue(f"producer {producer!r} is not registered; there is {names}")
    return found
