"""The threads of a worker besides its lines: they renew leases, rescue, write counters, prune and probe.

Renewals have a thread of their own, which nothing else may delay: a lease that ends is a message sent twice where its
policy allows that, and no permission where it does not. Whatever fails here is told and tried again after a pause.
"""

import logging
import sys
import threading
import time
from collections.abc import Callable, Sequence

from django.db import connections

from reliable_email.delivery.telling.log_records import log_fields
from reliable_email.outbox.upkeep.reconnect import Outage, drop_connection, leave_well
from reliable_email.outbox.upkeep.threads import WorkerFailed, WorkerThread
from reliable_email.records import dataclass
from reliable_email.store.sql.outages import is_of_a_table, is_outage

logger = logging.getLogger("reliable_email.outbox")

_RETRY_SECONDS = 1.0
_IDLE_SECONDS = 5.0  # who waits for longer keeps no connection meanwhile


@dataclass(frozen=True, slots=True, kw_only=True)
class Duty:
    """One thing that is done again and again.

    Attributes:
        name: for the log.
        limit: how often in a row it may fail, by anything but the database, before its thread ends; None for ever.
    """

    name: str
    do: Callable[[], object]
    limit: int | None = None


def keep(
    thread: WorkerThread,
    duties: Sequence[Duty],
    *,
    using: str,
    outage: Outage,
    period: float,
    is_over: threading.Event,
    at_once: bool = True,
) -> None:
    """Do these every `period` seconds, until it is over. Sooner again after one has failed.

    Args:
        at_once: whether for the first time at the start.
    """
    failures: dict[str, int] = {}
    try:
        if not at_once:
            is_over.wait(period)
        while not is_over.is_set():
            has_failed = False
            for duty in duties:
                if is_over.is_set():
                    break
                try:
                    with thread:
                        duty.do()
                        leave_well()
                except Exception as error:
                    has_failed = True
                    if is_outage(error):
                        outage.note(error)
                        drop_connection(using)
                        if duty.limit is None and is_of_a_table(error):
                            continue  # an erasure does not wait for the table of counts
                        break
                    count = failures[duty.name] = failures.get(duty.name, 0) + 1
                    if duty.limit is not None and count >= duty.limit:
                        raise
                    level = logging.ERROR if count == 1 else logging.DEBUG
                    words = "The worker's thread %r could not %s, and tries again: %s: %s"
                    told = (thread.name, duty.name, type(error).__name__, error)
                    logger.log(level, words, *told, exc_info=True, extra=log_fields())
                    drop_connection(using)
                else:
                    failures.pop(duty.name, None)
            pause = min(period, _RETRY_SECONDS) if has_failed else period
            if pause >= _IDLE_SECONDS:
                connections.close_all()
            is_over.wait(pause)
    finally:
        connections.close_all()


def check_process() -> None:
    """Refuse a process whose clock or threads are not the real ones.

    Raises:
        WorkerFailed: no worker can run here.
    """
    if _stands_still():
        raise WorkerFailed("The clock of this process stands still (freezegun, time-machine): a worker needs one.")
    if _is_patched_by_eventlet():
        raise WorkerFailed("A worker cannot run under eventlet's monkey patching: use threads or gevent.")


def _stands_still() -> bool:
    """Return whether the clock of this process does: something has frozen it, as tests do."""
    began_at = time.monotonic()
    threading.Event().wait(0.01)
    return time.monotonic() <= began_at


def _is_patched_by_eventlet() -> bool:
    """Return whether sockets and threads of this process are eventlet's, which has no selector to wait with."""
    patcher = sys.modules.get("eventlet.patcher")
    return patcher is not None and bool(patcher.is_monkey_patched("socket") or patcher.is_monkey_patched("thread"))
