"""The suppression list, for people: a page of it, or what a search finds."""

from datetime import datetime

from django.db.models import Q

from reliable_email.records import dataclass
from reliable_email.smtp.syntax.paths import domain_identity, older_spellings
from reliable_email.store.questions.queries import outbox_database, shown_entry
from reliable_email.store.tables.shared import Suppression

PAGE_ROWS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class SuppressedAddress:
    """An address to which nothing is sent; for ever where `expires_at` is None."""

    id: int
    address: str
    reason: str
    source: str
    created_at: datetime
    expires_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SuppressionPage:
    """Some addresses, and the id to ask with for older entries; None where there are none."""

    addresses: tuple[SuppressedAddress, ...]
    before: int | None = None


def suppressions(using: str | None = None, *, text: str = "", before: int | None = None) -> SuppressionPage:
    """The newest entries first. `text` is an address, its beginning, or a domain with its @."""
    rows = Suppression._base_manager.using(outbox_database(using)).order_by("-id")
    wanted = text.strip().lower()
    if wanted.startswith("@"):
        rows = rows.filter(Q(address__endswith=wanted) | Q(address__endswith=f"@{domain_identity(wanted[1:])}"))
    elif wanted:
        rows = rows.filter(Q(address__startswith=wanted) | Q(address__in=older_spellings(text)))
    if before is not None:
        rows = rows.filter(pk__lt=before)
    found = [
        SuppressedAddress(
            id=row.pk,
            address=shown_entry(row),
            reason=row.reason,
            source=row.source,
            created_at=row.created_at,
            expires_at=row.expires_at,
        )
        for row in rows[: PAGE_ROWS + 1]
    ]
    is_more = len(found) > PAGE_ROWS
    return SuppressionPage(addresses=tuple(found[:PAGE_ROWS]), before=found[PAGE_ROWS - 1].id if is_more else None)


def suppressed_address(number: int, using: str | None = None) -> str | None:
    """The address of one entry."""
    rows = Suppression._base_manager.using(outbox_database(using)).filter(pk=number)
    return rows.values_list("address", flat=True).first()
