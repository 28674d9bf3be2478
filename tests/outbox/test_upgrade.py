"""From the tables of the first version to those of today: with rows in them, and with processes of both versions."""

import io
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connections, transaction
from django.test import override_settings
from pytest_django import DjangoDbBlocker

from reliable_email.outbox.operations.suppression_list import suppressed
from reliable_email.outbox.rows.claim import Wanted, claim
from reliable_email.store.questions.audit import audit
from reliable_email.store.sql.clock import database_now, stores_local_time
from reliable_email.store.tables.messages import OutboxMessage
from reliable_email.store.tables.recipients import OutboxRecipient
from reliable_email.store.tables.shared import Suppression, Tally
from reliable_email.store.tables.states import State
from tests.outbox.conftest import created_database, migrate
from tests.outbox.desk import queue, rows, states, worker
from tests.outbox.network import Network

BERLIN = "Europe/Berlin"
SUMMER = datetime(2026, 7, 1, 12, 0, 0)  # noqa: DTZ001 - as a site without time zones stores it


def queue_as_before(using: str, number: int = 1, *, at: datetime | None = None) -> None:
    """What a process of the first version writes: it knows no later column."""
    number += 1000  # out of the way of those that the database gives
    moment = at or datetime.now(UTC) - timedelta(minutes=1)
    stored = connections[using].ops.adapt_datetimefield_value(moment)
    later = connections[using].ops.adapt_datetimefield_value(moment + timedelta(days=3))
    content = b"Message-ID: <%d@example.org>\r\nSubject: Hi\r\n\r\nHello, there!\r\n" % number
    with connections[using].cursor() as cursor:
        cursor.execute(
            "INSERT INTO reliable_email_outboxmessage (id, mailer, environment, priority, created_at, message_id, "
            "sender, from_domain, subject, headers, content, content_size, is_7bit, needs_smtputf8, encryption_key, "
            "content_digest, on_unknown, traceparent) VALUES (%s, 'routes', '', 1, %s, %s, 'site@example.org', "
            "'example.org', 'Hi', '', %s, %s, %s, %s, '', '', '', '')",
            [number, stored, f"<{number}@example.org>", content, len(content), True, False],
        )
        cursor.execute(
            "INSERT INTO reliable_email_outboxrecipient (message_id, position, address, state, mailer, environment, "
            "priority, due_at, gives_up_at, claim, claimed_by, authorized_route, attempts, crashes, unknowns, "
            "pinned_route, refused_by, route, stage, cause, reply_enhanced, reply_text, detail, provider_message_id) "
            "VALUES (%s, 0, %s, 'queued', 'routes', '', 1, %s, %s, 0, '', '', 0, 0, 0, '', '[]', '', '', '', '', '', "
            "'', '')",
            [number, f"ok{number}@example.com", stored, later],
        )


def stored_text(using: str, column: str, table: str = "outboxrecipient") -> str:
    """What stands in the database, whatever Django makes of it."""
    with connections[using].cursor() as cursor:
        cursor.execute(f"SELECT {column} FROM reliable_email_{table}")
        return str(cursor.fetchone()[0])


def test_rows_of_the_first_version_are_delivered_after_the_upgrade(first_version: str) -> None:
    """Also one that a process of that version queues afterwards; nothing is lost, and none is sent twice."""
    queue_as_before(first_version, 1)
    migrate(first_version)
    queue_as_before(first_version, 2)
    queue(first_version, "new@example.com")
    network = Network()
    worker(first_version, network.route()).run()
    assert states(first_version) == [State.ACCEPTED] * 3
    assert set(network.taken.values()) == {1}
    assert [one.lane for one in rows(first_version)][:2] == [0, 0]
    assert not audit(first_version).findings


def test_the_upgrade_can_be_taken_back(first_version: str) -> None:
    """And made again, with the rows as they were."""
    queue_as_before(first_version)
    migrate(first_version)
    migrate(first_version, "0001")
    migrate(first_version)
    assert [one.address for one in rows(first_version)] == ["ok1001@example.com"]


def test_an_interrupted_upgrade_goes_on_where_it_stopped(first_version: str) -> None:
    """The index that it left behind may be no whole one."""
    queue_as_before(first_version)
    migrate(first_version, "0002")
    migrate(first_version)
    with connections[first_version].cursor() as cursor:
        names = connections[first_version].introspection.get_constraints(cursor, OutboxRecipient._meta.db_table)
    assert "rel_email_rcpt_lane" in names
    assert "rel_email_rcpt_due" not in names


class Elsewhere:
    """The outbox lives in another database."""

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
        """Not in those of these tests."""
        return False if app_label == "reliable_email" else None


def test_a_database_that_routers_keep_free_of_the_tables_is_migrated_both_ways(
    tmp_path: Path, django_db_blocker: DjangoDbBlocker
) -> None:
    """Django runs the migrations there as well; they find no table, and make none."""
    name = str(tmp_path / "elsewhere.sqlite3")
    with (
        created_database("sqlite", "elsewhere", name),
        override_settings(DATABASE_ROUTERS=[Elsewhere()]),
        django_db_blocker.unblock(),
    ):
        migrate("elsewhere")
        assert [one for one in connections["elsewhere"].introspection.table_names() if "email" in one] == []
        migrate("elsewhere", "zero")


def test_the_upgrade_holds_the_lock_of_one_table_at_a_time(first_version: str) -> None:
    """A worker that uses two tables in the other order would be in a deadlock with it."""
    connection = connections[first_version]
    if connection.vendor != "postgresql":
        pytest.skip("only PostgreSQL changes tables in a transaction and locks them until its end")
    queue_as_before(first_version)
    in_use = [f"reliable_email_{one}" for one in ("outboxmessage", "outboxrecipient", "attempt", "routestate")]
    held: list[int] = []

    def look(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        result = execute(sql, params, many, context)
        if sql.startswith("ALTER"):
            with connection.connection.cursor() as cursor:
                cursor.execute(
                    "SELECT count(DISTINCT relation) FROM pg_locks WHERE pid = pg_backend_pid() AND "
                    "mode = 'AccessExclusiveLock' AND relation::regclass::text = ANY(%s)",
                    [in_use],
                )
                held.append(cursor.fetchone()[0])
        return result

    with connection.execute_wrapper(look):
        migrate(first_version)
    assert set(held) <= {0, 1}
    assert 1 in held


def test_suppressions_stay_and_may_differ_by_stream(first_version: str) -> None:
    """What holds for one stream holds for no other mail."""
    with connections[first_version].cursor() as cursor:
        cursor.execute(
            "INSERT INTO reliable_email_suppression (address, reason, source, created_at) VALUES "
            "('gone@example.com', '', '', %s)",
            [connections[first_version].ops.adapt_datetimefield_value(datetime.now(UTC))],
        )
    migrate(first_version)
    at = database_now(first_version)
    Suppression.objects.using(first_version).create(address="bored@example.com", stream="news", created_at=at)
    Suppression.objects.using(first_version).create(address="gone@example.com", stream="news", created_at=at)
    assert suppressed(first_version, ["gone@example.com", "bored@example.com"]) == {"gone@example.com"}


@override_settings(USE_TZ=False, TIME_ZONE=BERLIN)
def test_local_times_are_written_anew_in_utc(first_version: str) -> None:
    """A site without USE_TZ reads the same times as before, and the database has them in UTC."""
    queue_as_before(first_version, at=SUMMER)
    with connections[first_version].cursor() as cursor:
        for hour in range(4):
            cursor.execute(
                "INSERT INTO reliable_email_tally (minute, route, outcome, cause, count, seconds) VALUES "
                "(%s, 'a', 'accepted', '', %s, 0)",
                [connections[first_version].ops.adapt_datetimefield_value(SUMMER + timedelta(hours=hour)), hour],
            )
    migrate(first_version)
    assert OutboxRecipient.objects.using(first_version).get().due_at == SUMMER
    assert OutboxMessage.objects.using(first_version).get().created_at == SUMMER
    tallies = Tally.objects.using(first_version).order_by("count").values_list("minute", flat=True)
    assert list(tallies) == [SUMMER + timedelta(hours=hour) for hour in range(4)]
    if connections[first_version].vendor != "postgresql":
        assert stored_text(first_version, "due_at").startswith("2026-07-01 10:00:00")
    migrate(first_version, "0001")
    if connections[first_version].vendor != "postgresql":
        assert stored_text(first_version, "due_at").startswith("2026-07-01 12:00:00")


@override_settings(USE_TZ=False, TIME_ZONE=BERLIN)
def test_local_times_are_written_anew_once_where_that_was_interrupted(first_version: str) -> None:
    """Those that were written before it ended would be shifted twice."""
    moment = connections[first_version].ops.adapt_datetimefield_value(SUMMER)
    with transaction.atomic(first_version), connections[first_version].cursor() as cursor:
        cursor.executemany(
            "INSERT INTO reliable_email_suppression (address, reason, source, created_at) VALUES (%s, '', '', %s)",
            [(f"a{number}@example.com", moment) for number in range(2100)],  # what is read at once, and more
        )
    updates = 0

    def end(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        nonlocal updates
        updates += sql.startswith("UPDATE") and "suppression" in sql
        if updates == 21:  # a hundred rows each
            raise KeyboardInterrupt
        return execute(sql, params, many, context)

    if stores_local_time(connections[first_version]):
        with pytest.raises(KeyboardInterrupt), connections[first_version].execute_wrapper(end):
            migrate(first_version)
        connections[first_version].close()
    migrate(first_version)
    assert set(Suppression.objects.using(first_version).values_list("created_at", flat=True)) == {SUMMER}


def test_names_stay_unique_at_every_step_of_the_upgrade(first_version: str) -> None:
    """Two rows of one route, or of one address, would keep it from ever going on."""
    connection = connections[first_version]
    bare: list[str] = []

    def look(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        result = execute(sql, params, many, context)
        # SQLite makes a table anew beside the old one, in a transaction.
        if sql.startswith(("ALTER", "DROP", "CREATE")) and not connection.in_atomic_block:
            with connection.cursor() as cursor:
                for table, column in (("routestate", "alias"), ("suppression", "address")):
                    found = connection.introspection.get_constraints(cursor, f"reliable_email_{table}").values()
                    if not any(one["unique"] and column in one["columns"] for one in found):
                        bare.append(f"{table} after {sql}")
        return result

    with connection.execute_wrapper(look):
        migrate(first_version)
    operations = import_module("reliable_email.migrations.0002_tables_of_lanes_accounts_and_reports")
    order = [
        (type(one).__name__, one.model_name) for one in operations.Migration.operations if hasattr(one, "model_name")
    ]
    for model in ("routestate", "suppression"):
        assert order.index(("AddConstraintOnce", model)) < order.index(("AlterUnique", model))
    assert bare == []


@pytest.mark.parametrize("target", ["0002", "0003", "0004"])
def test_the_statements_of_the_upgrade_can_be_read_before_it_is_made(first_version: str, target: str) -> None:
    """`sqlmigrate` asks no table that is not there yet."""
    out = io.StringIO()
    call_command("sqlmigrate", "reliable_email", target, database=first_version, stdout=out)
    assert target == "0004" or "reliable_email_outboxrecipient" in out.getvalue()


@pytest.mark.parametrize("zone", [BERLIN, "America/Los_Angeles"])
def test_leases_are_in_utc_without_use_tz(using: str, zone: str) -> None:
    """A clock that jumps by daylight saving ends none of them, for no statement knows the zone."""
    with override_settings(USE_TZ=False, TIME_ZONE=zone):
        now = datetime.now()  # noqa: DTZ005 - local, as the site's own code has it
        queue(using, send_at=None)
        taken = claim(using, Wanted(environment=""), worker="w", limit=1, lease_seconds=600)
        assert len(taken.rows) == 1
        lease_until: Any = OutboxRecipient.objects.using(using).get().lease_until
        assert timedelta(seconds=500) < lease_until - now < timedelta(seconds=900)
        if connections[using].vendor != "postgresql":
            stored = datetime.fromisoformat(stored_text(using, "lease_until")[:19]).replace(tzinfo=UTC)
            assert timedelta(seconds=500) < stored - datetime.now(UTC) < timedelta(seconds=900)


@pytest.mark.parametrize("use_tz", [True, False])
def test_a_time_that_a_caller_names_is_kept_whatever_the_site_does_with_zones(using: str, *, use_tz: bool) -> None:
    """What waits until then is not due before, and reads back the same."""
    with override_settings(USE_TZ=use_tz, TIME_ZONE=BERLIN):
        at = datetime.now(UTC) + timedelta(hours=1)
        given = at if use_tz else at.astimezone().replace(tzinfo=None)
        if not use_tz:
            from django.utils import timezone

            given = timezone.make_naive(at)
        queue(using, send_at=given)
        assert claim(using, Wanted(environment=""), worker="w", limit=1, lease_seconds=60).rows == []
        row = OutboxRecipient.objects.using(using).get()
        assert row.due_at is not None
        assert row.due_at.replace(microsecond=0) == given.replace(microsecond=0)
        assert OutboxRecipient.objects.using(using).filter(due_at__gt=database_now(using)).count() == 1
