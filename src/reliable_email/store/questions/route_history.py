"""The history of a route: how often and why it was closed, and how long its transactions took."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime

from reliable_email.records import dataclass
from reliable_email.store.questions.filters import outbox_database
from reliable_email.store.tables.routes import Opening
from reliable_email.store.tables.shared import (
    LATENCY_BOUNDS,
    UNBOUNDED_MILLISECONDS,
    LatencyTotal,
)


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """Seconds on one route.

    Attributes:
        stage: "" for whole transactions.
        counts: how many took at most so many seconds, the bounds in order; the last one is infinite.
        sum_seconds: of all.
    """

    route: str
    stage: str
    counts: tuple[tuple[float, int], ...]
    sum_seconds: float

    @property
    def count(self) -> int:
        """Number of all transactions."""
        return self.counts[-1][1] if self.counts else 0

    def within(self, share: float) -> float:
        """The smallest bound, in seconds, within which this share of them was; infinite beyond the last."""
        wanted = share * self.count
        return next((bound for bound, so_far in self.counts if so_far >= wanted), float("inf"))


def latencies(using: str) -> tuple[Histogram, ...]:
    """Every route's, whole transactions before their stages."""
    buckets: dict[tuple[str, str], dict[int, tuple[int, float]]] = defaultdict(dict)
    rows = LatencyTotal._base_manager.using(using).values_list("route", "stage", "milliseconds", "count", "seconds")
    for route, stage, milliseconds, count, seconds in rows:
        buckets[route, stage][milliseconds] = (count, seconds)
    found = []
    for (route, stage), held in sorted(buckets.items()):
        so_far = 0
        counts = []
        for bound in sorted({*LATENCY_BOUNDS, *held}):
            so_far += held.get(bound, (0, 0.0))[0]
            counts.append((float("inf") if bound == UNBOUNDED_MILLISECONDS else bound / 1000, so_far))
        sum_seconds = sum(seconds for _, seconds in held.values())
        found.append(Histogram(route=route, stage=stage, counts=tuple(counts), sum_seconds=sum_seconds))
    return tuple(found)
