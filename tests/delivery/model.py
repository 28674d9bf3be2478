"""A model of routes and servers for delivery's tests: what each server really has, whatever we were told."""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from reliable_email.delivery.direct import Delivery
from reliable_email.delivery.report import DeliveryReport
from reliable_email.delivery.route import Route
from reliable_email.delivery.route_memory import MemoryRouteStateStore
from reliable_email.delivery.submission import DeliveryOptions, Submission
from reliable_email.smtp.deadline import Deadline
from reliable_email.smtp.failures import FailureKind, WireFailure
from reliable_email.smtp.protocol.wire_content import BytesContent
from reliable_email.smtp.stages import Stage
from reliable_email.smtp.syntax.replies import parse_reply
from reliable_email.smtp.transaction import (
    Ask,
    Authorize,
    Grant,
    Job,
    RecipientResult,
    Transaction,
    Verdict,
    WireSteps,
    run,
)

START = 1_800_000_000.0


@dataclass(slots=True)
class Clock:
    """Time that passes when something takes time, and not otherwise."""

    at: float = START
    slept: list[float] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        """Let it pass."""
        self.slept.append(seconds)
        self.at += seconds

    def now(self) -> datetime:
        """The instant as a datetime."""
        return datetime.fromtimestamp(self.at, UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What one recipient meets in one transaction.

    Attributes:
        words: a reply, "" where there is none.
        stage: where it is said.
        kind: of an I/O failure; None where `words` says all.
        is_taken: whether the server really has the message.
        terminator: whether the message was completed.
    """

    words: str = ""
    stage: Stage = Stage.FINAL_REPLY
    kind: FailureKind | None = None
    is_taken: bool = False
    terminator: bool = True

    @property
    def result(self) -> RecipientResult:
        """What a transport says of it."""
        if self.kind is not None:
            failure = WireFailure(stage=self.stage, kind=self.kind, detail=f"{self.kind} at {self.stage}")
            return RecipientResult(verdict=Verdict.UNKNOWN if self.terminator else Verdict.NOT_SENT, failure=failure)
        reply = parse_reply(self.words)
        if reply.code < 400:
            return RecipientResult(verdict=Verdict.ACCEPTED, reply=reply)
        failure = WireFailure(stage=self.stage, kind=FailureKind.REFUSED, detail=self.words, reply=reply)
        return RecipientResult(verdict=Verdict.REFUSED, reply=reply, failure=failure)


TAKEN = Answer(words="250 2.0.0 queued", is_taken=True)
LOST = Answer(kind=FailureKind.DISCONNECTED, is_taken=True)
DOWN = Answer(kind=FailureKind.CONNECT_FAILED, stage=Stage.CONNECT, terminator=False)
NO_SUCH_USER = Answer(words="550 5.1.1 user unknown", stage=Stage.RCPT, terminator=False)
GREYLISTED = Answer(words="450 4.2.0 greylisted, try again later", stage=Stage.RCPT, terminator=False)
BUSY = Answer(words="451 4.3.0 temporary system problem")
LOGIN_REFUSED = Answer(words="535 5.7.8 authentication failed", stage=Stage.AUTH, terminator=False)
NO_QUOTA = Answer(words="550 5.4.5 Daily user sending quota exceeded")
STRANGE = Answer(words="554 this is said by nobody else")
SPAM = Answer(words="554 5.7.1 message rejected as spam")
TOO_LARGE = Answer(words="552 5.3.4 message size exceeds fixed maximum message size")
TOO_MANY = Answer(words="452 4.5.3 too many recipients", stage=Stage.RCPT, terminator=False)
TOO_FAST = Answer(words="450 4.7.1 rate limit exceeded, slow down", stage=Stage.MAIL, terminator=False)
NOT_YOURS = Answer(
    words="550 The from address does not match a verified Sender Identity. Mail cannot be sent until this is resolved."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One transaction, as a server saw it."""

    route: str
    message_id: str
    recipients: tuple[str, ...]
    answers: Mapping[str, Answer]
    at: float
    seconds: float
    content: bytes


class Server:
    """A transport whose every transaction is answered by a function of the test's.

    Args:
        alias: of its route.
        answer: gives each recipient's answer for this job.
        seconds: how long a transaction would take; never longer than its budget.
    """

    def __init__(
        self,
        alias: str,
        answer: Callable[[Job], Mapping[str, Answer]],
        *,
        clock: Clock,
        log: list[Asked],
        seconds: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self.alias = alias
        self._answer = answer
        self._clock = clock
        self._log = log
        self._seconds = seconds
        self.interrupt_after: int | None = None  # the process is interrupted behind so many transactions

    def transact(self, jobs: Iterable[Job], *, deadline: Deadline, authorize: Authorize) -> Iterator[Transaction]:
        """See `Transport.transact`."""
        return run(self.steps(jobs, deadline=deadline), authorize=authorize)

    def steps(self, jobs: Iterable[Job], *, deadline: Deadline) -> WireSteps:
        """See `Transport.steps`."""
        for number, job in enumerate(jobs):
            if number:
                deadline.renew()
            yield (yield from self._one(job, deadline))

    def _one(self, job: Job, deadline: Deadline) -> Generator[Ask, None, Transaction]:
        answers = self._answer(job)
        results = {address: answers[address].result for address in job.recipients}
        completed = tuple(address for address in job.recipients if answers[address].terminator)
        if completed:
            refused = {address: result for address, result in results.items() if address not in completed}
            ask = Ask([Grant(job=job, recipients=completed, refused=refused)], [])
            yield ask
            assert job in ask.allowed
        seconds = min(self._seconds(), deadline.seconds)
        assert isinstance(job.key, Submission)
        self._log.append(
            Asked(
                route=self.alias,
                message_id=job.key.message_id,
                recipients=job.recipients,
                answers=answers,
                at=self._clock.at,
                seconds=seconds,
                content=b"".join(job.content.chunks()),
            )
        )
        self._clock.at += seconds
        if len(self._log) == self.interrupt_after:
            raise KeyboardInterrupt
        stages = [answers[address].stage for address in job.recipients]
        return Transaction(
            job=job,
            results=results,
            stage=max(stages, key=list(Stage).index),
            terminator_sent=bool(completed),
            seconds=seconds,
        )


def submission(
    *recipients: str,
    number: int = 0,
    size: int = 0,
    domain: str = "example.org",
    options: DeliveryOptions | None = None,
) -> Submission:
    """A message to these recipients."""
    message_id = f"<{number}@{domain}>"
    content = f"Message-ID: {message_id}\r\n\r\n".encode()
    return Submission(
        message=None,
        sender=f"sender@{domain}",
        recipients=recipients,
        content=BytesContent(content + b"x" * max(0, size - len(content))),
        message_id=message_id,
        from_domain=domain,
        options=options or DeliveryOptions(),
    )


class World:
    """Routes in order, and what their servers saw."""

    def __init__(self, *, jitter: float = 1.0) -> None:
        self.clock = Clock()
        self.log: list[Asked] = []
        self.routes: list[Route] = []
        self.store = MemoryRouteStateStore(clock=lambda: self.clock.at)
        self.jitter = jitter
        self.interrupt_after: int | None = None

    def add(self, *answers: Answer, alias: str | None = None, seconds: float = 0.0, **changes: object) -> None:
        """A route that gives these answers in turn, to all recipients of a transaction alike; the last for ever."""
        left = list(answers)

        def answer(job: Job) -> Mapping[str, Answer]:
            one = left.pop(0) if len(left) > 1 else left[0]
            return dict.fromkeys(job.recipients, one)

        self.add_server(answer, alias=alias, seconds=lambda: seconds, **changes)

    def add_server(
        self,
        answer: Callable[[Job], Mapping[str, Answer]],
        *,
        alias: str | None = None,
        seconds: Callable[[], float] = lambda: 0.0,
        **changes: object,
    ) -> None:
        """A route that answers by a function."""
        name = alias or "abcdefgh"[len(self.routes)]
        server = Server(name, answer, clock=self.clock, log=self.log, seconds=seconds)
        server.interrupt_after = self.interrupt_after
        self.routes.append(Route(alias=name, transport=server, **changes))  # type: ignore[arg-type]

    def deliver(self, *submissions: Submission, timeout: float | None = None) -> list[DeliveryReport]:
        """Deliver them as one batch."""
        return self.delivery(timeout=timeout).deliver(submissions)

    def delivery(self, *, timeout: float | None = None) -> Delivery:
        """A batch to come."""
        return Delivery(
            self.routes,
            store=self.store,
            timeout=timeout,
            sleep=self.clock.sleep,
            random=lambda: self.jitter,
            now=self.clock.now,
        )

    @property
    def asked(self) -> Sequence[str]:
        """The routes in the order in which they were asked."""
        return [one.route for one in self.log]
