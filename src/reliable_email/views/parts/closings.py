"""The history of a route as its page shows it: a strip of seven days, and the newest openings of its breaker. Pure."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from reliable_email.records import dataclass
from reliable_email.store.questions.route_history import OpeningStory
from reliable_email.templatetags.mail_words import aware

DAYS = 7
WIDTH = 700  # of the strip, in units of SVG
SHOWN = 5
_LEAST = 2.0  # narrower, nobody sees it


@dataclass(frozen=True, slots=True, kw_only=True)
class Closing:
    """One opening of the breaker. `seconds` is for how long; `is_over` whether the route is in use again."""

    opened_at: datetime
    seconds: float
    is_over: bool
    reason: str
    evidence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Closings:
    """The part of one route on its page.

    Attributes:
        bars: of the strip: where each begins, and how wide it is.
        percent: of the time for which the route was closed.
        more: openings that are not listed.
    """

    lines: tuple[Closing, ...]
    bars: tuple[tuple[float, float], ...]
    percent: float
    more: int


def closings(stories: Sequence[OpeningStory], now: datetime) -> Closings | None:
    """The strip and the list; None for a route that was never closed."""
    if not stories:
        return None
    begin = now - timedelta(days=DAYS)
    span = timedelta(days=DAYS).total_seconds()
    bars, closed_seconds = [], 0.0
    for one in stories:
        first, last = max(aware(one.opened_at), begin), aware(one.closed_at or now)
        if last <= begin:
            continue
        seconds = max(0.0, (last - first).total_seconds())
        closed_seconds += seconds
        width = max(seconds / span * WIDTH, _LEAST)
        start = min((first - begin).total_seconds() / span * WIDTH, WIDTH - width)
        bars.append((round(start, 1), round(width, 1)))
    return Closings(
        lines=tuple(_line(one, now) for one in stories[:SHOWN]),
        bars=tuple(bars),
        percent=min(100.0, closed_seconds / span * 100),
        more=max(0, len(stories) - SHOWN),
    )


def _line(one: OpeningStory, now: datetime) -> Closing:
    return Closing(
        opened_at=one.opened_at,
        seconds=(aware(one.closed_at or now) - aware(one.opened_at)).total_seconds(),
        is_over=one.closed_at is not None,
        reason=one.reason,
        evidence=one.evidence,
    )
