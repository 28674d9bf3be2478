"""What a worker's lines stop for, beside what their connections wait for; see `smtp.transaction`.

A line is a generator. It hands out what it needs next, and goes on when whoever drives it has seen to that: the `Loop`,
for all lines of a worker, or `run_here`, where something blocks and has a thread of its own for that.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from reliable_email.outbox.helper import make_here
from reliable_email.outbox.journal import Request, Written
from reliable_email.smtp.transaction import Aside, Wait

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class Write:
    """Commit this.

    Attributes:
        seconds: how long the database may be away meanwhile.
        written: set by the driver, or `error` is.
        on_done: called when either is set.
    """

    request: Request
    seconds: float
    written: Written | None = None
    error: BaseException | None = None
    on_done: Callable[[], None] | None = None
    ends_at: float = 0.0

    @property
    def is_done(self) -> bool:
        """Whether it was answered."""
        return self.written is not None or self.error is not None

    def done(self, written: Written | None, error: BaseException | None = None) -> None:
        """Answer it, once."""
        self.written, self.error = written, error
        if self.on_done is not None:
            self.on_done()

    def result(self) -> Written:
        """What was written; raises what the database said instead."""
        if self.error is not None:
            raise self.error
        assert self.written is not None, "it was written, or it has failed"
        return self.written


@dataclass(slots=True, eq=False)
class Rest:
    """Nothing is to be done: go on after so many seconds, or when `is_over`, which is asked after everything else."""

    seconds: float
    is_over: Callable[[], bool] = lambda: False


class Read(Aside[T]):
    """A call that only asks the database. All lines share a thread for them, so that others go on meanwhile."""

    __slots__ = ()


Step = Wait | Aside[Any] | Write | Rest
Steps = Generator[Step, None, T]


class RunHere(Protocol):
    """`run_here`, for whoever does not know who commits."""

    def __call__(self, steps: Steps[T], /) -> T:
        """Go through the steps in the caller's thread."""


def run_here(steps: Steps[T], write: Callable[[Write], None]) -> T:
    """Go through the steps in the caller's thread, where they may only write and call.

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
