"""A day's traffic as the points of three lines; the page draws them as SVG, which needs no script. Pure."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from django.utils.translation import gettext_lazy as _

from reliable_email.records import dataclass
from reliable_email.store.questions.traffic import BUCKET, Bucket, Traffic

if TYPE_CHECKING:
    from django.utils.functional import Promise

WIDTH, HEIGHT = 960, 200
_STEPS = (1, 2, 5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line. `points` are SVG's; `total` is what it sums up to."""

    name: str
    label: "str | Promise"
    points: str
    total: int
    now_per_minute: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Hour:
    """A row of the table that says the same as the lines."""

    at: datetime
    queued: int
    accepted: int
    refused: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """The chart to draw. `top` is the value at the upper edge, in messages a minute."""

    width: int
    height: int
    top: str
    middle: str
    lines: tuple[Line, ...]
    ticks: tuple[tuple[float, datetime], ...]
    hours: tuple[Hour, ...]
    is_empty: bool


def _queued(bucket: Bucket) -> int:
    return bucket.queued


def _accepted(bucket: Bucket) -> int:
    return bucket.outcomes.get("accepted", 0)


def _refused(bucket: Bucket) -> int:
    return bucket.outcomes.get("rejected", 0) + bucket.outcomes.get("unknown", 0)


_LINES: tuple[tuple[str, "str | Promise", Callable[[Bucket], int]], ...] = (
    ("in", _("messages queued"), _queued),
    ("out", _("recipients accepted"), _accepted),
    ("refused", _("rejected or unknown"), _refused),
)


def chart(traffic: Traffic) -> Chart:
    """The chart of a day."""
    buckets = traffic.buckets
    most = max((value(bucket) / bucket.minutes for bucket in buckets for _, _, value in _LINES), default=0.0)
    top = _rounded_up(most)
    return Chart(
        width=WIDTH,
        height=HEIGHT,
        top=f"{top:g}",
        middle=f"{top / 2:g}",
        lines=tuple(
            Line(
                name=name,
                label=label,
                points=_points([value(bucket) / bucket.minutes for bucket in buckets], top),
                total=sum(map(value, buckets)),
                now_per_minute=_lately(buckets, value),
            )
            for name, label, value in _LINES
        ),
        ticks=_ticks(buckets),
        hours=_hours(buckets),
        is_empty=not most,
    )


def _points(values: Sequence[float], top: float) -> str:
    last = max(len(values) - 1, 1)
    return " ".join(
        f"{number * WIDTH / last:.1f},{HEIGHT - value / top * (HEIGHT - 4) - 2:.1f}"
        for number, value in enumerate(values)
    )


def _lately(buckets: Sequence[Bucket], value: Callable[[Bucket], int]) -> float:
    """A minute's rate over the last two buckets: one that has just begun says little."""
    recent = buckets[-2:]
    minutes = sum(bucket.minutes for bucket in recent)
    return sum(map(value, recent)) / minutes if minutes else 0.0


def _rounded_up(most: float) -> float:
    """The next of 1, 2, 5, 10, 20, 50 …"""
    size = 1.0
    while True:
        for step in _STEPS:
            if step * size >= most:
                return step * size
        size *= 10


def _ticks(buckets: Sequence[Bucket]) -> tuple[tuple[float, datetime], ...]:
    """Return the positions of the labelled hours, with the hours."""
    last = max(len(buckets) - 1, 1)
    return tuple(
        (round(number * WIDTH / last, 1), bucket.at) for number, bucket in enumerate(buckets) if number % 24 == 0
    )


def _hours(buckets: Sequence[Bucket]) -> tuple[Hour, ...]:
    """Return the traffic by whole hours, the newest first."""
    found: dict[datetime, list[Bucket]] = {}
    for bucket in buckets:
        found.setdefault(bucket.at - timedelta(minutes=bucket.at.minute), []).append(bucket)
    assert timedelta(hours=1) % BUCKET == timedelta()
    return tuple(
        Hour(
            at=hour,
            queued=sum(map(_queued, parts)),
            accepted=sum(map(_accepted, parts)),
            refused=sum(map(_refused, parts)),
        )
        for hour, parts in reversed(found.items())
    )
