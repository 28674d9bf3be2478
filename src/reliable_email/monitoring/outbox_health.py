"""Findings about an outbox."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from django.apps import apps

from reliable_email import conf
from reliable_email.diagnosis.verdict import Health
from reliable_email.monitoring.databases import outbox_databases
from reliable_email.monitoring.findings import Finding, Topic, aware, span


def outbox_findings(using: str | None = None, *, misses_workers: bool = False) -> Iterator[Finding]:
    """Yield the problems of the outbox in one database, or in those that the mailers name.

    Args:
        misses_workers: whether a worker is missed also while nothing is due.
    """
    if not apps.is_installed("reliable_email"):
        return  # a check says so where an outbox needs it
    from reliable_email.monitoring.waiting_health import held_findings, standing_findings, standing_lanes
    from reliable_email.store.questions.filters import outbox_database
    from reliable_email.store.questions.status import waiting
    from reliable_email.store.sql.away import away_errors

    named = (using,) if using is not None else outbox_databases()
    for alias in named or (outbox_database(),):
        try:
            environment = conf.get().environment
            standing, lanes = standing_lanes(alias, environment)
            held = list(held_findings(alias))
            found = waiting(alias, environment=environment, leaving_out=lanes)
        except away_errors() as error:
            if named:  # otherwise nobody queues anything
                yield _unreadable(alias, error)
            continue
        at = found.at
        settings = conf.get()
        yield from standing_findings(standing, at)
        yield from held
        due_since = found.oldest_due_at
        if due_since is None and standing:
            due_since = at - timedelta(seconds=max(one.since_seconds for one in standing.values()))
        if misses_workers and named and due_since is None:
            yield from _missed_worker(at, found.worker_seen_at, settings.health_worker_seconds)
        if due_since is not None:
            seen = max(filter(None, (found.worker_seen_at, due_since)))
            silent_seconds = (at - seen).total_seconds()
            if found.worker_seen_at is None or silent_seconds > settings.health_worker_seconds:
                words = f"for {span(silent_seconds)}" if found.worker_seen_at is not None else "within a day"
                yield Finding(
                    verdict=Health.UNHEALTHY,
                    text=f"messages are due and no worker was seen {words}",
                    remedy="Start “manage.py email_worker”, and see to it that it is started again when it ends.",
                    since=aware(seen),
                    topic=Topic.WORKERS,
                )
        if found.oldest_due_at is not None:
            due_seconds = (at - found.oldest_due_at).total_seconds()
            if due_seconds > settings.health_queue_seconds:
                yield Finding(
                    verdict=Health.UNHEALTHY,
                    text=f"the oldest message has been due for {span(due_seconds)}",
                    remedy="Look at the routes and at the log of email_worker; where it only has too much to do, run "
                    "another one or give it more --connections.",
                    since=aware(found.oldest_due_at),
                    topic=Topic.QUEUE,
                )
        if found.unknown > settings.health_unknown:
            yield Finding(
                verdict=Health.DEGRADED,
                text=f"{_count(found.unknown)} with an unknown outcome: a server may have taken the message",
                remedy="Ask the provider whether it took them (“manage.py email_outbox show ID” names the Message-ID), "
                "then “manage.py email_outbox resolve ID accepted”, or “resend” where a second copy does no harm.",
                since=aware(found.unknown_since),
                topic=Topic.UNKNOWN,
            )
        if found.parked > settings.health_parked:
            yield Finding(
                verdict=Health.DEGRADED,
                text=f"{_count(found.parked)} parked: no further attempt is made until you requeue or cancel",
                remedy="See why with “manage.py email_outbox show ID”, mend that, then “manage.py email_outbox requeue "
                "--state parked”, or “cancel --state parked”.",
                topic=Topic.PARKED,
            )
        for name, since in sorted(found.forsaken.items()):
            if (at - since).total_seconds() > settings.health_queue_seconds:
                yield _forsaken(name, environment, since)


def _missed_worker(at: datetime, seen_at: datetime | None, limit_seconds: float) -> Iterator[Finding]:
    silent_seconds = (at - seen_at).total_seconds() if seen_at is not None else None
    if silent_seconds is None or silent_seconds > limit_seconds:
        words = f"for {span(silent_seconds)}" if silent_seconds is not None else "within a day"
        yield Finding(
            verdict=Health.DEGRADED,
            text=f"messages are queued by an outbox, and no worker was seen {words}",
            remedy="Start “manage.py email_worker”; where a task queue or cron delivers, see whether it does.",
            since=aware(seen_at) if seen_at is not None else None,
            topic=Topic.WORKERS,
        )


def _unreadable(alias: str, error: Exception) -> Finding:
    from reliable_email.store.questions.status import has_tables
    from reliable_email.store.sql.away import away_errors

    try:
        is_there = has_tables(alias)
    except away_errors():
        is_there = True
    if not is_there:
        return Finding(
            verdict=Health.UNHEALTHY,
            text=f"the outbox has no tables in the database {alias!r}, so messages cannot be queued",
            remedy="Run “manage.py migrate reliable_email”.",
        )
    return Finding(
        verdict=Health.UNHEALTHY,
        text=f"the outbox's database {alias!r} does not answer ({type(error).__name__})",
        remedy="See to the database; nothing is lost meanwhile, and nothing is sent.",
    )


def _forsaken(queued_in: str, environment: str, since: datetime) -> Finding:
    return Finding(
        verdict=Health.DEGRADED,
        text=f"messages of the environment {queued_in!r} are due, and no worker of it was seen within a day",
        remedy=f"RELIABLE_EMAIL['ENVIRONMENT'] was {queued_in!r} where they were queued; workers of {environment!r} "
        f"leave them alone. After a restore hold or cancel them (“--environment {queued_in!r}”); otherwise run a "
        f"worker of that environment.",
        since=aware(since),
    )


def _count(recipients: int) -> str:
    return f"{recipients:,} recipient{'s are' if recipients != 1 else ' is'}"
