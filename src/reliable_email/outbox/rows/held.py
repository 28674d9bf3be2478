"""Protection of a worker from a route's row that another session holds: one line waits for it, the others go on.

A quota is charged in the row of its route. Whoever finds that row held asks here first. One thread of this process
waits for the database; others wait for that thread for a moment, and then give their messages back, without an attempt.
Lanes of a held route are not claimed until its row is free.
"""

import threading
import time

from reliable_email.process_state import remember

# Every worker that charges a quota holds the row for a moment; only what takes longer is worth giving messages back.
PATIENCE_SECONDS = 0.25


class HeldRoutes:
    """The routes whose rows a thread of this process waits for, and since when."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._since: dict[str, float] = {}

    def begin(self, alias: str) -> bool:
        """Wait until no other thread waits for the row; return False where that takes too long."""
        with self._changed:
            while alias in self._since:
                left = self._since[alias] + PATIENCE_SECONDS - time.monotonic()
                if left <= 0:
                    return False
                self._changed.wait(left)
            self._since[alias] = time.monotonic()
            return True

    def end(self, alias: str) -> None:
        """Note that the row was free."""
        with self._changed:
            self._since.pop(alias, None)
            self._changed.notify_all()

    def holds(self, alias: str) -> bool:
        """Return whether a thread waits for the row longer than a worker holds one."""
        since = self._since.get(alias)  # no lock: the loop's thread asks, and an old answer does no harm
        return since is not None and time.monotonic() - since >= PATIENCE_SECONDS

    def forget(self) -> None:
        """Forget the waiting lines after a fork, because they are the parent's."""
        self._changed = threading.Condition()
        self._since.clear()


held_routes = HeldRoutes()
remember(__name__, after_fork=held_routes.forget, reset=held_routes.forget)
