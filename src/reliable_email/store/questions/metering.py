"""The questions of monitors, answered as plain values. Every process gets the same answers.

The work grows with what waits and with the number of routes, never with what was delivered.
"""

from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime

from django.db import connections
from django.db.models import Count, Max

from reliable_email.records import dataclass
from reliable_email.store.questions.lanes import due_lanes, lanes_by_environment
from reliable_email.store.questions.queries import WorkerStatus, workers
from reliable_email.store.sql.clock import database_now
from reliable_email.store.tables.recipients import OutboxRecipient
from reliable_email.store.tables.shared import (
    LATENCY_BOUNDS,
    UNBOUNDED_MILLISECONDS,
    LatencyTotal,
    OutcomeTotal,
    Worker,
)
from reliable_email.store.tables.states import PriorityRank, State

# What is not over: it waits for a worker, is in a worker's hand, or waits for a person.
UNFINISHED = (State.QUEUED, State.CLAIMED, State.AUTHORIZED, State.UNKNOWN, State.PARKED)


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
        """All of them."""
        return self.counts[-1][1] if self.counts else 0

    def within(self, share: float) -> float:
        """The smallest bound, in seconds, within which this share of them was; infinite beyond the last."""
        wanted = share * self.count
        return next((bound for bound, so_far in self.counts if so_far >= wanted), float("inf"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One outbox at one moment.

    Attributes:
        outcomes: by route, outcome and cause, since the tables were made.
        unfinished: recipients by state and priority, each pair named.
        due_age_seconds: by priority, for how long the oldest that could be sent has waited; 0 where none could.
        workers: seen within a day.
        worker_seen_at: when any of them last was.
    """

    at: datetime
    outcomes: Mapping[tuple[str, str, str], int]
    histograms: tuple[Histogram, ...]
    unfinished: Mapping[tuple[str, str], int]
    due_age_seconds: Mapping[str, float]
    workers: tuple[WorkerStatus, ...]
    worker_seen_at: datetime | None


def measure(using: str, *, environment: str) -> Measurement:
    """Ask the outbox of this database.

    Args:
        environment: whose messages and workers are counted. What has been delivered is counted for all together.

    Raises:
        DatabaseError: it does not answer, or has no tables.
    """
    rows = OutboxRecipient._base_manager.using(using).filter(environment=environment)
    now = database_now(using)
    unfinished = {(state.value, rank.priority.value): 0 for state in UNFINISHED for rank in PriorityRank}
    found = rows.filter(state__in=UNFINISHED).order_by().values_list("state", "priority").annotate(Count("id"))
    for state, rank, count in found:
        unfinished[state, PriorityRank(rank).priority.value] = count
    ages = {rank.priority.value: 0.0 for rank in PriorityRank}
    lanes = lanes_by_environment(connections[using], due_lanes(connections[using]))
    for rank, _, age in lanes.get(environment, ()):
        ages[rank.priority.value] = max(ages[rank.priority.value], age)
    seen = Worker._base_manager.using(using).filter(environment=environment)
    totals = OutcomeTotal._base_manager.using(using).values_list("route", "outcome", "cause", "count")
    return Measurement(
        at=now,
        outcomes={(route, outcome, cause): count for route, outcome, cause, count in totals},
        histograms=latencies(using),
        unfinished=unfinished,
        due_age_seconds=ages,
        workers=tuple(workers(using, environment=environment)),
        worker_seen_at=seen.aggregate(seen=Max("seen_at"))["seen"],
    )


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
