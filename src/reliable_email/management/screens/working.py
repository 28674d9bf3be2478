"""The screen of a worker in a terminal: what it does, and what waits for it, every second."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from django.db import connections

from reliable_email.management.screens.looking import Looker
from reliable_email.management.screens.pace import Pace
from reliable_email.management.screens.terminal import logs_above
from reliable_email.management.screens.watching import away_words, watch_screen
from reliable_email.outbox.upkeep.reconnect import AWAY, drop_connection
from reliable_email.outbox.worker.process import Worker

if TYPE_CHECKING:
    from rich.console import Console

_SECONDS = 1.0


@contextmanager
def worker_screen(console: "Console", worker: Worker, *, is_ending: Callable[[], bool]) -> Iterator[None]:
    """A live view while the block runs.

    Args:
        is_ending: whether the worker was told to stop.
    """
    is_over = threading.Event()
    arguments = (console, worker, is_ending, is_over)
    thread = threading.Thread(target=_show, args=arguments, name="reliable-email-screen", daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def _show(console: "Console", worker: Worker, is_ending: Callable[[], bool], is_over: threading.Event) -> None:
    using = worker.options.using
    looker = Looker(using, worker.options.environment)
    pace = Pace()
    try:
        with watch_screen(console, console.print) as screen, logs_above():
            while True:
                is_last = is_over.is_set()
                pace.see(worker.transactions, now=time.monotonic())
                title = _title(worker, pace, is_ending=is_ending())
                try:
                    screen.show(title, looker.look())
                except AWAY as error:
                    drop_connection(using)
                    screen.away(title, away_words(using, error))
                if is_last:
                    return
                is_over.wait(_SECONDS)
    finally:
        connections[using].close()


def _title(worker: Worker, pace: Pace, *, is_ending: bool) -> str:
    words = "ends when the messages in hand are finished; once more ends at once" if is_ending else "Ctrl-C ends"
    done = f"{worker.transactions:,} transactions, {pace.in_the_last_minute:,} of them in the last minute"
    return f"worker {worker.name}, {worker.options.connections} connections: {done}; {words}"
