"""One thread that drives all lines of a worker, and writes for all that wait at the same moment in one transaction.

Lines are generators (see `outbox.worker.steps`). Each still waits until its own permission is committed, so that what a
crash leaves unknown stays at one message a connection (or one flight). With a thread for each they would hand the
interpreter to each other around every commit and every reply, which costs more than the work itself.

What blocks (opening a connection, other people's backends, receivers of signals) has threads of its own: one for
each line that ever needs one.
"""

import contextlib
import logging
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from contextvars import Context, copy_context
from typing import Any

from django.db import connections

from reliable_email.delivery.telling.log_records import log_fields
from reliable_email.outbox import wake
from reliable_email.outbox.keyring import Keyring
from reliable_email.outbox.upkeep.threads import Crew
from reliable_email.outbox.worker.blocking import Helper
from reliable_email.outbox.worker.committer import Committer, Writer
from reliable_email.outbox.worker.steps import Read, Rest, Step, Steps, Write
from reliable_email.records import dataclass, field
from reliable_email.smtp.transaction import Aside, Wait

logger = logging.getLogger("reliable_email.outbox")

_JOIN_SECONDS = 1.0  # what blocks may block for ever; its thread is a daemon


@dataclass(slots=True, eq=False)
class _Task:
    """A line on its way.

    Attributes:
        context: of its own, since tracing keeps there what it is about.
        wait, rest: what it waits for, where that is a wire or time.
        until: when it goes on whatever happens, on the monotonic clock.
    """

    steps: Steps[None]
    context: Context = field(default_factory=copy_context)
    wait: Wait | None = None
    rest: Rest | None = None
    until: float = 0.0
    helper: Helper | None = None


class Loop:
    """The thread that drives all lines of a worker.

    Args:
        using: alias of the database.
        on_error: called where a line has ended with an error; `failure` says which.
        crew: watches the threads.
        read_seconds: after so long a question to the database counts as hanging; None for never.
        call_seconds: the same for every other call.
    """

    def __init__(
        self,
        using: str,
        keyring: Keyring,
        *,
        on_error: Callable[[], None] = lambda: None,
        crew: Crew | None = None,
        read_seconds: float | None = None,
        call_seconds: float | None = None,
    ) -> None:
        self._using = using
        self._keyring = keyring
        self._on_error = on_error
        self.failure = ""
        self._crew = crew or Crew()
        self._read_seconds = read_seconds
        self._call_seconds = call_seconds
        self._busy: AbstractContextManager[None] = contextlib.nullcontext()
        self._tasks: list[_Task] = []
        self._ready: deque[_Task] = deque()
        self._inbox: deque[_Task] = deque()  # whose calls other threads have made
        self._selector: selectors.BaseSelector
        self._committer: Committer
        self._reader: Helper
        self._helpers: list[Helper] = []
        # A signal handler may ring while its own thread does.
        self._rope_lock = threading.RLock()
        self._rope: socket.socket | None = None

    # For other threads.

    def ring(self) -> None:
        """Let the loop look at what is new. Never blocks."""
        with self._rope_lock:
            if self._rope is not None:
                with contextlib.suppress(BlockingIOError):  # full: it is awake already
                    self._rope.send(b"\0")

    # The loop.

    def run(
        self,
        lines: Iterable[Steps[None]],
        *,
        busy: AbstractContextManager[None] | None = None,
    ) -> None:
        """Drive these until they have ended.

        Args:
            busy: entered while this thread works; left where it waits.
        """
        self._busy = busy or self._busy
        self._tasks = [_Task(steps) for steps in lines]
        self._ready.extend(self._tasks)
        self._reader = self._helper("reader", self._read_seconds)
        bell, rope = socket.socketpair()
        with bell, rope, selectors.DefaultSelector() as self._selector, wake.woken(self.ring):
            for end in (bell, rope):
                end.setblocking(False)
            self._selector.register(bell, selectors.EVENT_READ, bell)
            self._committer = Committer(self._using, self._keyring, self._selector)
            self._rope = rope  # a ring before this is not missed: at the start every line is ready
            try:
                while self._tasks:
                    self._turn()
            finally:
                self._wind_up()

    def _wind_up(self) -> None:
        """Close all lines and release everything that waits, whatever ended the loop."""
        with self._rope_lock:
            self._rope = None  # before the socket is closed: another thread's ring would raise there
        for task in self._tasks:
            try:
                task.context.run(task.steps.close)
            except Exception:
                logger.exception("A line of the worker could not be closed", extra=log_fields())
        self._committer.close()
        for helper in self._helpers:
            helper.end()
        for helper in self._helpers:  # all were told before the first is waited for: they end side by side
            helper.join(_JOIN_SECONDS)
        connections.close_all()

    def _turn(self) -> None:
        with self._busy:
            self._advance()
        if self._tasks:
            self._look(0.0 if self._ready else self._seconds_left())

    def _advance(self) -> None:
        # Those that are ready now, and no others: in between the wires are looked at.
        for _ in range(len(self._ready)):
            if self._is_half_waiting():
                self._committer.begin()
            self._go_on(self._ready.popleft())
        if self._is_half_waiting():
            self._committer.begin()
        elif self._committer.may_begin():
            # Replies that are here already bring more to write: one commit for them, too, instead of a second one.
            self._look(0.0)
            if not self._ready:
                self._committer.begin()

    def _is_half_waiting(self) -> bool:
        """One half of the lines works while the database writes for the other."""
        return 2 * self._committer.waiting_count >= len(self._tasks) and self._committer.may_begin()

    def _go_on(self, task: _Task) -> None:
        try:
            # In the line's own context: a span or an account of one message must not be there in another line's.
            step = task.context.run(next, task.steps, None)
            if step is not None:
                self._begin(task, step)
                return
        except BaseException as error:
            # The last net: a line that dies silently would leave a worker that looks alive.
            logger.exception("A line of the worker ended with an error; the worker stops", extra=log_fields())
            self.failure = f"a line of the worker has ended with an error ({type(error).__name__}: {error})"
            self._on_error()
        self._tasks.remove(task)

    def _begin(self, task: _Task, step: Step) -> None:
        """Start what the line needs next."""
        if isinstance(step, Wait):
            for_write = step.wire.waits_for_write(writing=step.for_write)
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if for_write else 0)
            self._selector.register(step.wire.handle, events, task)
            task.wait, task.until = step, step.until
        elif isinstance(step, Write):
            # Only the commit makes the line ready again: no terminator is on the wire before its permission is durable.
            step.on_done = lambda: self._ready.append(task)
            self._committer.enter(step)
        elif isinstance(step, Rest):
            task.rest, task.until = step, time.monotonic() + step.seconds
        elif isinstance(step, Aside):
            # In a copy of the context: the line may be closed while the call goes on.
            self._helper_for(task, step).make(step, task.context.copy(), lambda: self._has_come_back(task))
        else:
            raise TypeError(f"{step!r} is nothing that a line can wait for")

    def _helper_for(self, task: _Task, step: Aside[Any]) -> Helper:
        if isinstance(step, Read):
            return self._reader
        if task.helper is None:
            task.helper = self._helper("helper", self._call_seconds)
        return task.helper

    def _helper(self, name: str, hangs_after: float | None) -> Helper:
        helper = Helper(self._crew, name=name, hangs_after=hangs_after)
        self._helpers.append(helper)
        return helper

    def _has_come_back(self, task: _Task) -> None:
        # In another thread, so by the inbox, which a deque makes safe without a lock; `_ready` is this loop's alone.
        # Rung behind the append: the other way round the loop could look, find nothing, and sleep.
        self._inbox.append(task)
        self.ring()

    # Waiting.

    def _look(self, seconds: float | None) -> None:
        """Wait for lines that can continue, for at most `seconds`; None for no limit."""
        found = self._selector.select(seconds)
        with self._busy:
            self._see(found)

    def _see(self, found: Iterable[tuple[selectors.SelectorKey, int]]) -> None:
        now = time.monotonic()
        # Some selectors name one twice, once for reading and once for writing.
        for one in dict.fromkeys(key.data for key, _ in found):
            if isinstance(one, _Task):
                self._wake(one, is_ready=True)
            elif isinstance(one, Writer):
                self._committer.go_on(one)
            else:
                self._hear(one)
        for task in self._tasks:
            if task.wait is not None and now >= task.until:
                self._wake(task, is_ready=False)
            elif task.rest is not None and (now >= task.until or task.rest.is_over()):
                task.rest = None
                self._ready.append(task)
        self._committer.end_silence()

    def _wake(self, task: _Task, *, is_ready: bool) -> None:
        assert task.wait is not None
        # At once, and not when the line waits again: it may close the socket, whose number another line may get.
        self._selector.unregister(task.wait.wire.handle)
        task.wait.is_ready = is_ready
        task.wait = None
        self._ready.append(task)

    def _hear(self, bell: socket.socket) -> None:
        # The bell is emptied before the inbox: what comes in between rings again, and is at worst looked for in vain.
        with contextlib.suppress(BlockingIOError):
            while bell.recv(4096):
                pass
        while self._inbox:
            self._ready.append(self._inbox.popleft())

    def _seconds_left(self) -> float | None:
        """Return the seconds until a line has waited long enough; None if all wait for other threads."""
        # Others may have ended a rest since it began, and the bell may have been heard before.
        if any(task.rest is not None and task.rest.is_over() for task in self._tasks):
            return 0.0
        ends = [task.until for task in self._tasks if task.wait is not None or task.rest is not None]
        looks_at = self._committer.looks_at()
        if looks_at is not None:
            ends.append(looks_at)
        return max(0.0, min(ends) - time.monotonic()) if ends else None
