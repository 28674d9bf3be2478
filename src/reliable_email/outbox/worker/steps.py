"""The steps of a worker's lines: the things that they wait for, besides their connections (`smtp.transaction`).

A line is a generator. It hands out what it needs next, and goes on when the `Loop`, which drives all lines of a worker,
has seen to that.
"""

from collections.abc import Callable, Generator
from typing import Any, TypeVar

from reliable_email.outbox.rows.journal import Request, Written
from reliable_email.records import dataclass
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
        """True if it was answered."""
        return self.written is not None or self.error is not None

    def done(self, written: Written | None, error: BaseException | None = None) -> None:
        """Answer it, once."""
        self.written, self.error = written, error
        if self.on_done is not None:
            self.on_done()

    def result(self) -> Written:
        """Return what was written; raise the database's error."""
        if self.error is not None:
            raise self.error
        assert self.written is not None, "it was written, or it has failed"
        return self.written


@dataclass(slots=True, eq=False)
class Rest:
    """A pause: go on after some seconds, or when `is_over`, which is asked last."""

    seconds: float
    is_over: Callable[[], bool] = lambda: False


class Read(Aside[T]):
    """A call that only asks the database. All lines share a thread for them, so that others go on meanwhile."""

    __slots__ = ()


Step = Wait | Aside[Any] | Write | Rest
Steps = Generator[Step, None, T]
