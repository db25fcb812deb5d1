"""When a request is over: small frozen values, combined with ``|`` (either) and ``&`` (both).

``dispatcher.options(need=Quorum(3) | Stall(50))``. Under every policy a request ends at its
deadline at the latest, and at once when the policy cannot be met any more. After the completion
conditions of Camel's and Spring's aggregators and of NATS' request-many.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, Iterator, Tuple

from ._arguments import check_callable, count, real
from .errors import BadType, BadValue

__all__ = ["All", "AllOf", "AnyOf", "First", "Policy", "Quorum", "Stall", "StopOnError", "Until"]


class Policy:
    """What all policies share. They compare by value."""

    __slots__ = ()

    def __or__(self, other: Policy) -> AnyOf:
        """Over when either says so."""
        return AnyOf(_parts(AnyOf, self, other))

    def __and__(self, other: Policy) -> AllOf:
        """Over when both say so."""
        return AllOf(_parts(AllOf, self, other))

    def leaves(self) -> Iterator[Policy]:
        """The simple policies in it, from left to right."""
        yield self


@dataclass(frozen=True)
class All(Policy):
    """Everybody who was asked has a verdict: ``ALL_REPLIED``. The default."""


@dataclass(frozen=True)
class Quorum(Policy):
    """*n* producers have answered with a value: ``QUORUM``.

    Impossible as soon as too few are left, at the send already if fewer are asked.
    """

    n: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "n", count("n", self.n, "producers"))

    def __str__(self) -> str:
        return f"Quorum({self.n})"


@dataclass(frozen=True)
class First(Policy):
    """The first value: ``QUORUM``, as ``Quorum(1)``."""


@dataclass(frozen=True)
class Stall(Policy):
    """No reply for *ms* milliseconds after the last one: ``STALLED``. Or all have replied.

    Before the first reply only the deadline counts. A reply exactly at the end of that time still
    comes in time.
    """

    ms: float

    def __post_init__(self) -> None:
        ms = real("ms", self.ms, "a number of milliseconds")
        if not 0 <= ms < float("inf"):
            raise BadValue(f"ms must be at least 0 ms and finite, not {self.ms!r}")
        object.__setattr__(self, "ms", ms)

    def __str__(self) -> str:
        return f"Stall({self.ms:.12g})"


@dataclass(frozen=True)
class Until(Policy):
    """``predicate(replies)`` is true: ``PREDICATE``. *replies* are those so far, errors included.

    Asked after each reply, on the thread of the producer that gave it, outside every lock: replies
    that come meanwhile are accepted. If it raises, the request ends as ``IMPOSSIBLE``, and the
    error is logged and kept as ``handle.error``. Impossible when all have replied in vain.
    """

    predicate: Callable[[Tuple[Any, ...]], Any]

    def __post_init__(self) -> None:
        check_callable("predicate", self.predicate)

    def __str__(self) -> str:
        return f"Until({getattr(self.predicate, '__name__', type(self.predicate).__name__)})"


@dataclass(frozen=True)
class StopOnError(Policy):
    """The first error: ``PREDICATE``. Or all have replied."""


@dataclass(frozen=True)
class AnyOf(Policy):
    """One of *parts* says so; ``a | b``. The first of them that does gives the reason."""

    parts: Tuple[Policy, ...]

    def __post_init__(self) -> None:
        _check_parts(self.parts)

    def leaves(self) -> Iterator[Policy]:
        """Those of its parts."""
        for part in self.parts:
            yield from part.leaves()

    def __str__(self) -> str:
        return " | ".join(map(str, self.parts))

    def __repr__(self) -> str:
        return " | ".join(map(repr, self.parts))


@dataclass(frozen=True)
class AllOf(Policy):
    """All of *parts* say so at once; ``a & b``. The last of them gives the reason."""

    parts: Tuple[Policy, ...]

    def __post_init__(self) -> None:
        _check_parts(self.parts)

    def leaves(self) -> Iterator[Policy]:
        """Those of its parts."""
        for part in self.parts:
            yield from part.leaves()

    def __str__(self) -> str:
        return " & ".join(f"({p})" if isinstance(p, AnyOf) else str(p) for p in self.parts)

    def __repr__(self) -> str:
        return " & ".join(f"({p!r})" if isinstance(p, AnyOf) else repr(p) for p in self.parts)


def policy_of(need: Any) -> Policy:
    """The policy that *need* stands for: itself, a number for a quorum, ``"first"``, ``"all"``."""
    if need is None or need == "all":
        return All()
    if isinstance(need, Policy):
        for leaf in need.leaves():
            if type(leaf) not in (All, First, Quorum, Stall, StopOnError, Until):
                raise BadType(f"need must be made of the policies of this module, not of {leaf!r}")
        return need
    if isinstance(need, str) and need == "first":
        return First()
    if hasattr(type(need), "__index__") and not isinstance(need, bool):
        return Quorum(count("need", need, "producers"))
    wrong = BadValue if isinstance(need, str) else BadType
    raise wrong(f'need must be a policy, a number of producers, "first" or "all", not {need!r}')


def _check_parts(parts: Any) -> None:
    if not isinstance(parts, tuple) or not parts:
        raise BadType(f"parts must be a tuple of policies, not {parts!r}")
    for part in parts:
        if not isinstance(part, Policy):
            raise BadType(f"parts must be policies, not {part!r}")


def _parts(kind: Any, *policies: Any) -> Tuple[Policy, ...]:
    found: Tuple[Policy, ...] = ()
    for policy in policies:
        if not isinstance(policy, Policy):
            raise BadType(f"a policy can be combined with a policy only, not with {policy!r}")
        found += getattr(policy, "parts", ()) if isinstance(policy, kind) else (policy,)
    return found
