"""The row that says that a worker is there. Those of a fleet's tasks are in `integrations.registration`."""

import os
import secrets
import socket

from reliable_email.outbox.keyring import KeyMissing
from reliable_email.outbox.rows.loading import missing_keys
from reliable_email.outbox.upkeep import worker_row
from reliable_email.outbox.upkeep.counters import Tallies
from reliable_email.outbox.upkeep.worker_options import WorkerOptions


def unique_name() -> str:
    """Unique, so that a name seen in a row is this process and no earlier one."""
    return f"{socket.gethostname()[:60]}:{os.getpid()}:{secrets.token_hex(4)}"


class Registration:
    """One worker's row.

    Attributes:
        name: of the row.
        worker_name: under which the worker claims.
    """

    def __init__(self, options: WorkerOptions, name: str, worker_name: str = "") -> None:
        self.options = options
        self.name = name
        self.worker_name = worker_name or name
        self.tallies = Tallies()

    def arrive(self) -> None:
        """Write the worker's row.

        Raises:
            KeyMissing: a pending row was written with an encryption key that is not here.
        """
        check_keys(self.options)  # before the row: a worker that refuses to begin must not be seen as one that runs
        worker_row.arrive(self.options.using, self.name, self.options.environment, self.options.connections)

    def note(self, settled: int) -> None:
        """Update the worker's heartbeat."""
        worker_row.note(self.options.using, self.name, settled)

    def leave(self, settled: int) -> None:
        """Mark the worker as stopped, and write the last counts."""
        worker_row.leave(self.options.using, self.name, settled)
        self.tallies.write(self.options.using)


def check_keys(options: WorkerOptions) -> None:
    """Refuse to begin where a pending row cannot be read.

    Raises:
        KeyMissing: its key is not here.
    """
    missing = missing_keys(options.using, options.keyring, options.environment)
    if missing:
        raise KeyMissing(
            f"Unfinished messages were written with encryption keys that are not in "
            f"RELIABLE_EMAIL['ENCRYPTION_KEYS']: {', '.join(missing)}. Add them behind the current one."
        )
