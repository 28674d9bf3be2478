"""What a transport stops for: so that one thread may drive many connections, or one thread each.

A transport that works in steps hands out, beside finished transactions, what it waits for. Whoever drives it does that
in his own way, and then asks for the next step. `run` is the plain way: it blocks.
"""

import threading
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeGuard, TypeVar

from reliable_email.smtp.deadline import Deadline
from reliable_email.smtp.transaction import Authorize, Grant, Job, Transaction
from reliable_email.smtp.wire import Wire

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class Wait:
    """Go on when the wire is ready, or when the time is up.

    Attributes:
        for_write: whether room for writing counts, too.
        until: on the monotonic clock.
        is_ready: set by the driver: whether the wire is, as seen when it went on.
    """

    wire: Wire
    for_write: bool
    until: float
    is_ready: bool = False


@dataclass(slots=True, eq=False)
class Ask:
    """See `Authorize`. The driver sets `allowed`."""

    grants: Sequence[Grant]
    settled: Sequence[Transaction]
    allowed: Collection[Job] = ()


class Aside(Generic[T]):
    """A call that may block. The driver makes it, in a thread of its own where others must not be held up."""

    __slots__ = ("_call", "_error", "_is_made", "_late", "_lock", "_result")

    def __init__(self, call: Callable[[], T]) -> None:
        self._call = call
        self._lock = threading.Lock()
        self._is_made = False
        self._error: BaseException | None = None
        self._result: Any = None
        self._late: Callable[[T], object] | None = None

    def make(self) -> None:
        """Make the call. Raises nothing."""
        error: BaseException | None = None
        result: Any = None
        try:
            result = self._call()
        except BaseException as raised:  # noqa: BLE001 - it is raised where the result is asked for
            error = raised
        with self._lock:
            self._result, self._error, self._is_made = result, error, True
            late = self._late
        if late is not None and error is None:
            late(result)

    def abandon(self, late: Callable[[T], object]) -> None:
        """Nobody waits any more: what the call returns, or has returned, goes to `late`."""
        with self._lock:
            self._late = late
            is_made, error = self._is_made, self._error
        if is_made and error is None:
            late(self._result)

    @property
    def error(self) -> BaseException | None:
        """What the call raised."""
        return self._error

    def result(self) -> T:
        """What the call returned; raises what it raised."""
        if self._error is not None:
            raise self._error
        result: T = self._result
        return result


WireStep = Wait | Ask | Aside[Any] | Transaction
WireSteps = Generator[WireStep, None, None]


class SteppedTransport(Protocol):
    """A transport that can be driven step by step, as all of this package can."""

    def transact(self, jobs: Iterable[Job], *, deadline: Deadline, authorize: Authorize) -> Iterator[Transaction]:
        """See `Transport.transact`; it is `run` over the steps."""

    def steps(self, jobs: Iterable[Job], *, deadline: Deadline) -> WireSteps:
        """As `Transport.transact`. A driver that stops early closes the generator."""


def is_stepped(transport: object) -> TypeGuard[SteppedTransport]:
    """Whether it can be driven in steps."""
    return hasattr(transport, "steps")


def block(wait: Wait) -> None:
    """Wait here."""
    wait.is_ready = wait.wire.wait(writing=wait.for_write, until=wait.until)


def run(steps: WireSteps, *, authorize: Authorize) -> Iterator[Transaction]:
    """Drive a transport from the caller's thread."""
    with closing(steps):
        for step in steps:
            if isinstance(step, Wait):
                block(step)
            elif isinstance(step, Ask):
                step.allowed = authorize(step.grants, step.settled)
            elif isinstance(step, Aside):
                step.make()
            else:
                yield step
