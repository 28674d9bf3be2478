"""The transport seam: what goes into a transport, and what it says afterwards.

A transport takes a *stream* of jobs, because on a pipelined wire messages overlap. It answers each job with one
`Transaction`. Before a terminator can reach the server it asks `authorize`; that call is the only thing between
"safe to repeat" and "outcome unknown until a final reply is read":

* everything before `authorize` is safe to repeat: the server has no complete message;
* everything after it and before a final reply is `UNKNOWN` when the connection dies (RFC 1047);
* errors after the final reply (RSET, QUIT, close) never change a result.

A transport works in steps: beside finished transactions it hands out what it waits for (`Wait`, `Ask`, `Aside`), so
that one thread may drive many connections, or one thread each. Whoever drives it sees to that in his own way, and then
asks for the next step. `run` is the plain way: it blocks.
"""

import threading
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from reliable_email.records import dataclass, field, record
from reliable_email.smtp.deadline import Deadline
from reliable_email.smtp.dsn import DSN
from reliable_email.smtp.failures import WireFailure
from reliable_email.smtp.stages import Stage
from reliable_email.smtp.syntax.replies import Reply

if TYPE_CHECKING:
    from reliable_email.smtp.driver.wire import Wire

T = TypeVar("T")


class Content(Protocol):
    """The bytes after DATA: CRLF line ends, no NUL, no bare CR or LF, dots not yet stuffed."""

    @property
    def size(self) -> int:
        """Bytes, as declared by SIZE= (RFC 1870: line ends counted, dot-stuffing not)."""

    @property
    def is_7bit(self) -> bool:
        """True if every byte is below 128; otherwise BODY=8BITMIME must be declared (RFC 6152)."""

    @property
    def needs_smtputf8(self) -> bool:
        """True if the header section contains raw UTF-8 (RFC 6531)."""

    def chunks(self) -> Iterator[bytes]:
        """The content from its start, in pieces; may be called again for a later attempt."""

    def downgraded(self) -> "Content | None":
        """The same message as 7-bit content, or None where that cannot be done."""


@record(frozen=True, slots=True, kw_only=True, eq=False)
class Job:
    """One message for one transaction. Identity is object identity.

    Attributes:
        sender: the reverse-path as addr-spec; "" for the null path.
        recipients: the forward-paths as addr-specs; the transport de-duplicates them.
        content: see `Content`.
        key: whatever the caller wants to find again in a `Transaction` (a row's id).
        dsn: what notices this message asks for.
        may_resend: whether the message's policy allows a second copy after `unknown`; only such jobs fly in flights.
        is_repeat: it was tried here a moment ago, so that it wants a connection of its own: what failed then may be
            the fault of that one.
    """

    sender: str
    recipients: tuple[str, ...]
    content: Content
    key: object = None
    may_resend: bool = False
    dsn: DSN | None = None
    is_repeat: bool = False


class Verdict(StrEnum):
    """The server's answer for one recipient in one transaction. "Did it take it?" has three answers."""

    ACCEPTED = "accepted"  # a final 2yz reply was read
    REFUSED = "refused"  # a well-formed 4yz or 5yz was read, for it or for all
    NOT_SENT = "not_sent"  # surely not taken; safe to repeat
    UNKNOWN = "unknown"  # the terminator may have arrived, no well-formed final reply was read


@record(frozen=True, slots=True, kw_only=True)
class RecipientResult:
    """One recipient's part of a transaction.

    `failure` is set unless accepted; its `reply` is the server's word where there is one.
    `reply` is the reply that decided (the final 2yz for an accepted recipient).
    """

    verdict: Verdict
    reply: Reply | None = None
    failure: WireFailure | None = None


@record(frozen=True, slots=True, kw_only=True)
class Transaction:
    """The finished story of one job on one connection.

    Attributes:
        job: the job.
        results: one entry for each distinct recipient of the job.
        stage: the last stage that was reached.
        failure: what ended it early for all, or None.
        reply: the final reply (or the one that refused the whole message).
        content_bytes: content bytes handed to the kernel.
        terminator_sent: whether the last byte of the terminator was handed to the kernel.
        started_at: seconds on the monotonic clock at which its first command was written.
        seconds: duration until it was finished.
        stage_seconds: seconds spent in each stage, for latency by stage; connection set-up is counted in the first
            transaction of a connection.
        peer: "address:port".
        provider_message_id: a foreign provider's own id, where one was given.
        dialogue: what was said on the wire, without secrets, where something failed; see `smtp.said`.
    """

    job: Job
    results: Mapping[str, RecipientResult]
    stage: Stage
    failure: WireFailure | None = None
    reply: Reply | None = None
    content_bytes: int = 0
    terminator_sent: bool = False
    started_at: float = 0.0
    seconds: float = 0.0
    stage_seconds: Mapping[Stage, float] = field(default_factory=dict)
    peer: str | None = None
    provider_message_id: str | None = None
    dialogue: str = ""

    def with_verdict(self, verdict: Verdict) -> tuple[str, ...]:
        """The recipients that got this verdict, in the job's order."""
        return tuple(address for address, result in self.results.items() if result.verdict is verdict)


@record(frozen=True, slots=True, kw_only=True, eq=False)
class Grant:
    """A request to hand one job's terminator to the server.

    `recipients` are those that the server took at RCPT (in a flight: all that were asked for), `refused` the others
    with their results, so that a journal can record them before they could become unknown.
    """

    job: Job
    recipients: tuple[str, ...]
    refused: Mapping[str, RecipientResult] = field(default_factory=dict)


# Called with the jobs about to be completed and the transactions finished since the last call; only the jobs that it
# returns may be completed. A job that is not returned ends as NOT_SENT/WITHHELD and the connection is closed without
# a terminator. Whatever it raises passes through `transact` after the connection was closed without a terminator.
Authorize = Callable[[Sequence[Grant], Sequence[Transaction]], Collection[Job]]


def allow_all(grants: Sequence[Grant], settled: Sequence[Transaction]) -> Collection[Job]:
    """The `authorize` of a direct send: nothing to journal."""
    return [grant.job for grant in grants]


# Steps.


@dataclass(slots=True, eq=False)
class Wait:
    """Go on when the wire is ready, or when the time is up.

    Attributes:
        for_write: whether room for writing counts, too.
        until: on the monotonic clock.
        is_ready: set by the driver: whether the wire is, as seen when it went on.
    """

    wire: "Wire"
    for_write: bool
    until: float
    is_ready: bool = False


@dataclass(slots=True, eq=False)
class Ask:
    """A question to `Authorize`. The driver sets `allowed`."""

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
        """Stop waiting: the call's result, now or later, goes to `late`."""
        with self._lock:
            self._late = late
            is_made, error = self._is_made, self._error
        if is_made and error is None:
            late(self._result)

    def steps(self, late: Callable[[T], object]) -> Generator["Aside[T]", None, T]:
        """Yield the call to the driver, and return its result; where the driver waits no more, that goes to `late`."""
        try:
            yield self
        except GeneratorExit:
            self.abandon(late)
            raise
        return self.result()

    @property
    def error(self) -> BaseException | None:
        """The exception that the call raised."""
        return self._error

    def result(self) -> T:
        """Return what the call returned; raise what it raised."""
        if self._error is not None:
            raise self._error
        result: T = self._result
        return result


WireStep = Wait | Ask | Aside[Any] | Transaction
WireSteps = Generator[WireStep, None, None]


class Transport(Protocol):
    """A receiver of a stream of jobs: an SMTP route, or the adapter of another backend. It writes `steps` alone."""

    def transact(self, jobs: Iterable[Job], *, deadline: Deadline, authorize: Authorize) -> Iterator[Transaction]:
        """Submit each job; yield one transaction for each, in order.

        The jobs are pulled one ahead of the wire, so an iterable that blocks delays the message before it: give a
        finite batch. Raises nothing for what happens on the wire: a connection that cannot be opened is a
        transaction with every recipient NOT_SENT (or REFUSED where the server said so).
        """
        return run(self.steps(jobs, deadline=deadline), authorize=authorize)

    def steps(self, jobs: Iterable[Job], *, deadline: Deadline) -> WireSteps:
        """Yield the steps of `transact`, for a driver that waits in its own way. One that stops early closes it."""


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
