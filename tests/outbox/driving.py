"""Drives a line of a worker in the caller's thread."""

from collections.abc import Callable
from typing import TypeVar

from reliable_email.outbox.worker.blocking import make_here
from reliable_email.outbox.worker.steps import Steps, Write
from reliable_email.smtp.transaction import Aside

T = TypeVar("T")


def run_here(steps: Steps[T], write: Callable[[Write], None]) -> T:
    """Go through the steps, which may only write and call.

    Args:
        write: commits, and answers the `Write` before it returns.
    """
    while True:
        try:
            step = next(steps)
        except StopIteration as end:
            result: T = end.value
            return result
        if isinstance(step, Write):
            write(step)
        elif isinstance(step, Aside):
            make_here(step)
        else:
            raise TypeError(f"{step!r} needs a loop")
