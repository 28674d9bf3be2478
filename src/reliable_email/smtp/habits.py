"""What was learned of a server while talking to it, for as long as this process lives and at most an hour."""

import os
import threading
import time
from dataclasses import dataclass, replace

KEPT_SECONDS = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """One server's.

    Attributes:
        mishandles_pipelining: it announced PIPELINING and lost commands of a group.
        messages_per_connection: it ended the connection after so many messages.
    """

    mishandles_pipelining: bool = False
    messages_per_connection: int | None = None
    learned_at: float = 0.0


_NONE = Habits()
_known: dict[tuple[str, int], Habits] = {}
_lock = threading.Lock()


def of(host: str, port: int) -> Habits:
    """What is known of this server now."""
    habits = _known.get((host, port), _NONE)
    if habits is not _NONE and time.monotonic() - habits.learned_at > KEPT_SECONDS:
        return _NONE
    return habits


def learn_pipelining_is_mishandled(host: str, port: int) -> None:
    """Commands go one by one from now on."""
    with _lock:
        _known[host, port] = replace(of(host, port), mishandles_pipelining=True, learned_at=time.monotonic())


def learn_messages_per_connection(host: str, port: int, count: int) -> None:
    """Connections are replaced before the server does it."""
    with _lock:
        _known[host, port] = replace(of(host, port), messages_per_connection=count, learned_at=time.monotonic())


def reset() -> None:
    """Forget everything."""
    with _lock:
        _known.clear()


def _after_fork() -> None:
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
