"""One thing that is not as it should be, and words that findings share."""

from datetime import UTC, datetime
from enum import StrEnum

from django.utils import timezone

from reliable_email.diagnosis.verdict import Health
from reliable_email.monitoring.sentences import Seconds
from reliable_email.records import dataclass


class Topic(StrEnum):
    """The subject of a finding, so that each surface can link to it; "" if there is none."""

    NONE = ""
    ROUTE = "route"
    PAUSED = "paused"
    QUOTA = "quota"
    QUEUE = "queue"
    WORKERS = "workers"
    UNKNOWN = "unknown"
    PARKED = "parked"
    HELD = "held"

    @property
    def runbook(self) -> str:
        """The address of the documentation's page that leads through it; "" for none."""
        from reliable_email.monitoring.documentation import page_address  # a worker shows none

        return page_address(f"how-to/{_RUNBOOKS[self]}") if self in _RUNBOOKS else ""


_RUNBOOKS = {
    Topic.ROUTE: "provider-down",
    Topic.PAUSED: "provider-down",
    Topic.QUOTA: "quota-used-up",
    Topic.QUEUE: "run-the-worker",
    Topic.WORKERS: "run-the-worker",
    Topic.UNKNOWN: "unknown-outcomes",
    Topic.PARKED: "look-after-the-outbox",
    Topic.HELD: "bad-deploy",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One finding about the site's mail.

    Attributes:
        verdict: what it makes of the whole; never HEALTHY.
        text: what is so, one sentence; see `sentences`.
        remedy: what a person can do about it; may be "".
        since: aware; None where nobody noted it.
        topic, name: what it is about, and which route or mailer.
    """

    verdict: Health
    text: str
    remedy: str = ""
    since: datetime | None = None
    topic: Topic = Topic.NONE
    name: str = ""


def aware(moment: datetime | None) -> datetime | None:
    """An instant of the database with its time zone, which a site without USE_TZ leaves out."""
    if moment is None:
        return None
    return (timezone.make_aware(moment) if timezone.is_naive(moment) else moment).astimezone(UTC)


def instant(seconds: float) -> datetime | None:
    """An instant of route state; None where it was never noted."""
    return datetime.fromtimestamp(seconds, UTC) if seconds > 0 else None


def span(seconds: float) -> str:
    """A duration for people."""
    return str(Seconds(seconds))
