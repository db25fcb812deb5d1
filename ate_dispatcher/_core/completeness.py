"""Whether a request that has ended has a value of everybody, and what is said if it has not."""

from __future__ import annotations

from typing import Any, Dict, List

from ..errors import IncompleteError
from .member import Member
from .names import Names
from .outcomes import ANSWERED, Completion, Verdict
from .records import ERROR, MEMBER, Part, newest_first
from .report import Report, ending
from .request import Request

__all__ = ["called", "incomplete", "is_complete"]

_CUT_SHORT = (Completion.CANCELLED, Completion.IMPOSSIBLE, Completion.STOPPED)


def called(request: Request) -> Dict[int, str]:
    """The names of all who were asked, and then of who has answered beside them, by identity."""
    asked = {id(member): member for member in request.roster if not member.stands_for_many}
    joined: Dict[int, Member] = {}
    if _is_open(request):
        newest = [record[MEMBER] for record in newest_first(request.chain)]
        joined = {id(each): each for each in reversed(newest) if id(each) not in asked}
    names = Names.among([*asked.values(), *joined.values()]) if joined else None
    found = {key: request.name_of(member) for key, member in asked.items()}
    for key, member in joined.items():
        found[key] = member.name if names is None else names.of(member)
    return found


def is_complete(request: Request) -> bool:
    """Whether all who were asked have given a value.

    Nobody knows how many could have, if whoever there is was asked. Then it is whether somebody
    has, and all of this machine; nobody has raised; and others had their time, or what was needed
    came first.
    """
    asked, is_open = len(request.roster), _is_open(request)
    answered = joined = 0
    for record in newest_first(request.chain):
        if record[ERROR] is not None:
            return False
        answered += record.__class__ is not Part
        joined += 1
    if not is_open:
        return answered == max(1, asked)
    met = request.need is None or request.need.is_met
    return joined > 0 and answered == asked - 1 and met and request.completion not in _CUT_SHORT


def incomplete(
    request: Request, report: Report, values: List[Any], errors: List[BaseException]
) -> IncompleteError:
    """What is raised then."""
    lost = f"; not connected: {report.unreached}" if report.unreached else ""
    if not report.members:
        said = f"nobody was registered for the topic of request {request.id}{lost}"
        return IncompleteError(said)
    end = ending(report)
    of = f" of {report.policy}" if request.completion is Completion.IMPOSSIBLE else ""
    asked, beside, unmet = report.members, "", ""
    names, who = called(request), f"request {request.id}"
    if _is_open(request):
        if request.chain is None:
            who = f"nobody has answered {who}, which"
        asked = asked[:-1]
        beside = f" of this machine, {len(names) - len(asked)} answers of others"
        if request.need is not None and not request.need.is_met:
            unmet = f"; not met: {request.need.policy}"
    silent = [
        f"{each.name} ({each.error})" if each.error else each.name
        for each in report.members
        if each.verdict not in ANSWERED
    ]
    failed = {id(each[MEMBER]) for each in newest_first(request.chain) if each[ERROR] is not None}
    raised = [name for key, name in names.items() if key in failed]
    return IncompleteError(
        f"{who} ended as {end}{of} with "
        f"{sum(each.verdict is Verdict.OK for each in asked)} of {len(asked)} results{beside}; "
        f"no answer in time from: {', '.join(silent) or 'nobody'}; "
        f"raised: {', '.join(raised) or 'nobody'}{unmet}{lost}",
        values,
        report.missing,
        errors,
    )


def _is_open(request: Request) -> bool:
    """Whether anybody may have answered it."""
    return bool(request.roster) and request.roster[-1].stands_for_many
