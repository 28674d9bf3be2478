"""Pruning in two steps: content soon after a message is finished, the journal of it much later.

Nothing unfinished is ever touched, however old it is, and `unknown` counts as unfinished: its content may be needed.
"""

from datetime import timedelta

from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet

from reliable_email.outbox.faultpoints import point
from reliable_email.outbox.operations.suppressed import prune_suppressions
from reliable_email.records import dataclass
from reliable_email.store.questions.filters import outbox_database
from reliable_email.store.questions.progress import UNTOLD, Progress
from reliable_email.store.sql.clock import DatabaseNow
from reliable_email.store.tables.attempts import Attempt
from reliable_email.store.tables.events import ProviderEvent
from reliable_email.store.tables.messages import OutboxMessage
from reliable_email.store.tables.parts import PartReference
from reliable_email.store.tables.recipients import OutboxRecipient
from reliable_email.store.tables.routes import Opening
from reliable_email.store.tables.shared import Action, Tally
from reliable_email.store.tables.states import State

_ROWS = 500
_FINAL = (State.ACCEPTED, State.REJECTED, State.EXPIRED, State.CANCELLED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """The number of messages whose content was deleted, and of those that were deleted themselves."""

    contents: int
    messages: int


def prune(
    *,
    content_after: timedelta,
    journal_after: timedelta,
    using: str | None = None,
    dry_run: bool = False,
    progress: Progress = UNTOLD,
    environment: str | None = None,
) -> Pruned:
    """Prune what is old enough, in short transactions.

    Args:
        environment: messages of this one alone; None for all.
    """
    alias = outbox_database(using)
    bare = _finished(alias, content_after, environment).filter(content__isnull=False)
    limit = DatabaseNow(-journal_after.total_seconds())
    old = _finished(alias, journal_after, environment).filter(created_at__lt=limit)
    if dry_run:
        return Pruned(contents=bare.count(), messages=old.count())
    contents = messages = 0
    progress.begin("contents", bare.count)
    while ids := _ids(bare):
        point("prune:content")
        # What was said on the wire goes with it.
        said = Attempt._base_manager.using(alias).filter(message__in=ids, dialogue__isnull=False)
        said.update(dialogue=None)
        point("prune:said")
        contents += OutboxMessage._base_manager.using(alias).filter(pk__in=ids).update(content=None, fields=None)
        progress.advance(len(ids))
    progress.begin("messages", old.count)
    while ids := _ids(old):
        point("prune:journal")
        with transaction.atomic(alias):
            Attempt._base_manager.using(alias).filter(message__in=ids)._raw_delete(alias)
            ProviderEvent._base_manager.using(alias).filter(message__in=ids)._raw_delete(alias)
            PartReference._base_manager.using(alias).filter(message__in=ids)._raw_delete(alias)
            OutboxRecipient._base_manager.using(alias).filter(message__in=ids)._raw_delete(alias)
            OutboxMessage._base_manager.using(alias).filter(pk__in=ids)._raw_delete(alias)
            point("prune:deleted")
        messages += len(ids)
        progress.advance(len(ids))
    Tally._base_manager.using(alias).filter(minute__lt=limit)._raw_delete(alias)
    Action._base_manager.using(alias).filter(at__lt=limit)._raw_delete(alias)
    Opening._base_manager.using(alias).filter(closed_at__lt=limit)._raw_delete(alias)
    prune_suppressions(alias)
    return Pruned(contents=contents, messages=messages)


def _finished(using: str, after: timedelta, environment: str | None) -> "QuerySet[OutboxMessage]":
    """Messages all of whose recipients were final so long ago."""
    messages = OutboxMessage._base_manager.using(using)
    if environment is not None:
        messages = messages.filter(environment=environment)
    rows = OutboxRecipient._base_manager.using(using).filter(message=OuterRef("pk"))
    limit = DatabaseNow(-after.total_seconds())
    return (
        messages.filter(created_at__lt=limit)
        .exclude(Exists(rows.exclude(state__in=_FINAL)))
        .exclude(Exists(rows.filter(settled_at__gt=limit)))
    )


def _ids(rows: "QuerySet[OutboxMessage]") -> list[int]:
    return list(rows.order_by("pk").values_list("pk", flat=True)[:_ROWS])
