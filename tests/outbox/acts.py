"""Acts of an operator, in the fewest words: `perform` is what commands and pages call."""

from datetime import timedelta

from reliable_email.outbox.operations.operate import Act, Resolution, perform
from reliable_email.store.questions.filters import Filter


def cancel(chosen: Filter, *, actor: str, reason: str = "", using: str | None = None) -> int:
    """Cancel recipients whose message no server can have yet. What is unknown stays so, and is not sent again."""
    return perform(Act.CANCEL, chosen, actor=actor, reason=reason, using=using).count


def hold(chosen: Filter, *, actor: str, reason: str = "", using: str | None = None) -> int:
    """Park what waits, until it is requeued. The first thing to do after a database was restored or cloned."""
    return perform(Act.HOLD, chosen, actor=actor, reason=reason, using=using).count


def requeue(
    chosen: Filter,
    *,
    actor: str,
    reason: str = "",
    route: str = "",
    gives_up_after: timedelta = timedelta(days=3),
    using: str | None = None,
) -> int:
    """Send it (again): parked, rejected, expired or cancelled, as long as the content is there.

    Routes that refused it are asked again, and its time to live begins anew.

    Args:
        route: send it by this route alone; it waits while that one is closed. "" for the mailer's own order.
    """
    return perform(
        Act.REQUEUE, chosen, actor=actor, reason=reason, route=route, gives_up_after=gives_up_after, using=using
    ).count


def resolve(chosen: Filter, resolution: Resolution, *, actor: str, reason: str = "", using: str | None = None) -> int:
    """Say what became of unknown recipients, or have them sent again by the same route."""
    return perform(Act(f"resolve_{resolution.value}"), chosen, actor=actor, reason=reason, using=using).count
