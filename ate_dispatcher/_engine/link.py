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
from .._delivery.channel import Outlet, Roster
from .._delivery.local_member import LocalMember
from ..errors import BadValue, DispatcherError

__all__ = [
    "Elsewhere",
    "Link",
    "RemoteMember",
    "Route",
    "elsewhere_of",
    "groups_of",
    "outlets_to",
    "routes_to",
    "unreached",
]


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

        On the thread of the send. BadType or BadValue, naming what cannot travel; ConnectionFailed
        if so much waits already that there is no room for it.
        """
        ...

    def ask(self, request: Request, packed: Any, route: Route) -> None:
        """Ask those on *route*."""
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
    for link in links:
        trouble = link.trouble()
        if trouble:
            return trouble
    return None


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


class Route:
    """Those of a request's members that one link reaches, as their parts know them. Immutable."""

    __slots__ = ("groups", "link", "places")

    def __init__(self, link: Link, members: Iterable[RemoteMember]) -> None:
        self.link: Link = link
        #: By part, and what that calls them.
        self.places: Dict[Tuple[str, int], RemoteMember] = {each.place: each for each in members}
        #: What several parts call theirs alike, and these parts.
        self.groups: Dict[Tuple[int, ...], List[str]] = groups_of(self.places)

    def without(self, spared: AbstractSet[int]) -> Route:
        """The same, but for *spared* identities."""
        return Route(self.link, [each for each in self.places.values() if id(each) not in spared])


def groups_of(places: Iterable[Tuple[str, int]]) -> Dict[Tuple[int, ...], List[str]]:
    """By keys the parts that have those at *places*, in their order."""
    by_part: Dict[str, List[int]] = {}
    for part, key in places:
        by_part.setdefault(part, []).append(key)
    groups: Dict[Tuple[int, ...], List[str]] = {}
    for part, keys in by_part.items():
        groups.setdefault(tuple(keys), []).append(part)
    return groups


def routes_to(roster: Roster, members: Tuple[Member, ...]) -> Sequence[Route]:
    """To those of *members* that are elsewhere; made once for those of the *roster*."""
    if members is not roster.members:
        return _routes(members)
    if roster.routes is None:
        roster.routes = _routes(members)
    return roster.routes


def _routes(members: Tuple[Member, ...]) -> Tuple[Route, ...]:
    by_link: Dict[Link, List[RemoteMember]] = {}
    for member in members:
        if isinstance(member, RemoteMember):
            by_link.setdefault(member.link, []).append(member)
    return tuple([Route(link, found) for link, found in by_link.items()])


class Elsewhere:
    """Those of a request's members that are on other machines, and how far they say they are."""

    __slots__ = ("_packed", "_routes", "progress")

    def __init__(self, routes: Sequence[Route], packed: Sequence[Any]) -> None:
        self._routes = routes
        #: For each what the request carries as its link sends it; until it has.
        self._packed = packed
        #: By identity of the member; its link's thread alone writes.
        self.progress: Optional[Dict[int, Tuple[float, str]]] = None

    def ask(self, request: Request, spared: AbstractSet[int] = frozenset()) -> None:
        """Ask them, but for *spared* identities. Once."""
        packed, self._packed = self._packed, ()
        for route, each in zip(self._routes, packed):
            route.link.ask(request, each, route.without(spared) if spared else route)

    def over(self, request: Request) -> None:
        """It has ended. Inside the section."""
        for route in self._routes:
            route.link.over(request)


def elsewhere_of(
    routes: Sequence[Route],
    topic: Hashable,
    args: Tuple[Any, ...],
    kwargs: Dict[str, Any],
    key: Any,
    together: bool,
) -> Optional[Elsewhere]:
    """Those who are asked by *routes*, with what is asked; None without any.

    Who shall begin *together* with others must be on this machine.
    """
    if not routes:
        return None
    if together:
        far = next(iter(routes[0].places.values()))
        raise BadValue(
            f"barrier: {far.name} is on {far.part}, and members on several machines cannot begin "
            "together"
        )
    return Elsewhere(routes, [each.link.pack(topic, args, kwargs, key) for each in routes])


def outlets_to(members: Sequence[Member]) -> Optional[Outlet]:
    """The chain to those of *members* that are on this machine."""
    first: Optional[Outlet] = None
    for member in reversed(members):
        if isinstance(member, LocalMember):
            first = Outlet(member.mailbox, None, first)
    return first
