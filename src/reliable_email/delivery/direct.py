"""The delivery of submissions over ordered routes, at once: rounds over the routes, inside each message's own budget.

A batch goes by streams, so that messages overlap on a pipelined wire. Who is asked next, and what an answer means for
whom, is `passage`'s word alone. What is decided here is time: each message has a budget, between rounds there is a
short pause with full jitter, and whoever interrupts finds out what became of what was under way.

Guarantees: every recipient ends with an outcome, and nothing raises for what happens on a route.
"""

import logging
import random as _random
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from datetime import UTC, datetime

from reliable_email.classification import Cause, Failure
from reliable_email.delivery import registry
from reliable_email.delivery.content.prefixed import with_header
from reliable_email.delivery.failures import interrupted, local_failure, never_tried, raised
from reliable_email.delivery.passages.passage import Passage
from reliable_email.delivery.passages.progress import DIRECT, Fate, Progress, Send
from reliable_email.delivery.policy import direct_delay
from reliable_email.delivery.report import Attempt, DeliveryReport, Outcome, RecipientOutcome, Recipients
from reliable_email.delivery.route import Route
from reliable_email.delivery.route_memory import RouteStateStore
from reliable_email.delivery.submission import Priority, Submission
from reliable_email.records import dataclass, field
from reliable_email.smtp.deadline import Deadline
from reliable_email.smtp.dsn import dsn_from
from reliable_email.smtp.stages import Stage
from reliable_email.smtp.transaction import Grant, Job, Transaction

logger = logging.getLogger("reliable_email.delivery")

# What does not count against a message's budget: content that gets on, and the wait for the final reply.
_FREE_STAGES = (Stage.CONTENT, Stage.FINAL_REPLY)
_OUTCOMES = {Fate.ACCEPTED: Outcome.ACCEPTED, Fate.REJECTED: Outcome.REJECTED, Fate.UNKNOWN: Outcome.UNKNOWN}


@dataclass(slots=True, eq=False)
class _Message:
    """One submission on its way: what is left of its time, and its history."""

    submission: Submission
    passage: Passage
    seconds_left: float
    attempts: list[Attempt] = field(default_factory=list)

    def report(self) -> DeliveryReport:
        return DeliveryReport(
            recipients=Recipients({one.address: told(one) for one in self.passage.recipients}),
            attempts=tuple(self.attempts),
            message_id=self.submission.message_id,
        )


@dataclass(slots=True, eq=False)
class _Turn:
    """A job that a transport has taken and not answered yet; `handed_over` are those who may get it already."""

    message: _Message
    send: Send
    job: Job
    handed_over: Collection[str] = ()


class Delivery:
    """One batch over one list of routes; see the module.

    Args:
        routes: in order of preference, at least one.
        store: what is remembered of them.
        timeout: seconds for one message over all routes; None for the sum of theirs.
        on_attempt: called after each attempt of each message.
        routes_of: those among the routes by which a message may go; all by default.
        sleep, random, now: the world, for tests.
    """

    def __init__(
        self,
        routes: Sequence[Route],
        *,
        store: RouteStateStore,
        timeout: float | None = None,
        on_attempt: Callable[[Submission, Attempt], None] | None = None,
        routes_of: Callable[[Submission], Sequence[Route]] | None = None,
        sleep: Callable[[float], None] = time.sleep,
        random: Callable[[], float] = _random.random,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._routes = list(routes)
        self._store = store
        self._timeout = timeout if timeout is not None else sum(route.timeout for route in routes)
        self._on_attempt = on_attempt
        self._routes_of = routes_of or (lambda submission: self._routes)
        self._sleep = sleep
        self._random = random
        self._now = now
        self._messages: list[_Message] = []

    @property
    def reports(self) -> list[DeliveryReport]:
        """The report of each submission, in order; as far as it is known, if `deliver` was interrupted."""
        return [message.report() for message in self._messages]

    def deliver(self, submissions: Iterable[Submission]) -> list[DeliveryReport]:
        """Deliver each submission, and report what became of it, in order.

        What is no failure of a route (Ctrl-C, the time limit of a task) is raised, and `reports` answers all the same.
        """
        said: dict[str, Failure] = {}
        self._messages = [self._message(one, said) for one in submissions]
        try:
            self._suppress()
            for number in range(1, max(route.max_attempts for route in self._routes) + 1):
                if number > 1 and not self._pause(number):
                    break
                self._round()
            for message in self._messages:
                message.passage.close()
        except BaseException as error:
            self._note_interruption(error)
            raise
        return self.reports

    def _message(self, submission: Submission, said: dict[str, Failure]) -> _Message:
        passage = Passage(
            [Progress(address) for address in submission.recipients],
            self._routes_of(submission),
            self._store,
            DIRECT,
            from_domain=submission.from_domain,
            size=submission.content.size,
            priority=submission.options.priority or Priority.NORMAL,
            on_unknown=submission.options.on_unknown,
            said=said,
        )
        return _Message(submission, passage, self._timeout)

    def _suppress(self) -> None:
        """Reject recipients on the suppression list before any route is asked."""
        everybody = [one for message in self._messages for one in message.passage.recipients]
        lookup = registry.suppression_lookup
        if lookup is None or not everybody:
            return
        unwanted = set(lookup(sorted({one.address for one in everybody})))
        for one in everybody:
            if one.address in unwanted:
                one.fate = Fate.REJECTED
                one.failure = local_failure(Cause.SUPPRESSED, "the address is on the suppression list")

    def _note_interruption(self, error: BaseException) -> None:
        for message in self._messages:
            for one in message.passage.open:
                if one.failure is None:
                    one.failure = interrupted(error, may_have_it=False)

    # Rounds.

    def _round(self) -> None:
        for message in self._messages:
            message.passage.begin_round()
        while True:
            plan: dict[str, list[tuple[_Message, Send]]] = {}
            for message in self._messages:
                if message.seconds_left > 0:
                    for send in message.passage.next_sends():
                        # What is to go alone has a stream of its own.
                        key = f"{send.route.alias}\0{id(send)}" if send.is_alone else send.route.alias
                        plan.setdefault(key, []).append((message, send))
            if not plan:
                return
            for sends in plan.values():
                self._run(sends[0][1].route, sends)

    def _pause(self, number: int) -> bool:
        """Wait before a further round; return False if it would ask no route."""
        waiting = [one for one in self._messages if one.seconds_left > 0 and one.passage.may_ask_again()]
        if not waiting:
            return False
        seconds = direct_delay(number - 1, jitter=self._random())
        # All that have recipients left wait too: a route that was closed to them may be open after the pause.
        for message in self._messages:
            if message.passage.open:
                message.seconds_left -= seconds
        if all(message.seconds_left <= 0 for message in waiting):
            return False
        self._sleep(seconds)
        return True

    # Sending.

    def _run(self, route: Route, sends: Iterable[tuple[_Message, Send]]) -> None:
        """Send by one route. Code that raises ends the attempt of the message that it was about, and no other."""
        waiting = deque(sends)
        while waiting:
            turns: dict[int, _Turn] = {}
            try:
                self._stream(route, waiting, turns)
            except Exception as error:
                logger.exception("Sending by the route %s raised an error", route.alias)
                if not turns:
                    message, send = waiting.popleft()
                    turns[0] = _Turn(message, send, _job(message, send))
                is_clear = len(turns) == 1
                for turn in turns.values():
                    if turn.handed_over or is_clear:
                        self._take(turn, raised(turn.job, error, handed_over=turn.handed_over))
                    else:
                        self._run(route, [(turn.message, turn.send)])  # by itself it shows whether it is to blame
            except BaseException as error:
                for turn in turns.values():
                    turn.send.passage.lose(turn.send, turn.handed_over, interrupted(error, may_have_it=True))
                raise
            else:
                for turn in turns.values():  # a transport that forgot a job has not sent it
                    self._take(turn, never_tried(turn.job))

    def _stream(self, route: Route, waiting: deque[tuple[_Message, Send]], turns: dict[int, _Turn]) -> None:
        deadline = _Turns()

        def jobs() -> Iterator[Job]:
            while waiting:
                message, send = waiting.popleft()
                if not message.passage.may_still_go(send):
                    continue  # what happened before its turn has closed the route
                if message.seconds_left <= 0:
                    message.passage.withdraw(send)  # other parts of it have used up its time
                    continue
                deadline.add(message)
                job = _job(message, send)
                turns[id(job)] = _Turn(message, send, job)
                yield job

        def authorize(grants: Sequence[Grant], settled: Sequence[Transaction]) -> Collection[Job]:
            for grant in grants:
                turns[id(grant.job)].handed_over = grant.recipients
            return [grant.job for grant in grants]

        for transaction in route.transport.transact(jobs(), deadline=deadline, authorize=authorize):
            self._take(turns.pop(id(transaction.job)), transaction)

    def _take(self, turn: _Turn, transaction: Transaction) -> None:
        message, send = turn.message, turn.send
        message.seconds_left -= counted_seconds(transaction)
        message.passage.take(send, transaction, now=self._now())
        attempt = Attempt(
            route=send.route.alias,
            stage=transaction.stage,
            started_at=self._now(),
            seconds=transaction.seconds,
            outcomes=send.outcomes,
            failure=send.failure,
            reply=transaction.reply,
            peer=transaction.peer,
        )
        message.attempts.append(attempt)
        if self._on_attempt is not None:
            self._on_attempt(message.submission, attempt)


class _Turns(Deadline):
    """The budgets of a stream's messages: each turn has what its own message has left by then.

    Parts of one message share its budget, so it is read when the turn begins and not when the stream does.
    """

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        super().__init__(0.0)
        self._waiting: deque[_Message] | None = None

    def add(self, message: _Message) -> None:
        """Note that a job of this message was handed over; the first one's turn begins at once."""
        if self._waiting is None:
            self._waiting = deque()
            self._begin(message)
        else:
            self._waiting.append(message)

    def renew(self) -> None:
        """Start the time budget of the next message in line; without one, renew as the base class does."""
        if self._waiting:
            self._begin(self._waiting.popleft())
        else:
            super().renew()

    def _begin(self, message: _Message) -> None:
        self.seconds = max(message.seconds_left, 0.001)
        super().renew()


def _job(message: _Message, send: Send) -> Job:
    submission, route = message.submission, send.route
    content = submission.content
    if route.idempotency_header is not None:
        value = submission.options.idempotency_key or submission.message_id.strip("<>")
        content = with_header(content, route.idempotency_header, value)
    return Job(
        sender=submission.sender,
        recipients=send.addresses,
        content=content,
        key=submission,
        may_resend=send.may_resend,
        dsn=dsn_from(submission.options.dsn) if submission.options.dsn is not None else None,
        is_repeat=send.is_repeat,
    )


def told(one: Progress) -> RecipientOutcome:
    """Return the outcome of a recipient, as far as it is known."""
    outcome = _OUTCOMES.get(one.fate, Outcome.DEFERRED)
    failure = one.failure
    if outcome is Outcome.DEFERRED and failure is None:
        # Nothing was left to try. Whether it could be later is the last failure's word.
        failure = local_failure(Cause.TIMEOUT, "the message's time was over before any route could be asked")
    if one.is_doubted and outcome is not Outcome.ACCEPTED:
        # What a later attempt was told says nothing about the copy that may have been taken.
        outcome = Outcome.UNKNOWN
    return RecipientOutcome(
        outcome=outcome,
        cause=failure.cause if failure is not None else None,
        reply=one.result.reply if one.result is not None else None,
        route=one.route,
        attempts=one.attempts,
        failure=failure,
    )


def counted_seconds(transaction: Transaction) -> float:
    """Return what a transaction took of its message's budget."""
    if not transaction.stage_seconds:
        return transaction.seconds
    return sum(seconds for stage, seconds in transaction.stage_seconds.items() if stage not in _FREE_STAGES)
