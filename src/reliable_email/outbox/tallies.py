"""Counts outcomes by minute, route and cause, in memory, and adds them to the shared rows every few seconds."""

import threading
from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import datetime

from django.db import IntegrityError, transaction
from django.db.models import F

from reliable_email.outbox.settle import AttemptRow
from reliable_email.store.clock import database_now
from reliable_email.store.shared import Tally

_Key = tuple[str, str, str]  # route, outcome, cause


class Tallies:
    """A worker's counts since the last time that they were written."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[_Key] = Counter()
        self._seconds: dict[_Key, float] = defaultdict(float)

    def add(self, attempts: Sequence[AttemptRow]) -> None:
        """Count what committed attempts say."""
        with self._lock:
            for attempt in attempts:
                for outcome in attempt.outcomes.values():
                    key = (attempt.evidence.route, outcome.value, attempt.evidence.cause)
                    self._counts[key] += 1
                    self._seconds[key] += attempt.seconds

    def write(self, using: str) -> None:
        """Add them to this minute's rows; what cannot be written now is kept."""
        with self._lock:
            counts, self._counts = self._counts, Counter()
            seconds, self._seconds = self._seconds, defaultdict(float)
        if not counts:
            return
        try:
            minute = database_now(using).replace(second=0, microsecond=0)
            with transaction.atomic(using):
                # In one order for all workers: they wait for each other, and never in a circle.
                for key in sorted(counts):
                    _add(using, minute, key, counts[key], seconds[key])
        except BaseException:
            with self._lock:
                self._counts.update(counts)
                for key, value in seconds.items():
                    self._seconds[key] += value
            raise


def _add(using: str, minute: datetime, key: _Key, count: int, seconds: float) -> None:
    route, outcome, cause = key
    rows = Tally._base_manager.using(using).filter(minute=minute, route=route, outcome=outcome, cause=cause)
    changes = {"count": F("count") + count, "seconds": F("seconds") + seconds}
    if rows.update(**changes):
        return
    try:
        with transaction.atomic(using):
            Tally._base_manager.using(using).create(
                minute=minute, route=route, outcome=outcome, cause=cause, count=count, seconds=seconds
            )
    except IntegrityError:
        rows.update(**changes)
