"""The listener for NOTIFY on PostgreSQL, which lets a message go at once. An accelerator: workers poll all the same."""

import logging
import threading
from contextlib import AbstractContextManager, closing, nullcontext
from typing import Any

from django.db import connections

from reliable_email.delivery.telling.log_records import log_fields
from reliable_email.outbox import wake
from reliable_email.outbox.faultpoints import point
from reliable_email.outbox.own_connection import own_connection

logger = logging.getLogger("reliable_email.outbox")

_LOOK_SECONDS = 1.0
_RETRY_SECONDS = 5.0


def can_listen(using: str) -> bool:
    """Return whether there is anything to listen to: PostgreSQL, by psycopg 3."""
    if connections[using].vendor != "postgresql":
        return False
    from django.db.backends.postgresql.psycopg_any import is_psycopg3

    return bool(is_psycopg3)


def listen(using: str, is_over: threading.Event, busy: AbstractContextManager[None] | None = None) -> None:
    """Wake this process's lines at each notification, until it is over. Raises nothing.

    Args:
        busy: entered while it does what must not take long.
    """
    busy = busy or nullcontext()
    while not is_over.is_set():
        try:
            _listen_once(using, is_over, busy)
        except Exception as error:  # noqa: BLE001 - psycopg's own errors too; polling goes on without us
            words = "The worker's thread 'listener' cannot listen to the database %r for now: %s"
            logger.info(words, using, error, extra=log_fields())
            is_over.wait(_RETRY_SECONDS)


def _listen_once(using: str, is_over: threading.Event, busy: AbstractContextManager[None]) -> None:
    with busy:
        point("listen")
        connection = own_connection(using)
    with closing(connection):
        with busy, connection.cursor() as cursor:
            cursor.execute(f"LISTEN {wake.CHANNEL}")
        raw: Any = connection.connection
        while not is_over.is_set():
            for _ in raw.notifies(timeout=_LOOK_SECONDS, stop_after=1):
                wake.nudge()
