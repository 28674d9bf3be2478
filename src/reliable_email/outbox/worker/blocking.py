"""Threads for what blocks: opening connections, other people's backends, receivers of signals, reading rows."""

from collections.abc import Callable
from contextvars import Context
from queue import Empty, SimpleQueue
from typing import Any

from django.db import connections

from reliable_email.outbox.upkeep.reconnect import drop, leave_well
from reliable_email.outbox.upkeep.threads import Crew
from reliable_email.smtp.transaction import Aside

_IDLE_SECONDS = 60.0  # databases, poolers and networks end sessions that nobody uses


def make_here(aside: Aside[Any]) -> None:
    """Make the call in the caller's thread, and leave that thread with connections to the database that work."""
    aside.make()
    leave_well()


class Helper:
    """One thread, with database connections of its own, as other code expects of a thread.

    Args:
        crew: watches it.
        hangs_after: seconds after which a call counts as hanging; None for never.
    """

    def __init__(self, crew: Crew, *, name: str = "helper", hangs_after: float | None = None) -> None:
        self._calls: SimpleQueue[tuple[Aside[Any], Context, Callable[[], None]] | None] = SimpleQueue()
        self._crew = crew
        self._thread = crew.make(name, self._run, hangs_after=hangs_after)
        self._thread.start()

    def make(self, aside: Aside[Any], context: Context, on_done: Callable[[], None]) -> None:
        """Make the call, then this one."""
        self._calls.put((aside, context, on_done))

    def end(self) -> None:
        """End when what was asked for is done."""
        self._crew.dismiss(self._thread)
        self._calls.put(None)

    def join(self, seconds: float) -> None:
        """Wait until it has ended, for so many seconds at most."""
        self._thread.join(seconds)

    def _next(self) -> tuple[Aside[Any], Context, Callable[[], None]] | None:
        """Return what is to be called next; None for the end. Whoever waits for long keeps no connection meanwhile."""
        while True:
            try:
                return self._calls.get(timeout=_IDLE_SECONDS)
            except Empty:
                for connection in connections.all(initialized_only=True):
                    drop(connection)

    def _run(self) -> None:
        try:
            while (given := self._next()) is not None:
                aside, context, on_done = given
                try:
                    with self._thread:
                        context.run(make_here, aside)
                finally:
                    on_done()
        finally:
            connections.close_all()
