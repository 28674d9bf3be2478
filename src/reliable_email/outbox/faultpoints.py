"""Numbered points at every step of the outbox's work, where a crash harness may end the process.

Each I/O and database call of enqueueing, claiming, journaling, sending, settling and rescuing passes one, before and
after. In production nothing listens, and a point costs one comparison.
"""

from collections.abc import Callable

from reliable_email.process_state import remember

_listener: Callable[[str], None] | None = None


def point(name: str) -> None:
    """Pass a point."""
    if _listener is not None:
        _listener(name)


def listen(listener: Callable[[str], None] | None) -> None:
    """Set the function to call at each point from now on, from any thread; None for none."""
    global _listener
    _listener = listener


def reset() -> None:
    """Remove the listener."""
    listen(None)


remember(__name__, reset=reset)
