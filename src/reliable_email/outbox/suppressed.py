"""Which addresses nothing is sent to."""

import logging
import time
from collections.abc import Collection, Iterable, Sequence
from contextlib import nullcontext
from datetime import timedelta

from django.db import connections, router, transaction
from django.db.models import Q

from reliable_email.store.away import AWAY, is_away_for_all
from reliable_email.store.clock import DatabaseNow, database_now
from reliable_email.store.shared import Suppression

logger = logging.getLogger("reliable_email.outbox")

_AWAY_SECONDS = 10.0
_away_until = float("-inf")


def suppressed(using: str, addresses: Sequence[str]) -> set[str]:
    """Those of the addresses, in lower case, that are on the list now."""
    wanted = {address.lower() for address in addresses}
    rows = Suppression._base_manager.using(using).filter(address__in=wanted)
    return set(rows.filter(Q(expires_at=None) | Q(expires_at__gt=DatabaseNow())).values_list("address", flat=True))


def suppress(
    addresses: Iterable[str],
    *,
    reason: str = "",
    source: str,
    lifetime: timedelta | None = None,
    using: str | None = None,
) -> int:
    """Send nothing to these addresses any more; what was known of one is replaced. Returns how many.

    Args:
        addresses: plain addresses; compared without case.
        reason: for people, such as "complained".
        source: who says so, such as "by hand" or "SendGrid".
        lifetime: for how long; None for ever.
        using: alias of the database; None for the router's choice.
    """
    chosen = using or router.db_for_write(Suppression)
    now = database_now(chosen)
    values = {
        "reason": reason[:100],
        "source": source[:100],
        "created_at": now,
        "expires_at": now + lifetime if lifetime is not None else None,
    }
    wanted = {address.strip().lower() for address in addresses}
    for address in wanted:
        Suppression._base_manager.using(chosen).update_or_create(address=address, defaults=values)
    return len(wanted)


def allow(addresses: Iterable[str], *, using: str | None = None) -> int:
    """Send to these addresses again. Returns how many were on the list."""
    wanted = {address.strip().lower() for address in addresses}
    rows = Suppression._base_manager.using(using or router.db_for_write(Suppression))
    return rows.filter(address__in=wanted).delete()[0]


def unwanted_by_direct_sends(addresses: Sequence[str]) -> Collection[str]:
    """Those that are on the list. A database that is away, or has no such table, holds no mail up."""
    global _away_until
    if time.monotonic() < _away_until:
        return ()
    using = router.db_for_read(Suppression)
    # An SQL error must not break the caller's transaction.
    guard = transaction.atomic(using) if connections[using].in_atomic_block else nullcontext()
    try:
        with guard:
            found = suppressed(using, addresses)
    except AWAY as error:
        if is_away_for_all(error):
            _away_until = time.monotonic() + _AWAY_SECONDS
        logger.warning("The suppression list cannot be read, mail goes without it: %s", error)
        return ()
    return [address for address in addresses if address.lower() in found]


def reset() -> None:
    """Ask the database again, whatever it did before."""
    global _away_until
    _away_until = float("-inf")
