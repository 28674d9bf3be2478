"""Operators' acts on queued recipients: cancel, hold, requeue, resolve. Each leaves an `Action` with the actor's name.

The states from which each is allowed are the table's; rows that have moved on meanwhile are left alone, and the count
that comes back is of rows that changed. `reason` is why, in the words of whoever does it.
"""

from dataclasses import asdict
from datetime import timedelta
from enum import StrEnum
from typing import Any, assert_never, cast

from django.db import connections, transaction
from django.db.models import Case, F, Field, QuerySet, Value, When

from reliable_email.outbox.faultpoints import point
from reliable_email.outbox.operations import held_resends
from reliable_email.outbox.rows.transitions import RULES, Event
from reliable_email.outbox.wake import announce
from reliable_email.records import dataclass
from reliable_email.store.questions.acts import ActionStory
from reliable_email.store.questions.filters import Filter, outbox_database, recipients
from reliable_email.store.questions.progress import UNTOLD, Progress
from reliable_email.store.sql.bounded import MOST, BoundedCount, bounded_count
from reliable_email.store.sql.clock import DatabaseNow
from reliable_email.store.sql.inserts import batched
from reliable_email.store.sql.texts import storable, storable_json
from reliable_email.store.tables.messages import OutboxMessage
from reliable_email.store.tables.recipients import OutboxRecipient
from reliable_email.store.tables.shared import Action
from reliable_email.store.tables.states import State

_IDS_AT_ONCE = 500
_WORDS_CHARACTERS = 2000
_NAMES = {
    "ids": "message",
    "recipient_ids": "recipient row",
    "up_to": "no recipient row after",
    "older_than": "queued before",
    "newer_than": "queued since",
    "detail": "those",
}
_MAKES_DUE = (Event.REQUEUE, Event.RESOLVE_RESEND)


class Resolution(StrEnum):
    """An operator's finding about an unknown recipient."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    RESEND = "resend"


class Act(StrEnum):
    """An act of an operator, as one choice for commands and pages."""

    REQUEUE = "requeue"
    CANCEL = "cancel"
    HOLD = "hold"
    RESOLVE_ACCEPTED = "resolve_accepted"
    RESOLVE_REJECTED = "resolve_rejected"
    RESOLVE_RESEND = "resolve_resend"

    @property
    def states(self) -> tuple[str, ...]:
        """The states of the rows that it can change."""
        return RULES[Event(self.value)].states


@dataclass(frozen=True, slots=True, kw_only=True)
class Performed:
    """The number of recipients that changed, and the `Action` that records it."""

    count: int
    action: int


def perform(
    act: Act,
    chosen: Filter,
    *,
    actor: str,
    reason: str = "",
    route: str = "",
    gives_up_after: timedelta = timedelta(days=3),
    undoes: bool = False,
    part_of: int | None = None,
    using: str | None = None,
    progress: Progress = UNTOLD,
) -> Performed:
    """Perform an act, and record it.

    A requeue sends again what is parked, rejected, expired or cancelled, as long as its content is there: routes that
    refused it are asked again, and its time to live begins anew.

    Args:
        route: of a requeue: send by this route alone, and wait while it is closed; "" for the mailer's own order.
        gives_up_after: of a requeue: the new time to live.
        part_of: the `Action` of a larger act, in whose record this one is; None for a record of its own.
        undoes: it takes a hold back: attempts, pins and the time at which each message expires stay as they were.
    """
    changes: dict[str, Any] = {}
    noted: dict[str, str] = {}
    match act:
        case Act.REQUEUE if undoes:
            pass
        case Act.REQUEUE:
            changes = {
                "attempts": 0,
                "crashes": 0,
                "unknowns": 0,
                "pinned_route": route,
                "refused_by": [],
                "gives_up_at": DatabaseNow(gives_up_after.total_seconds()),
            }
            noted = {"by_route": route} if route else {}
        case Act.CANCEL:
            changes = {"cause": "cancelled"}
        case Act.HOLD:
            changes = {"cause": "held"}  # its detail names the act: by that, exactly these are let go again
        case Act.RESOLVE_ACCEPTED:
            changes = {"cause": "resolved", "detail": f"resolved by {actor}"}
        case Act.RESOLVE_REJECTED:
            changes = {"cause": "resolved", "detail": f"resolved by {actor}", "unknowns": 0}
        case Act.RESOLVE_RESEND:
            pass
        case _:
            assert_never(act)
    return _act(Event(act.value), chosen, actor, reason, noted, part_of, using, progress, **changes)


def affected(act: Act, chosen: Filter, *, most: int = MOST, using: str | None = None) -> BoundedCount:
    """Return the number of recipients that an act would change now; at most `most` are counted."""
    alias = outbox_database(using)
    event = Event(act.value)
    rows = _allowed(event, chosen, alias).order_by()
    if event not in _MAKES_DUE:
        return bounded_count(rows, most=most)
    found, with_content = _messages(rows, most, alias)
    count = sum(one in with_content for one in found[:most])
    resends = _resends(event, chosen, alias)
    if resends is not None:
        count += resends.order_by()[:most].count()
    return BoundedCount(count=min(count, most), is_more=len(found) > most or count > most)


def without_content(act: Act, chosen: Filter, using: str | None = None) -> BoundedCount:
    """Return the number of recipients that an act would send to again, if the content of their message were here.

    Of very many, those that are found first are asked about.
    """
    alias = outbox_database(using)
    event = Event(act.value)
    if event not in _MAKES_DUE:
        return BoundedCount(count=0)
    found, with_content = _messages(_allowed(event, chosen, alias).order_by(), _IDS_AT_ONCE - 1, alias)
    count = sum(one not in with_content for one in found)
    return BoundedCount(count=count, is_more=count > 0 and len(found) == _IDS_AT_ONCE)


def _messages(rows: "QuerySet[OutboxRecipient]", most: int, alias: str) -> tuple[list[int], set[int]]:
    """Return the message of each recipient, one more than `most`, and which of the messages have their content.

    What is gone cannot be sent. Asked for by key: joined, the planner may read every message for it.
    """
    found = list(rows.values_list("message_id", flat=True)[: most + 1])
    messages = OutboxMessage._base_manager.using(alias).filter(content__isnull=False)
    with_content: set[int] = set()
    for ids in batched(set(found), _IDS_AT_ONCE):
        with_content.update(messages.filter(pk__in=ids).values_list("pk", flat=True))
    return found, with_content


def changeable_messages(act: Act, chosen: Filter, using: str | None = None) -> set[int]:
    """Return the messages of which an act would change a recipient now; for a filter that names messages."""
    alias = outbox_database(using)
    event = Event(act.value)
    found = set(_eligible(event, chosen, alias).values_list("message_id", flat=True))
    resends = _resends(event, chosen, alias)
    return found if resends is None else found | set(resends.values_list("message_id", flat=True))


def note(
    verb: str,
    *,
    actor: str,
    target: str,
    reason: str = "",
    count: int = 0,
    detail: dict[str, str] | None = None,
    using: str | None = None,
) -> int:
    """Record an act; the id of its `Action`."""
    alias = outbox_database(using)
    connection = connections[alias]
    row = Action._base_manager.using(alias).create(
        at=DatabaseNow(),
        actor=storable(connection, actor, 150),
        verb=verb[:40],
        target=storable(connection, target, 200),
        reason=storable(connection, reason, _WORDS_CHARACTERS),
        count=count,
        detail=storable_json(connection, detail or {}),
    )
    return row.pk


def trace(actor: str, action: int) -> str:
    """Return the text that a hold leaves in the rows that it parks."""
    return f"held by {actor}, act {action}"


def undoing(done: ActionStory) -> tuple[Act, Filter] | None:
    """The act that takes another back, and for whom: exactly those that it changed; None where there is no such act."""
    if done.verb == Act.HOLD:
        return Act.REQUEUE, Filter(detail=trace(done.actor, done.id), states=(State.PARKED.value,))
    if done.verb == Act.REQUEUE and done.detail.get("detail"):  # it let go what another act held
        return Act.HOLD, Filter(detail=str(done.detail["detail"]), states=(State.QUEUED.value,))
    return None


def _allowed(event: Event, chosen: Filter, alias: str) -> "QuerySet[OutboxRecipient]":
    rows = recipients(chosen, alias).filter(state__in=RULES[event].states)
    return rows.filter(held_resends.leaves_doubts_alone()) if event in (Event.HOLD, Event.CANCEL) else rows


def _eligible(event: Event, chosen: Filter, alias: str) -> "QuerySet[OutboxRecipient]":
    rows = _allowed(event, chosen, alias)
    return rows.filter(message__content__isnull=False) if event in _MAKES_DUE else rows


def _act(
    event: Event,
    chosen: Filter,
    actor: str,
    reason: str,
    noted: dict[str, str],
    part_of: int | None,
    using: str | None,
    progress: Progress,
    **changes: Any,
) -> Performed:
    alias = outbox_database(using)
    rule = RULES[event]
    changes = {name: storable_json(connections[alias], value) for name, value in changes.items()}
    rows = _eligible(event, chosen, alias)
    becomes_due = event in _MAKES_DUE
    action = part_of or note(
        event.value,
        actor=actor,
        target=_words(chosen),
        reason=reason,
        detail={name: str(value)[:_WORDS_CHARACTERS] for name, value in asdict(chosen).items() if value} | noted,
        using=alias,
    )
    doubted = rule.doubted or rule.target
    target: Any = rule.target.value
    if doubted is not rule.target:
        target = Case(When(unknowns__gt=0, then=Value(doubted.value)), default=Value(rule.target.value))
        # Of what is unknown, only the time of its resend is taken; the evidence of the doubt stays.
        changes = {name: _unless_doubted(name, value) for name, value in changes.items()}
    point("act:noted")
    settled = rule.target not in (State.QUEUED, State.PARKED)
    changes |= {
        "state": target,
        "due_at": DatabaseNow() if becomes_due else None,
        "lease_until": None,
        "settled_at": DatabaseNow() if settled else _unless_doubted("settled_at", None),
    }
    if event is Event.REQUEUE:
        changes["settled_at"] = None
    if event in (Event.HOLD, Event.CANCEL):
        words = trace(actor, action) if event is Event.HOLD else f"cancelled by {actor}"
        # First: MySQL evaluates one assignment after the other, and the detail depends on what the row was.
        changes = {"detail": held_resends.marked(storable(connections[alias], words))} | changes
    parts = [(rows, rule.states, changes)]
    resends = _resends(event, chosen, alias)
    if resends is not None:
        kept = {"detail": changes.get("detail"), "due_at": None}
        again = {"due_at": held_resends.due_again()} if becomes_due else kept
        parts.append((resends, (State.UNKNOWN.value,), again))
    count = 0
    progress.begin("recipients", lambda: sum(rows.count() for rows, _, _ in parts))
    # Each batch is committed with its part of the record: after a kill, the same act goes on with what is left.
    for chosen_rows, states, wanted in parts:
        for ids in _runs(chosen_rows):
            with transaction.atomic(alias):
                # The condition on the state is repeated: a worker may have been quicker.
                own = OutboxRecipient._base_manager.using(alias).filter(pk__in=ids, state__in=states)
                changed = own.update(**wanted)
                point("act:changed")
                Action._base_manager.using(alias).filter(pk=action).update(count=F("count") + changed)
            point("act:batch")
            count += changed
            progress.advance(len(ids))
    if becomes_due and count:
        announce(alias)
    return Performed(count=count, action=action)


def _resends(event: Event, chosen: Filter, alias: str) -> "QuerySet[OutboxRecipient] | None":
    """The second copies that go with these rows; None where the act is about no hold."""
    match event:
        case Event.REQUEUE:
            return held_resends.held(chosen, alias)
        case Event.HOLD:
            return held_resends.held_again(chosen, alias)
        case _:
            return None


def _unless_doubted(name: str, value: Any) -> Case:
    field = cast("Field[Any, Any]", OutboxRecipient._meta.get_field(name))
    return Case(When(unknowns__gt=0, then=F(name)), default=Value(value), output_field=field)


def _runs(rows: "QuerySet[OutboxRecipient]") -> Any:
    last = 0
    while True:
        ids = list(rows.filter(pk__gt=last).order_by("pk").values_list("pk", flat=True)[:_IDS_AT_ONCE])
        if not ids:
            return
        yield ids
        last = ids[-1]


def _words(chosen: Filter) -> str:
    words = []
    for name, value in asdict(chosen).items():
        if value:
            shown = (
                ", ".join(str(one) or "(no name)" for one in value) if isinstance(value, tuple | list) else str(value)
            )
            words.append(f"{_NAMES.get(name, name)} {shown}")
    return "; ".join(words) or "everything"
