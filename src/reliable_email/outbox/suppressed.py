"""Which addresses nothing is sent to."""

import logging
import time
from collections.abc import Collection, Sequence
from contextlib import nullcontext

from django.db import connections, router, transaction
from django.db.models import Q
from django.db.utils import Error as DatabaseError

from reliable_email.delivery import filters
from reliable_email.store.clock import DatabaseNow
from reliable_email.store.shared import Suppression

logger = logging.getLogger("reliable_email.outbox")

_AWAY_SECONDS = 10.0
_away_until = float("-inf")


def suppressed(using: str, addresses: Sequence[str]) -> set[str]:
    """Those of the addresses, in lower case, that are on the list now."""
    wanted = {address.lower() for address in addresses}
    rows = Suppression._base_manager.using(using).filter(address__in=wanted)
    return set(rows.filter(Q(expires_at=None) | Q(expires_at__gt=DatabaseNow())).values_list("address", flat=True))


def connect() -> None:
    """Let direct sends ask the list too."""
    filters.register_suppressions(_for_direct_sends)


def _for_direct_sends(addresses: Sequence[str]) -> Collection[str]:
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
    except (DatabaseError, RuntimeError, AssertionError) as error:  # the last two from test runners that forbid it
        _away_until = time.monotonic() + _AWAY_SECONDS
        logger.warning("The suppression list cannot be read, mail goes without it: %s", error)
        return ()
    return [address for address in addresses if address.lower() in found]


def reset() -> None:
    """Ask the database again, whatever it did before."""
    global _away_until
    _away_until = float("-inf")
