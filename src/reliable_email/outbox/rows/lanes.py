"""Lanes with due messages, and their turns: high mail of all lanes before normal, normal before bulk.

A lane is a delivering mailer and an account. What waits for it in one priority is a range of the index (priority, lane,
due_at, id), so that a claim reads its rows and nothing else, and rows of lanes without a way are not read at all. Lanes
are found by skipping through that index, in one statement for all priorities.
"""

import time
from collections.abc import Collection, Iterable

from reliable_email.outbox.rows.sql import Tables
from reliable_email.records import dataclass
from reliable_email.store.questions.lanes import NO_LANE, due_lanes, lane_names
from reliable_email.store.tables.states import PriorityRank

_SOONEST_SECONDS = 0.1  # what a claim is told may be so old, however much happens
_COST_FACTOR = 10  # of ten thousand lanes, looking takes a while


@dataclass(frozen=True, slots=True)
class Lane:
    """One range of the index.

    Attributes:
        key: see `store.questions.lanes`.
        mailer: "" where its rows may be of any.
    """

    rank: PriorityRank
    key: int
    mailer: str = ""


@dataclass(frozen=True, slots=True)
class Turn:
    """A lane that may be claimed from now.

    Attributes:
        limit: at most so many recipients; None for as many as there are.
    """

    lane: Lane
    limit: int | None = None


class LaneBook:
    """A worker's knowledge of lanes; used by one thread at a time.

    Args:
        environment: whose rows are wanted.
        poll_seconds: how old what is known may become.
        only_mailers: lanes of these alone; None for all.
    """

    def __init__(
        self, using: str, environment: str, *, poll_seconds: float, only_mailers: Collection[str] | None = None
    ) -> None:
        self._using = using
        self._environment = environment
        self._poll_seconds = poll_seconds
        self._only_mailers = only_mailers
        self._mailers: dict[int, str | None] = {NO_LANE: ""}  # None for lanes that are not this worker's
        self._due_at: dict[Lane, float] = {}  # on the monotonic clock
        self._drained: set[Lane] = set()
        self._served: dict[int, int] = {}  # the number of the last claim
        self._claims = 0
        self._read_at = float("-inf")
        self._generation = -1
        self._cost_seconds = 0.0

    def look(self, generation: int) -> None:
        """Find the lanes anew where that is due: once a poll, sooner where something was queued or found empty.

        Args:
            generation: changes where something was queued.
        """
        now = time.monotonic()
        age = now - self._read_at
        soonest = min(max(_SOONEST_SECONDS, _COST_FACTOR * self._cost_seconds), self._poll_seconds)
        is_news = generation != self._generation or bool(self._drained)
        if age < soonest and not (is_news and not self._has_due(now) and age >= self._cost_seconds):
            return
        tables = Tables(self._using)
        found = due_lanes(tables.connection)
        self._learn_names(tables, {(rank, key) for rank, key, _ in found if key not in self._mailers})
        self._due_at = {
            Lane(rank, key, mailer): now - age
            for rank, key, age in found
            if (mailer := self._mailers.get(key)) is not None
        }
        self._drained.clear()
        self._generation = generation
        self._read_at = now
        self._cost_seconds = time.monotonic() - now

    def due(self) -> list[Lane]:
        """The lanes with something due, in their turn."""
        now = time.monotonic()
        due = [lane for lane, at in self._due_at.items() if at <= now]
        return sorted(due, key=lambda lane: (lane.rank, self._served.get(lane.key, 0), self._due_at[lane]))

    def is_drained(self, lane: Lane) -> bool:
        """Return whether a claim has found less than it might have taken, since the last look."""
        return lane in self._drained

    def note(self, lane: Lane, *, is_drained: bool) -> None:
        """A claim was made from it."""
        self._claims += 1
        self._served[lane.key] = self._claims
        if is_drained:
            self._drained.add(lane)

    def _has_due(self, now: float) -> bool:
        return any(at <= now and lane not in self._drained for lane, at in self._due_at.items())

    def _learn_names(self, tables: Tables, unknown: Iterable[tuple[PriorityRank, int]]) -> None:
        """Learn the mailers of unknown lanes from any row of each; a key always belongs to one mailer."""
        for key, (mailer, environment) in lane_names(tables.connection, unknown).items():
            is_mine = environment == self._environment
            is_wanted = self._only_mailers is None or mailer in self._only_mailers
            self._mailers[key] = mailer if is_mine and is_wanted else None
