"""The questions that commands, admin, health and metrics ask of the tables. Plain values come back, never rows.

Counts come from the index (state, lease_until, id); nothing here sorts a table.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from django.db.models import Count, Min, Q

from reliable_email.records import dataclass, field
from reliable_email.store.questions.filters import Filter as Filter
from reliable_email.store.questions.filters import outbox_database as outbox_database
from reliable_email.store.questions.filters import recipients as recipients
from reliable_email.store.questions.filters import stored_spellings as stored_spellings
from reliable_email.store.sql.clock import DatabaseNow, database_now
from reliable_email.store.sql.inserts import batched
from reliable_email.store.tables.attempts import Attempt
from reliable_email.store.tables.events import ProviderEvent
from reliable_email.store.tables.messages import OutboxMessage
from reliable_email.store.tables.recipients import OutboxRecipient
from reliable_email.store.tables.shared import Action, Suppression, Worker
from reliable_email.store.tables.states import PriorityRank, State

_IDS_AT_ONCE = 500
_KEYS = 2**63  # the first number that no primary key can be


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """The outbox at one moment.

    Attributes:
        recipients: how many in each state, each state named.
        queued: how many wait, by priority; those to be sent again are not among them.
        due: how many could be sent now.
        oldest_due_seconds: for how long the oldest of them has been due; None where there is none.
        in_hand: recipients that workers hold.
        workers: see `WorkerStatus`, those seen within a day.
    """

    at: datetime
    recipients: dict[str, int]
    queued: dict[str, int]
    due: int
    oldest_due_seconds: float | None
    in_hand: int
    workers: list["WorkerStatus"] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerStatus:
    """A worker's own word on itself."""

    name: str
    host: str
    pid: int
    environment: str
    state: str
    connections: int
    settled: int
    silent_seconds: float


def status(using: str | None = None, *, environment: str | None = None) -> Status:
    """The outbox now; of one environment, or of all."""
    alias = outbox_database(using)
    rows = OutboxRecipient._base_manager.using(alias)
    if environment is not None:
        rows = rows.filter(environment=environment)
    now = database_now(alias)
    counts = {state.value: 0 for state in State}
    counts |= dict(rows.values_list("state").annotate(Count("id")).order_by())
    queued = {rank.priority.value: 0 for rank in PriorityRank}
    for rank, count in rows.filter(state=State.QUEUED).values_list("priority").annotate(Count("id")).order_by():
        queued[PriorityRank(rank).priority.value] = count
    may_wait = rows.filter(state__in=(State.QUEUED, State.UNKNOWN))  # by the index of states
    found = may_wait.filter(due_at__lte=now).aggregate(count=Count("id"), first=Min("due_at"))
    waiting, oldest = found["count"], found["first"]
    return Status(
        at=now,
        recipients=counts,
        queued=queued,
        due=waiting,
        oldest_due_seconds=(now - oldest).total_seconds() if oldest is not None else None,
        in_hand=counts[State.CLAIMED] + counts[State.AUTHORIZED],
        workers=workers(alias, environment=environment),
    )


def workers(using: str | None = None, *, environment: str | None = None) -> list[WorkerStatus]:
    """Workers that were seen within a day, the most recent first; of one environment, or of all."""
    alias = outbox_database(using)
    now = database_now(alias)
    rows = Worker._base_manager.using(alias).order_by("-seen_at")
    if environment is not None:
        rows = rows.filter(environment=environment)
    return [
        WorkerStatus(
            name=row.name,
            host=row.host,
            pid=row.pid,
            environment=row.environment,
            state=row.state,
            connections=row.connections,
            settled=row.settled,
            silent_seconds=(now - row.seen_at).total_seconds(),
        )
        for row in rows
    ]


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


@dataclass(frozen=True, slots=True, kw_only=True)
class SuppressedAddress:
    """One line of the suppression list.

    Attributes:
        since: None for now, where it is to be written.
        until: None for ever.
        is_erased: of a person who was forgotten, of whose address a hash is left.
    """

    address: str
    reason: str = ""
    source: str = ""
    since: datetime | None = None
    until: datetime | None = None
    is_erased: bool = False


def shown_entry(row: Suppression) -> str:
    """The address of an entry; of a person who was erased, what tells them from others."""
    return f"(erased {row.address[:12]})" if row.digest_key else row.address


def suppressions(using: str | None = None, *, with_expired: bool = False) -> Iterator[SuppressedAddress]:
    """The suppression list, newest first; what has expired is still there until it is pruned."""
    rows = Suppression._base_manager.using(outbox_database(using))
    if not with_expired:
        rows = rows.filter(Q(expires_at=None) | Q(expires_at__gt=DatabaseNow()))
    for row in rows.order_by("-created_at", "address").iterator(chunk_size=2000):
        yield SuppressedAddress(
            address=shown_entry(row),
            reason=row.reason,
            source=row.source,
            since=row.created_at,
            until=row.expires_at,
            is_erased=bool(row.digest_key),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionStory:
    """One act: who did what to how many, and why."""

    id: int
    at: datetime
    actor: str
    verb: str
    target: str
    reason: str
    count: int
    detail: dict[str, Any]


def action(action_id: int, using: str | None = None) -> ActionStory | None:
    """One act; None where there is none, or no more."""
    row = Action._base_manager.using(outbox_database(using)).filter(pk=action_id).first()
    return action_story(row) if row is not None else None


def actions_about(message_id: int, using: str | None = None, *, newest: int = 1000) -> list[ActionStory]:
    """The acts that name this one message, the newest first, among the newest of all."""
    rows = Action._base_manager.using(outbox_database(using)).order_by("-pk")
    last = rows.values_list("pk", flat=True).first() or 0
    target = f"message {message_id}"
    about = Q(target=target) | Q(target__startswith=f"{target};")
    return [action_story(one) for one in rows.filter(about, pk__gt=last - newest)]


def action_story(row: Action) -> ActionStory:
    """A row as a value."""
    return ActionStory(
        id=row.pk,
        at=row.at,
        actor=row.actor,
        verb=row.verb,
        target=row.target,
        reason=row.reason,
        count=row.count,
        detail=row.detail,
    )
