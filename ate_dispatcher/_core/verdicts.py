"""The verdicts on members that have none when their request ends."""

from __future__ import annotations

from typing import Mapping

from .outcomes import Completion, Standing, Verdict

__all__ = ["AT_THE_END", "HELD", "NOT_BEGUN", "WITHDRAWN_AT_ONCE"]

NOT_BEGUN = (Standing.QUEUED, Standing.NOT_STARTED)
"""Where a member stands that has not come to the request; its mailbox holds it."""

HELD = (Standing.AT_INSTRUMENT, Standing.AT_LINE)
"""Where one stands that has come to it, and has not begun: its hand waits."""


def _at_the_end(completion: Completion, standing: Standing) -> Verdict:
    if completion is Completion.CANCELLED and standing in (*NOT_BEGUN, *HELD):
        return Verdict.CANCELLED
    return Verdict.SKIPPED if standing in HELD else Verdict.MISSING


AT_THE_END: Mapping[Completion, Mapping[Standing, Verdict]] = {
    completion: {standing: _at_the_end(completion, standing) for standing in Standing}
    for completion in Completion
}
"""The verdict on members without one: by why the request ended and where the member stood."""

WITHDRAWN_AT_ONCE: Mapping[Standing, Verdict] = {
    **AT_THE_END[Completion.STOPPED],
    **dict.fromkeys((*NOT_BEGUN, *HELD), Verdict.WITHDRAWN),
}
"""The same for a stop that does not let anybody begin any more."""
