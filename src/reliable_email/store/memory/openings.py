"""The history of a route's openings, written by whoever changes its state, when it does."""

import logging
from datetime import UTC, datetime

from django.db import connections

from reliable_email.delivery.breaker import BreakerState, Phase
from reliable_email.delivery.telling.log_records import log_fields
from reliable_email.store.sql.away import away_errors
from reliable_email.store.sql.clock import DatabaseNow
from reliable_email.store.sql.texts import storable
from reliable_email.store.tables.routes import Opening

logger = logging.getLogger("reliable_email.store")


def note_opening(using: str, alias: str, before: BreakerState, after: BreakerState) -> None:
    """Write down that a route opened, that a probe failed, or that it is in use again; raises nothing."""
    rows = Opening._base_manager.using(using)
    try:
        if after.number > before.number:
            opening = Opening(
                route=alias,
                number=after.number,
                reason=after.reason or "",
                evidence=storable(connections[using], after.evidence),
                opened_at=datetime.fromtimestamp(after.opened_at, UTC),
            )
            rows.bulk_create([opening], ignore_conflicts=True)
        elif before.phase in (Phase.OPEN, Phase.HALF_OPEN):
            row = rows.filter(route=alias, number=before.number, closed_at=None)
            if after.phase is Phase.CLOSED:
                row.update(closed_at=DatabaseNow(), failed_probes=before.failed_probes)
            elif after.failed_probes > before.failed_probes:
                row.update(failed_probes=after.failed_probes)
    except away_errors() as error:
        logger.warning(
            "A closing of route %s could not be added to its history: %s", alias, error, extra=log_fields(route=alias)
        )
