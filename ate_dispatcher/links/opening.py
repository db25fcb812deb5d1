"""How a dispatcher is connected: by an address, by the environment, or by a transport object."""

from __future__ import annotations

import os
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, Dict, Mapping, Optional, Sequence, Union

from typing_extensions import Protocol

from .. import _log
from .._engine.engine import Engine
from ..errors import BadType, BadValue, DispatcherError
from .link import Link
from .shared import own_name
from .transport import Transport, without_login
from .values import ValueType

__all__ = ["Opener", "open_link"]

GROUP = "ate_dispatcher.links"
"""The group of entry points by which other packages add schemes: each the name of a module."""

NAMESPACE = "ATE_DISPATCHER_NAMESPACE"

_OURS = dict.fromkeys(("nats", "tls"), "ate_dispatcher.links.nats")
"""Those of this package, also where it was not installed."""


class Opener(Protocol):
    """A module that knows the addresses of one scheme."""

    ENVIRONMENT: str
    """The variables that it looks at, in words."""

    def transport_for(
        self, address: Union[str, Sequence[str]], options: Dict[str, Any]
    ) -> Transport:
        """BadValue for an address that is none, or an option that it has not."""
        ...

    def address_in(self, environment: Mapping[str, str]) -> Optional[str]:
        """The address that the environment has, if any."""
        ...


def open_link(
    engine: Engine,
    address: Any,
    namespace: Optional[str],
    name: Optional[str],
    wait: bool,
    types: Sequence[ValueType[Any]],
    group: str,
    options: Dict[str, Any],
) -> Link:
    """Make a link and connect it; see `Dispatcher.connect`."""
    if not isinstance(wait, bool):
        raise BadType(f"wait must be True or False, not {wait!r}")
    transport = _transport_of(address, options)
    if namespace is None:
        namespace = os.environ.get(NAMESPACE) or "default"
    link = Link(engine, transport, namespace, own_name() if name is None else name, types, group)
    link.open(wait)
    return link


def _transport_of(address: Any, options: Dict[str, Any]) -> Transport:
    if address is not None and not isinstance(address, (str, list, tuple)):
        missing = [each for each in ("open", "send", "unpark") if not hasattr(address, each)]
        if missing:
            raise BadType(f"address must be a URL or a transport, not {_log.text_of(address)}")
        if options:
            raise BadType(f"{next(iter(options))} must not be given with a transport object")
        return address  # type: ignore[no-any-return]
    if address is None:
        openers = {module: _opener(scheme) for scheme, module in _schemes().items()}
        for opener in openers.values():
            address = opener.address_in(os.environ)
            if address is not None:
                return opener.transport_for(address, options)
        wanted = "; or ".join([each.ENVIRONMENT for each in openers.values()])
        raise DispatcherError(f"address is missing, and the environment has none: {wanted}")
    first = address if isinstance(address, str) else next(iter(address), "")
    scheme, colon, _ = str(first).partition("://")
    if not colon or scheme.split("+")[0] not in _schemes():
        known = ", ".join([f"{each}://" for each in sorted(_schemes())])
        raise BadValue(f"address must begin with one of {known}, not {without_login(address)}")
    return _opener(scheme.split("+")[0]).transport_for(address, options)


def _schemes() -> Dict[str, str]:
    """The modules that know one, by scheme."""
    found: Any = entry_points()
    mine = found.select(group=GROUP) if hasattr(found, "select") else found.get(GROUP, ())
    return {**_OURS, **{each.name: each.value for each in mine}}


def _opener(scheme: str) -> Opener:
    module: Any = import_module(_schemes()[scheme])
    opener: Opener = module
    return opener
