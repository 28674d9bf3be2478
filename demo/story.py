"""What became of each message, in one line that explains itself."""

from collections import Counter
from dataclasses import dataclass

from reliable_email.classification import Cause
from reliable_email.delivery.report import Attempt, DeliveryReport, Outcome

SIGNS = {Outcome.ACCEPTED: "✓", Outcome.REJECTED: "✗", Outcome.DEFERRED: "…", Outcome.UNKNOWN: "?"}

# Why, in words of this demo; the package's own words are in the errors and in `explain_reply`.
_WHY = {
    Cause.SYSTEM_TEMPORARY: "the server has trouble, so the next provider is asked at once",
    Cause.DISCONNECTED: "the connection ended before the content: it has nothing, so it is safe to ask the next one",
    Cause.OUTCOME_UNKNOWN: "it closed the connection after the final dot: it may have the message, so no second copy",
    Cause.QUOTA_EXCEEDED: "its quota for today is used up: closed until that has passed, the next one goes on",
    Cause.ROUTE_CLOSED: "left alone for now",
    Cause.MAILBOX_UNKNOWN: "this mailbox does not exist anywhere: no other provider is bothered with it",
    Cause.GREYLISTED: "asked to come back later: another provider would start from zero",
    Cause.TLS_FAILED: "TLS could not be established",
}


@dataclass(frozen=True, slots=True)
class Line:
    """One message's line.

    Attributes:
        way: the routes it took, each with a sign.
        why: what went wrong on the way, "" where nothing did.
    """

    number: int
    recipient: str
    outcome: Outcome
    route: str
    way: str
    why: str


def line_of(number: int, recipient: str, report: DeliveryReport) -> Line:
    """Read a report."""
    one = report.recipients[recipient]
    attempts = report.attempts
    way = " → ".join(f"{attempt.route} {SIGNS[attempt.outcomes.get(recipient, one.outcome)]}" for attempt in attempts)
    failed = [attempt for attempt in attempts if attempt.failure is not None]
    return Line(
        number=number,
        recipient=recipient,
        outcome=one.outcome,
        route=one.route or "",
        way=way or "no route",
        why="; ".join(dict.fromkeys(_why(attempt) for attempt in failed)),
    )


def _why(attempt: Attempt) -> str:
    assert attempt.failure is not None
    cause = attempt.failure.cause
    return f"{attempt.route}: {_WHY.get(cause, str(cause).replace('_', ' '))}"


@dataclass(slots=True)
class Totals:
    """Outcomes counted by route and by cause."""

    by_route: Counter[tuple[str, Outcome]]
    by_cause: Counter[str]

    @classmethod
    def of(cls, lines: list[Line], reports: list[DeliveryReport]) -> "Totals":
        """Count."""
        causes = Counter(
            f"{attempt.route}: {attempt.failure.cause}"
            for report in reports
            for attempt in report.attempts
            if attempt.failure is not None
        )
        return cls(Counter((line.route, line.outcome) for line in lines), causes)
