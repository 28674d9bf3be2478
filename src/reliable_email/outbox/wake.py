"""Waking of workers when something is queued: an accelerator, never relied upon, since they poll.

On PostgreSQL by NOTIFY, sent after the commit and at most ten times a second by one process; in the same process by a
bell for each worker's loop.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

from django.db import connections
from django.db.utils import Error as DatabaseError

from reliable_email.outbox.faultpoints import point
from reliable_email.process_state import remember

CHANNEL = "reliable_email_outbox"
_NOTIFY_SECONDS = 0.1

_lock = threading.RLock()  # a signal handler may queue mail, too
_generation = 0
_bells: list[Callable[[], None]] = []
_last_notified: dict[str, float] = {}


def announce(using: str, *, notify: bool = True) -> None:
    """Wake whoever waits. Raises nothing: the rows are committed, and are found by polling."""
    nudge()
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


@contextlib.contextmanager
def woken(ring: Callable[[], None]) -> Iterator[None]:
    """Call `ring`, from any thread, whenever `generation` changes within this context; it must not block."""
    with _lock:
        _bells.append(ring)
    try:
        yield
    finally:
        with _lock:
            _bells.remove(ring)


def nudge() -> None:
    """Wake this process's own threads."""
    global _generation
    with _lock:
        _generation += 1
        bells = list(_bells)
    for ring in bells:
        ring()


def reset() -> None:
    """Forget when it was last notified."""
    _last_notified.clear()


def _after_fork() -> None:
    """The bells ring for loops of the parent."""
    global _lock
    _lock = threading.RLock()
    _bells.clear()


remember(__name__, after_fork=_after_fork, reset=reset)
