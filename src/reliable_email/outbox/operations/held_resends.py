"""Second copies that a hold keeps back.

What is unknown is not parked: its doubt stays told. A hold takes the time of its resend away and leaves a mark behind
the evidence, by which an undo or a release finds exactly these rows and gives them a time again.
"""

from dataclasses import replace

from django.db.models import Case, F, Q, QuerySet, TextField, Value, When
from django.db.models.functions import Concat

from reliable_email.store.questions.filters import Filter, recipients
from reliable_email.store.sql.clock import DatabaseNow
from reliable_email.store.tables.recipients import OutboxRecipient
from reliable_email.store.tables.states import State

_MARK = "its resend was "
_HELD = f"{_MARK}held by "
# A late reply to the first copy may still settle it.
_LATE_REPLY_SECONDS = 600.0

_IS_WANTED = Q(unknowns__gt=0) & (Q(due_at__isnull=False) | Q(state=State.CLAIMED.value))
_IS_TOUCHED = _IS_WANTED | Q(detail__contains=_HELD) | Q(cause="held")
# At the end: what was done to it later stands behind the mark. A worker that finds new mail held writes the cause.
_IS_HELD = Q(state=State.UNKNOWN.value, unknowns__gt=0, due_at=None, message__content__isnull=False) & (
    Q(detail__contains=_HELD, detail__regex=r", act [0-9]+$") | Q(cause="held", detail__startswith="held by ")
)


def marked(words: str) -> Case:
    """The detail of a row that is held or cancelled: the words, or the evidence of a doubt with a mark behind it."""
    mark = f"{_MARK}{words}"
    return Case(
        When(unknowns=0, then=Value(words)),
        When(_IS_TOUCHED & Q(detail=""), then=Value(mark)),
        When(_IS_TOUCHED, then=Concat(F("detail"), Value(f"; {mark}"))),
        default=F("detail"),
        output_field=TextField(),
    )


def leaves_doubts_alone() -> Q:
    """The rows that a hold or a cancel changes: of what is unknown, those with a resend that waits or is held."""
    return ~Q(state=State.UNKNOWN.value) | _IS_TOUCHED


def held(chosen: Filter, using: str) -> "QuerySet[OutboxRecipient] | None":
    """The rows whose resend a requeue of these gives back; None where it is no release of what was held."""
    if chosen.states and set(chosen.states) != {State.PARKED.value}:
        return None
    if chosen.detail:
        act = Q(detail__endswith=f"{_MARK}{chosen.detail}")
    elif chosen.held_by:
        act = Q(detail__contains=f"{_HELD}{chosen.held_by}, act ") | Q(detail=f"held by {chosen.held_by}")
    elif set(chosen.causes) == {"held"}:
        act = Q()
    else:
        return None
    return recipients(_elsewhere(chosen), using).filter(_IS_HELD, act)


def held_again(chosen: Filter, using: str) -> "QuerySet[OutboxRecipient] | None":
    """The rows whose resend an undone release keeps back once more; None where that is not what the act does."""
    if not chosen.detail or set(chosen.states) != {State.QUEUED.value}:
        return None
    rows = recipients(_elsewhere(chosen), using)
    return rows.filter(_IS_WANTED, state=State.UNKNOWN.value, detail__endswith=f"{_MARK}{chosen.detail}")


def due_again() -> Case:
    """The time of a resend that is given back: at once, but no earlier than a late reply may come."""
    is_young = When(authorized_at__gt=DatabaseNow(-_LATE_REPLY_SECONDS), then=DatabaseNow(_LATE_REPLY_SECONDS))
    return Case(is_young, default=DatabaseNow())


def _elsewhere(chosen: Filter) -> Filter:
    """The conditions that hold for parked rows and for those with a doubt alike."""
    return replace(chosen, states=(), causes=(), detail="", held_by="")
