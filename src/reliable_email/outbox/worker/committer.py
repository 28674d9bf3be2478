"""Group commit: writes for all lines that wait at the same moment in one transaction.

Each line still waits until its own permission is committed, so that what a crash leaves unknown stays at one message a
connection (or one flight). On PostgreSQL the loop goes on meanwhile, by connections that are for commits alone.
"""

import logging
import selectors
import time
from collections.abc import Generator, Sequence

from django.db import OperationalError

from reliable_email.delivery.telling.log_records import log_fields
from reliable_email.outbox.keyring import Keyring
from reliable_email.outbox.own_connection import own_connection
from reliable_email.outbox.rows.journal import commit_in_steps, events
from reliable_email.outbox.rows.pipeline import Reading
from reliable_email.outbox.rows.sql import Tables
from reliable_email.outbox.upkeep.reconnect import drop, drop_connection
from reliable_email.outbox.worker.steps import Write
from reliable_email.records import dataclass, replace
from reliable_email.store.sql.outages import is_outage, said, trouble

logger = logging.getLogger("reliable_email.outbox")

_FIRST_PAUSE_SECONDS = 0.05
_LONGEST_PAUSE_SECONDS = 2.0
# A database that takes longer is far away, or waits for somebody's lock: another commit may be under way meanwhile.
_SLOW_SECONDS = 0.01
# One that has not answered for so long never will: its machine, or the network, is gone.
_SILENT_SECONDS = 60.0
_MAX_WRITERS = 4
# Databases, poolers and networks end sessions that nobody uses: a commit on one would look like an outage.
_IDLE_SECONDS = 60.0


@dataclass(slots=True, eq=False)
class Writer:
    """One connection for commits.

    Attributes:
        steps: of the commit that is under way.
        group: for whom it is.
        reading: what it waits for.
        asked_at: since when, on the monotonic clock.
        used_at: when its last commit ended.
    """

    tables: Tables
    steps: Generator[Reading, None, None] | None = None
    group: Sequence[Write] = ()
    reading: Reading | None = None
    began_at: float = 0.0
    asked_at: float = 0.0
    used_at: float = 0.0


class Committer:
    """The group commit of one loop, in its thread.

    Args:
        selector: where to be woken; its data is the `Writer` that can go on.
    """

    def __init__(self, using: str, keyring: Keyring, selector: selectors.BaseSelector) -> None:
        self._using = using
        self._keyring = keyring
        self._selector = selector
        self._waiting: list[Write] = []
        self._retry_at = 0.0
        self._pause = _FIRST_PAUSE_SECONDS
        self._told = ""
        tables = Tables(using)
        self._is_alone = not tables.takes_arrays  # each commit has the thread until it is done
        self._writers = [Writer(tables if self._is_alone else self._own_tables())]

    @property
    def waiting_count(self) -> int:
        """The number of writes that wait for the next commit."""
        return len(self._waiting)

    def enter(self, write: Write) -> None:
        """Commit this with the next ones."""
        write.ends_at = time.monotonic() + write.seconds
        self._waiting.append(write)

    def may_begin(self) -> bool:
        """Return whether a write is waiting and a connection is free for it."""
        return bool(self._waiting) and time.monotonic() >= self._retry_at and self._idle_writer() is not None

    def begin(self) -> None:
        """Write for all that wait; `may_begin` has been asked."""
        # A writer has one commit at a time: a second transaction on its connection would be a part of the first.
        writer = self._idle_writer()
        assert writer is not None
        if time.monotonic() - writer.used_at > _IDLE_SECONDS:
            drop(writer.tables.connection)
        writer.group, self._waiting = self._waiting, []
        writer.steps = self._steps(writer)
        writer.began_at = time.monotonic()
        self.go_on(writer)

    def go_on(self, writer: Writer) -> None:
        """The database has answered, in part at least."""
        self._resume(writer, None)

    def end_silence(self) -> None:
        """Take a commit that the database does not answer for one whose connection is lost."""
        now = time.monotonic()
        for writer in self._writers:
            if writer.reading is not None and now - writer.asked_at >= _SILENT_SECONDS:
                words = f"the connection has been silent for {now - writer.asked_at:.0f} s"
                self._resume(writer, OperationalError(words))

    def _resume(self, writer: Writer, error: Exception | None) -> None:
        if writer.reading is not None:
            self._selector.unregister(writer.reading.handle)
            writer.reading = None
        assert writer.steps is not None
        try:
            writer.reading = next(writer.steps, None) if error is None else writer.steps.throw(error)
        except StopIteration:
            writer.reading = None
        if writer.reading is None:
            writer.steps, writer.group, writer.used_at = None, (), time.monotonic()
        else:
            writer.asked_at = time.monotonic()
            self._selector.register(writer.reading.handle, events(writer.reading), writer)

    def looks_at(self) -> float | None:
        """Return the monotonic time at which the committer needs another look; None if it does not."""
        looks = [writer.asked_at + _SILENT_SECONDS for writer in self._writers if writer.reading is not None]
        if self._waiting:
            if self._idle_writer() is not None:
                looks.append(self._retry_at)
            elif not self._is_alone and len(self._writers) < _MAX_WRITERS:
                looks.append(max(writer.began_at for writer in self._writers) + _SLOW_SECONDS)
        return min(looks, default=None)

    def close(self) -> None:
        """End, without an answer from the database; whoever waits is told."""
        error = RuntimeError("the worker has ended")
        for writer in self._writers:
            if writer.steps is not None:
                writer.steps.close()
            for write in writer.group:
                if not write.is_done:
                    write.done(None, error)
            drop(writer.tables.connection)
        for write in self._waiting:
            write.done(None, error)
        self._waiting = []

    def _own_tables(self) -> Tables:
        return Tables(self._using, own_connection(self._using))

    def _idle_writer(self) -> Writer | None:
        now = time.monotonic()
        for writer in self._writers:
            if writer.steps is None:
                return writer
        is_slow = all(now - writer.began_at >= _SLOW_SECONDS for writer in self._writers)
        if self._is_alone or not is_slow or len(self._writers) >= _MAX_WRITERS:
            return None
        self._writers.append(Writer(self._own_tables()))
        return self._writers[-1]

    def _steps(self, writer: Writer) -> Generator[Reading, None, None]:
        """Write the group in one commit; if a row fails, retry each write alone.

        A write that fails alone, as if the database were away, may be in the way of a lock, and the others go on. Two
        in a row are an outage.
        """
        group, tables = writer.group, writer.tables
        has_just_failed = False
        # With one that was tried before, all are written by themselves: together, it would make the others fail again.
        if len(group) > 1 and not any(write.request.is_repeat for write in group):
            try:
                written = yield from commit_in_steps(tables, [one.request for one in group], keyring=self._keyring)
            except Exception as error:  # noqa: BLE001 - each finds out about its own
                logger.debug("A commit for %d lines failed, each tries by itself: %s", len(group), error)
                if is_outage(error):
                    self._drop(tables)
                    has_just_failed = True
                # Whether it was committed is not known: the answer may have been lost behind it.
                for write in group:
                    write.request = replace(write.request, is_repeat=True)
            else:
                self._pause = _FIRST_PAUSE_SECONDS
                for write, answer in zip(group, written, strict=True):
                    write.done(answer)
                return
        refused: list[Write] = []
        for number, write in enumerate(group):
            try:
                [answer] = yield from commit_in_steps(tables, [write.request], keyring=self._keyring)
            except Exception as error:  # noqa: BLE001 - it is the line's to judge
                if not is_outage(error):
                    write.done(None, error)
                    has_just_failed = False
                    continue
                self._drop(tables)
                write.request = replace(write.request, is_repeat=True)
                refused.append(write)
                is_last = number == len(group) - 1
                if has_just_failed or is_last:
                    # Those that were refused go behind the others: it may be these alone.
                    self._put_off([*group[number + 1 :], *refused], error)
                    return
                has_just_failed = True
            else:
                self._pause = _FIRST_PAUSE_SECONDS
                write.done(answer)
                has_just_failed = False
        self._waiting += refused

    def _drop(self, tables: Tables) -> None:
        drop(tables.connection)
        drop_connection(self._using)

    def _put_off(self, writes: Sequence[Write], error: BaseException) -> None:
        """Try again later; what was sent may have been committed although the answer was lost."""
        words = trouble(self._using, error)
        if self._pause == _FIRST_PAUSE_SECONDS or words != self._told:  # once; the next tries are the same trouble
            logger.warning("%s, trying again: %s", words, said(error), extra=log_fields())
        self._told = words
        self._retry_at = time.monotonic() + self._pause
        self._pause = min(self._pause * 2, _LONGEST_PAUSE_SECONDS)
        for write in writes:
            write.request = replace(write.request, is_repeat=True)
            if self._retry_at > write.ends_at:
                write.done(None, error)
            else:
                self._waiting.append(write)
