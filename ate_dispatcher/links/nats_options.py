"""Which NATS servers, and what a connection to one of them is made with."""

from __future__ import annotations

import inspect
import os
import sys
from collections import UserString
from contextlib import suppress
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from random import shuffle
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple, Union
from urllib.parse import urlparse

from .._arguments import real
from .._core.durations import NEVER, milliseconds
from ..errors import BadType, BadValue, DispatcherError
from .transport import without_login

__all__ = ["Options", "address_in", "servers_of", "shown"]

_OURS = frozenset(
    [
        *("self", "servers", "name", "no_echo", "connect_timeout", "pending_size"),
        *("allow_reconnect", "max_reconnect_attempts", "reconnect_to_server_handler"),
        *("error_cb", "disconnected_cb", "closed_cb", "reconnected_cb", "discovered_server_cb"),
        *("lame_duck_mode_cb", "flusher_queue_size", "flush_timeout", "drain_timeout"),
        *("skip_subject_validation", "verbose", "inbox_prefix"),
    ]
)
"""What nats-py's connect takes and the transport decides."""

_RECONNECT_WAIT = 0.1

_BROUGHT_BY = {"nats": "ate-dispatcher[nats]", "nkeys": "nats-py[nkeys]"}
"""What is installed for a module, where that is called otherwise."""

_PINGS: Dict[str, Any] = {"ping_interval": 0.5, "max_outstanding_pings": 3}
"""A frozen server is a loss within two seconds: before others seem to be silent for too long."""

_KEYS = ("nkeys_seed", "nkeys_seed_str", "user_credentials")
"""What nats-py needs nkeys for, which it does not bring by itself."""


def shown(server: str) -> str:
    """The address, without what it says of users and passwords."""
    try:
        url = urlparse(server)
        if not url.hostname:
            url = urlparse(f"nats://{server}")
        host = f"[{url.hostname}]" if ":" in (url.hostname or "") else url.hostname
        return f"{url.scheme}://{host}:{url.port or 4222}"
    except ValueError:
        return server.rpartition("@")[2]


class Options:
    """What one transport was made with, checked.

    Attributes
    ----------
    timeout, reconnect_wait: float
        Seconds that one attempt to connect may take, and between attempts.
    """

    def __init__(
        self,
        servers: Union[str, Sequence[str], None],
        connect_timeout: Any,
        uvloop: Any,
        more: Dict[str, Any],
    ) -> None:
        self._servers = servers_of(servers)
        self._discovered: Dict[str, str] = {}
        self.timeout: float = milliseconds("connect_timeout", connect_timeout)
        if not 0 < self.timeout < NEVER:
            raise BadValue(f"connect_timeout must be more than 0 ms, not {connect_timeout!r}")
        if not (uvloop is None or isinstance(uvloop, bool)):
            raise BadType(f"uvloop must be True or False, or None, not {uvloop!r}")
        self._uvloop = uvloop
        known = inspect.signature(_library("nats.aio.client").Client.connect).parameters
        for name in more:
            if name in _OURS:
                raise BadValue(f"{name} is the transport's own: {name}={more[name]!r}")
            if name not in known:
                # Not its value: it may be a password, by a name that was misspelt.
                near = get_close_matches(name, [each for each in known if each not in _OURS], 1)
                meant = f"; is it {near[0]} that you mean?" if near else ""
                raise BadValue(f"{name} is no option of nats-py{meant}")
        if any(more.get(each) for each in _KEYS):
            _library("nkeys")
        self._more = {**_PINGS, **more}
        wait = self._more.pop("reconnect_time_wait", _RECONNECT_WAIT)
        self.reconnect_wait: float = real("reconnect_time_wait", wait, "a number of seconds")

    def servers(self) -> List[str]:
        """All that may be tried, in the order for one round."""
        every = [*self._servers, *(each for each in self._discovered if each not in self._servers)]
        if not self._more.get("dont_randomize"):
            shuffle(every)
        return every

    def discovered(self, told: List[str], server: str) -> None:
        """Other servers of a cluster, as *server* has told."""
        host = urlparse(server).hostname
        for each in told:
            self._discovered.setdefault(each, host or "")

    def of(self, server: str, name: str) -> Dict[str, Any]:
        """What nats-py connects to *server* with, as *name*.

        Reads the file of credentials, if there is one. DispatcherError if half of them is missing.
        """
        _check_credentials(self._more.get("user_credentials"))
        options = {**self._more, "name": name, "connect_timeout": self.timeout}
        if self._discovered.get(server) and server not in self._servers:
            # Told by its number, but its certificate has a name.
            options.setdefault("tls_hostname", self._discovered[server])
        return options

    def new_loop(self) -> Any:
        """An event loop of the kind that was asked for; if none was, of the quicker one."""
        if self._uvloop is None and getattr(sys, "_is_gil_enabled", lambda: True)():
            with suppress(DispatcherError):
                return _library("uvloop").new_event_loop()
        return _library("uvloop" if self._uvloop else "asyncio").new_event_loop()

    def __str__(self) -> str:
        return ", ".join(shown(each) for each in self._servers)


def address_in(environment: Mapping[str, str]) -> Optional[str]:
    """The address that *environment* has, if it has one."""
    url = environment.get("ATE_DISPATCHER_NATS_URL")
    host, port = (environment.get(f"ATE_DISPATCHER_NATS_{each}") for each in ("HOST", "PORT"))
    if url or not (host or port):
        return url or None
    return f"nats://{host or '127.0.0.1'}:{port or 4222}"


def servers_of(given: Union[str, Sequence[str], None], called: str = "servers") -> List[str]:
    """The addresses that are *given* as what is so *called*; from the environment without any."""
    if given is None:
        given = address_in(os.environ) or "nats://127.0.0.1:4222"
    if not isinstance(given, (str, list, tuple)):
        raise BadType(f"{called} must be an address, or a list of them, not {given!r}")
    every: List[Any] = [given] if isinstance(given, str) else list(given)
    # One text may name several, as a list of NATS servers in an environment does.
    parts: Tuple[str, ...] = ()
    for each in every:
        if not isinstance(each, str):
            raise BadType(f"{called} must be like nats://host:4222, not {each!r}")
        parts += tuple(filter(None, map(str.strip, each.split(","))))
    for each in parts:
        try:
            url = urlparse(each if "://" in each else f"nats://{each}")
            good = url.hostname and url.scheme in ("nats", "tls", "ws", "wss") and url.port != 0
        except ValueError:
            good = False
        if not good:
            wrong = without_login(each)
            raise BadValue(f"{called} must be like nats://host:4222, not {wrong}")
    if not parts:
        raise BadValue(f"{called} must name at least one, not {given!r}")
    return list(parts)


def _check_credentials(given: Any) -> None:
    """Whether both halves are there: where one is missing, nats-py reads on after the end."""
    if isinstance(given, (str, Path)):
        with open(given, encoding="utf-8", errors="replace") as file:
            text = file.read()
    elif isinstance(given, UserString):
        text = given.data
    else:
        return
    for each, begins in (("JWT", "BEGIN NATS USER JWT"), ("NKEY SEED", "BEGIN USER NKEY SEED")):
        if begins not in text:
            raise DispatcherError(f"user_credentials have no USER {each}")


def _library(name: str) -> Any:
    """A module that may be missing."""
    try:
        return import_module(name)
    except ImportError as error:
        top = name.partition(".")[0]
        needs = f'pip install "{_BROUGHT_BY.get(top, top)}"'
        raise DispatcherError(f"{top} cannot be imported ({error}): {needs}") from error
