"""Counters of outcomes and latencies, kept in memory and added every few seconds to rows that all workers share.

Minutes are for charts and are pruned; totals are for monitors and only grow. A worker that is killed loses what it
counted since it last wrote, a few seconds' worth; the journal loses nothing.
"""

import threading
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

from django.db import models, transaction
from django.db.models import F

from reliable_email.delivery.report import Outcome
from reliable_email.outbox.rows.settle import AttemptRow
from reliable_email.store.sql.clock import database_now
from reliable_email.store.tables.shared import LATENCY_BOUNDS, LatencyTotal, OutcomeTotal, Tally

_Outcome = tuple[str, str, str]  # route, outcome, cause
_Latency = tuple[str, str, int]  # route, stage, upper bound in milliseconds
_Key = TypeVar("_Key")
_BOUNDS = LATENCY_BOUNDS[:-1]  # what is slower than all of them is in the last one
# A table, the values that name the row, and what is added to it.
_Addition = tuple[type[models.Model], Mapping[str, Any], Mapping[str, float]]


class _Sum:
    """A number of events, and their seconds in total."""

    __slots__ = ("count", "seconds")

    def __init__(self) -> None:
        self.count = 0
        self.seconds = 0.0


class _Counts:
    """The counts that are not written yet."""

    def __init__(self) -> None:
        self.outcomes: dict[_Outcome, _Sum] = defaultdict(_Sum)
        self.latencies: dict[_Latency, _Sum] = defaultdict(_Sum)

    def add(self, attempt: AttemptRow, *, is_measured: bool) -> None:
        """One attempt."""
        route = attempt.evidence.route
        for position, outcome in attempt.outcomes.items():
            cause = "" if outcome is Outcome.ACCEPTED else attempt.causes.get(position, attempt.evidence.cause)
            same = self.outcomes[route, outcome.value, cause]
            same.count += 1
            same.seconds += attempt.seconds
        if is_measured:
            self._add_latency(route, "", attempt.seconds)
            for stage, seconds in attempt.stage_seconds.items():
                self._add_latency(route, stage, seconds)

    def _add_latency(self, route: str, stage: str, seconds: float) -> None:
        bucket = self.latencies[route, stage, LATENCY_BOUNDS[bisect_left(_BOUNDS, seconds * 1000)]]
        bucket.count += 1
        bucket.seconds += seconds

    def add_all(self, other: "_Counts") -> None:
        """Add the counts that could not be written."""
        _add_sums(self.outcomes, other.outcomes)
        _add_sums(self.latencies, other.latencies)


class Tallies:
    """A worker's counts since the last time that they were written."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts = _Counts()

    def add(self, attempts: Sequence[AttemptRow], *, is_measured: bool = True) -> None:
        """Count what committed attempts say.

        Args:
            is_measured: whether their seconds were; those of attempts that rescue writes for the dead were not.
        """
        with self._lock:
            for attempt in attempts:
                self._counts.add(attempt, is_measured=is_measured)

    def write(self, using: str) -> None:
        """Add them to the rows; what cannot be written now is kept."""
        with self._lock:
            counts, self._counts = self._counts, _Counts()
        if not counts.outcomes:
            return
        try:
            minute = database_now(using).replace(second=0, microsecond=0)
            _write(using, minute, counts)
        except BaseException:
            with self._lock:
                self._counts.add_all(counts)
            raise


def _write(using: str, minute: datetime, counts: _Counts) -> None:
    """Add all of it, in one order for all workers: they wait for each other, and never in a circle."""
    additions: list[_Addition] = []
    for key in sorted(counts.outcomes):
        route, outcome, cause = key
        same: dict[str, Any] = {"route": route, "outcome": outcome, "cause": cause}
        total = counts.outcomes[key]
        additions.append((Tally, {"minute": minute, **same}, {"count": total.count, "seconds": total.seconds}))
        additions.append((OutcomeTotal, same, {"count": total.count}))
    for bucket in sorted(counts.latencies):
        route, stage, bound = bucket
        same = {"route": route, "stage": stage, "milliseconds": bound}
        total = counts.latencies[bucket]
        additions.append((LatencyTotal, same, {"count": total.count, "seconds": total.seconds}))
    _make_missing(using, minute, additions)
    with transaction.atomic(using):
        for model, row, amounts in additions:
            added = {name: F(name) + amount for name, amount in amounts.items()}
            model._base_manager.using(using).filter(**row).update(**added)


def _make_missing(using: str, minute: datetime, additions: Sequence[_Addition]) -> None:
    """Make the rows that are not there yet, in transactions of their own.

    On MySQL whoever is refused a row that another one makes keeps a lock on it; two of those who then add to it in the
    same transaction would be a deadlock.
    """
    tables: tuple[type[models.Model], ...] = (Tally, OutcomeTotal, LatencyTotal)
    for model in tables:
        rows: Any = model._base_manager.using(using)
        wanted = [same for kind, same, _ in additions if kind is model]
        if not wanted:
            continue
        names = list(wanted[0])
        known = rows.filter(minute=minute) if model is Tally else rows
        there = set(known.values_list(*names))
        missing = [model(**same) for same in wanted if tuple(same.values()) not in there]
        if missing:
            rows.bulk_create(missing, ignore_conflicts=True)


def _add_sums(mine: dict[_Key, _Sum], theirs: Mapping[_Key, _Sum]) -> None:
    for key, value in theirs.items():
        mine[key].count += value.count
        mine[key].seconds += value.seconds
