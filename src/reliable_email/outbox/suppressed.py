"""Which addresses nothing is sent to."""

from collections.abc import Sequence

from django.db.models import Q

from reliable_email.store.clock import DatabaseNow
from reliable_email.store.shared import Suppression


def suppressed(using: str, addresses: Sequence[str]) -> set[str]:
    """Those of the addresses, in lower case, that are on the list now."""
    wanted = {address.lower() for address in addresses}
    rows = Suppression._base_manager.using(using).filter(address__in=wanted)
    return set(rows.filter(Q(expires_at=None) | Q(expires_at__gt=DatabaseNow())).values_list("address", flat=True))
