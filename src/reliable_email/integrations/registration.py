"""The rows of a fleet among the workers: one a process that delivers by tasks, one for all sweeps."""

import os
import secrets
import threading
import time

from reliable_email.outbox.upkeep import worker_row
from reliable_email.outbox.upkeep.counters import Tallies
from reliable_email.outbox.upkeep.registration import Registration, check_keys, unique_name
from reliable_email.outbox.upkeep.worker_options import Bounds, WorkerOptions
from reliable_email.store.tables.shared import TASKS_PREFIX

_NOTE_SECONDS = 30.0


class SweepUnderWay(Exception):
    """Another process sweeps this outbox now."""


class ProcessRegistration:
    """The row of a process that delivers by tasks, in one database.

    The row and the counts are written by the first task in a while; what a burst of them adds, by the next.
    """

    def __init__(self) -> None:
        self.tallies = Tallies()
        self._lock = threading.Lock()
        self._pid = 0  # whose row is written
        self._named = (0, "")
        self._settled = 0
        self._noted_at = 0.0

    def of(self, options: WorkerOptions) -> "TaskRegistration":
        """Return the registration of one task."""
        return TaskRegistration(options, self)

    @property
    def name(self) -> str:
        """The process's own, which the names of its tasks begin with: by a lease that ends it is known whose it was."""
        with self._lock:
            if self._named[0] != os.getpid():
                self._named = (os.getpid(), unique_name())
            return self._named[1]

    def arrive(self, options: WorkerOptions) -> None:
        """Write the process's row, once."""
        name = self.name  # outside: it takes the same lock, which is not reentrant
        with self._lock:
            # Compared with the process, and not with "written": a child inherits the flag, and has no row.
            if self._pid == os.getpid():
                return
            check_keys(options)
            self._write(
                options, name
            )  # under the lock: of tasks that begin at once, one writes, and the others find it
            self._pid, self._settled, self._noted_at = os.getpid(), 0, -_NOTE_SECONDS

    def _write(self, options: WorkerOptions, name: str) -> None:
        worker_row.arrive(options.using, TASKS_PREFIX + name, options.environment, options.connections)

    def add(self, options: WorkerOptions, settled: int) -> None:
        """One task has ended."""
        with self._lock:
            self._settled += settled
            if self._pid != os.getpid() or time.monotonic() - self._noted_at < _NOTE_SECONDS:
                return
            self._noted_at = time.monotonic()  # before the write: of tasks that end meanwhile none writes it again
            name, total = self._named[1], self._settled
        # Outside of the lock: a slow database must hold up this task alone.
        self.tallies.write(options.using)
        if not worker_row.note(options.using, TASKS_PREFIX + name, total):
            self._write(options, name)  # it was forgotten: no task came for an hour
            worker_row.note(options.using, TASKS_PREFIX + name, total)

    def leave(self, using: str) -> None:
        """Delete the process's row, because the process ends."""
        with self._lock:
            name, pid = self._named[1], self._pid
            self._pid = 0  # a task that begins later writes a row of its own
        if pid == os.getpid():
            self.tallies.write(using)
            worker_row.forget(using, TASKS_PREFIX + name)


class TaskRegistration(Registration):
    """One task's part in the row of its process."""

    def __init__(self, options: WorkerOptions, process: ProcessRegistration) -> None:
        super().__init__(options, process.name, f"{process.name}.{secrets.token_hex(4)}")
        self._process = process
        self.tallies = process.tallies

    def arrive(self) -> None:
        """Write the process's row, if it is not there."""
        self._process.arrive(self.options)

    def note(self, settled: int) -> None:
        """Do nothing: the process's row is updated when the task ends."""

    def leave(self, settled: int) -> None:
        """Add the task's count to the process's row."""
        self._process.add(self.options, settled)


class SweepRegistration(Registration):
    """The row that all sweeps of an environment share: one sweep at a time claims messages.

    A sweep whose seconds are over may still wait minutes for a reply. Another one may begin meanwhile, in a second row;
    no third, since each holds a slot of the fleet.
    """

    def __init__(self, options: WorkerOptions) -> None:
        super().__init__(options, f"sweep:{options.environment}", unique_name())
        self._bounds = Bounds(options)

    def arrive(self) -> None:
        """Take a row.

        Raises:
            SweepUnderWay: another sweep has it, and has said so within a lease.
        """
        check_keys(self.options)
        options, first = self.options, self.name
        for name in (first, f"{first}:2"):
            self.name = name
            if worker_row.take(
                options.using, name, options.environment, options.connections, silent_seconds=options.lease_seconds
            ):
                return
            # Only a holder that claims nothing more lets a second one begin: two that claim would be two sweeps.
            if not worker_row.is_stopping(options.using, name):
                break
        raise SweepUnderWay(f"another process sweeps the database {options.using!r} now")

    def note(self, settled: int) -> None:
        """Update the row's heartbeat, and say whether the sweep only waits for replies."""
        state = "stopping" if time.monotonic() >= self._bounds.claims_until else "running"
        worker_row.note(self.options.using, self.name, settled, state=state)
