"""Delivers named messages, or whatever is due, in the calling process: what a task of any task queue does.

A task carries ids and nothing else. The claim decides who delivers, so that a task which is lost loses nothing (a
sweep, or any worker, finds the message), and one that runs twice sends nothing twice.
"""

from collections.abc import Collection, Iterable

from django.db import DEFAULT_DB_ALIAS, router

from reliable_email import conf
from reliable_email.backends.failover import routes_for
from reliable_email.delivery.state import choose_store
from reliable_email.outbox.keyring import configured_keyring
from reliable_email.outbox.worker import Worker, WorkerOptions
from reliable_email.store.messages import OutboxMessage


def deliver_messages(ids: Iterable[int], *, using: str | None = None) -> int:
    """Deliver these messages, as far as they are due and nobody else has them; how many transactions that were."""
    wanted = tuple(ids)
    return _run(wanted, using=using, connections=1) if wanted else 0


def sweep(*, using: str | None = None) -> int:
    """Deliver everything that is due; how many transactions that were."""
    return _run(None, using=using, connections=conf.get().connections)


def _run(ids: Collection[int] | None, *, using: str | None, connections: int) -> int:
    settings = conf.get()
    options = WorkerOptions(
        using=using or router.db_for_write(OutboxMessage) or DEFAULT_DB_ALIAS,
        environment=settings.environment,
        connections=connections,
        batch=settings.batch,
        lease_seconds=settings.lease_seconds,
        poll_seconds=settings.poll_seconds,
        final_reply_seconds=settings.final_reply_seconds,
        domain_connections=settings.domain_connections,
        stop_seconds=settings.stop_seconds,
        crash_limit=settings.crash_limit,
        only_messages=ids,
        until_empty=True,
        listen=False,
        keyring=configured_keyring(),
    )
    return Worker(options, routes_of=routes_for, store=choose_store()).run()
