"""The acts of people, the newest first; `outbox.operations.operate` writes them."""

from datetime import datetime
from typing import Any

from django.db.models import Q

from reliable_email.records import dataclass
from reliable_email.store.questions.filters import outbox_database
from reliable_email.store.tables.shared import (
    Action,
)

PAGE_ROWS = 50


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
    """Return one act; None if it does not exist, or was pruned."""
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


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordPage:
    """Some acts, and the id to ask with for older ones; None where there are none."""

    acts: tuple[ActionStory, ...]
    before: int | None = None


def record(using: str | None = None, *, before: int | None = None) -> RecordPage:
    """A page of the record."""
    rows = Action._base_manager.using(outbox_database(using)).order_by("-id")
    if before is not None:
        rows = rows.filter(pk__lt=before)
    found = [action_story(row) for row in rows[: PAGE_ROWS + 1]]
    is_more = len(found) > PAGE_ROWS
    return RecordPage(acts=tuple(found[:PAGE_ROWS]), before=found[PAGE_ROWS - 1].id if is_more else None)
