"""The suppression list: all of it for commands, and a page or a search of it for people."""

from collections.abc import Collection, Iterator
from datetime import datetime

from django.db.models import Q

from reliable_email.records import dataclass
from reliable_email.smtp.syntax.paths import domain_identity, older_spellings
from reliable_email.store.questions.filters import outbox_database
from reliable_email.store.sql.clock import DatabaseNow
from reliable_email.store.tables.shared import (
    Suppression,
)

PAGE_ROWS = 100


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


def shown_entry(address: str, digest_key: str) -> str:
    """The address of an entry; of a person who was erased, what tells them from others."""
    return f"(erased {address[:12]})" if digest_key else address


def suppressions(
    using: str | None = None, *, text: str = "", digests: Collection[str] = (), with_expired: bool = False
) -> Iterator[SuppressedAddress]:
    """The suppression list, newest first; what has expired is still there until it is pruned.

    Args:
        text: an address, its beginning, or a domain with its @; "" for all.
        digests: what may be kept of the address, if its person was erased.
    """
    rows = Suppression._base_manager.using(outbox_database(using)).filter(_named(text, digests))
    if not with_expired:
        rows = rows.filter(Q(expires_at=None) | Q(expires_at__gt=DatabaseNow()))
    # No models: a long list is read in half the time without.
    found = rows.order_by("-created_at", "address").values_list(
        "address", "digest_key", "reason", "source", "created_at", "expires_at"
    )
    for address, key, reason, source, since, until in found.iterator(chunk_size=2000):
        yield SuppressedAddress(
            address=shown_entry(address, key),
            reason=reason,
            source=source,
            since=since,
            until=until,
            is_erased=bool(key),
        )


def _named(text: str, digests: Collection[str]) -> Q:
    wanted = text.strip().lower()
    if wanted.startswith("@"):
        return Q(address__endswith=wanted) | Q(address__endswith=f"@{domain_identity(wanted[1:])}")
    return Q(address__startswith=wanted) | Q(address__in={*older_spellings(text), *digests}) if wanted else Q()


@dataclass(frozen=True, slots=True, kw_only=True)
class SuppressionEntry:
    """One entry of a page of the list; `expires_at` is None for an address that gets nothing for ever."""

    id: int
    address: str
    reason: str
    source: str
    created_at: datetime
    expires_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SuppressionPage:
    """Some addresses, and the id to ask with for older entries; None where there are none."""

    addresses: tuple[SuppressionEntry, ...]
    before: int | None = None


def suppression_page(
    using: str | None = None, *, text: str = "", digests: Collection[str] = (), before: int | None = None
) -> SuppressionPage:
    """The newest entries first. `text` and `digests` are as in `suppressions`."""
    rows = Suppression._base_manager.using(outbox_database(using)).order_by("-id").filter(_named(text, digests))
    if before is not None:
        rows = rows.filter(pk__lt=before)
    found = [
        SuppressionEntry(
            id=row.pk,
            address=shown_entry(row.address, row.digest_key),
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
