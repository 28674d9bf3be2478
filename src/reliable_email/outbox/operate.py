"""What a person may do to queued recipients: cancel, hold, requeue, resolve. Each leaves an `Action` that says who.

The states from which each is allowed are the table's; rows that have moved on meanwhile are left alone, and the count
that comes back is of rows that changed.
"""

from dataclasses import asdict
from datetime import timedelta
from enum import StrEnum
from typing import Any, cast

from django.db import transaction
from django.db.models import Case, F, Field, QuerySet, Value, When

from reliable_email.outbox.transitions import RULES, Event
from reliable_email.outbox.wake import announce
from reliable_email.store.clock import DatabaseNow
from reliable_email.store.progress import UNTOLD, Progress
from reliable_email.store.queries import Filter, outbox_database, recipients
from reliable_email.store.recipients import OutboxRecipient
from reliable_email.store.shared import Action
from reliable_email.store.states import State

_IDS_AT_ONCE = 500


class Resolution(StrEnum):
    """What a person found out about an unknown recipient."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    RESEND = "resend"


def cancel(chosen: Filter, *, actor: str, using: str | None = None, progress: Progress = UNTOLD) -> int:
    """Send no more, where no server can have it yet. What is unknown stays so, and is not sent again."""
    return _act(Event.CANCEL, chosen, actor, using, progress, cause="cancelled", detail=f"cancelled by {actor}")


def hold(chosen: Filter, *, actor: str, using: str | None = None, progress: Progress = UNTOLD) -> int:
    """Park what waits, until it is requeued. The first thing to do after a database was restored or cloned."""
    return _act(Event.HOLD, chosen, actor, using, progress, cause="held", detail=f"held by {actor}")


def requeue(
    chosen: Filter,
    *,
    actor: str,
    using: str | None = None,
    gives_up_after: timedelta = timedelta(days=3),
    progress: Progress = UNTOLD,
) -> int:
    """Send it (again): parked, rejected, expired or cancelled, as long as the content is there.

    Routes that refused it are asked again, and its time to live begins anew.
    """
    return _act(
        Event.REQUEUE,
        chosen,
        actor,
        using,
        progress,
        attempts=0,
        crashes=0,
        unknowns=0,
        pinned_route="",
        refused_by=[],
        gives_up_at=DatabaseNow(gives_up_after.total_seconds()),
    )


def resolve(chosen: Filter, resolution: Resolution, *, actor: str, using: str | None = None) -> int:
    """Say what became of unknown recipients, or have them sent again by the same route."""
    changes: dict[str, Any]
    match resolution:
        case Resolution.ACCEPTED:
            event, changes = Event.RESOLVE_ACCEPTED, {"cause": "resolved", "detail": f"resolved by {actor}"}
        case Resolution.REJECTED:
            changes = {"cause": "resolved", "detail": f"resolved by {actor}", "unknowns": 0}
            event = Event.RESOLVE_REJECTED
        case Resolution.RESEND:
            event, changes = Event.RESOLVE_RESEND, {}
    return _act(event, chosen, actor, using, UNTOLD, **changes)


def _act(event: Event, chosen: Filter, actor: str, using: str | None, progress: Progress, **changes: Any) -> int:
    alias = outbox_database(using)
    rule = RULES[event]
    rows = recipients(chosen, alias).filter(state__in=rule.states)
    becomes_due = event in (Event.REQUEUE, Event.RESOLVE_RESEND)
    if becomes_due:
        rows = rows.filter(message__content__isnull=False)
    doubted = rule.doubted or rule.target
    target: Any = rule.target.value
    if doubted is not rule.target:
        target = Case(When(unknowns__gt=0, then=Value(doubted.value)), default=Value(rule.target.value))
        # Of what is unknown, only the time of its resend is taken; the evidence of the doubt stays.
        changes = {name: _unless_doubted(name, value) for name, value in changes.items()}
    settled = rule.target not in (State.QUEUED, State.PARKED)
    changes |= {
        "state": target,
        "due_at": DatabaseNow() if becomes_due else None,
        "lease_until": None,
        "settled_at": DatabaseNow() if settled else _unless_doubted("settled_at", None),
    }
    if event is Event.REQUEUE:
        changes["settled_at"] = None
    count = 0
    progress.begin("recipients", rows.count)
    with transaction.atomic(alias):
        for ids in _runs(rows):
            # The condition on the state is repeated: a worker may have been quicker.
            own = OutboxRecipient._base_manager.using(alias).filter(pk__in=ids, state__in=rule.states)
            count += own.update(**changes)
            progress.advance(len(ids))
        Action._base_manager.using(alias).create(
            at=DatabaseNow(),
            actor=actor[:150],
            verb=event.value,
            target=_words(chosen)[:200],
            count=count,
            detail={name: str(value) for name, value in asdict(chosen).items() if value},
        )
    if becomes_due and count:
        announce(alias)
    return count


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
    words = [f"{name}={value}" for name, value in asdict(chosen).items() if value]
    return ", ".join(words) or "everything"
