"""The database goes away under a worker in every way that a test can bring about; the mail is delivered anyhow."""

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from django.core.mail import EmailMessage
from django.db import OperationalError, ProgrammingError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from django.test import override_settings

from reliable_email import signals
from reliable_email.backends import OutboxBackend
from reliable_email.outbox import faultpoints
from reliable_email.outbox.intake.enqueue import QueueOptions, enqueue
from reliable_email.outbox.keyring import Keyring
from reliable_email.outbox.rows.journal import commit
from reliable_email.outbox.upkeep import duties
from reliable_email.outbox.worker import blocking, committer
from reliable_email.smtp.transaction import Job
from reliable_email.store.questions.audit import audit
from reliable_email.store.sql.clock import DatabaseNow
from reliable_email.store.tables.messages import OutboxMessage
from reliable_email.store.tables.recipients import OutboxRecipient
from reliable_email.store.tables.states import State
from reliable_email.testing.server import ScriptedServer
from tests.outbox.desk import (
    asks,
    claimed,
    let_leases_end,
    let_time_pass,
    queue,
    row,
    rows,
    settles,
    smtp_route,
    states,
    submission,
    worker,
)
from tests.outbox.network import Network


def kill_connections(using: str) -> None:
    """End every other connection to the database, as an administrator or a restart does."""
    own = connections.create_connection(using)
    try:
        with own.cursor() as cursor:
            if own.vendor == "postgresql":
                cursor.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
            else:
                cursor.execute(
                    "SELECT id FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()"
                )
                for (number,) in cursor.fetchall():
                    cursor.execute(f"KILL CONNECTION {number}")
    finally:
        own.close()


@pytest.fixture
def killable(using: str) -> str:
    """A database with a server whose connections can be killed."""
    if connections[using].vendor == "sqlite":
        pytest.skip("SQLite has no server")
    return using


@pytest.fixture
def each_point() -> Iterator[Callable[[Callable[[str], None]], None]]:
    """Listens at every fault point."""
    yield faultpoints.listen
    faultpoints.listen(None)


def test_killed_connections_lose_and_double_nothing(
    killable: str, each_point: Callable[[Callable[[str], None]], None]
) -> None:
    """Every connection is killed again and again, at the 20th, 40th, ... step of two workers' lines."""
    network = Network()
    enqueue([submission(to=(f"ok{n}@example.com",)) for n in range(40)], QueueOptions(mailer="routes", using=killable))
    count = Counter[str]()
    lock = threading.Lock()

    def kill_sometimes(name: str) -> None:
        with lock:
            count["points"] += 1
            if count["points"] % 20 or count["kills"] >= 12:
                return
            count["kills"] += 1
        kill_connections(killable)

    each_point(kill_sometimes)
    worker(killable, network.route(), connections=2, batch=10, poll_seconds=0.05, listen=False).run()
    faultpoints.listen(None)
    connections[killable].close()
    # What was permitted when a connection died and could not be told from lost is declared; all else is delivered.
    for _ in range(3):
        let_leases_end(killable)
        let_time_pass(killable)
        worker(killable, network.route()).run()
    assert count["kills"] == 12
    assert max(network.taken.values()) == 1
    for one in rows(killable):
        assert one.state in (State.ACCEPTED, State.UNKNOWN)
        if one.state == State.ACCEPTED:
            assert network.copies(one.address) == 1
    assert audit(killable).findings == []


def test_a_reply_that_was_read_survives_a_killed_connection(killable: str) -> None:
    """The outcome is in memory when the connection dies, and is written by the next one."""
    network = Network()
    queue(killable, "ok@example.com")

    def kill(job: Job) -> None:
        kill_connections(killable)

    network.after_send = kill
    worker(killable, network.route()).run()
    connections[killable].close()
    assert states(killable) == [State.ACCEPTED]


@pytest.mark.parametrize("is_stepped", [True, False], ids=["in steps", "blocking"])
def test_who_is_told_has_a_good_connection_again_after_it_was_killed(killable: str, is_stepped: bool) -> None:
    """A receiver that asks the database fails where its connection has just died, and not the next time."""
    told: list[int] = []
    found: list[int] = []

    def receive(outbox_id: int, **others: object) -> None:
        told.append(outbox_id)
        if len(told) == 1:
            kill_connections(killable)
        found.append(OutboxMessage.objects.using(killable).get(pk=outbox_id).pk)

    sent = [queue(killable, f"ok{n}@example.com").pk for n in range(5)]
    signals.message_delivered.connect(receive)
    try:
        with ScriptedServer() as server:
            worker(killable, smtp_route(server) if is_stepped else Network().route()).run()
    finally:
        signals.message_delivered.disconnect(receive)
    connections[killable].close()
    assert states(killable) == [State.ACCEPTED] * 5
    assert told == sent
    assert found == sent[1:]


def test_a_session_that_was_ended_while_it_was_idle_costs_nothing(
    killable: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Databases, poolers and networks end sessions that nobody uses: receivers are told, and nothing looks broken."""
    monkeypatch.setattr(blocking, "_IDLE_SECONDS", 0.0)
    monkeypatch.setattr(committer, "_IDLE_SECONDS", 0.0)
    network = Network()
    told: list[int] = []

    def receive(outbox_id: int, **others: object) -> None:
        told.append(OutboxMessage.objects.using(killable).get(pk=outbox_id).pk)
        if len(told) == 1:
            idle.set()

    idle = threading.Event()
    sent = [queue(killable, "ok0@example.com").pk]

    def go_on() -> bool:
        if len(sent) == 1 and idle.is_set() and len(told) == 1 and states(killable) == [State.ACCEPTED]:
            connections[killable].close()
            kill_connections(killable)
            sent.append(queue(killable, "ok1@example.com").pk)
        return len(told) == 2

    signals.message_delivered.connect(receive)
    one = worker(killable, network.route(), until_empty=False, listen=False, poll_seconds=0.2, lease_seconds=120.0)
    try:
        with caplog.at_level(logging.WARNING, "reliable_email.outbox"):
            one.run(is_over=go_on)
    finally:
        signals.message_delivered.disconnect(receive)
    assert told == sent
    assert not [line for line in caplog.messages if "is away" in line]


def test_a_database_that_is_away_for_a_while_is_waited_for(using: str) -> None:
    """Twenty failures in a row end no line."""
    network = Network()
    queue(using, "ok@example.com")
    failures = iter(range(20))

    def fail(execute, sql, parameters, many, context):  # type: ignore[no-untyped-def]
        if next(failures, None) is not None:
            raise OperationalError("the server closed the connection unexpectedly")
        return execute(sql, parameters, many, context)

    crew = worker(using, network.route(), poll_seconds=0.001)
    first = threading.Event()

    def break_this_threads_connection(name: str) -> None:
        if name == "claim" or name.startswith("claim:"):
            if not first.is_set():
                first.set()
            connection: BaseDatabaseWrapper = connections[using]
            if fail not in connection.execute_wrappers:
                connection.execute_wrappers.append(fail)

    faultpoints.listen(break_this_threads_connection)
    try:
        crew.run()
    finally:
        faultpoints.listen(None)
    assert first.is_set()
    assert next(failures, None) is None
    assert states(using) == [State.ACCEPTED]


def test_code_that_raises_parks_the_message_that_it_was_about_and_no_other(using: str) -> None:
    """One message on which every route's code fails is parked; its neighbours are delivered."""
    for name in ("ok1", "bug", "ok2"):
        queue(using, f"{name}@example.com")

    def fail(job: Job) -> None:
        if job.recipients == ("bug@example.com",):
            raise ZeroDivisionError

    class Failing(Network):
        def _one(self, job, settled):  # type: ignore[no-untyped-def]
            fail(job)
            return (yield from super()._one(job, settled))

    network = Failing()
    worker(using, network.route(), lease_seconds=0.4, poll_seconds=0.01).run()
    assert states(using) == [State.ACCEPTED, State.PARKED, State.ACCEPTED]
    assert rows(using)[1].cause == "code_raised"


def test_a_full_disk_stops_new_sends_and_loses_no_reply(using: str) -> None:
    """SQLite says that it is full in the middle of a batch; what was sent is written once there is room again."""
    if connections[using].vendor != "sqlite":
        pytest.skip("only SQLite can be made full without filling a real disk")
    network = Network()
    for n in range(60):
        queue(using, f"ok{n}@example.com")
    with connections[using].cursor() as cursor:
        cursor.execute("VACUUM")  # no free page is left to write to
    is_full = threading.Event()
    is_full.set()
    sent_while_full: list[int] = []

    def limit(sender: object, connection: BaseDatabaseWrapper, **kwargs: object) -> None:
        with connection.cursor() as cursor:
            pages = cursor.execute("PRAGMA page_count").fetchone()[0] if is_full.is_set() else 2**30
            cursor.execute(f"PRAGMA max_page_count = {pages}")

    class Room(logging.Handler):
        """Makes room after the third complaint."""

        complaints = 0

        def emit(self, record: logging.LogRecord) -> None:
            if "is full" in record.getMessage():
                self.complaints += 1
                if self.complaints == 3:
                    sent_while_full.append(sum(network.taken.values()))
                    is_full.clear()

    room = Room()
    logging.getLogger("reliable_email.outbox").addHandler(room)
    connection_created.connect(limit)
    connections[using].close()
    try:
        worker(using, network.route(), poll_seconds=0.01).run()
    finally:
        connection_created.disconnect(limit)
        logging.getLogger("reliable_email.outbox").removeHandler(room)
    connections[using].close()
    assert room.complaints >= 3
    assert sent_while_full[0] < 60, "it went on sending with a journal that it could not write"
    assert states(using) == [State.ACCEPTED] * 60
    assert set(network.taken.values()) == {1}
    assert audit(using).findings == []


def test_an_outage_between_claim_and_reading_accuses_nobody(using: str, caplog: pytest.LogCaptureFixture) -> None:
    """What was claimed goes back to the queue, as if it had not been; the line rests before it claims again."""
    queue(using, "ok@example.com")
    failures = iter([OperationalError("the database is away")])

    def act(name: str) -> None:
        if name == "load":
            for error in failures:
                raise error

    with ScriptedServer() as server:
        faultpoints.listen(act)
        worker(using, smtp_route(server)).run()
        faultpoints.reset()
    one = row(using)
    assert (one.state, one.crashes, one.attempts) == (State.ACCEPTED, 0, 1)
    assert "the worker goes on when it answers" in caplog.text


@pytest.mark.parametrize("odd", ["\0", "\ud800"], ids=["NUL", "half a character"])
def test_words_that_no_database_takes_lose_no_outcome(using: str, odd: str) -> None:
    """Other people's errors may hold anything; what cannot be stored is written escaped, and the rest is kept."""
    [one] = claimed(using, 1)
    commit(using, intents=asks(one).intents, keyring=Keyring())
    [settlement], [attempt] = settles(one, f"250 2.0.0 t{odd}ken").settlements, settles(one, "250 ok").attempts
    evidence = replace(settlement.evidence, detail=f"é{odd}!", provider_message_id=f"id{odd}")
    commit(
        using,
        settlements=[replace(settlement, evidence=evidence)],
        attempts=[replace(attempt, evidence=evidence)],
        keyring=Keyring(),
    )
    stored = row(using)
    assert stored.state == State.ACCEPTED
    escaped = "\\x00" if odd == "\0" else "\\ud800"
    assert stored.detail == f"é{escaped}!"
    assert stored.provider_message_id == f"id{escaped}"


def test_a_database_that_is_read_only_for_a_while_is_waited_for(
    killable: str, caplog: pytest.LogCaptureFixture
) -> None:
    """As after a failover: sessions that began read-only stay so, and are given up; recovery waits for no poll."""
    if connections[killable].vendor != "postgresql":
        pytest.skip("MySQL's read_only spares root, as whom the tests come")
    name = connections[killable].settings_dict["NAME"]
    for number in range(30):
        queue(killable, f"ok{number}@example.com")

    def change(words: str) -> None:
        own = connections.create_connection(killable)
        try:
            with own.cursor() as cursor:
                cursor.execute("SET default_transaction_read_only = off")
                cursor.execute(f'ALTER DATABASE "{name}" {words}')
        finally:
            own.close()

    mend = threading.Timer(2.0, change, ["RESET default_transaction_read_only"])

    def turn() -> None:
        change("SET default_transaction_read_only = on")
        kill_connections(killable)
        mend.start()

    network = Network()
    one = worker(killable, network.route(), connections=2, batch=5, poll_seconds=30.0, listen=False)
    left = [turn]

    def after(job: Job) -> None:
        if left:
            left.pop()()

    network.after_send = after
    try:
        with caplog.at_level(logging.WARNING, "reliable_email.outbox"):
            one.run()
        mend.join()
        assert "is read-only" in caplog.text
        worker(killable, network.route()).run()
        assert set(states(killable)) == {State.ACCEPTED}
        assert max(network.taken.values()) == 1
    finally:
        mend.join()
        change("RESET default_transaction_read_only")


def test_a_table_that_is_missing_holds_up_nothing_that_does_not_need_it(
    using: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The counts wait for it and are told once; mail goes out, and what is to be pruned or erased is."""
    monkeypatch.setattr(duties, "_PRUNE_AGAIN_SECONDS", 0.0)
    old = queue(using, "old@example.com")
    OutboxRecipient.objects.using(using).update(state=State.ACCEPTED, due_at=None, settled_at=DatabaseNow(-864000))
    OutboxMessage.objects.using(using).update(created_at=DatabaseNow(-864000))
    queue(using, "ok@example.com")

    def rename(before: str, after: str) -> None:
        with connections[using].cursor() as cursor:
            cursor.execute(f"ALTER TABLE {before} RENAME TO {after}")
        connections[using].close()

    def fail_at_first(name: str) -> None:
        if name == "prune:content" and "manage.py migrate" not in caplog.text:
            raise OperationalError("the server closed the connection unexpectedly")

    rename("reliable_email_tally", "elsewhere")
    faultpoints.listen(fail_at_first)
    rounds: list[int] = []

    def is_over() -> bool:
        rounds.append(1)
        return len(rounds) > 200 or (
            "manage.py migrate" in caplog.text
            and OutboxMessage.objects.using(using).filter(pk=old.pk, content=None).exists()
        )

    try:
        with caplog.at_level(logging.INFO, "reliable_email.outbox"):
            options = {"until_empty": False, "lease_seconds": 0.8, "content_days": 1.0}
            worker(using, Network().route(), **options).run(is_over=is_over)
    finally:
        faultpoints.reset()
        rename("elsewhere", "reliable_email_tally")
    assert states(using) == [State.ACCEPTED] * 2
    assert OutboxMessage.objects.using(using).get(pk=old.pk).content is None
    assert len([line for line in caplog.messages if "manage.py migrate" in line and "goes on" in line]) == 1


def test_whoever_queues_before_the_tables_are_made_is_told_how_to_make_them(using: str) -> None:
    """The error is Django's own, which says only what is missing."""
    route = {"BACKEND": "reliable_email.backends.ReliableSMTPBackend", "OPTIONS": {"host": "127.0.0.1", "port": 2525}}
    options = {"using": "smtp", "database": using}
    outbox = {"BACKEND": "reliable_email.backends.OutboxBackend", "OPTIONS": options}

    def rename(before: str, after: str) -> None:
        with connections[using].cursor() as cursor:
            cursor.execute(f"ALTER TABLE {before} RENAME TO {after}")

    rename("reliable_email_outboxmessage", "elsewhere")
    try:
        with (
            override_settings(MAILERS={"default": outbox, "smtp": route}),
            pytest.raises((OperationalError, ProgrammingError), match="outboxmessage") as raised,
        ):
            OutboxBackend(alias="default", **options).send_messages([EmailMessage("Hello", to=["a@example.com"])])
    finally:
        rename("elsewhere", "reliable_email_outboxmessage")
    assert raised.value.__notes__ == [f"The database {using!r} has no such table or column; run `manage.py migrate`."]
