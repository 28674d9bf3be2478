"""Patience with a database that restarts, kills connections, or is locked for a while."""

import logging
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.utils import Error as DatabaseError
from django.db.utils import InterfaceError, InternalError, NotSupportedError, OperationalError, ProgrammingError

from reliable_email.delivery.telling.log_records import log_fields
from reliable_email.store.sql.outages import is_of_a_table, is_outage, said, trouble

logger = logging.getLogger("reliable_email.outbox")

T = TypeVar("T")

# The classes of what a database says when it is away, read-only, too busy, without tables or rights, or chose this
# transaction as the victim of a deadlock. `is_outage` knows which of these errors are about a value instead.
AWAY = (OperationalError, InterfaceError, InternalError, ProgrammingError, NotSupportedError)
_FIRST_SECONDS = 0.05
_LONGEST_SECONDS = 2.0


def insist(using: str, work: Callable[[], T], *, seconds: float, sleep: Callable[[float], None] = time.sleep) -> T:
    """Run `work` until the database takes it, on a new connection after each failure.

    `work` must be safe to repeat after a commit of which only the answer was lost.

    Raises:
        django.db.Error: one of `AWAY`, where it was away for longer than `seconds`; at once, where it is no outage.
    """
    ends_at = time.monotonic() + seconds
    pause = _FIRST_SECONDS
    level = logging.WARNING  # once; the next tries are the same trouble
    while True:
        try:
            return work()
        except Exception as error:
            if not is_outage(error):
                raise
            drop_connection(using)
            if time.monotonic() + pause > ends_at:
                raise
            logger.log(level, "%s, trying again: %s", trouble(using, error), said(error), extra=log_fields())
            level = logging.DEBUG
        sleep(pause)
        pause = min(pause * 2, _LONGEST_SECONDS)


class Outage:
    """Tells once that a worker's database cannot be used, whichever of its threads finds out, and once that it can."""

    def __init__(self, using: str) -> None:
        self._using = using
        self._lock = threading.Lock()
        self._is_told = False
        self._lacks: set[str] = set()

    def note(self, error: BaseException) -> None:
        """Note that the database did not answer; log it once. What lacks a table is told once, and is no outage."""
        with self._lock:
            if is_of_a_table(error):
                lack = str(error).partition("\n")[0]  # the next line is the statement
                is_told = lack in self._lacks
                self._lacks.add(lack)
            else:
                is_told, self._is_told = self._is_told, True
        level = logging.DEBUG if is_told else logging.WARNING
        words = "%s; the worker goes on when it answers: %s"
        logger.log(level, words, trouble(self._using, error), said(error), extra=log_fields())

    def end(self) -> None:
        """Note that the database answers; log the end of an outage."""
        with self._lock:
            was_told, self._is_told = self._is_told, False
        if was_told:
            logger.info("The database %r answers again", self._using, extra=log_fields())


def drop_connection(using: str) -> None:
    """Close this thread's connection, whatever state it is in."""
    drop(connections[using])


def drop(connection: BaseDatabaseWrapper) -> None:
    """Close a connection, whatever state it is in."""
    # Before: Django would keep a connection that is closed inside a transaction, to say so at the next statement.
    connection.in_atomic_block = False
    connection.needs_rollback = False
    connection.savepoint_ids = []
    connection.atomic_blocks = []
    connection.closed_in_transaction = False
    connection.run_on_commit = []
    try:
        connection.close()
    except DatabaseError:
        connection.connection = None


def leave_well() -> None:
    """Leave this thread with connections that work, and inside no transaction, whatever other people's code has done.

    In a transaction that a receiver or a route has left open, all that the thread writes later would wait for a commit
    that never comes, and so would whoever waits for its locks.
    """
    for connection in connections.all(initialized_only=True):
        if _is_in_transaction(connection):
            words = "Code that the worker called has left a transaction of the database %r open; it is rolled back"
            logger.error(words, connection.alias, extra=log_fields())
            drop(connection)
        # Also where an error of the database was swallowed. An age of 0 would be a new connection for each call.
        elif connection.errors_occurred:
            # It may still answer, and refuse all the same: a session that began read-only stays so.
            drop(connection)
            connection.errors_occurred = False
        elif connection.settings_dict["CONN_MAX_AGE"]:
            try:
                connection.close_if_unusable_or_obsolete()
            except Exception:
                logger.exception("A connection to the database could not be closed")
                drop(connection)


def _is_in_transaction(connection: BaseDatabaseWrapper) -> bool:
    """Return whether a transaction is open, by Django or by hand."""
    raw: Any = connection.connection
    if raw is None:
        return False
    if connection.in_atomic_block or connection.autocommit != connection.settings_dict["AUTOCOMMIT"]:
        return True
    info = getattr(raw, "info", None)  # psycopg's; 0 is idle, 4 a connection that is lost
    return bool(getattr(raw, "in_transaction", False)) or getattr(info, "transaction_status", 0) in (1, 2, 3)
