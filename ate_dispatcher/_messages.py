"""What travels between threads: the record of a reply and the signal that ends a worker.

A *record* is a plain tuple, because it is made once per reply on the hot path and then only read.
It is chained: its last field is the record of the reply before it in the same request, so the
request needs no list and a listener takes the record as it is.
"""

from __future__ import annotations

import enum
from typing import Any, Hashable, Optional, Tuple

Record = Tuple[Hashable, Any, Optional[BaseException], Any, float, float, Any]
"""``(topic, value, error, member, began, stamp, previous record or None)``"""

TOPIC, VALUE, ERROR, MEMBER, BEGAN, STAMP, PREVIOUS = range(7)


class Signal(enum.Enum):
    """What a mailbox may hold beside messages. Singletons: compared by identity.

    ``completion`` is what the hot path looks at to tell an open request from anything else, so a
    signal has one that is not None.
    """

    STOP = "stop"
    """Everything queued before this was served: the worker ends here."""

    @property
    def completion(self) -> str:
        return self.value


STOP = Signal.STOP
