"""The outbox at one moment, as `email_outbox status` and the worker's screen show it; and its plain words."""

from collections.abc import Iterable, Iterator, Sequence

from reliable_email.delivery.breaker import BreakerState, Phase
from reliable_email.monitoring.findings import Finding, span
from reliable_email.monitoring.health import SiteHealth
from reliable_email.records import dataclass
from reliable_email.store.questions.sizes import size_words, table_bytes
from reliable_email.store.questions.status import Status, WorkerStatus
from reliable_email.store.tables.states import State
from reliable_email.values import printable

_WORKERS_AT_MOST = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteView:
    """A route in words.

    Attributes:
        is_in_use: whether messages go by it now.
        use: "in use", or why not and for how long.
        evidence: in whose words it is closed.
    """

    alias: str
    is_in_use: bool
    use: str
    evidence: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxView:
    """The outbox at one moment: its verdict, its numbers and its routes.

    Attributes:
        health: the verdict on the site's mail, and why it is not better.
        routes: those of the outbox's mailers, in order of preference.
    """

    health: SiteHealth
    status: Status
    routes: Sequence[RouteView] = ()


def route_view(alias: str, state: BreakerState, *, now: float) -> RouteView:
    """Return a breaker's state in words. `now` is of the wall clock."""
    evidence = " ".join(word for word in (state.reason or "", state.evidence) if word)
    match state.phase:
        case Phase.CLOSED if state.slow_until > now:
            return RouteView(alias=alias, is_in_use=False, use=f"slowed down for {span(state.slow_until - now)}")
        case Phase.CLOSED:
            return RouteView(alias=alias, is_in_use=True, use=state.phase.word)
        case Phase.PAUSED:
            return RouteView(
                alias=alias, is_in_use=False, use=f"{state.phase.word} by {state.paused_by or 'an operator'}"
            )
        case Phase.HALF_OPEN:
            return RouteView(alias=alias, is_in_use=False, use=state.phase.word, evidence=evidence)
        case Phase.OPEN:
            left = state.until - now
            use = f"{state.phase.word}, tried again in {span(left)}" if left > 0 else "on trial, to be tried again now"
            return RouteView(alias=alias, is_in_use=False, use=use, evidence=evidence)


def sizes(using: str) -> Iterator[str]:
    """Yield a line with the size of the tables, the three largest by name; nothing if the database does not tell."""
    found = table_bytes(using)
    if found:
        largest = [
            f"{name.removeprefix('reliable_email_')} {size_words(size)}" for name, size in list(found.items())[:3]
        ]
        yield f"tables {size_words(sum(found.values()))}: {', '.join(largest)}"


def lines(view: OutboxView, room: Iterable[str] = ()) -> Iterator[str]:
    """All of it, a line each, without a control character; what is said of `room` stands before the verdict."""
    found = view.status
    width = max(map(len, found.recipients))
    for state, count in found.recipients.items():
        note = queued_words(found) if state == State.QUEUED else ""
        yield f"{state:<{width}} {count:>9,}" + (f"   {note}" if note else "")
    if found.oldest_due_seconds is not None:
        yield due_words(found)
    for route in view.routes:
        yield printable(f"route {route.alias}: {route.use}" + (f" ({route.evidence})" if route.evidence else ""))
    yield from _worker_lines(found.workers)
    yield from room
    yield from health_lines(view.health)


def _worker_lines(workers: Sequence[WorkerStatus]) -> Iterator[str]:
    """Yield a line for each worker, those that run first; a cron job or a fleet leaves hundreds of rows a day."""
    shown = sorted(workers, key=lambda one: one.state in ("stopped", "silent"))[:_WORKERS_AT_MOST]
    for worker in shown:
        seen = f"seen {span(worker.silent_seconds)} ago"
        yield f"worker {worker.name}: {worker.state}, {worker.settled:,} transactions, {seen}"
    if len(workers) > len(shown):
        yield f"and {len(workers) - len(shown):,} more workers within a day"


def health_lines(health: SiteHealth) -> Iterator[str]:
    """Yield the findings with their remedies, and the verdict."""
    for finding in health.findings:
        yield f"{finding.verdict}: {finding_words(finding)}"
        if finding.remedy:
            yield f"  {printable(finding.remedy)}"
        if finding.topic.runbook:
            yield f"  Runbook: {finding.topic.runbook}"
    yield f"Status: {health.verdict.upper()}"


def summary(view: OutboxView) -> str:
    """All of it in one line."""
    found = view.status
    counts = ", ".join(f"{count:,} {state}" for state, count in found.recipients.items() if count) or "empty"
    closed = [route.alias for route in view.routes if not route.is_in_use]
    words = [counts, f"{found.due:,} due" if found.due else "", f"not by {', '.join(closed)}" if closed else ""]
    said = printable("; ".join(word for word in words if word))
    return f"{found.at:%H:%M:%S} {said}. {verdict_words(view)}"


def verdict_words(view: OutboxView) -> str:
    """The verdict with its reasons in a line."""
    reasons = "; ".join(finding.text for finding in view.health.findings)
    return f"Status: {view.health.verdict.upper()}" + (f" ({printable(reasons)})" if reasons else "")


def finding_words(finding: Finding) -> str:
    """Return a finding in words, with its start time."""
    since = f", since {finding.since:%Y-%m-%d %H:%M} UTC" if finding.since is not None else ""
    return f"{printable(finding.text)}{since}"


def queued_words(found: Status) -> str:
    """Return the numbers of queued recipients by priority."""
    return ", ".join(f"{count:,} {name}" for name, count in found.queued.items() if count)


def due_words(found: Status) -> str:
    """Return the number of due recipients, and the age of the oldest."""
    oldest = f", the oldest for {span(found.oldest_due_seconds)}" if found.oldest_due_seconds is not None else ""
    return f"{found.due:,} due now{oldest}"
