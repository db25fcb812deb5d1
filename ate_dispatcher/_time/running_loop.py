"""The event loop that runs here, asked for without the machinery of event loops."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Optional

if TYPE_CHECKING:
    # Imported where an event loop is served: most programs have none.
    import asyncio

__all__ = ["running_loop"]


def running_loop() -> Optional[asyncio.AbstractEventLoop]:
    """The event loop that runs on the calling thread, if any does."""
    # Nothing runs in one where it was never imported.
    events = sys.modules.get("asyncio.events")
    return None if events is None else events._get_running_loop()
