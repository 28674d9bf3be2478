"""The threads of a worker, each with a last net: one that dies or hangs is named in the log, and ends the worker.

A thread that does its work catches what it expects, and goes on after a pause. What it does not catch comes here:
a worker that had lost a thread would look alive and deliver nothing. Nothing can end a thread that hangs; whoever
watches is told of it, ends the process, and a supervisor starts a new one.
"""

import logging
import sys
import threading
import time
import traceback
from collections.abc import Callable

from reliable_email.delivery.telling.log_records import log_fields

logger = logging.getLogger("reliable_email.outbox")


class WorkerFailed(RuntimeError):
    """A worker ended because one of its threads did, or because it cannot work here at all."""


class WorkerThread:
    """One thread of a worker; as a context manager, entered by the thread itself, it says that the thread works.

    Attributes:
        hangs_after: seconds of one piece of work after which it counts as hanging; None for never.
        is_vital: whether the worker ends when it hangs; else that is told, and the others go on.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[], None],
        *,
        hangs_after: float | None,
        is_vital: bool,
        prepare: Callable[[], None] = lambda: None,
    ) -> None:
        self.name = name
        self.hangs_after = hangs_after
        self.is_vital = is_vital
        self.has_ended = False
        self.error: BaseException | None = None
        self._work = work
        self._prepare = prepare
        self._busy_since: float | None = None
        self._depth = 0
        self.thread = threading.Thread(target=self._run, name=f"reliable-email-{name}", daemon=True)

    def __enter__(self) -> None:
        """Note that the thread works from here on; outside of this it waits, for any time."""
        self._depth += 1
        if self._depth == 1:
            self._busy_since = time.monotonic()

    def __exit__(self, *error: object) -> None:
        self._depth -= 1
        if not self._depth:
            self._busy_since = None

    def start(self) -> None:
        """Start the thread.

        Raises:
            WorkerFailed: this process, or this machine, has no room for another one.
        """
        try:
            self.thread.start()
        except (RuntimeError, MemoryError) as error:
            raise WorkerFailed(f"The worker's thread {self.name!r} cannot be started: {error}") from error

    def join(self, seconds: float) -> None:
        """Wait until the thread has ended, for so many seconds at most; not at all for one that was never started."""
        if self.thread.ident is not None:
            self.thread.join(seconds)

    @property
    def busy_seconds(self) -> float:
        """Return the seconds for which the thread has been at one piece of work."""
        since = self._busy_since
        return 0.0 if since is None else time.monotonic() - since

    @property
    def hangs(self) -> bool:
        """True if one piece of work takes too long."""
        return self.hangs_after is not None and self.busy_seconds > self.hangs_after

    @property
    def place(self) -> str:
        """Return the thread's stack, for the log."""
        frame = sys._current_frames().get(self.thread.ident or 0)
        if frame is None:
            return "nowhere"
        return "".join(traceback.format_stack(frame)[-4:]).strip()

    def _run(self) -> None:
        try:
            self._prepare()
            self._work()
        except BaseException as error:  # noqa: BLE001 - a thread has no caller; `Crew.look` says it
            self.error = error
        self.has_ended = True


class Crew:
    """The threads of one worker.

    Args:
        on_failure: called once for each thread that has failed, with what to say of it.
        prepare: called first by each thread.
    """

    def __init__(
        self, on_failure: Callable[[str], None] = lambda words: None, prepare: Callable[[], None] = lambda: None
    ) -> None:
        self._on_failure = on_failure
        self._prepare = prepare
        self._threads: list[WorkerThread] = []
        self._lock = threading.Lock()
        self._told: set[WorkerThread] = set()
        self._is_over = False

    def start(
        self, name: str, work: Callable[[], None], *, hangs_after: float | None = None, is_vital: bool = True
    ) -> WorkerThread:
        """Start a thread that is watched until it is dismissed."""
        one = self.make(name, work, hangs_after=hangs_after, is_vital=is_vital)
        one.start()
        return one

    def make(
        self, name: str, work: Callable[[], None], *, hangs_after: float | None = None, is_vital: bool = True
    ) -> WorkerThread:
        """Create a thread like `start`, to be started later: its work may want to know its own thread."""
        one = WorkerThread(name, work, hangs_after=hangs_after, is_vital=is_vital, prepare=self._prepare)
        with self._lock:
            self._threads.append(one)
        return one

    def dismiss(self, one: WorkerThread) -> None:
        """Let the thread end from now on."""
        with self._lock:
            if one in self._threads:
                self._threads.remove(one)

    def end(self) -> None:
        """Let every thread end from now on."""
        self._is_over = True

    def look(self) -> None:
        """Tell of each thread that has died or hangs, once."""
        if self._is_over:
            return
        with self._lock:
            threads = [one for one in self._threads if one not in self._told]
        for one in threads:
            if one.has_ended:
                self._told.add(one)
                self._tell_of_death(one)
            elif one.hangs:
                self._told.add(one)
                self._tell_of_hanging(one)

    def _tell_of_death(self, one: WorkerThread) -> None:
        words = f"The worker's thread {one.name!r} has ended"
        if one.error is not None:
            words += f" with an error ({type(one.error).__name__}: {one.error})"
        logger.critical("%s; the worker stops", words, exc_info=one.error, extra=log_fields())
        self._on_failure(words)

    def _tell_of_hanging(self, one: WorkerThread) -> None:
        words = f"The worker's thread {one.name!r} has not moved for {one.busy_seconds:.0f} s"
        end = "the worker stops" if one.is_vital else "the worker goes on without it"
        logger.critical("%s; %s. It is here:\n%s", words, end, one.place, extra=log_fields())
        if one.is_vital:
            self._on_failure(words)
