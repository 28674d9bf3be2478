"""Do the reports say what the servers have? The demo's own examination, by Message-ID."""

from collections.abc import Mapping, Sequence

from demo.story import Line
from reliable_email.delivery.report import Outcome


def contradictions(lines: Sequence[Line], held: Mapping[str, Sequence[str]]) -> list[str]:
    """Every report that the servers' own books refute, as a sentence; none where all is well.

    Args:
        lines: what was reported.
        held: the Message-IDs that each route's server has.
    """
    found = [text for line in lines if (text := _contradiction(line, held))]
    known = {line.message_id for line in lines}
    strangers = [(route, one) for route, ids in held.items() for one in ids if one not in known]
    return found + [f"{route} has a message that nobody sent: {one}" for route, one in strangers]


def copies(line: Line, held: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """How many copies of a message each server has."""
    return {route: count for route, ids in held.items() if (count := list(ids).count(line.message_id))}


def _contradiction(line: Line, held: Mapping[str, Sequence[str]]) -> str:
    there = copies(line, held)
    allowed: tuple[dict[str, int], ...]
    match line.outcome:
        case Outcome.ACCEPTED:
            allowed = ({line.route: 1},)
        case Outcome.UNKNOWN:
            allowed = ({}, {line.route: 1})
        case _:
            allowed = ({},)
    if there in allowed:
        return ""
    said = f"accepted by {line.route}" if line.outcome is Outcome.ACCEPTED else str(line.outcome)
    have = ", ".join(f"{count} on {route}" for route, count in there.items()) or "none"
    return f"message {line.number} is reported {said}, but the copies on the servers are: {have}"
