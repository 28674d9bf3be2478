"""The history of a route's openings, for the question how often and why it was closed."""

from collections.abc import Sequence
from datetime import datetime

from reliable_email.records import dataclass
from reliable_email.store.questions.filters import outbox_database
from reliable_email.store.tables.routes import Opening


@dataclass(frozen=True, slots=True, kw_only=True)
class OpeningStory:
    """One closing of a route by its breaker; `closed_at` is when it was in use again, None while it is not."""

    route: str
    account: str
    number: int
    reason: str
    evidence: str
    opened_at: datetime
    closed_at: datetime | None
    failed_probes: int


def openings(routes: Sequence[str] = (), using: str | None = None, *, newest: int = 50) -> list[OpeningStory]:
    """The newest of these routes, or of all, the newest first."""
    rows = Opening._base_manager.using(outbox_database(using))
    if routes:
        rows = rows.filter(route__in=list(routes))
    return [
        OpeningStory(
            route=row.route,
            account=row.account,
            number=row.number,
            reason=row.reason,
            evidence=row.evidence,
            opened_at=row.opened_at,
            closed_at=row.closed_at,
            failed_probes=row.failed_probes,
        )
        for row in rows.order_by("-opened_at", "-pk")[:newest]
    ]
