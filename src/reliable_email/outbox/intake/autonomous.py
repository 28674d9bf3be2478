"""Writes that must not share the fate of the caller's transaction: the error mail of the request that is rolled back.

A connection of its own is used while the caller is inside a transaction, and closed again. SQLite has one writer: where
the caller's transaction holds the lock, a second connection would wait for its own thread. There the write is left to a
thread that waits until the caller is done, whichever way.
"""

import logging
import threading
from collections.abc import Callable
from typing import TypeVar

from django.db import OperationalError, connections
from django.db.backends.sqlite3.base import DatabaseWrapper as SQLiteWrapper

from reliable_email.outbox.own_connection import own_connection

logger = logging.getLogger("reliable_email.outbox")

T = TypeVar("T")

_SQLITE_TRY_MILLISECONDS = 100
_SQLITE_WAIT_SECONDS = 60.0


def outside_of_transactions(using: str, write: Callable[[str], list[T]]) -> list[T]:
    """Run `write(alias)` so that it commits whatever becomes of the caller's transaction.

    Returns:
        What it returned; an empty list where it was left to a thread.
    """
    outer = connections[using]
    if not outer.in_atomic_block:
        return write(using)
    if isinstance(outer, SQLiteWrapper) and outer.is_in_memory_db():
        return write(using)  # there is no second connection to such a database
    try:
        return _with_own_connection(using, write, is_patient=False)
    except OperationalError:
        if outer.vendor != "sqlite":
            raise
        # Not a daemon: the interpreter waits for it at its end.
        threading.Thread(target=_write_later, args=(using, write), name="reliable-email-side-door").start()
        return []


def _with_own_connection(using: str, write: Callable[[str], list[T]], *, is_patient: bool) -> list[T]:
    outer = connections[using]
    own = own_connection(using)
    connections[using] = own
    try:
        if own.vendor == "sqlite":
            with own.cursor() as cursor:
                wait = int(_SQLITE_WAIT_SECONDS * 1000) if is_patient else _SQLITE_TRY_MILLISECONDS
                cursor.execute(f"PRAGMA busy_timeout = {wait}")
        return write(using)
    finally:
        connections[using] = outer
        own.close()


def _write_later(using: str, write: Callable[[str], list[T]]) -> None:
    try:
        _with_own_connection(using, write, is_patient=True)
    except Exception:
        # A thread has no caller to tell, and this must not become an error mail about an error mail.
        logger.warning("A message that had to be queued outside of a transaction could not be", exc_info=True)
    finally:
        connections.close_all()
