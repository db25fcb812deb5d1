"""The verdicts on members that have none when their request ends."""

from __future__ import annotations

from typing import Mapping

from ._completion import Completion, Standing, Verdict

__all__ = ["AT_THE_END", "NOT_BEGUN", "WITHDRAWN_AT_ONCE"]

AT_THE_END: Mapping[Completion, Mapping[Standing, Verdict]] = {
    completion: {
        standing: (
            Verdict.CANCELLED
            if completion is Completion.CANCELLED
            and standing in (Standing.QUEUED, Standing.NOT_STARTED)
            else Verdict.MISSING
        )
        for standing in Standing
    }
    for completion in Completion
}
"""The verdict on members without one: by why the request ended and where the member stood."""

WITHDRAWN_AT_ONCE: Mapping[Standing, Verdict] = {
    **AT_THE_END[Completion.STOPPED],
    Standing.QUEUED: Verdict.WITHDRAWN,
    Standing.NOT_STARTED: Verdict.WITHDRAWN,
}
"""The same for a stop that does not let anybody begin any more."""

NOT_BEGUN = (Standing.QUEUED, Standing.NOT_STARTED)
