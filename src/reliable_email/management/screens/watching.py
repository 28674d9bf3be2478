"""`email_outbox status --watch`: the outbox every second, until Ctrl-C."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any, Protocol

from reliable_email.diagnosis.verdict import Health
from reliable_email.management.screens.outbox_view import OutboxView, summary
from reliable_email.outbox.upkeep.reconnect import AWAY, drop_connection
from reliable_email.values import printable

if TYPE_CHECKING:
    from rich.console import Console

_SECONDS = 1.0


class WatchScreen(Protocol):
    """A screen on which the outbox is shown again and again."""

    def show(self, title: str, view: OutboxView) -> None:
        """The outbox now."""

    def away(self, title: str, text: str) -> None:
        """The database does not answer; the next look may be luckier."""


class PlainWatchScreen:
    """A line for each change, so that a log stays short."""

    def __init__(self, write: Callable[[str], object]) -> None:
        self._write = write
        self._last: object = None

    def show(self, title: str, view: OutboxView) -> None:
        """Print the view if it has changed."""
        in_use = [(route.alias, route.is_in_use) for route in view.routes]
        self._say((view.health.verdict, view.status.recipients, in_use), summary(view))

    def away(self, title: str, text: str) -> None:
        """Print that the database does not answer."""
        self._say(text, text)

    def _say(self, what: object, text: str) -> None:
        if what != self._last:
            self._last = what
            self._write(text)


@contextmanager
def watch_screen(console: "Console | None", write: Callable[[str], object]) -> Iterator[WatchScreen]:
    """The richest that there can be."""
    if console is None:
        yield PlainWatchScreen(write)
        return
    from reliable_email.management.screens.rich_outbox import RichWatchScreen

    with RichWatchScreen(console) as screen:
        yield screen


def watch(
    look: Callable[[], OutboxView],
    screen: WatchScreen,
    *,
    using: str,
    sleep: Callable[[float], None] = time.sleep,
) -> Health:
    """Look every second until Ctrl-C or SIGTERM; the verdict at that moment."""
    verdict = Health.UNHEALTHY
    title = f"outbox, database {using!r}; Ctrl-C ends"
    with _sigterm_as_ctrl_c():
        try:
            while True:
                try:
                    view = look()
                except AWAY as error:
                    drop_connection(using)
                    verdict = Health.UNHEALTHY
                    screen.away(title, away_words(using, error))
                else:
                    verdict = view.health.verdict
                    screen.show(title, view)
                sleep(_SECONDS)
        except KeyboardInterrupt:
            return verdict


def away_words(using: str, error: Exception) -> str:
    """Return the message that the database does not answer, with the reason."""
    return printable(f"The database {using!r} does not answer: {' '.join(str(error).split())}")


@contextmanager
def _sigterm_as_ctrl_c() -> Iterator[None]:
    """Turn SIGTERM into KeyboardInterrupt, so that the terminal gets its cursor back."""

    def interrupt(number: int, frame: FrameType | None) -> Any:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
