"""The doors that stand between Django's own tests and what they look at: direct, failover, queue.

A queue has a database of its own, since most of Django's tests forbid theirs, and works in a thread of its own, whose
database connections nobody has forbidden.
"""

import contextvars
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import django
from django.core.mail import EmailMessage
from django.test.utils import override_settings

DOOR = os.environ.get("RELIABLE_EMAIL_DOOR", "direct")
OUTBOX = "outbox"
_SMTP = "reliable_email.backends.ReliableSMTPBackend"
_AWAY = {"BACKEND": _SMTP, "OPTIONS": {"host": "127.0.0.1", "port": 1, "timeout": 5, "max_attempts": 1}}


@cache
def _server(pid: int) -> Any:
    from reliable_email.testing.server import ScriptedServer

    return ScriptedServer().start()


def send_to_a_server(messages: Sequence[EmailMessage]) -> int:
    """Send by this run's door to a server in this process."""
    server = _server(os.getpid())
    return send(messages, {"host": server.host, "port": server.port, "timeout": 30})


def send(messages: Sequence[EmailMessage], options: dict[str, Any], **more: Any) -> int:
    """Send by this run's door to the server of these options."""
    route = {"BACKEND": _SMTP, "OPTIONS": options}
    failover = {"BACKEND": "reliable_email.backends.FailoverBackend", "OPTIONS": {"using": ["away", "route"], **more}}
    match DOOR:
        case "direct":
            entries = {"default": {**route, "OPTIONS": {**options, **more}}}
        case "failover":
            entries = {"default": failover, "away": _AWAY, "route": route}
        case _:
            outbox = {"using": "route", "database": OUTBOX, **more}
            entries = {
                "default": {"BACKEND": "reliable_email.backends.OutboxBackend", "OPTIONS": outbox},
                "route": route,
            }
    with _mailers(entries):
        if DOOR == "queue":
            return _elsewhere(lambda: _queue_and_work(messages))
        return _default().send_messages(messages)


@contextmanager
def _mailers(entries: dict[str, Any]) -> Iterator[None]:
    settings: dict[str, Any] = {"MAILERS": entries}
    if django.VERSION < (6, 1):
        settings["EMAIL_BACKEND"] = "reliable_email.backends.DefaultMailer"
    with override_settings(**settings):
        yield


def _default() -> Any:
    from reliable_email.mailers import mailers

    return mailers["default"]


def _queue_and_work(messages: Sequence[EmailMessage]) -> int:
    """Queue, and let a worker empty the queue; an outcome that is not accepted is the failure of a direct send."""
    from reliable_email.backends.failover import routes_for
    from reliable_email.outbox.upkeep.worker_options import WorkerOptions
    from reliable_email.outbox.worker.process import Worker
    from reliable_email.store.memory.route_state import DatabaseRouteStateStore
    from reliable_email.store.tables.messages import OutboxMessage
    from reliable_email.store.tables.recipients import OutboxRecipient
    from reliable_email.store.tables.states import State

    _make_tables()
    try:
        queued: int = _default().send_messages(messages)
        Worker(
            WorkerOptions(using=OUTBOX, until_empty=True, connections=1, poll_seconds=0.05),
            routes_of=routes_for,
            store=DatabaseRouteStateStore(OUTBOX),
        ).run()
        rows = OutboxRecipient.objects.using(OUTBOX).exclude(state=State.ACCEPTED)
        if rows.exists():
            raise AssertionError(f"not accepted: {list(rows.values_list('address', 'state', 'cause'))}")
        return queued
    finally:
        OutboxMessage.objects.using(OUTBOX).all().delete()


@cache
def _make_tables() -> None:
    """Django's runner makes those of databases alone that a test asks for; `migrate` would fill other apps' tables."""
    from django.db import connections
    from django.db.migrations.executor import MigrationExecutor

    executor = MigrationExecutor(connections[OUTBOX])
    executor.migrate(executor.loader.graph.leaf_nodes("reliable_email"))


def _elsewhere(work: Callable[[], int]) -> int:
    """Do it in a thread, in the caller's context (its language, its time zone)."""
    found: list[int] = []
    raised: list[BaseException] = []

    def run() -> None:
        from django.db import connections

        try:
            found.append(work())
        except BaseException as error:  # noqa: BLE001 - raised in the caller's thread
            raised.append(error)
        finally:
            connections.close_all()

    context = contextvars.copy_context()
    thread = threading.Thread(target=context.run, args=(run,))
    thread.start()
    thread.join()
    if raised:
        raise raised[0]
    return found[0]
