"""Findings about an outbox."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from django.apps import apps
from django.utils.translation import gettext_noop as _

from reliable_email import conf
from reliable_email.diagnosis.verdict import Health
from reliable_email.monitoring.databases import outbox_databases
from reliable_email.monitoring.findings import Finding, Topic, aware
from reliable_email.monitoring.sentences import Seconds, Sentence

if TYPE_CHECKING:
    from reliable_email.store.questions.status import Waiting


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
            yield from _silent_workers(at, found.worker_seen_at, due_since, settings.health_worker_seconds)
        if found.oldest_due_at is not None:
            due_seconds = (at - found.oldest_due_at).total_seconds()
            if due_seconds > settings.health_queue_seconds:
                yield Finding(
                    verdict=Health.UNHEALTHY,
                    text=Sentence(_("the oldest message has been due for %(time)s"), time=Seconds(due_seconds)),
                    remedy=_(
                        "Look at the routes and at the log of email_worker. If it is only overloaded, run another one, "
                        "or give it more --connections."
                    ),
                    since=aware(found.oldest_due_at),
                    topic=Topic.QUEUE,
                )
        yield from _undecided(found, settings)
        for name, since in sorted(found.forsaken.items()):
            if (at - since).total_seconds() > settings.health_queue_seconds:
                yield _forsaken(name, environment, since)


def _silent_workers(
    at: datetime, seen_at: datetime | None, due_since: datetime, limit_seconds: float
) -> Iterator[Finding]:
    since = max(filter(None, (seen_at, due_since)))
    silent_seconds = (at - since).total_seconds()
    if seen_at is None or silent_seconds > limit_seconds:
        text = Sentence(_("messages are due and no worker was seen within a day"))
        if seen_at is not None:
            template = _("messages are due and no worker was seen for %(time)s")
            text = Sentence(template, time=Seconds(silent_seconds))
        yield Finding(
            verdict=Health.UNHEALTHY,
            text=text,
            remedy=_("Start “manage.py email_worker”, and let a supervisor start it again when it ends."),
            since=aware(since),
            topic=Topic.WORKERS,
        )


def _undecided(found: "Waiting", settings: conf.Settings) -> Iterator[Finding]:
    """Yield what waits for a person: doubts and parked messages."""
    if found.unknown > settings.health_unknown:
        yield Finding(
            verdict=Health.DEGRADED,
            text=_unknown(found.unknown),
            remedy=_(
                "Ask the provider whether it has them (“manage.py email_outbox show ID” names the Message-ID), "
                "then run “manage.py email_outbox resolve ID accepted”, or “resend” if a second copy does no harm."
            ),
            since=aware(found.unknown_since),
            topic=Topic.UNKNOWN,
        )
    if found.parked > settings.health_parked:
        yield Finding(
            verdict=Health.DEGRADED,
            text=_parked(found.parked),
            remedy=_(
                "Find the reason with “manage.py email_outbox show ID”, correct it, then run “manage.py "
                "email_outbox requeue --state parked”, or “cancel --state parked”."
            ),
            topic=Topic.PARKED,
        )


def _missed_worker(at: datetime, seen_at: datetime | None, limit_seconds: float) -> Iterator[Finding]:
    silent_seconds = (at - seen_at).total_seconds() if seen_at is not None else None
    if silent_seconds is None or silent_seconds > limit_seconds:
        text = Sentence(_("messages are queued by an outbox, and no worker was seen within a day"))
        if silent_seconds is not None:
            template = _("messages are queued by an outbox, and no worker was seen for %(time)s")
            text = Sentence(template, time=Seconds(silent_seconds))
        yield Finding(
            verdict=Health.DEGRADED,
            text=text,
            remedy=_("Start “manage.py email_worker”. If a task queue or cron delivers, check that it runs."),
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
            text=Sentence(
                _("the outbox has no tables in the database %(database)s, so messages cannot be queued"),
                database=repr(alias),
            ),
            remedy=_("Run “manage.py migrate reliable_email”."),
        )
    return Finding(
        verdict=Health.UNHEALTHY,
        text=Sentence(
            _("the outbox's database %(database)s does not answer (%(error)s)"),
            database=repr(alias),
            error=type(error).__name__,
        ),
        remedy=_("Check the database. Until it answers, nothing is sent and nothing is lost."),
    )


def _forsaken(queued_in: str, environment: str, since: datetime) -> Finding:
    return Finding(
        verdict=Health.DEGRADED,
        text=Sentence(
            _("messages of the environment %(name)s are due, and no worker of it was seen within a day"),
            name=repr(queued_in),
        ),
        remedy=Sentence(
            _(
                "They were queued with RELIABLE_EMAIL['ENVIRONMENT'] = %(name)s; here it is %(own)s, and this site's "
                "workers do not deliver them. After a restore, hold or cancel them (“--environment %(name)s”); "
                "otherwise run a worker of that environment."
            ),
            name=repr(queued_in),
            own=repr(environment),
        ),
        since=aware(since),
    )


def _unknown(count: int) -> Sentence:
    if count == 1:
        return Sentence(_("1 recipient has an unknown outcome: a server may have taken the message"))
    template = _("%(count)s recipients have an unknown outcome: a server may have taken the message")
    return Sentence(template, count=count)


def _parked(count: int) -> Sentence:
    if count == 1:
        return Sentence(_("1 recipient is parked: no further attempt is made until you requeue or cancel"))
    template = _("%(count)s recipients are parked: no further attempt is made until you requeue or cancel")
    return Sentence(template, count=count)
