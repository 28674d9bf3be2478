"""A question to the database from a coroutine, where Django forbids it: asked in a thread, and waited for."""

import threading
from collections.abc import Callable
from contextvars import copy_context
from typing import TypeVar

from django.db import connections

Answer = TypeVar("Answer")


class NoThread(Exception):
    """No thread can be started: the interpreter ends, or the machine has no room for one."""


def asked_aside(ask: Callable[[], Answer]) -> Answer:
    """Return the answer, or raise what asking raised.

    The event loop waits meanwhile, as it does for the mail server in the same call. The thread has a connection of its
    own, and the caller's context, by which a router may choose the database.

    Raises:
        NoThread: nobody was asked.
    """
    found: list[Answer] = []
    raised: list[BaseException] = []

    def run() -> None:
        try:
            found.append(ask())
        except BaseException as error:  # noqa: BLE001 - it is raised where the answer is waited for
            raised.append(error)
        finally:
            connections.close_all()

    thread = threading.Thread(target=copy_context().run, args=(run,), name="reliable-email-question", daemon=True)
    try:
        thread.start()
    except RuntimeError as error:
        raise NoThread(str(error)) from error
    thread.join()
    if raised:
        raise raised[0]
    return found[0]
