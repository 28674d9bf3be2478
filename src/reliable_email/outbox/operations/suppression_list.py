"""The question whether an address is suppressed, asked by workers and by direct sends."""

import logging
import time
from collections.abc import Collection, Sequence
from contextlib import nullcontext

from django.db import connections, router, transaction

from reliable_email.outbox.operations.erased import configured_marker
from reliable_email.outbox.rows.sql import Tables
from reliable_email.process_state import remember
from reliable_email.smtp.syntax.paths import identity, older_spellings
from reliable_email.store.sql.away import away_errors, is_away_for_all
from reliable_email.store.sql.outages import sentence
from reliable_email.store.tables.shared import Suppression

logger = logging.getLogger("reliable_email.outbox")

_AWAY_SECONDS = 10.0
_away_until = float("-inf")


def suppressed(using: str, addresses: Sequence[str]) -> set[str]:
    """Return those of the addresses that are on the list now, in any spelling, in lower case."""
    tables = Tables(using)
    spelled = {address: older_spellings(address) for address in addresses}
    erased = configured_marker().by_digest(addresses)
    among, parameters = tables.among(
        "address", {*erased, *(one for spellings in spelled.values() for one in spellings)}
    )
    sql = (
        f"SELECT address FROM {tables.suppression} "  # noqa: S608 - names and clock
        f"WHERE {among} AND stream = '' AND (expires_at IS NULL OR expires_at > {tables.now()})"
    )
    found = {identity(erased.get(address, address)) for (address,) in tables.rows("suppressed", sql, parameters)}
    return {address.lower() for address in addresses if identity(address) in found}


def unwanted_by_direct_sends(addresses: Sequence[str]) -> Collection[str]:
    """Return those of the addresses that are on the list. A database that is away stops no mail."""
    global _away_until
    if time.monotonic() < _away_until:
        return ()
    using = router.db_for_write(Suppression)  # a replica may not know yet whom somebody has just suppressed
    # An SQL error must not break the caller's transaction.
    guard = transaction.atomic(using) if connections[using].in_atomic_block else nullcontext()
    try:
        with guard:
            found = suppressed(using, addresses)
    except away_errors() as error:
        if not is_away_for_all(error):
            from reliable_email.store.sql.aside import NoThread, asked_aside  # few sites send from coroutines

            try:
                return asked_aside(lambda: unwanted_by_direct_sends(addresses))
            except NoThread as trouble:
                logger.warning("The suppression list cannot be read; mail is sent without it. %s", trouble)
                return ()
        _away_until = time.monotonic() + _AWAY_SECONDS
        logger.warning("The suppression list cannot be read; mail is sent without it. %s", sentence(using, error))
        return ()
    return [address for address in addresses if address.lower() in found]


def reset() -> None:
    """Ask the database again, whatever it did before."""
    global _away_until
    _away_until = float("-inf")


remember(__name__, reset=reset)
