"""Log records that programs can read: those about messages and routes have six fields, None where not known.

| field | holds |
|---|---|
| `message_id` | the Message-ID with its angle brackets |
| `outbox_id` | the number of the outbox's message |
| `route` | the alias of a route |
| `cause`, `stage`, `outcome` | the words of reports |

INFO is what went well, WARNING trouble that the package deals with by itself (one for each), ERROR what a person has to
see. Addresses are in records of level DEBUG alone; where a server repeats one in its reply, it is masked.
"""

import logging

from reliable_email.delivery.breaker import BreakerState, Phase
from reliable_email.values import masked, printable

logger = logging.getLogger("reliable_email.delivery")

FIELDS = ("message_id", "outbox_id", "route", "cause", "stage", "outcome")


def log_fields(
    *,
    message_id: str | None = None,
    outbox_id: int | None = None,
    route: str | None = None,
    cause: str | None = None,
    stage: str | None = None,
    outcome: str | None = None,
) -> dict[str, str | int | None]:
    """For `extra`."""
    return {
        "message_id": message_id or None,
        "outbox_id": outbox_id,
        "route": route or None,
        "cause": cause or None,
        "stage": stage or None,
        "outcome": outcome or None,
    }


def words_of(text: str) -> str:
    """What a server said, as it may stand in a log: in one line, and without anybody's address."""
    return masked(printable(text))


def log_breaker(alias: str, before: BreakerState, after: BreakerState, *, now: float) -> None:
    """Say once that a route is out of use, or in use again; probes that fail meanwhile are not worth a line."""
    was_in_use, is_in_use = before.phase is Phase.CLOSED, after.phase is Phase.CLOSED
    known = log_fields(route=alias, cause=after.reason)
    if after.phase is Phase.PAUSED and before.phase is not Phase.PAUSED:
        logger.info("route %s: paused by %s", alias, words_of(after.paused_by) or "an operator", extra=known)
    elif was_in_use and not is_in_use:
        level = logging.ERROR if after.needs_person else logging.WARNING
        until = "until somebody mends it" if after.needs_person else f"for {max(after.until - now, 0):.0f} s"
        said = words_of(after.evidence)
        logger.log(level, "route %s: out of use %s, %s (%s)", alias, until, after.reason, said, extra=known)
    elif is_in_use and not was_in_use:
        logger.info("route %s: in use again", alias, extra=known)
