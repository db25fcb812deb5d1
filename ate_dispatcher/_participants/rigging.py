"""Setting up before the first message, and cleaning up after the last."""

from __future__ import annotations

from typing import Any, Optional

from typing_extensions import Protocol

from .. import _log
from .._delivery.mailbox import Mailbox
from .._delivery.sentinels import STOP

__all__ = ["clean_up", "cleans_up", "is_ours_itself", "run_rigged", "set_up"]


class Rigged(Protocol):
    """A participant that has something to set up and to clean up."""

    @property
    def _ate_mailbox(self) -> Mailbox: ...

    def on_start(self) -> Any: ...

    def run(self) -> Any: ...

    def on_stop(self) -> Any: ...


def run_rigged(participant: Rigged) -> Optional[str]:
    """Set up, run, clean up, on its own thread. If the first raises that is all: then its text."""
    items = participant._ate_mailbox.items
    if items and items[0] is STOP:
        # Stopped before it was started: there is nothing to set anything up for.
        participant.run()
        return None
    failure = set_up(participant)
    if failure is not None:
        return failure
    try:
        participant.run()
    finally:
        clean_up(participant)
    return None


def set_up(participant: Rigged) -> Optional[str]:
    """Do that; what it raised, in a few words, is logged. None if it is well."""
    name = _log.name_of(participant)
    error = _does(participant.on_start, f"on_start of {name} raised: it does not begin", name)
    return None if error is None else f"{type(error).__name__} in on_start"


def clean_up(participant: Rigged) -> None:
    """Do that; what it raises is logged."""
    name = _log.name_of(participant)
    _does(participant.on_stop, f"on_stop of {name} raised", name)


def _does(step: Any, otherwise: str, name: str) -> Optional[BaseException]:
    """What *step*, if it can be called, raised; then *otherwise* is logged."""
    try:
        # Programs may have an attribute of that name which is no method.
        if callable(step):
            step()
    except BaseException as error:
        _log.failed(otherwise, error, producer=name)
        return error
    return None


def cleans_up(participant: Any) -> bool:
    """Whether it has something to do after its last message, which is worth waiting for."""
    method = getattr(participant, "on_stop", None)
    return callable(method) and not is_ours_itself(method)


def is_ours_itself(method: Any) -> bool:
    return str(getattr(method, "__module__", "")).partition(".")[0] == __name__.partition(".")[0]
