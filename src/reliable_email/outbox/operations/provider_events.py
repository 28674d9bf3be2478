"""Providers' later reports: they are noted, and settle a recipient whose outcome is unknown.

Notes are idempotent: an event that is delivered twice, or by two processes at once, is one row. What it does to the
recipient is decided by `transitions`, in one conditional UPDATE, so that a worker which is quicker wins. An event may
also come while the attempt that it is about is still in hand; `settle_by_events` applies it once that has become
`unknown`.
"""

import hashlib
from collections.abc import Callable, Sequence
from datetime import datetime

from django.db import connections, transaction
from django.db.models import F

from reliable_email.delivery.report import address_key
from reliable_email.outbox.keyring import configured_keyring
from reliable_email.outbox.operations.suppressed import erased_among
from reliable_email.outbox.rows.transitions import RULES, Event
from reliable_email.records import dataclass
from reliable_email.store.questions.stories import message_ids
from reliable_email.store.sql.clock import DatabaseNow
from reliable_email.store.sql.texts import escaped, storable
from reliable_email.store.tables.attempts import Attempt
from reliable_email.store.tables.events import EventKind, ProviderEvent
from reliable_email.store.tables.messages import MESSAGE_ID_LENGTH, OutboxMessage
from reliable_email.store.tables.recipients import OutboxRecipient
from reliable_email.store.tables.states import State

_DETAIL_CHARACTERS = 2048
_NAME_CHARACTERS = 1024
_NAMES = 8
_TAKEN = tuple(kind.value for kind in EventKind if kind.says_taken)
_REFUSED = tuple(kind.value for kind in EventKind if kind.says_refused)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A provider's report about one recipient.

    Attributes:
        names: what may name the message: the provider's id, our Message-ID.
        recipient: as the provider spells it.
        is_certain: whether it is surely about this recipient; else nothing is concluded.
        event_id: the provider's own, "" where it has none.
        at: None where the provider does not say.
        may_know: whether what went by a route may be reported by this source. Whoever may post one provider's events
            must not end the doubt about a message that another provider had.
    """

    names: Sequence[str]
    recipient: str
    kind: EventKind
    source: str
    is_certain: bool = True
    event_id: str = ""
    at: datetime | None = None
    detail: str = ""
    may_know: Callable[[str], bool] = lambda route: True

    def __post_init__(self) -> None:
        # A provider's events are strangers' bytes: whatever their size, looking and keeping cost no more than this.
        object.__setattr__(self, "names", [name[:_NAME_CHARACTERS] for name in self.names[:_NAMES]])
        object.__setattr__(self, "recipient", self.recipient[:_NAME_CHARACTERS])
        object.__setattr__(self, "event_id", self.event_id[:_NAME_CHARACTERS])
        object.__setattr__(self, "detail", self.detail[:_DETAIL_CHARACTERS])

    def digest(self) -> str:
        """The same for the same event, however often it is delivered; one event may be about several recipients."""
        told = self.event_id or f"{self.at} {self.detail} {' '.join(self.names)}"
        parts = (self.source, self.kind.value, address_key(self.recipient), told)
        return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Noted:
    """The result of noting a report: is it about a message of this site, new, and did it settle the recipient?

    Attributes:
        is_strange: the message never went by a route of whoever reports; nothing is noted.
    """

    is_known: bool = False
    is_strange: bool = False
    is_new: bool = False
    has_settled: bool = False


def note_report(report: Report, using: str) -> Noted:
    """Write it down beside its message, and settle the recipient where that is in doubt."""
    found = _find(report, using)
    if found is None:
        return Noted()
    message, recipient = found
    routes = _routes(message, recipient, using)
    if routes and not any(map(report.may_know, routes)):
        return Noted(is_known=True, is_strange=True)
    if recipient is None and erased_among(using, [report.recipient]):
        return Noted(is_known=True)  # of a person who was forgotten nothing is written down
    with transaction.atomic(using):
        event, is_new = ProviderEvent._base_manager.using(using).get_or_create(
            digest=report.digest(),
            defaults={
                "message_id": message,
                "position": recipient.position if recipient is not None else None,
                "address": storable(
                    connections[using], recipient.address if recipient is not None else report.recipient, 320
                ),
                "kind": report.kind.value,
                "source": storable(connections[using], report.source, 100),
                "at": report.at or DatabaseNow(),
                "noted_at": DatabaseNow(),
                "detail": _sealed(report.detail, message, using),
            },
        )
        has_settled = (
            is_new and recipient is not None and settle_as_reported(using, recipient.pk, report.kind, report.source)
        )
        if is_new and recipient is not None and not has_settled and report.kind.says_taken:
            has_settled = not _is_kept_for_the_copy_under_way(using, event, recipient.pk) and settle_as_reported(
                using, recipient.pk, report.kind, report.source
            )
    return Noted(is_known=True, is_new=is_new, has_settled=has_settled)


def _is_kept_for_the_copy_under_way(using: str, event: ProviderEvent, recipient: int) -> bool:
    """Return whether a second copy got permission meanwhile, so the recipient has one in any case."""
    under_way = OutboxRecipient._base_manager.using(using).filter(
        pk=recipient, state=State.AUTHORIZED.value, unknowns__gte=1
    )
    if not under_way.exists():
        return False
    # Not before the permission, so that `settle_by_events` does not take it for history.
    ProviderEvent._base_manager.using(using).filter(pk=event.pk).update(noted_at=DatabaseNow())
    return True


def _find(report: Report, using: str) -> tuple[int, OutboxRecipient | None] | None:
    """The message, and the recipient among its own. By its provider's id first, which nobody else could have set."""
    names = [storable(connections[using], name, MESSAGE_ID_LENGTH) for name in report.names if name]
    attempts = Attempt._base_manager.using(using).filter(provider_message_id__in=names)
    ids = set(attempts.values_list("message_id", flat=True)) if names else set()
    if not ids:
        spelled = {spelling for name in names for spelling in (name, f"<{name.strip('<>')}>")}
        ids = {pk for name in spelled for pk in message_ids(name, using)}
    if not ids:
        return None
    # Rows hold paths, whose domains are as they go on the wire; an index finds the message's own.
    rows = OutboxRecipient._base_manager.using(using).filter(
        message__in=ids, address__iexact=address_key(report.recipient)
    )
    found = list(rows.order_by("-id")[:2])
    # A Message-ID that the caller has set twice names two messages: then it is noted, and nothing is concluded.
    if len(found) == 1 and report.is_certain:
        return found[0].message_id, found[0]
    return (found[0].message_id if found else max(ids)), None


def _routes(message: int, recipient: OutboxRecipient | None, using: str) -> set[str]:
    """The routes by which it may have gone: the recipient's own, else all that were tried."""
    if recipient is not None and (own := {recipient.route, recipient.authorized_route} - {""}):
        return own
    return set(Attempt._base_manager.using(using).filter(message=message).values_list("route", flat=True))


def settle_as_reported(using: str, recipient: int, kind: EventKind, source: str) -> bool:
    """Settle one recipient by a report; return whether its state admitted that."""
    event = Event.REPORT_TAKEN if kind.says_taken else Event.REPORT_REFUSED
    rule = RULES[event]
    rows = OutboxRecipient._base_manager.using(using).filter(pk=recipient, state__in=rule.states)
    rows = rows.filter(unknowns__gte=1) if event is Event.REPORT_TAKEN else rows.filter(unknowns=1)
    changed = rows.update(
        state=rule.target.value,
        unknowns=F("unknowns") if event is Event.REPORT_TAKEN else 0,
        due_at=None,
        lease_until=None,
        settled_at=DatabaseNow(),
        cause="resolved",
        detail=storable(connections[using], f"reported by {source}: {kind}"),
    )
    return bool(changed)


def _sealed(detail: str, message: int, using: str) -> str:
    """Return the text as replies are stored, since it may say as much about a person as the content."""
    text = detail[:_DETAIL_CHARACTERS]
    rows = OutboxMessage._base_manager.using(using).filter(pk=message)
    if not text or not rows.exclude(encryption_key="").exists():
        return storable(connections[using], text)
    return configured_keyring().seal_text(escaped(text))
