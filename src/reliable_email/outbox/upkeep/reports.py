"""Providers' reports that came before the outcome which they settle."""

from django.db.models import Exists, OuterRef

from reliable_email.outbox.operations.provider_events import settle_as_reported
from reliable_email.store.tables.events import EventKind, ProviderEvent
from reliable_email.store.tables.recipients import OutboxRecipient
from reliable_email.store.tables.states import State

_ROWS = 200
_TAKEN = tuple(kind.value for kind in EventKind if kind.says_taken)
_REFUSED = tuple(kind.value for kind in EventKind if kind.says_refused)


def settle_by_events(using: str, *, environment: str) -> int:
    """Settle what became unknown after the provider had reported on it already; how many recipients that were."""
    events = ProviderEvent._base_manager.using(using).filter(
        # Only what was reported since the last attempt: an earlier copy may have had a fate of its own.
        message=OuterRef("message"),
        position=OuterRef("position"),
        noted_at__gte=OuterRef("authorized_at"),
    )
    rows = OutboxRecipient._base_manager.using(using).filter(
        Exists(events), state=State.UNKNOWN.value, environment=environment
    )
    count = 0
    for row in rows.order_by("id")[:_ROWS]:
        told = ProviderEvent._base_manager.using(using).filter(
            message=row.message_id, position=row.position, noted_at__gte=row.authorized_at
        )
        # What it has is stronger than what became of it.
        event = told.filter(kind__in=_TAKEN).first() or told.filter(kind__in=_REFUSED).first()
        if event is not None:
            count += settle_as_reported(using, row.pk, EventKind(event.kind), event.source)
    return count
