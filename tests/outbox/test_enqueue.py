"""What a caller may rely on when a message is queued."""

import logging
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from cryptography.fernet import Fernet
from django.conf import settings
from django.db import DataError, connections, transaction
from django.db.transaction import TransactionManagementError
from django.test import override_settings
from django.utils import timezone

from reliable_email import signals
from reliable_email.delivery.submission import OnUnknown, Priority
from reliable_email.outbox.intake.digests import configured_secrets, content_digest, content_digests, idempotency_digest
from reliable_email.outbox.intake.enqueue import QueueOptions, enqueue
from reliable_email.outbox.keyring import KeyMissing, Keyring
from reliable_email.store.sql.clock import age_sql, database_now
from reliable_email.store.sql.inserts import insert
from reliable_email.store.tables.messages import OutboxMessage
from reliable_email.store.tables.recipients import OutboxRecipient
from reliable_email.store.tables.shared import Tally
from reliable_email.store.tables.states import State
from tests.outbox.desk import queue, rows, submission, worker
from tests.outbox.network import Network


def test_a_message_costs_two_inserts_and_no_select(using: str) -> None:
    """P4: the caller pays two INSERTs, whatever the number of recipients."""
    statements: list[str] = []

    def record(execute, sql, params, many, context):  # type: ignore[no-untyped-def]
        statements.append(sql.split()[0])
        return execute(sql, params, many, context)

    with transaction.atomic(using), connections[using].execute_wrapper(record):
        enqueue([submission(to=("a@example.com", "b@example.com"))], QueueOptions(mailer="routes", using=using))
    at_once = connections[using].vendor == "postgresql"
    assert statements == (["WITH"] if at_once else ["INSERT", "INSERT"])


def test_a_queued_message_is_due_at_once_and_has_its_recipients(using: str) -> None:
    """Every recipient has a row of its own, runnable now by the database's clock."""
    [message] = enqueue(
        [submission(to=("a@example.com", "b@Example.COM"))],
        QueueOptions(mailer="routes", using=using, environment="live", on_unknown=OnUnknown.RESEND),
    )
    first, second = rows(using)
    assert (first.message_id, second.message_id) == (message.pk, message.pk)
    assert (first.address, second.address) == ("a@example.com", "b@example.com")
    assert (first.state, first.environment, first.mailer) == (State.QUEUED, "live", "routes")
    assert first.due_at is not None
    assert abs(first.due_at - database_now(using)) < timedelta(minutes=1)
    assert timedelta(days=2.9) < first.gives_up_at - first.due_at < timedelta(days=3.1)
    stored = OutboxMessage.objects.using(using).get()
    assert stored.on_unknown == "resend"
    assert bytes(stored.content or b"").endswith(b"Hello.\r\n")
    assert stored.subject == "Greetings"


@pytest.mark.parametrize("use_tz", [True, False])
@pytest.mark.parametrize("zone", ["Asia/Tokyo", "America/New_York"])
@pytest.mark.parametrize("is_aware", [True, False])
def test_an_hour_of_the_callers_time_zone_is_that_hour(
    using: str, settings: Any, use_tz: bool, zone: str, is_aware: bool
) -> None:
    """A naive `send_at` is in the time zone that is current for the caller, whatever the database keeps."""
    settings.TIME_ZONE = "Europe/Berlin"
    settings.USE_TZ = use_tz
    wanted = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
    send_at = wanted.astimezone(ZoneInfo(zone))
    with timezone.override(zone):
        queued = submission(send_at=send_at if is_aware else send_at.replace(tzinfo=None))
    assert queued.options.send_at == wanted
    enqueue([queued], QueueOptions(mailer="routes", using=using))
    with connections[using].cursor() as cursor:
        due = age_sql(connections[using], "due_at")
        cursor.execute(f"SELECT {due} FROM {OutboxRecipient._meta.db_table}", [])
        assert -3601 <= cursor.fetchone()[0] <= -3400
    network = Network()
    worker(using, network.route()).run()
    assert not network.taken


def test_a_rollback_leaves_nothing(using: str) -> None:
    """P3: what is rolled back was never queued."""
    with pytest.raises(ZeroDivisionError), transaction.atomic(using):
        enqueue([submission()], QueueOptions(mailer="routes", using=using))
        raise ZeroDivisionError
    assert rows(using) == []


def test_a_caller_that_commits_by_hand_queues_with_its_commit(using: str) -> None:
    """Without autocommit nothing is refused, and nothing is queued that was rolled back."""
    transaction.set_autocommit(False, using)
    try:
        queue(using, "gone@example.com")
        transaction.rollback(using)
        queue(using, "ok@example.com")
        transaction.commit(using)
    finally:
        transaction.rollback(using)
        transaction.set_autocommit(True, using)
    assert [one.address for one in rows(using)] == ["ok@example.com"]


def test_ten_thousand_go_in_few_statements(using: str) -> None:
    """A bulk send keeps order and recipients."""
    one = submission()
    messages = enqueue([one] * 1200, QueueOptions(mailer="routes", using=using))
    assert [message.pk for message in messages] == sorted({message.pk for message in messages})
    assert {row.message_id for row in rows(using)} == {message.pk for message in messages}


def test_many_of_different_kinds_keep_what_is_theirs(using: str) -> None:
    """Some now and some later, some to one and some to two; the columns that are alike go once for all of them."""
    later = timezone.now() + timedelta(days=1)
    given = [
        submission(str(n), to=[f"to{n}@example.com", "b@example.com"][: 1 + n % 2], send_at=later if n % 3 else None)
        for n in range(30)
    ]
    messages = enqueue(given, QueueOptions(mailer="routes", using=using))
    for message, one in zip(messages, given, strict=True):
        own = [row for row in rows(using) if row.message_id == message.pk]
        assert [(row.position, row.address) for row in own] == list(enumerate(one.recipients))
        assert {row.due_at == later for row in own} == {one.options.send_at is not None}
        content = OutboxMessage.objects.using(using).get(pk=message.pk).content
        assert bytes(content or b"") == b"".join(one.content.chunks())


def test_what_a_column_cannot_hold_is_refused_and_not_cut(using: str) -> None:
    """A cast to varchar(n) would cut it without a word; many rows at once say no as one row does."""
    if connections[using].vendor == "sqlite":
        pytest.skip("SQLite holds any length")
    columns = ("minute", "route", "outcome", "cause", "count", "seconds")
    for outcomes in (["o" * 13] * 25, [f"{n:02}" + "o" * 11 for n in range(25)]):
        new = [[timezone.now(), f"route {n}", outcomes[n], "", n, 0.0] for n in range(25)]
        with pytest.raises(DataError), transaction.atomic(using):
            insert(using, Tally, columns, new)


def test_mysqls_consecutive_numbers_are_read_right(using: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """MySQL has no RETURNING; MariaDB stands in for it."""
    if connections[using].vendor != "mysql":
        pytest.skip("about MySQL")
    monkeypatch.setattr(type(connections[using].features), "can_return_rows_from_bulk_insert", False)
    messages = enqueue([submission(f"{n}") for n in range(3)], QueueOptions(mailer="routes", using=using))
    stored = {one.pk: bytes(one.content or b"") for one in OutboxMessage.objects.using(using)}
    assert [stored[message.pk].strip()[-1:] for message in messages] == [b"0", b"1", b"2"]


def test_the_same_key_returns_the_first_message(using: str) -> None:
    """A repeated key queues nothing."""
    options = QueueOptions(mailer="routes", using=using)
    [first] = enqueue([submission(idempotency_key="order-7")], options)
    [again] = enqueue([submission(idempotency_key="order-7")], options)
    assert again.pk == first.pk
    assert (first.was_queued_before, again.was_queued_before) == (False, True)
    assert len(rows(using)) == 1


def test_keys_are_the_mailers_own(using: str) -> None:
    """Two mailers may use the same keys."""
    [first] = enqueue([submission(idempotency_key="7")], QueueOptions(mailer="a", using=using))
    [second] = enqueue([submission(idempotency_key="7")], QueueOptions(mailer="b", using=using))
    assert first.pk != second.pk


def test_a_key_of_before_environments_were_told_apart_still_sends_nothing_twice(using: str) -> None:
    """A message that an older version queued is known by its key, in its own environment and in no other."""
    live = QueueOptions(mailer="routes", using=using, environment="live")
    [first] = enqueue([submission(idempotency_key="order-7")], live)
    older = idempotency_digest("routes", "order-7")
    OutboxMessage.objects.using(using).filter(pk=first.pk).update(idempotency_digest=older)
    [again, other] = enqueue([submission(idempotency_key=key) for key in ("order-7", "order-8")], live)
    assert (again.pk, again.was_queued_before, other.was_queued_before) == (first.pk, True, False)
    [elsewhere] = enqueue([submission(idempotency_key="order-7")], replace(live, environment="staging"))
    assert not elsewhere.was_queued_before
    assert len(rows(using)) == 3


@pytest.mark.parametrize("environment", ["", "live"])
def test_a_key_of_before_digests_had_a_secret_still_sends_nothing_twice(using: str, environment: str) -> None:
    """What an older version has queued is known by its key; so is what was queued before a secret was rotated."""
    options = QueueOptions(mailer="routes", using=using, environment=environment)
    [first] = enqueue([submission(idempotency_key="order-7")], options)
    plain = idempotency_digest("routes", "order-7", environment)
    stored = OutboxMessage.objects.using(using).get(pk=first.pk)
    assert stored.idempotency_digest not in (None, plain)
    with override_settings(SECRET_KEY="another", SECRET_KEY_FALLBACKS=[settings.SECRET_KEY]):
        [rotated] = enqueue([submission(idempotency_key="order-7")], options)
    OutboxMessage.objects.using(using).filter(pk=first.pk).update(idempotency_digest=plain)
    [again] = enqueue([submission(idempotency_key="order-7")], options)
    assert [one.pk for one in (rotated, again)] == [first.pk] * 2
    assert len(rows(using)) == 1


def test_a_stored_digest_tells_nobody_what_was_said(using: str) -> None:
    """A code of six digits would be found by trying, were there no secret in it; rotation is no other content."""
    options = QueueOptions(mailer="routes", using=using)
    sent = submission("Your code is 123456", idempotency_key="k")
    [message] = enqueue([sent], options)
    stored = OutboxMessage.objects.using(using).get(pk=message.pk).content_digest
    assert stored != content_digest(sent)
    with override_settings(SECRET_KEY="another"):
        assert stored not in content_digests(sent, configured_secrets())
    with override_settings(SECRET_KEY="another", SECRET_KEY_FALLBACKS=[settings.SECRET_KEY]):
        assert stored in content_digests(sent, configured_secrets())


def test_other_content_under_the_same_key_is_warned_of(using: str, caplog: pytest.LogCaptureFixture) -> None:
    """The first message stands, and somebody is told; a rebuilt Date and Message-ID are no difference."""
    options = QueueOptions(mailer="routes", using=using)
    enqueue([submission(idempotency_key="k")], options)
    with caplog.at_level(logging.WARNING, "reliable_email.outbox"):
        enqueue([submission(idempotency_key="k")], options)
        assert caplog.records == []
        enqueue([submission("Other.", idempotency_key="k")], options)
    assert "same idempotency key" in caplog.text


def test_keys_hold_in_bulk_and_in_one_call(using: str) -> None:
    """The order of the answers is the order of the submissions, repeated keys included."""
    batch = [submission(idempotency_key=key) if key else submission() for key in ("z", "", "a", "z", "")]
    messages = enqueue(batch, QueueOptions(mailer="routes", using=using))
    assert messages[0].pk == messages[3].pk
    assert len({message.pk for message in messages}) == 4
    assert len(rows(using)) == 4


def test_a_key_clash_leaves_the_callers_transaction_usable(using: str) -> None:
    """No savepoint is needed, and none of the caller's work is lost."""
    options = QueueOptions(mailer="routes", using=using)
    enqueue([submission(idempotency_key="k")], options)
    with transaction.atomic(using):
        enqueue([submission("before")], options)
        enqueue([submission(idempotency_key="k")], options)
        enqueue([submission("after")], options)
    assert len(rows(using)) == 3


def test_two_threads_with_one_key_make_one_message(using: str) -> None:
    """The constraint decides, not a look beforehand."""
    options = QueueOptions(mailer="routes", using=using)
    barrier = threading.Barrier(4)
    found: list[int] = []

    def run() -> None:
        barrier.wait()
        try:
            found.append(enqueue([submission(idempotency_key="k")], options)[0].pk)
        finally:
            connections[using].close()

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert len(set(found)) == 1


def test_send_at_expiry_and_priority_are_kept(using: str) -> None:
    """A message for later is not due now, and its time to live begins when it may go."""
    at = datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC)
    wishes = {"send_at": at, "expires_in": timedelta(minutes=10), "priority": Priority.HIGH}
    enqueue([submission(**wishes)], QueueOptions(mailer="routes", using=using, priority=Priority.BULK))
    [row] = rows(using)
    assert (row.due_at, row.gives_up_at, row.priority) == (at, at + timedelta(minutes=10), 0)


def test_a_broken_transaction_raises_as_the_orm_does(using: str) -> None:
    """The caller learns at once that nothing can be queued here."""
    with transaction.atomic(using):
        transaction.set_rollback(True, using)
        with pytest.raises(TransactionManagementError):
            enqueue([submission()], QueueOptions(mailer="routes", using=using))


def test_the_error_mail_of_a_failed_request_is_neither_lost_nor_a_ghost(using: str) -> None:
    """A mailer that is not transactional commits beside the caller's transaction, broken or not."""
    admins = QueueOptions(mailer="admins", using=using, transactional=False)
    with pytest.raises(ZeroDivisionError), transaction.atomic(using):
        enqueue([submission("doomed")], QueueOptions(mailer="routes", using=using))
        enqueue([submission("error report")], admins)
        raise ZeroDivisionError
    with transaction.atomic(using):
        transaction.set_rollback(True, using)
        enqueue([submission("second report")], admins)
    for thread in threading.enumerate():
        if thread.name == "reliable-email-side-door":
            thread.join()
    contents = [bytes(one.content or b"") for one in OutboxMessage.objects.using(using)]
    assert sorted(one.rstrip().rpartition(b"\r\n")[2] for one in contents) == [b"error report", b"second report"]


def test_a_transaction_elsewhere_is_warned_of(using: str, caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    """Queueing beside the caller's transaction breaks the promise that a rollback sends nothing."""
    other = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(tmp_path / "elsewhere.sqlite3")}
    connections.settings |= connections.configure_settings({"elsewhere": other, "default": {}}) | connections.settings
    try:
        with caplog.at_level(logging.WARNING, "reliable_email.outbox"):
            enqueue([submission()], QueueOptions(mailer="routes", using=using))
            assert caplog.records == []
            with transaction.atomic("elsewhere"):
                enqueue([submission()], QueueOptions(mailer="routes", using=using))
        assert "outside of a transaction" in caplog.text
    finally:
        connections["elsewhere"].close()
        del connections["elsewhere"], connections.settings["elsewhere"]


def test_content_subject_and_preview_are_encrypted_where_keys_are_given(using: str) -> None:
    """What was written with an old key is read after the rotation; without the key nothing is."""
    old, new = Fernet.generate_key().decode(), Fernet.generate_key().decode()
    enqueue([submission("secret words")], QueueOptions(mailer="routes", using=using, keyring=Keyring([old])))
    stored = OutboxMessage.objects.using(using).get()
    everything = repr(list(OutboxMessage.objects.using(using).values()))
    assert "secret words" not in everything
    assert "Greetings" not in everything
    rotated = Keyring([new, old])
    content = rotated.open(bytes(stored.content or b""), stored.encryption_key)
    assert b"secret words" in content
    assert rotated.open_text(stored.subject, stored.encryption_key) == "Greetings"
    with pytest.raises(KeyMissing):
        Keyring([new]).open(bytes(stored.content or b""), stored.encryption_key)


def test_the_signal_follows_the_commit(using: str) -> None:
    """Nobody hears of a message that is rolled back."""
    heard: list[object] = []

    def hear(**kwargs: object) -> None:
        heard.append(kwargs["outbox_id"])

    signals.message_queued.connect(hear)
    try:
        options = QueueOptions(mailer="routes", using=using)
        with transaction.atomic(using):
            [message] = enqueue([submission()], options)
            assert heard == []
        with pytest.raises(ZeroDivisionError), transaction.atomic(using):
            enqueue([submission()], options)
            raise ZeroDivisionError
        assert heard == [message.pk]
    finally:
        signals.message_queued.disconnect(hear)


@pytest.mark.parametrize("address", ["a" * 310 + "@example.com"])
def test_what_cannot_be_stored_is_said_to_the_caller(using: str, address: str) -> None:
    """An address that no column holds is refused before anything is written."""
    with pytest.raises(ValueError, match="longer than"):
        enqueue([submission(to=(address,))], QueueOptions(mailer="routes", using=using))
    assert rows(using) == []


def test_a_key_works_on_a_site_without_secrets(using: str, settings: Any) -> None:
    """Nothing older than its own digest is looked for there."""
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "", []
    options = QueueOptions(mailer="routes", using=using)
    [first], [second] = (enqueue([submission(idempotency_key="order 7")], options) for _ in range(2))
    assert (second.pk, second.was_queued_before) == (first.pk, True)
