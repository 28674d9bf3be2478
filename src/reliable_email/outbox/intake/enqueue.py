"""Queueing in the caller's database and transaction: one INSERT for messages, one for all their recipients.

What the caller can do wrong is said to the caller, here. After the commit nothing is lost; without it nothing is there.
"""

import logging
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

from django.db import DEFAULT_DB_ALIAS, IntegrityError, connections, router, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from reliable_email import conf, signals
from reliable_email.delivery.submission import OnUnknown, Priority, Submission
from reliable_email.delivery.telling.log_records import log_fields
from reliable_email.delivery.telling.tracing import tracing_enqueue
from reliable_email.outbox import wake
from reliable_email.outbox.faultpoints import point
from reliable_email.outbox.intake.autonomous import outside_of_transactions
from reliable_email.outbox.intake.digests import configured_secrets, content_digests, idempotency_digests
from reliable_email.outbox.intake.foreign_fields import foreign_fields
from reliable_email.outbox.keyring import Keyring
from reliable_email.records import dataclass, field
from reliable_email.smtp.dsn import dsn_from, dsn_to_text
from reliable_email.smtp.protocol.wire_content import BytesContent
from reliable_email.smtp.syntax.paths import IDENTITY_VERSION, forward_path
from reliable_email.store.questions.lanes import lane_of
from reliable_email.store.sql import copying
from reliable_email.store.sql.clock import now_sql
from reliable_email.store.sql.inserts import FEW, Raw, Value, insert, insert_sql
from reliable_email.store.sql.preparing import preparing_cursor
from reliable_email.store.sql.texts import encodings, holds, storable_json
from reliable_email.store.tables.messages import MESSAGE_ID_LENGTH, OutboxMessage
from reliable_email.store.tables.recipients import OutboxRecipient
from reliable_email.store.tables.states import PriorityRank, State
from reliable_email.values import shown

logger = logging.getLogger("reliable_email.outbox")

_MESSAGE_COLUMNS = (
    "mailer", "entry_mailer", "environment", "priority", "created_at", "send_at", "expires_at", "message_id", "sender",
    "from_domain", "subject", "headers", "content", "content_size", "is_7bit", "needs_smtputf8", "fields",
    "encryption_key", "idempotency_digest", "content_digest", "on_unknown", "traceparent",
)  # fmt: skip
_RECIPIENT_COLUMNS = (
    "message_id", "position", "address", "mailer", "lane", "environment", "priority", "due_at", "gives_up_at", "state",
    "claim", "claimed_by", "authorized_route", "attempts", "crashes", "unknowns", "pinned_route", "refused_by", "route",
    "stage", "cause", "reply_enhanced", "reply_text", "detail", "provider_message_id", "identity_version",
)  # fmt: skip
# Every new row has these in the columns from `state` on; as SQL, they cost no parameter in each of ten thousand rows.
_QUEUED, _ZERO, _EMPTY = Raw(f"'{State.QUEUED.value}'"), Raw("0"), Raw("''")
_FRESH: tuple[Value, ...] = (
    _QUEUED, _ZERO, _EMPTY, _EMPTY, _ZERO, _ZERO, _ZERO, _EMPTY, Raw("'[]'"), _EMPTY, _EMPTY, _EMPTY, _EMPTY, _EMPTY,
    _EMPTY, _EMPTY, Raw(str(IDENTITY_VERSION)),
)  # fmt: skip
_FRESH_AT_ONCE: tuple[Value, ...] = (Raw(", ".join(one.sql for one in _FRESH if isinstance(one, Raw))),)
_NULL = Raw("NULL")
_DUPLICATE_ENTRY = 1062  # MySQL
_HEADER_PREVIEW_BYTES = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueOptions:
    """The options of an outbox's mailer for queueing.

    Attributes:
        mailer: alias of the mailer that delivers.
        entry_mailer: alias of the one that the application used; "" for the same.
        using: alias of the database; None for the router's choice.
        environment: of this deployment.
        priority, on_unknown: of messages that name none; on_unknown None leaves it to the route.
        expires_in: of messages that name none; None for no limit but `gives_up_after`.
        gives_up_after: how long the queue tries.
        transactional: whether rows join the caller's transaction.
        notify: whether workers are woken by NOTIFY.
        keyring: for encryption at rest.
        keeps_all: whether a route takes no MIME, so that the message itself is stored, too.
    """

    mailer: str
    entry_mailer: str = ""
    using: str | None = None
    environment: str = ""
    priority: Priority = Priority.NORMAL
    on_unknown: OnUnknown | None = None
    expires_in: timedelta | None = None
    gives_up_after: timedelta = timedelta(days=3)
    transactional: bool = True
    notify: bool = True
    keyring: Keyring = field(default_factory=Keyring)
    keeps_all: bool = False

    @property
    def database(self) -> str:
        """The alias of the database that is written."""
        return self.using or router.db_for_write(OutboxMessage) or DEFAULT_DB_ALIAS


@dataclass(frozen=True, slots=True)
class _Draft:
    """A submission with what its rows need, computed once.

    The first of the digests is written. The others are those of other secrets and older versions.
    """

    submission: Submission
    paths: tuple[str, ...]
    digests: tuple[str, ...]
    content_digests: tuple[str, ...]
    fields: dict[str, Any] | None

    @property
    def digest(self) -> str | None:
        """The digest of the idempotency key; None without one."""
        return self.digests[0] if self.digests else None


def enqueue(
    submissions: Sequence[Submission], options: QueueOptions, *, gives_rows: bool = True
) -> list[OutboxMessage]:
    """Queue all of them, or, where it raises, none.

    A submission whose idempotency key was used before gives the message that was first queued with it; that one has
    `was_queued_before` set, and a WARNING tells where the two differ.

    Args:
        gives_rows: whether somebody wants the messages; of thousands, they cost a tenth of the time.

    Raises:
        TransactionManagementError: the caller's transaction is broken, as the ORM would.
        ValueError: a submission cannot be stored.
    """
    if not submissions:
        return []
    drafts = [_draft(submission, options) for submission in submissions]
    using = options.database
    message_ids = [submission.message_id for submission in submissions]
    with tracing_enqueue(mailer=options.mailer, message_ids=message_ids) as traceparent:
        if not options.transactional:
            return outside_of_transactions(
                using, lambda alias: _write(alias, drafts, options, traceparent, gives_rows=gives_rows)
            )
        _warn_of_other_transactions(using)
        return _write(using, drafts, options, traceparent, gives_rows=gives_rows)


def _draft(submission: Submission, options: QueueOptions) -> _Draft:
    paths = tuple([forward_path(address)[0] for address in submission.recipients])
    for path in paths:
        if len(path) > 320:
            raise ValueError(f"an address is longer than 320 characters: {path[:40]}…")
    if len(submission.sender) > 320:
        raise ValueError(f"the sender's address is longer than 320 characters: {submission.sender[:40]}…")
    if not submission.recipients:
        raise ValueError("the message has no recipients")
    if submission.content.size > (limit := conf.get().max_queued_bytes):  # a queued byte takes eight of memory
        words = f"{submission.content.size:,} bytes, and at most {limit:,} can be queued (MAX_QUEUED_BYTES)"
        raise ValueError(f"the message has {words}: send a link to the file in its place")
    key = submission.options.idempotency_key
    secrets = configured_secrets() if key is not None else ()
    return _Draft(
        submission=submission,
        paths=paths,
        digests=idempotency_digests(options.mailer, key, options.environment, secrets) if key is not None else (),
        content_digests=content_digests(submission, secrets) if key is not None else (),
        fields=foreign_fields(submission.message, keeps_all=options.keeps_all),
    )


def _write(
    using: str, drafts: Sequence[_Draft], options: QueueOptions, traceparent: str, *, gives_rows: bool
) -> list[OutboxMessage]:
    connection = connections[using]
    if len(drafts) == 1 and drafts[0].digest is None and _takes_both_at_once(connection):
        return _write_at_once(using, drafts[0], options, traceparent, gives_rows=gives_rows)
    rows = {n: _message_row(connection, draft, options, traceparent) for n, draft in enumerate(drafts)}
    ids: dict[int, int] = {}  # of what is new
    known: dict[int, OutboxMessage] = {}
    point("enqueue:begin")
    with transaction.atomic(using, savepoint=False):
        keyed = sorted((draft.digest, n) for n, draft in enumerate(drafts) if draft.digest is not None)
        # In the order of keys: two processes that queue the same keys wait for each other, and never in a circle.
        for _, n in keyed:
            before = _older_message(connection, drafts[n], options.environment)
            message_id = None if before is not None else _insert_keyed(connection, rows[n])
            if message_id is None:
                known[n] = before or _first_message(connection, drafts[n])
            else:
                ids[n] = message_id
        plain = [n for n, draft in enumerate(drafts) if draft.digest is None]
        ids |= zip(plain, _insert_messages(using, [rows[n] for n in plain]), strict=True)
        point("enqueue:messages")
        recipients = [row for n, pk in ids.items() for row in _recipient_rows(connection, pk, drafts[n], options)]
        insert(using, OutboxRecipient, _RECIPIENT_COLUMNS, recipients)
        point("enqueue:recipients")
        # Registered inside: it runs after the caller's commit, or after this one.
        queued = [(pk, drafts[n].submission.message_id) for n, pk in ids.items()]
        transaction.on_commit(lambda: _after_commit(using, queued, options), using=using, robust=True)
    point("enqueue:end")
    if not gives_rows:
        return []
    return [known[n] if n in known else _instance(using, ids[n], rows[n]) for n in range(len(drafts))]


def _takes_both_at_once(connection: BaseDatabaseWrapper) -> bool:
    """Return whether one statement may be all; where the caller commits by hand, `on_commit` needs an `atomic`."""
    return connection.vendor == "postgresql" and (connection.in_atomic_block or connection.get_autocommit())


def _write_at_once(
    using: str, draft: _Draft, options: QueueOptions, traceparent: str, *, gives_rows: bool
) -> list[OutboxMessage]:
    """Write both INSERTs in one statement, and so in one round trip, whether in a transaction or not."""
    connection = connections[using]
    row = _message_row(connection, draft, options, traceparent)
    message_sql, message_parameters = insert_sql(connection, OutboxMessage, _MESSAGE_COLUMNS, [row])
    fresh = _FRESH_AT_ONCE if len(draft.submission.recipients) < FEW else _FRESH
    rows = list(_recipient_rows(connection, Raw("(SELECT id FROM message)"), draft, options, fresh=fresh))
    sql, parameters = insert_sql(connection, OutboxRecipient, _RECIPIENT_COLUMNS, rows)
    point("enqueue:begin")
    with preparing_cursor(connection) as cursor:
        cursor.execute(
            f"WITH message AS ({message_sql} RETURNING id) {sql} RETURNING message_id",
            [*message_parameters, *parameters],
        )
        (pk,) = cursor.fetchone()
    point("enqueue:end")
    queued = [(pk, draft.submission.message_id)]
    transaction.on_commit(lambda: _after_commit(using, queued, options), using=using, robust=True)
    return [_instance(using, pk, row)] if gives_rows else []


def _insert_messages(using: str, rows: Sequence[list[Value]]) -> list[int]:
    """Insert the messages, and return their primary keys in order."""
    if len(rows) < copying.ENOUGH or not copying.can_copy(connections[using]):
        return insert(using, OutboxMessage, _MESSAGE_COLUMNS, rows, ids=True)
    ids = copying.reserve_ids(using, OutboxMessage, len(rows))
    copying.copy(
        using, OutboxMessage, ("id", *_MESSAGE_COLUMNS), [[pk, *row] for pk, row in zip(ids, rows, strict=True)]
    )
    return ids


def _message_row(
    connection: BaseDatabaseWrapper, draft: _Draft, options: QueueOptions, traceparent: str
) -> list[Value]:
    submission, keyring = draft.submission, options.keyring
    wishes, content = submission.options, submission.content
    # Not joined anew where it is one piece: it may be very large.
    data = content.data if isinstance(content, BytesContent) else b"".join(content.chunks())
    expires_in = wishes.expires_in if wishes.expires_in is not None else options.expires_in
    expires_at: Value = None
    if expires_in is not None:
        expires_at = _after(connection, submission, expires_in)
    on_unknown = wishes.on_unknown or options.on_unknown
    head = data[:_HEADER_PREVIEW_BYTES].partition(b"\r\n\r\n")[0].decode("utf-8", "replace")
    subject = str(submission.message.subject) if submission.message is not None else ""
    return [
        options.mailer,
        options.entry_mailer or options.mailer,
        options.environment,
        PriorityRank.of(wishes.priority or options.priority).value,
        Raw(now_sql(connection)),
        wishes.send_at,
        expires_at,
        submission.message_id[:MESSAGE_ID_LENGTH],
        submission.sender,
        submission.from_domain[:255],
        keyring.seal_text(subject),
        keyring.seal_text(head),
        keyring.seal(data),
        content.size,
        content.is_7bit,
        content.needs_smtputf8,
        _stored_fields(connection, draft, keyring),
        keyring.current,
        draft.digest,
        draft.content_digests[0] if draft.content_digests else "",
        on_unknown.value if on_unknown is not None else "",
        traceparent,
    ]


def _stored_fields(connection: BaseDatabaseWrapper, draft: _Draft, keyring: Keyring) -> dict[str, Any] | None:
    """Return the fields that MIME cannot hold: the letter for API routes, and the DSN options."""
    fields, dsn = draft.fields, draft.submission.options.dsn
    if fields is not None and keyring.current:
        import json

        fields = {"sealed": keyring.seal_text(json.dumps(fields))}
    elif fields is not None and storable_json(connection, fields) != fields:
        import json

        fields = {"ascii": json.dumps(fields)}  # what goes out must not be escaped for good
    if dsn is not None:
        fields = {**(fields or {}), "dsn": keyring.seal_text(dsn_to_text(dsn_from(dsn)))}
    return fields


def _recipient_rows(
    connection: BaseDatabaseWrapper,
    message_id: Value,
    draft: _Draft,
    options: QueueOptions,
    *,
    fresh: tuple[Value, ...] = _FRESH,
) -> Iterator[list[Value]]:
    submission = draft.submission
    expires_in = submission.options.expires_in if submission.options.expires_in is not None else options.expires_in
    gives_up_at = _after(connection, submission, expires_in if expires_in is not None else options.gives_up_after)
    due_at: Value = submission.options.send_at or Raw(now_sql(connection))
    rank = PriorityRank.of(submission.options.priority or options.priority).value
    lane = Raw(str(lane_of(options.mailer, environment=options.environment)))
    for position, path in enumerate(draft.paths):
        _refuse_what_would_change(connection, path)
        yield [
            message_id, position, path, options.mailer, lane, options.environment,
            Raw(str(rank)), due_at, gives_up_at, *fresh,
        ]  # fmt: skip


def _refuse_what_would_change(connection: BaseDatabaseWrapper, address: str) -> None:
    """Evidence may be escaped; an address would be another one."""
    if not address.isascii() and not holds(connection, address):
        names = " or ".join(encodings(connection))
        raise ValueError(f"The database {connection.alias!r} ({names}) cannot store the address {shown(address)}.")


def _after(connection: BaseDatabaseWrapper, submission: Submission, delay: timedelta) -> Value:
    """Return the time `delay` after the message's earliest send time."""
    if submission.options.send_at is not None:
        return submission.options.send_at + delay
    return Raw(now_sql(connection, delay.total_seconds()))


def _insert_keyed(connection: BaseDatabaseWrapper, row: list[Value]) -> int | None:
    """The new message's id, or None where its key was there before. No savepoint is needed for that anywhere."""
    sql, parameters = insert_sql(connection, OutboxMessage, _MESSAGE_COLUMNS, [row])
    with connection.cursor() as cursor:
        if connection.vendor == "mysql":
            try:
                cursor.execute(sql, parameters)
            except IntegrityError as error:
                # MySQL undoes the statement alone; the transaction goes on.
                if error.args and error.args[0] == _DUPLICATE_ENTRY:
                    return None
                raise
            return int(cursor.lastrowid)
        cursor.execute(f"{sql} ON CONFLICT (idempotency_digest) DO NOTHING RETURNING id", parameters)
        found = cursor.fetchone()
        return found[0] if found is not None else None


_FIRST_COLUMNS = ("id", "mailer", "message_id", "content_digest")


def _older_message(connection: BaseDatabaseWrapper, draft: _Draft, environment: str) -> OutboxMessage | None:
    """The message that was queued here under the same key with another secret, or by an older version.

    It costs a read by the unique index, for messages that have a key.
    """
    older = draft.digests[1:]
    if not older:
        return None
    quote = connection.ops.quote_name
    message, recipient = quote(OutboxMessage._meta.db_table), quote(OutboxRecipient._meta.db_table)
    marks = ", ".join("%s" for _ in older)
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {', '.join(_FIRST_COLUMNS)} FROM {message} WHERE idempotency_digest IN "  # noqa: S608
            f"({marks}) AND EXISTS (SELECT 1 FROM {recipient} WHERE message_id = {message}.id AND environment = %s) "
            "ORDER BY id LIMIT 1",
            [*older, environment],
        )
        found = cursor.fetchone()
    return _queued_before(connection, draft, found) if found is not None else None


def _first_message(connection: BaseDatabaseWrapper, draft: _Draft) -> OutboxMessage:
    table = connection.ops.quote_name(OutboxMessage._meta.db_table)
    # MySQL: a plain read might see a snapshot from before the row was committed. The lock is the one that the refused
    # INSERT holds already; a stronger one would be a deadlock with others who were refused at the same time.
    lock = " LOCK IN SHARE MODE" if connection.vendor == "mysql" else ""
    with connection.cursor() as cursor:
        sql = f"SELECT {', '.join(_FIRST_COLUMNS)} FROM {table} WHERE idempotency_digest = %s{lock}"  # noqa: S608
        cursor.execute(sql, [draft.digest])
        found = cursor.fetchone()
    assert found is not None, "the constraint has just said that it is there"
    return _queued_before(connection, draft, found)


def _queued_before(connection: BaseDatabaseWrapper, draft: _Draft, found: Sequence[Any]) -> OutboxMessage:
    message = OutboxMessage.from_db(connection.alias, _FIRST_COLUMNS, found)
    message.was_queued_before = True
    # Of a message whose recipient was erased nothing is left to compare with.
    if message.content_digest and message.content_digest not in draft.content_digests:
        logger.warning(
            "A message with the same idempotency key and other content was queued before; outbox message %s is kept, "
            "and the new one is dropped.",
            message.pk,
            extra=log_fields(message_id=message.message_id, outbox_id=message.pk),
        )
    return message


def _instance(using: str, pk: int, row: list[Value]) -> OutboxMessage:
    """A saved instance; what only the database knows is read when it is asked for."""
    known = {name: value for name, value in zip(_MESSAGE_COLUMNS, row, strict=True) if not isinstance(value, Raw)}
    known.pop("content")
    known.pop("fields")
    return OutboxMessage.from_db(using, ["id", *known], [pk, *known.values()])


def _after_commit(using: str, queued: Sequence[tuple[int, str]], options: QueueOptions) -> None:
    if queued:
        wake.announce(using, notify=options.notify)
    if signals.message_queued.receivers:
        for outbox_id, message_id in queued:
            known = {"message_id": message_id[:MESSAGE_ID_LENGTH], "mailer": options.mailer, "outbox_id": outbox_id}
            signals.message_queued.send_robust(sender=OutboxMessage, **known)


def _warn_of_other_transactions(using: str) -> None:
    if connections[using].in_atomic_block:
        return
    for other in connections.all(initialized_only=True):
        if other.alias != using and other.in_atomic_block:
            logger.warning(
                "A message is queued in the database %r, outside of a transaction, while the database %r is inside "
                "one: if that one is rolled back, the message is sent nevertheless. Give the outbox the same database "
                "with its option `database`.",
                using,
                other.alias,
                extra=log_fields(),
            )
            return
