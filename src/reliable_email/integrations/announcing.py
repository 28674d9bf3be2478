"""The announcement of queued messages to a task queue, after the commit; losing an announcement loses nothing.

A thread of its own does it, so that a broker that is slow, hangs or is down costs no caller anything. It gathers what a
commit has queued into one task. After a failure it is silent for a while: sweeps and workers find everything.
"""

import atexit
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import cache
from importlib import import_module
from typing import Any

from reliable_email import signals
from reliable_email.process_state import remember

logger = logging.getLogger("reliable_email.outbox")

Announce = Callable[[list[int]], object]

# By name, since their tasks announce what they leave: an import each way would be a circle.
_QUEUES = {"celery": "reliable_email.integrations.celery", "tasks": "reliable_email.integrations.tasks"}
_GATHER_SECONDS = 0.05
_SILENT_SECONDS = 30.0
_IDLE_SECONDS = 30.0
_END_SECONDS = 5.0
_MOST = 10_000  # ids that wait; older ones are left to a sweep
_IDS_A_TASK = 100


def connect() -> None:
    """Do as `RELIABLE_EMAIL["ANNOUNCE"]` says; called when the app is ready, and imports nothing until then."""
    signals.message_queued.connect(_on_queued, dispatch_uid="reliable_email.announcing", weak=False)


class Announcer:
    """The announcements of one process, sent to a task queue from a thread of its own."""

    def __init__(self) -> None:
        self._changed = threading.Condition(threading.Lock())
        self._ids: deque[int] = deque(maxlen=_MOST)
        self._thread: threading.Thread | None = None
        self._is_busy = False
        self._silent_until = 0.0

    def add(self, outbox_id: int) -> None:
        """Announce this soon. Never blocks for long, and raises nothing."""
        with self._changed:
            if time.monotonic() < self._silent_until:
                return
            self._ids.append(outbox_id)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="reliable-email-announcer", daemon=True)
                with suppress(RuntimeError):  # no thread can start: the next message tries again, and a sweep finds all
                    self._thread.start()
            self._changed.notify_all()

    def flush(self, seconds: float) -> bool:
        """Wait until all is announced, for so many seconds at most and while a thread does it; whether it is."""
        ends_at = time.monotonic() + seconds
        with self._changed:
            while self._thread is not None and self._thread.is_alive() and (self._ids or self._is_busy):
                left = ends_at - time.monotonic()
                if left <= 0:
                    return False
                self._changed.wait(left)
            return not (self._ids or self._is_busy)

    def _run(self) -> None:
        while True:
            with self._changed:
                if not self._ids and not self._changed.wait_for(lambda: bool(self._ids), _IDLE_SECONDS):
                    self._thread = None
                    return
                self._is_busy = True
            is_well = False
            try:
                time.sleep(_GATHER_SECONDS)  # the rest of the commit
                with self._changed:
                    ids = list(dict.fromkeys(self._ids))
                    self._ids.clear()
                is_well = announce(ids)
            finally:  # whoever waits is told also where the thread dies of somebody's code
                with self._changed:
                    self._is_busy = False
                    if not is_well:
                        self._silent_until = time.monotonic() + _SILENT_SECONDS
                    self._changed.notify_all()


def announce_soon(ids: Iterable[int]) -> None:
    """Announce these by the thread that does that; nothing where the settings announce nothing, or in a test."""
    from reliable_email import conf

    name = conf.get().announce
    if name and not _is_immediate(name):
        for one in ids:
            _process.add(one)


def announce(ids: Iterable[int]) -> bool:
    """Announce these now, as the settings say; whether that went well."""
    from reliable_email import conf

    every = list(ids)
    try:
        tell = _announcer(conf.get().announce)
        if tell is not None:
            for start in range(0, len(every), _IDS_A_TASK):
                tell(every[start : start + _IDS_A_TASK])
    except Exception as error:  # noqa: BLE001 - a broker's own errors; the messages are committed
        from reliable_email.delivery.telling.log_records import log_fields

        words = "%d queued messages could not be announced; a sweep or a worker will find them: %s: %s"
        logger.warning(words, len(every), type(error).__name__, error, extra=log_fields(outbox_id=every[0]))
        return False
    finally:
        _close_connections()
    return True


def unusable() -> Exception | None:
    """Return the error for which this process can announce nothing, as far as that shows without a broker."""
    from reliable_email import conf

    name = conf.get().announce
    try:
        if name in _QUEUES:
            _announcer(name)
            import_module(_QUEUES[name]).prepare()
    except Exception as error:  # noqa: BLE001 - of a package, of the site's own TASKS or of its Celery app
        return error
    return None


def reset() -> None:
    """Forget what waits, and that something has failed."""
    global _process
    _process = Announcer()


def _on_queued(*, outbox_id: int, **kwargs: Any) -> None:
    from reliable_email import conf

    name = conf.get().announce
    if not name:
        return
    with suppress(Exception):  # a queue that cannot be used is told of by the announcement, and by `check`
        if _is_immediate(name):
            announce([outbox_id])
            return
        _import_queue(name)
    _process.add(outbox_id)


@cache
def _import_queue(name: str) -> None:
    """Import what announces, once, in the caller's thread: that of a process that ends has no time for it."""
    _announcer(name)
    with suppress(Exception):  # a broker's URL that nobody can read is told by the announcement
        import_module(_QUEUES[name]).prepare()


def _is_immediate(name: str) -> bool:
    """Return whether a task runs, or is only noted, where it is announced: in a test, which looks at it next."""
    from reliable_email import conf

    if conf.has_test_environment():
        return True
    if name == "celery":
        from celery import current_app

        return bool(current_app.conf.task_always_eager)
    return False


def _announcer(name: str) -> Announce | None:
    if name not in _QUEUES:
        return None
    announce_there: Announce = import_module(_QUEUES[name]).announce
    return announce_there


def _close_connections() -> None:
    """The announcer's own, which a database backend of django.tasks has opened."""
    if threading.current_thread().name != "reliable-email-announcer":
        return
    from django.db import connections

    connections.close_all()


_process = Announcer()
# Before the interpreter is so far down that a queue's package cannot be imported any more.
_at_exit: Callable[[Callable[[], object]], object] = getattr(threading, "_register_atexit", atexit.register)
_at_exit(lambda: _process.flush(_END_SECONDS))
# What waits is announced by the process that has queued it; its lock may be held by a thread that is not here.
remember(__name__, after_fork=reset, reset=reset)
