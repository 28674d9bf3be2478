"""Learned limits of servers, shared by all processes: one row for each host, port and kind of limit.

Whoever drives a wire reads and notes in memory alone. `exchange` writes what was noted and reads what others have
learned; `store.memory.route_state` calls it where it may use the database, and so never inside a caller's transaction.
"""

import logging
import threading
import time
from collections.abc import Mapping
from datetime import datetime

from django.db import IntegrityError, transaction
from django.db.models import Q
from django.utils import timezone

from reliable_email.delivery.telling.log_records import log_fields
from reliable_email.process_state import remember
from reliable_email.smtp.driver import learned_limits
from reliable_email.smtp.driver.learned_limits import Fact, ProcessMemory, Server
from reliable_email.store.sql.away import away_errors
from reliable_email.store.sql.clock import DatabaseNow
from reliable_email.store.tables.routes import LearnedLimit

logger = logging.getLogger("reliable_email.store")

READ_SECONDS = 60.0  # how old may be what others have learned
_MOST_PENDING = 1000
# (name, whether its value is a limit): a fact that is a yes or a no is a limit of none.
_NAMES: Mapping[Fact, str] = {
    Fact.NO_CHAINING: "chaining",
    Fact.NO_PIPELINING: "pipelining",
    Fact.NO_FLIGHTS: "flights",
    Fact.MESSAGES_PER_CONNECTION: "messages_per_connection",
}
_FACTS = {name: fact for fact, name in _NAMES.items()}


class SharedMemory:
    """A memory of learned limits that is shared through the database. It answers from the process's own copy."""

    def __init__(self) -> None:
        self._facts = ProcessMemory()
        self._lock = threading.Lock()
        self._pending: dict[tuple[Server, Fact], tuple[int, float]] = {}  # value, and until when (monotonic)
        self._read_at: dict[str, float] = {}  # by database

    def read(self, server: Server) -> Mapping[Fact, int]:
        """Return the facts about this server that have not expired."""
        return self._facts.read(server)

    def learn(self, server: Server, fact: Fact, value: int, *, seconds: float) -> None:
        """Remember a fact about this server for some seconds, and write it to the database later."""
        self._facts.learn(server, fact, value, seconds=seconds)
        with self._lock:
            if len(self._pending) < _MOST_PENDING:
                self._pending[server, fact] = value, time.monotonic() + seconds

    def clear(self) -> None:
        """Forget all facts in this process."""
        self._facts.clear()
        with self._lock:
            self._pending.clear()
            self._read_at.clear()

    def begin_in_child(self) -> None:
        """Drop unwritten facts after a fork, because the parent writes them."""
        self._lock = threading.Lock()
        self._pending = {}

    @property
    def is_behind(self) -> bool:
        """True if something is still to be written."""
        return bool(self._pending)

    def exchange(self, using: str, *, now: float, may_write: bool) -> None:
        """Write what was noted, and read what others have learned where that is due; raises nothing.

        Args:
            now: the database's clock.
            may_write: whether this thread may write.
        """
        is_due = time.monotonic() - self._read_at.get(using, float("-inf")) >= READ_SECONDS
        if not is_due and not (may_write and self._pending):
            return
        try:
            if may_write:
                self._write(using)
            if is_due:
                self._read_at[using] = time.monotonic()
                self._read(using, now)
        except away_errors() as error:
            logger.debug("The learned limits of servers are not shared now: %s", error, extra=log_fields())

    def _write(self, using: str) -> None:
        with self._lock:
            pending, self._pending = self._pending, {}
        try:
            while pending:
                (server, fact), (value, until) = next(iter(pending.items()))
                seconds = until - time.monotonic()
                if seconds > 0:
                    _note(using, server, fact, value, seconds)
                del pending[server, fact]
        finally:
            with self._lock:  # what could not be written, unless it was learned anew meanwhile
                self._pending = pending | self._pending

    def _read(self, using: str, now: float) -> None:
        rows = LearnedLimit._base_manager.using(using).filter(expires_at__gt=DatabaseNow())
        for host, port, name, value, until in rows.values_list("host", "port", "name", "value", "expires_at"):
            fact = _FACTS.get(name)
            if fact is None:
                continue  # of a later version
            value = value or 1
            known = self._facts.read((host, port)).get(fact)
            if known is None or value < known:
                self._facts.learn((host, port), fact, value, seconds=_timestamp(until) - now)


def _note(using: str, server: Server, fact: Fact, value: int, seconds: float) -> None:
    """Write one; of two limits that hold the smaller one stays."""
    host, port = server
    stored = value if fact is Fact.MESSAGES_PER_CONNECTION else 0
    rows = LearnedLimit._base_manager.using(using)
    mine = rows.filter(host=host, port=port, name=_NAMES[fact])
    values = {"value": stored, "noted_at": DatabaseNow(), "expires_at": DatabaseNow(seconds)}
    if mine.filter(Q(value__gte=stored) | Q(expires_at__lte=DatabaseNow())).update(**values) or mine.exists():
        return
    try:
        with transaction.atomic(using):
            rows.create(host=host, port=port, name=_NAMES[fact], **values)
    except IntegrityError:
        logger.debug("Another process has learned the same about %s:%d", host, port, extra=log_fields())


def _timestamp(moment: datetime) -> float:
    return (timezone.make_aware(moment) if timezone.is_naive(moment) else moment).timestamp()


shared_memory = SharedMemory()


def use() -> None:
    """Keep what is learned of servers here from now on."""
    learned_limits.keep_in(shared_memory)


remember(__name__, after_fork=shared_memory.begin_in_child)
