"""Tells the site that a route was taken out of use, or is in use again."""

import time
from datetime import UTC, datetime

from reliable_email import signals
from reliable_email.delivery.breaker import LONGEST_SECONDS, BreakerState, Phase


def announce(alias: str, before: BreakerState, after: BreakerState, *, sender: type) -> None:
    """Send `route_opened` or `route_closed` where one state leads to the other.

    Args:
        sender: the class of the store that noticed.
    """
    was_in_use, is_in_use = before.phase is Phase.CLOSED, after.phase is Phase.CLOSED
    if was_in_use and not is_in_use:
        signals.route_opened.send_robust(
            sender=sender,
            route=alias,
            reason=after.reason,
            until=_until(after),
            evidence=after.evidence or after.paused_by,
        )
    if is_in_use and not was_in_use:
        signals.route_closed.send_robust(sender=sender, route=alias, evidence=before.evidence)


def _until(state: BreakerState) -> datetime | None:
    if state.needs_person or state.phase is Phase.PAUSED:
        return None
    now = time.time()
    return datetime.fromtimestamp(min(max(state.until, now), now + LONGEST_SECONDS), tz=UTC)
