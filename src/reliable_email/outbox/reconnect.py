"""Outlives a database that restarts, that kills connections, or that is locked for a while."""

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from django.db import connections
from django.db.utils import InterfaceError, OperationalError

logger = logging.getLogger("reliable_email.outbox")

T = TypeVar("T")

# What a database says when it is away, too busy, or chose this transaction as the victim of a deadlock.
AWAY = (OperationalError, InterfaceError)
_FIRST_SECONDS = 0.05
_LONGEST_SECONDS = 2.0


def insist(using: str, work: Callable[[], T], *, seconds: float, sleep: Callable[[float], None] = time.sleep) -> T:
    """Run `work` until the database takes it, on a new connection after each failure.

    `work` must be safe to repeat after a commit of which only the answer was lost.

    Raises:
        OperationalError, InterfaceError: it was away for longer than `seconds`.
    """
    ends_at = time.monotonic() + seconds
    pause = _FIRST_SECONDS
    while True:
        try:
            return work()
        except AWAY as error:
            drop_connection(using)
            if time.monotonic() + pause > ends_at:
                raise
            logger.warning("The database %r is away, trying again: %s", using, error)
        sleep(pause)
        pause = min(pause * 2, _LONGEST_SECONDS)


def drop_connection(using: str) -> None:
    """Close this thread's connection, whatever state it is in."""
    connection = connections[using]
    try:
        connection.close()
    except AWAY:
        connection.connection = None
    # Left over where a transaction ended with its connection.
    connection.in_atomic_block = False
    connection.needs_rollback = False
    connection.savepoint_ids = []
    connection.atomic_blocks = []
    connection.closed_in_transaction = False
    connection.run_on_commit = []
