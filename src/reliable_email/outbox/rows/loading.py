"""A worker's reading of messages: few columns for a whole claim, contents only for the next few megabytes."""

import json
from collections.abc import Iterable, Iterator, Sequence
from sys import intern
from typing import Any

from reliable_email.delivery.submission import OnUnknown, Submission
from reliable_email.outbox.keyring import Keyring
from reliable_email.outbox.rows.rebuilding import rebuild_message
from reliable_email.outbox.rows.sql import Tables
from reliable_email.records import record
from reliable_email.smtp.protocol.wire_content import BytesContent
from reliable_email.store.tables.messages import OutboxMessage

# At once in memory for one connection, unless a single message is larger.
SLICE_BYTES = 4 * 1024 * 1024
SLICE_MESSAGES = 100


class ContentGone(Exception):
    """The content was pruned, or the row is not there."""


@record(frozen=True, slots=True, kw_only=True)
class StoredMessage:
    """A message without its content. `dsn` are the notices that it asks for, as they are stored; "" for none."""

    id: int
    message_id: str
    sender: str
    from_domain: str
    content_size: int
    on_unknown: OnUnknown | None
    encryption_key: str
    traceparent: str
    entry_mailer: str = ""
    account: str = ""
    stream: str = ""
    dsn: str = ""


_COLUMNS = (
    "id",
    "message_id",
    "sender",
    "from_domain",
    "content_size",
    "on_unknown",
    "encryption_key",
    "traceparent",
    "entry_mailer",
    "account",
    "stream",
)


def load_messages(using: str, ids: Iterable[int]) -> tuple[dict[int, StoredMessage], dict[int, bytes]]:
    """The messages with these ids; and the contents of small ones as they are stored, which saves asking for them."""
    tables = Tables(using)
    wanted = set(ids)
    among, parameters = tables.among("id", wanted)
    rows = tables.rows(
        "load",
        f"SELECT {', '.join(_COLUMNS)}, {tables.text_of_fields('dsn')}, CASE WHEN content_size <= %s THEN content END "  # noqa: S608 - names
        f"FROM {tables.message} WHERE {among}",
        [SLICE_BYTES // max(SLICE_MESSAGES, len(wanted)), *parameters],
    )
    messages, contents = {}, {}
    for *values, dsn, content in rows:
        row = dict(zip(_COLUMNS, values, strict=True)) | {"dsn": dsn or ""}
        row["on_unknown"] = OnUnknown(row["on_unknown"]) if row["on_unknown"] else None
        # A site has few of these, and a worker hundreds of messages in hand.
        row["sender"], row["from_domain"] = intern(row["sender"]), intern(row["from_domain"])
        messages[row["id"]] = StoredMessage(**row)
        if content is not None:
            contents[row["id"]] = bytes(content)
    return messages, contents


def slices(messages: Iterable[StoredMessage]) -> Iterator[list[StoredMessage]]:
    """Runs of messages whose contents fit into memory together."""
    chosen: list[StoredMessage] = []
    size = 0
    for message in messages:
        if chosen and (size + message.content_size > SLICE_BYTES or len(chosen) >= SLICE_MESSAGES):
            yield chosen
            chosen, size = [], 0
        chosen.append(message)
        size += message.content_size
    if chosen:
        yield chosen


def load_contents(using: str, messages: Sequence[StoredMessage]) -> dict[int, bytes]:
    """Contents as they are stored, by the message's id; those that are gone are left out."""
    rows = OutboxMessage._base_manager.using(using).filter(pk__in=[one.id for one in messages], content__isnull=False)
    return {pk: bytes(content) for pk, content in rows.values_list("id", "content") if content is not None}


def load_submission(using: str, message: StoredMessage, content: BytesContent, keyring: Keyring) -> Submission:
    """The caller's message again, for routes that take no MIME."""
    row = OutboxMessage._base_manager.using(using).only("fields").get(pk=message.id)
    fields: dict[str, Any] | None = row.fields
    if fields and "sealed" in fields:
        fields = json.loads(keyring.open_text(fields["sealed"], message.encryption_key))
    elif fields and "ascii" in fields:
        fields = json.loads(fields["ascii"])
    elif fields:
        fields.pop("dsn", None)  # of the wire, and no part of the message
    recipients = tuple(row.recipients.using(using).order_by("position").values_list("address", flat=True))
    return Submission(
        message=rebuild_message(content.data, fields, recipients, sender=message.sender),
        sender=message.sender,
        recipients=recipients,
        content=content,
        message_id=message.message_id,
        from_domain=message.from_domain,
    )


def missing_keys(using: str, keyring: Keyring, environment: str) -> list[str]:
    """Fingerprints of keys that unfinished rows of this environment need and that are not here."""
    from reliable_email.store.tables.states import State

    unfinished = [State.QUEUED, State.CLAIMED, State.AUTHORIZED, State.UNKNOWN, State.PARKED]
    rows = OutboxMessage._base_manager.using(using).exclude(encryption_key="").filter(content__isnull=False)
    rows = rows.filter(environment=environment)
    needed = rows.filter(recipients__state__in=unfinished).values_list("encryption_key", flat=True).distinct()
    return sorted(set(needed) - set(keyring.fingerprints))
