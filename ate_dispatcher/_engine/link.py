"""What the engine knows of other machines: a link, the members that it reaches, whom it asks.

A member elsewhere has no mailbox here. A roster with one has every send look twice; such a send
packs what it carries before anybody knows of it, so a refusal leaves nothing behind, and asks each
link once, whatever the number of its members (P20).
"""

from __future__ import annotations

from typing import (
    AbstractSet,
    Any,
    Dict,
    Hashable,
    Iterable,
    List,
    Optional,
    Sequence,
    Tuple,
)

from typing_extensions import Protocol

from .._core.member import Member, Worker
from .._core.outcomes import Standing
from .._core.request import Request
from .._delivery.channel import Outlet
from .._delivery.local_member import LocalMember
from ..errors import BadValue, DispatcherError

__all__ = ["Elsewhere", "Link", "RemoteMember", "elsewhere_of", "outlets_to", "unreached"]


class Link(Protocol):
    """What reaches other machines. From anywhere, and never blocking, unless it says otherwise."""

    @property
    def namespace(self) -> str:
        """All parts of one dispatcher have the same."""
        ...

    @property
    def part(self) -> str:
        """The name of this part among them."""
        ...

    @property
    def others(self) -> RemoteMember:
        """Stands for whoever may answer."""
        ...

    def parts(self) -> Tuple[str, ...]:
        """The names of the others."""
        ...

    def wait_for(self, names: Sequence[str], deadline: float) -> bool:
        """Wait until parts of those names are there, or until *deadline*; whether they are."""
        ...

    def is_connected(self) -> bool:
        """Whether what is sent arrives."""
        ...

    def is_over(self) -> bool:
        """Whether it has left."""
        ...

    def error(self) -> Optional[DispatcherError]:
        """Why it has left by itself, or nothing arrives while it tries; None while all is well."""
        ...

    def trouble(self) -> Optional[str]:
        """Why nothing arrives just now, in words; None while it does, and when it was left."""
        ...

    def describe(self) -> Dict[str, int]:
        """What was counted, and what is open."""
        ...

    def leave(self, until: float) -> None:
        """Take nothing new, and leave when all is answered, or at that instant."""
        ...

    def pack(self, topic: Hashable, args: Tuple[Any, ...], kwargs: Dict[str, Any], key: Any) -> Any:
        """What a request carries, as it travels; with its ordering *key*, or None.

        On the thread of the send. BadType or BadValue, naming what cannot travel.
        """
        ...

    def ask(self, request: Request, packed: Any, members: Sequence[RemoteMember]) -> None:
        """Ask *members*."""
        ...

    def over(self, request: Request) -> None:
        """It has ended. Perhaps inside the section."""
        ...

    def withdraw(self, member: RemoteMember) -> None:
        """*member* was disabled: what it has not begun is to be taken from it."""
        ...

    def changed(self, found: Sequence[Tuple[Hashable, object]]) -> None:
        """Who is on a topic, or disabled, is not what it was: each topic, and who."""
        ...

    def stop(self) -> None:
        """The dispatcher has ended: what is still to be said goes out, then it is left."""
        ...

    def join_until(self, deadline: float) -> None:
        """Wait until that is done, or until *deadline*."""
        ...

    def forked(self) -> None:
        """Here is a copy in a forked child: nothing of it is to be used, or told."""
        ...


def unreached(links: Sequence[Link]) -> Optional[str]:
    """Why nobody elsewhere can be asked just now; None if they can, and without *links*."""
    return next(filter(None, [link.trouble() for link in links]), None)


class RemoteMember(Member):
    """A producer on another machine: its own worker, for the moment in which it answers."""

    __slots__ = ("link", "place", "stands_for_many")

    def __init__(
        self, producer: Any, link: Link, part: str, key: int, stands_for_many: bool = False
    ) -> None:
        """What *part* calls it is *key*."""
        super().__init__(producer)
        self.stands_for_many: bool = stands_for_many
        self.link: Link = link
        #: Its part, and what that calls it.
        self.place: Tuple[str, int] = part, key
        self.workers: Tuple[Worker, ...] = ()
        self.standing = Standing.AWAY

    @property
    def part(self) -> str:
        """Where it is."""
        return self.place[0]

    @property
    def key(self) -> int:
        """What it is called there."""
        return self.place[1]

    def standing_of(self, worker: Optional[Worker], request: Request) -> Standing:
        """Where it is; it runs if it has said how far it is, or given a value of several."""
        standing = super().standing_of(worker, request)
        if standing is not Standing.AWAY or self.stands_for_many:
            return standing
        away = None if request.extras is None else request.extras.away
        said = isinstance(away, Elsewhere) and id(self) in (away.progress or ())
        return Standing.RUNNING if said or request.has_value_of(self) else standing

    @property
    def asked_by(self) -> str:
        """What this part is called there."""
        return self.link.part


class Elsewhere:
    """Those of a request's members that are on other machines, and how far they say they are."""

    __slots__ = ("_links", "_to_ask", "progress")

    def __init__(self, to_ask: Sequence[Tuple[Link, Any, List[RemoteMember]]]) -> None:
        self._links = tuple([link for link, _, _ in to_ask])
        #: Each link, what the request carries as that sends it, and whom it asks: until it has.
        self._to_ask = to_ask
        #: By identity of the member; its link's thread alone writes.
        self.progress: Optional[Dict[int, Tuple[float, str]]] = None

    def ask(self, request: Request, spared: AbstractSet[int] = frozenset()) -> None:
        """Ask them, but for *spared* identities. Once."""
        to_ask, self._to_ask = self._to_ask, ()
        for link, packed, members in to_ask:
            if spared:
                members = [each for each in members if id(each) not in spared]
            link.ask(request, packed, members)

    def over(self, request: Request) -> None:
        """It has ended. Inside the section."""
        for link in self._links:
            link.over(request)


def elsewhere_of(
    members: Iterable[Member],
    topic: Hashable,
    args: Tuple[Any, ...],
    kwargs: Dict[str, Any],
    key: Any,
    together: bool,
) -> Optional[Elsewhere]:
    """Those of *members* that are on other machines, with what is asked; None without any.

    Who shall begin *together* with others must be on this one.
    """
    by_link: Dict[Link, List[RemoteMember]] = {}
    for member in members:
        if isinstance(member, RemoteMember):
            found = by_link.get(member.link)
            if found is None:
                found = by_link[member.link] = []
            found.append(member)
    if not by_link:
        return None
    if together:
        far = next(iter(by_link.values()))[0]
        raise BadValue(
            f"barrier: {far.name} is on {far.part}, and members on several machines cannot begin "
            "together"
        )
    asked = by_link.items()
    return Elsewhere([(link, link.pack(topic, args, kwargs, key), each) for link, each in asked])


def outlets_to(members: Sequence[Member]) -> Optional[Outlet]:
    """The chain to those of *members* that are on this machine."""
    first: Optional[Outlet] = None
    for member in reversed(members):
        if isinstance(member, LocalMember):
            first = Outlet(member.mailbox, None, first)
    return first
