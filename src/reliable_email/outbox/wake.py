"""Tells workers that something was queued: an accelerator, never relied upon, since they poll.

On PostgreSQL by NOTIFY, sent after the commit and at most ten times a second by one process; in the same process by a
condition that the worker's threads wait on.
"""

import threading
import time

from django.db import connections
from django.db.utils import Error as DatabaseError

from reliable_email.outbox.faultpoints import point

CHANNEL = "reliable_email_outbox"
_NOTIFY_SECONDS = 0.1

_condition = threading.Condition()
_generation = 0
_last_notified: dict[str, float] = {}


def announce(using: str, *, notify: bool = True) -> None:
    """Wake whoever waits. Raises nothing: the rows are committed, and are found by polling."""
    global _generation
    with _condition:
        _generation += 1
        _condition.notify_all()
    connection = connections[using]
    if not notify or connection.vendor != "postgresql":
        return
    now = time.monotonic()
    if now - _last_notified.get(using, -_NOTIFY_SECONDS) < _NOTIFY_SECONDS:
        return
    _last_notified[using] = now
    point("notify")
    try:
        with connection.cursor() as cursor:
            cursor.execute(f"NOTIFY {CHANNEL}")
    except DatabaseError:
        pass


def generation() -> int:
    """Changes whenever this process queues something."""
    return _generation


def wait(known_generation: int, seconds: float) -> None:
    """Return when something was queued in this process since `known_generation`, or after so many seconds."""
    with _condition:
        _condition.wait_for(lambda: _generation != known_generation, timeout=seconds)


def nudge() -> None:
    """Wake this process's own threads."""
    global _generation
    with _condition:
        _generation += 1
        _condition.notify_all()


def reset() -> None:
    """Forget when it was last notified."""
    _last_notified.clear()
