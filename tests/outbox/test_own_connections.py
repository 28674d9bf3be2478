"""A worker's connections are its own: Django's pool keeps its connections, and a tenant's schema is kept to."""

import copy
from collections.abc import Iterator
from contextlib import closing

import pytest
from django.core.management import call_command
from django.db import connections, transaction
from django.test import override_settings
from pytest_django import DjangoDbBlocker

from reliable_email.checks import configuration_messages
from reliable_email.outbox.intake.autonomous import outside_of_transactions
from reliable_email.outbox.intake.enqueue import QueueOptions, enqueue
from reliable_email.outbox.worker.process import WorkerFailed
from reliable_email.store.tables.messages import OutboxMessage
from reliable_email.store.tables.states import State
from reliable_email.testing.server import ScriptedServer
from tests.outbox.desk import queue, smtp_route, states, submission, worker
from tests.outbox.network import Network

pytest.importorskip("psycopg_pool")
OUTBOX = {
    "default": {"BACKEND": "reliable_email.backends.OutboxBackend", "OPTIONS": {"using": "smtp"}},
    "smtp": {"BACKEND": "reliable_email.backends.ReliableSMTPBackend", "OPTIONS": {"host": "127.0.0.1"}},
}
_SCHEMA = "acme"


def needs_postgres(using: str) -> None:
    """Only there are pools and schemas."""
    if connections[using].vendor != "postgresql":
        pytest.skip("PostgreSQL's")


@pytest.fixture
def pooled(using: str) -> Iterator[str]:
    """A database with a pool of two connections."""
    needs_postgres(using)
    options = connections.settings[using]["OPTIONS"]
    connections[using].close()
    options["pool"] = {"min_size": 1, "max_size": 2, "timeout": 3.0}
    try:
        yield using
    finally:
        connections[using].close()
        connections[using].close_pool()
        del options["pool"]


def test_a_worker_leaves_the_pool_to_the_site(pooled: str) -> None:
    """The site's own code holds one of two connections all the while, and the command's own thread needs the other."""
    for number in range(20):
        queue(pooled, f"ok{number}@example.com")
    connections[pooled].close()
    with closing(type(connections[pooled])(connections.settings[pooled], pooled)) as sites_own:
        sites_own.ensure_connection()
        assert worker(pooled, Network().route(), connections=8, probe_seconds=0.1).run() == 20
    assert states(pooled) == [State.ACCEPTED] * 20


def test_an_error_mail_inside_a_transaction_takes_no_second_connection_of_the_pool(pooled: str) -> None:
    """Its own thread may have the last one, and would wait for itself."""

    def write(alias: str) -> list[OutboxMessage]:
        return list(enqueue([submission()], QueueOptions(mailer="routes", using=alias)))

    with (
        closing(type(connections[pooled])(connections.settings[pooled], pooled)) as sites_own,
        transaction.atomic(pooled),
    ):
        sites_own.ensure_connection()
        assert outside_of_transactions(pooled, write)
        transaction.set_rollback(True, pooled)
    assert states(pooled) == [State.QUEUED]


def test_a_check_says_how_many_connections_a_worker_opens_beside_the_pool(pooled: str) -> None:
    """Whoever sizes max_connections needs the number."""
    outbox = copy.deepcopy(OUTBOX)
    outbox["default"]["OPTIONS"]["database"] = pooled
    with override_settings(MAILERS=outbox, RELIABLE_EMAIL={"CONNECTIONS": 20}):
        [found] = [one for one in configuration_messages() if one.id == "reliable_email.I003"]
    assert pooled in found.msg
    assert "30 more" in str(found.hint)


def test_a_database_that_commits_by_hand_is_refused_in_a_sentence(using: str) -> None:
    """By the check, and by a worker that was started without it."""
    settings = connections.settings[using]
    connections[using].close()
    settings["AUTOCOMMIT"] = False
    outbox = copy.deepcopy(OUTBOX)
    outbox["default"]["OPTIONS"]["database"] = using
    try:
        with override_settings(MAILERS=outbox):
            assert "reliable_email.E024" in [one.id for one in configuration_messages()]
        with pytest.raises(WorkerFailed, match="AUTOCOMMIT = False"):
            worker(using, Network().route()).run()
    finally:
        settings["AUTOCOMMIT"] = True


@pytest.fixture
def tenants(using: str, django_db_blocker: DjangoDbBlocker) -> Iterator[str]:
    """The same database by django-tenants, with a schema that has the tables too."""
    needs_postgres(using)
    pytest.importorskip("django_tenants")
    alias = "tenants"
    settings = {**connections.settings[using], "ENGINE": "django_tenants.postgresql_backend"}
    connections.settings[alias] = settings
    connection = connections[alias]
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE SCHEMA {_SCHEMA}")
    try:
        yield alias
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f"DROP SCHEMA {_SCHEMA} CASCADE")
        connection.close()
        del connections[alias]
        del connections.settings[alias]


def test_a_worker_keeps_to_the_schema_in_which_it_was_started(tenants: str) -> None:
    """As by `tenant_command email_worker --schema=…`, with the app among TENANT_APPS."""
    connections[tenants].set_schema(_SCHEMA, include_public=False)
    call_command("migrate", "reliable_email", database=tenants, verbosity=0)
    with ScriptedServer() as server:
        for number in range(4):
            queue(tenants, f"ok{number}@example.com")
        assert worker(tenants, smtp_route(server), connections=2, probe_seconds=0.1).run() == 4
    assert states(tenants) == [State.ACCEPTED] * 4
    connections[tenants].set_schema_to_public()
    assert states(tenants) == []


def test_what_a_rollback_must_not_undo_is_written_into_the_callers_schema(tenants: str) -> None:
    """`transactional=False` opens a connection of its own, which begins in the public schema."""
    connections[tenants].set_schema(_SCHEMA, include_public=False)
    call_command("migrate", "reliable_email", database=tenants, verbosity=0)

    def write(alias: str) -> list[OutboxMessage]:
        return list(enqueue([submission()], QueueOptions(mailer="routes", using=alias)))

    with transaction.atomic(tenants):
        outside_of_transactions(tenants, write)
        transaction.set_rollback(True, tenants)
    assert states(tenants) == [State.QUEUED]
    connections[tenants].set_schema_to_public()
    assert states(tenants) == []


def test_tables_that_all_tenants_share_are_served_by_one_worker(tenants: str) -> None:
    """As with the app among SHARED_APPS: queued by a tenant, delivered by a worker that knows none."""
    connections[tenants].set_schema(_SCHEMA)
    queue(tenants)
    connections[tenants].set_schema_to_public()
    assert worker(tenants, Network().route()).run() == 1
    assert states(tenants) == [State.ACCEPTED]
