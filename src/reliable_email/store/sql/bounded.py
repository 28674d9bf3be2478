"""Counts that stop: "10,000+" is all that a person needs to know, and all that an index can say at once."""

from typing import Any

from django.db.models import Model, QuerySet

from reliable_email.records import dataclass

MOST = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundedCount:
    """A count that stops at a maximum: this number, or more."""

    count: int
    is_more: bool = False

    def __str__(self) -> str:
        return f"{self.count:,}{'+' if self.is_more else ''}"

    def __bool__(self) -> bool:
        return self.count > 0


def bounded_count(rows: "QuerySet[Any, Any] | QuerySet[Model]", *, most: int = MOST) -> BoundedCount:
    """Count rows, up to `most`. They must be in an index's order, which keeps the planner on that index."""
    found = rows[: most + 1].count()
    return BoundedCount(count=min(found, most), is_more=found > most)
