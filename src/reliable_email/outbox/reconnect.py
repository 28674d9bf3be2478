"""Outlives a database that restarts, that kills connections, or that is locked for a while."""

import logging
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.utils import InterfaceError, OperationalError

from reliable_email.delivery.logged import log_fields

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
    level = logging.WARNING  # once; the next tries are the same trouble
    while True:
        try:
            return work()
        except AWAY as error:
            drop_connection(using)
            if time.monotonic() + pause > ends_at:
                raise
            logger.log(level, "The database %r is away, trying again: %s", using, error, extra=log_fields())
            level = logging.DEBUG
        sleep(pause)
        pause = min(pause * 2, _LONGEST_SECONDS)


class Outage:
    """Tells once that a worker's database is away, whichever of its threads finds out, and once that it is back."""

    def __init__(self, using: str) -> None:
        self._using = using
        self._lock = threading.Lock()
        self._is_told = False

    def note(self, error: BaseException) -> None:
        """It did not answer."""
        with self._lock:
            level = logging.DEBUG if self._is_told else logging.WARNING
            self._is_told = True
        words = "The database %r is away; the worker goes on when it answers: %s"
        logger.log(level, words, self._using, error, extra=log_fields())

    def end(self) -> None:
        """It answers."""
        with self._lock:
            was_told, self._is_told = self._is_told, False
        if was_told:
            logger.info("The database %r answers again", self._using, extra=log_fields())


def drop_connection(using: str) -> None:
    """Close this thread's connection, whatever state it is in."""
    drop(connections[using])


def drop(connection: BaseDatabaseWrapper) -> None:
    """Close a connection, whatever state it is in."""
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
