"""How a listener hears whose methods are coroutines: one task in the event loop, no thread."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from .._core.outcomes import Verdict
from .._delivery.sentinels import STOP
from .coroutine_parker import Calls, CoroutineParker
from .messages import REPLY, ResultMessage, tell_of
from .published import Listening, Published
from .waiting import finished

__all__ = ["hear_all"]

_FEW = 64
"""So many results one listener hears before the others of the loop have their turn."""


async def hear_all(calls: Calls, listener: Listening) -> None:
    """Let *listener* hear one thing after the other, until STOP."""
    mailbox, parker = listener._ate_mailbox, CoroutineParker(calls)
    mailbox.hang(parker)
    items = mailbox.items
    item: Any = None
    popleft = mailbox.popleft
    number = 0
    while True:
        try:
            while True:
                if not items:
                    break
                item = popleft()
                if item is STOP:
                    return
                await _heard(listener, item)
                number += 1
                if not number % _FEW:
                    await asyncio.sleep(0)
        except BaseException as error:
            tell_of(listener, item, error)
            continue
        # Parked for long, perhaps: nobody's results stay alive in this frame.
        item = None
        if mailbox.arm():
            with contextlib.suppress(asyncio.CancelledError):
                await parker.wait()
        mailbox.disarm()


async def _heard(listener: Listening, item: Any) -> None:
    """As its call would let *listener* hear *item*."""
    if item.__class__ is tuple:
        await finished(listener.process_dispatcher_result(*item))
    elif isinstance(item, Published):
        await _hear(listener, item)
    elif isinstance(item, ResultMessage):
        try:
            await finished(listener.process_dispatcher_result(item.topic, item.value))
        finally:
            if listener._ate_heeds(REPLY):
                await finished(listener.process_dispatcher_reply(item.topic, item.reply()))
    else:
        await finished(item.hear(listener))


async def _hear(listener: Listening, delivery: Published) -> None:
    key = id(listener._ate_mailbox)
    begun = delivery.begin(listener)
    if begun is None:
        return
    (value,) = begun
    verdict = delivery.due(key)
    try:
        if verdict is Verdict.OK:
            await finished(listener.process_dispatcher_result(delivery.topic, value))
            reply = delivery.reply_for(listener, value)
            if reply is not None:
                await finished(listener.process_dispatcher_reply(delivery.topic, reply))
    except BaseException as error:
        verdict = Verdict.ERROR
        delivery.failed(listener, error)
        raise
    finally:
        begun = value = None
        delivery.heard_by(listener, key, verdict)
