"""Refusals that have stood long enough: no other route could be asked within an hour (P7)."""

from collections.abc import Collection, Sequence

from reliable_email.outbox.rows.claim import Claimed
from reliable_email.store.sql.clock import DatabaseNow
from reliable_email.store.tables.attempts import Attempt

STANDS_SECONDS = 3600.0


def refused_long_ago(using: str, rows: Sequence[Claimed]) -> Collection[int]:
    """Ids of messages that a route refused at least an hour ago, by the journal of attempts."""
    noted = [one for one in rows if one.refused_by]
    if not noted:
        return ()  # the rule, and no statement
    routes = {note for one in noted for note in one.refused_by}
    attempts = Attempt._base_manager.using(using).filter(
        message__in={one.message_id for one in noted}, route__in=routes, finished_at__lte=DatabaseNow(-STANDS_SECONDS)
    )
    return set(attempts.values_list("message_id", flat=True))
