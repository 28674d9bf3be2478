"""The story of a message: its recipients, attempts and events, as plain values and never as rows."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from reliable_email.records import dataclass
from reliable_email.store.questions.filters import outbox_database
from reliable_email.store.sql.inserts import batched
from reliable_email.store.tables.attempts import Attempt
from reliable_email.store.tables.events import ProviderEvent
from reliable_email.store.tables.messages import OutboxMessage
from reliable_email.store.tables.recipients import OutboxRecipient
from reliable_email.store.tables.states import PriorityRank

_IDS_AT_ONCE = 500
_KEYS = 2**63  # the first number that no primary key can be


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipientStory:
    """One recipient, for people and programs.

    Attributes:
        id: of its row.
        pinned_route: the only route that may have it; "" for any.
        claimed_by: the worker that has it or had it last.
    """

    id: int
    address: str
    state: str
    route: str
    stage: str
    cause: str
    reply: str
    detail: str
    attempts: int
    due_at: datetime | None
    gives_up_at: datetime
    settled_at: datetime | None
    pinned_route: str
    claimed_by: str
    provider_message_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptStory:
    """One transaction: outcomes by address. `dialogue` is what was said on the wire, sealed where the content is."""

    id: int
    finished_at: datetime
    route: str
    peer: str
    stage: str
    cause: str
    reply: str
    detail: str
    seconds: float
    worker: str
    outcomes: dict[str, str]
    dialogue: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventStory:
    """A provider's later report: the time of the event as it says, and the time at which it was noted."""

    at: datetime
    noted_at: datetime
    address: str
    kind: str
    source: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageStory:
    """All that is known of a message but its content.

    Subject, replies and the details of events may be sealed; see `encryption_key`.
    """

    id: int
    message_id: str
    mailer: str
    entry_mailer: str
    environment: str
    priority: str
    created_at: datetime
    send_at: datetime | None
    expires_at: datetime | None
    sender: str
    subject: str
    content_size: int
    has_content: bool
    on_unknown: str
    encryption_key: str
    recipients: list[RecipientStory]
    attempts: list[AttemptStory]
    events: list[EventStory]


def story(message_id: int, using: str | None = None) -> MessageStory | None:
    """A message with its recipients, attempts and events; None where there is none."""
    alias = outbox_database(using)
    messages = OutboxMessage._base_manager.using(alias)
    row = messages.filter(pk=message_id).defer("content").first()
    if row is None:
        return None
    rows = list(OutboxRecipient._base_manager.using(alias).filter(message=row).order_by("position"))
    addresses = {str(one.position): one.address for one in rows}
    return MessageStory(
        id=row.pk,
        message_id=row.message_id,
        mailer=row.mailer,
        entry_mailer=row.entry_mailer or row.mailer,
        environment=row.environment,
        priority=PriorityRank(row.priority).priority.value,
        created_at=row.created_at,
        send_at=row.send_at,
        expires_at=row.expires_at,
        sender=row.sender,
        subject=row.subject,
        content_size=row.content_size,
        has_content=messages.filter(pk=row.pk, content__isnull=False).exists(),
        on_unknown=row.on_unknown,
        encryption_key=row.encryption_key,
        recipients=[_recipient_story(one) for one in rows],
        attempts=[
            _attempt_story(one, addresses)
            for one in Attempt._base_manager.using(alias).filter(message=row).order_by("id")
        ],
        events=[
            EventStory(
                at=one.at,
                noted_at=one.noted_at,
                address=one.address,
                kind=one.kind,
                source=one.source,
                detail=one.detail,
            )
            for one in ProviderEvent._base_manager.using(alias).filter(message=row).order_by("at", "id")
        ],
    )


def message_ids(message_id: str, using: str | None = None) -> list[int]:
    """The rows with this Message-ID (with its angle brackets): a caller may have set the same one twice."""
    rows = OutboxMessage._base_manager.using(outbox_database(using)).filter(message_id=message_id[:255])
    return list(rows.order_by("id").values_list("id", flat=True))


def missing_messages(ids: Sequence[int], using: str | None = None) -> list[int]:
    """Return those of the numbers that no message has."""
    rows = OutboxMessage._base_manager.using(outbox_database(using))
    found: set[int] = set()
    for some in batched(ids, _IDS_AT_ONCE):
        found.update(rows.filter(pk__in=[one for one in some if one < _KEYS]).values_list("pk", flat=True))
    return [one for one in ids if one not in found]


def messages_with_content(ids: Sequence[int], using: str | None = None) -> list[int]:
    """Return those of a few numbers whose message still has its content."""
    rows = OutboxMessage._base_manager.using(outbox_database(using))
    return list(rows.filter(pk__in=ids, content__isnull=False).values_list("pk", flat=True))


def _recipient_story(row: OutboxRecipient) -> RecipientStory:
    return RecipientStory(
        id=row.pk,
        address=row.address,
        state=row.state,
        route=row.route,
        stage=row.stage,
        cause=row.cause,
        reply=reply_words(row),
        detail=row.detail,
        attempts=row.attempts,
        due_at=row.due_at,
        gives_up_at=row.gives_up_at,
        settled_at=row.settled_at,
        pinned_route=row.pinned_route,
        claimed_by=row.claimed_by,
        provider_message_id=row.provider_message_id,
    )


def _attempt_story(row: Attempt, addresses: dict[str, str]) -> AttemptStory:
    return AttemptStory(
        id=row.pk,
        finished_at=row.finished_at,
        route=row.route,
        peer=row.peer,
        stage=row.stage,
        cause=row.cause,
        reply=reply_words(row),
        detail=row.detail,
        seconds=row.seconds,
        worker=row.worker,
        outcomes={
            addresses.get(position, position): outcome
            for position, outcome in sorted(row.outcomes.items(), key=lambda pair: int(pair[0]))
        },
        dialogue=row.dialogue or "",
    )


def reply_words(row: OutboxRecipient | Attempt) -> str:
    """Code, enhanced status and text as one line."""
    if row.reply_code is None:
        return ""
    return " ".join(part for part in (str(row.reply_code), row.reply_enhanced, row.reply_text) if part)


def each_message_id(using: str, *, step: int = 1000) -> Iterator[list[int]]:
    """All messages' ids in runs, by the primary key: memory stays flat."""
    last = 0
    while True:
        rows: Any = OutboxMessage._base_manager.using(using).filter(pk__gt=last).order_by("pk")
        ids = list(rows.values_list("pk", flat=True)[:step])
        if not ids:
            return
        yield ids
        last = ids[-1]
