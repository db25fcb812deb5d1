"""``send_request`` with fixed options, apart from what is meant for the producers."""

from __future__ import annotations

from typing import Any, Dict, Hashable, List, Optional

from .._engine.engine import Engine
from .._engine.handle import Handle
from .._engine.options import Options, check_keywords
from .._engine.scatter import send
from ..errors import BadValue

__all__ = ["UNNAMED", "Sender"]

UNNAMED = 5000.0
"""The ttl of a sender whose options named none; told from another by identity."""


class Sender:
    """``send_request`` with fixed options; made by :meth:`Dispatcher.options`, reusable."""

    __slots__ = ("_engine", "_named", "_options", "_ttl")

    def __init__(
        self,
        engine: Engine,
        ttl: Optional[float],
        options: Optional[Options],
        named: Dict[str, Any],
    ) -> None:
        self._engine = engine
        self._ttl = ttl
        self._options = options
        self._named = named

    def send_request(self, topic: Hashable, /, *args: Any, **kwargs: Any) -> Handle:
        """As :meth:`Dispatcher.send_request`; every keyword goes to the producers.

        ``ttl=`` is a BadValue if the options named none: it is easily meant as one of them.
        """
        if kwargs:
            if "ttl" in kwargs and self._ttl is UNNAMED:
                shown = ", ".join([f"ttl={kwargs['ttl']!r}", *self._shown()])
                raise BadValue(
                    f"ttl={kwargs['ttl']!r} would go to the producers: write "
                    f"options({shown}).send_request(...); or, if it is meant for them, "
                    "name a ttl in the options as well"
                )
            check_keywords(kwargs)
        return send(self._engine, topic, args, kwargs, self._ttl, self._options)

    def __repr__(self) -> str:
        ttl = [] if self._ttl is UNNAMED else [f"ttl={self._ttl!r}"]
        return f"<Sender with {', '.join([*ttl, *self._shown()]) or 'no options'}>"

    def _shown(self) -> List[str]:
        return [f"{n}={value!r}" for n, value in self._named.items() if value is not None]
