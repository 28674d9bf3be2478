"""How far each recipient and each message of a batch has come: the notes that a direct delivery keeps."""

from collections import deque
from collections.abc import Collection
from dataclasses import dataclass, field

from reliable_email.classification import Cause, Failure
from reliable_email.delivery.failures import local_failure
from reliable_email.delivery.report import Attempt, DeliveryReport, Outcome, RecipientOutcome, Recipients
from reliable_email.delivery.submission import Submission
from reliable_email.smtp.deadline import Deadline
from reliable_email.smtp.stages import Stage
from reliable_email.smtp.transaction import Job, RecipientResult, Transaction, Verdict

# What does not count against a message's budget: content that gets on, and the wait for the final reply.
_FREE_STAGES = (Stage.CONTENT, Stage.FINAL_REPLY)


@dataclass(slots=True)
class RecipientWay:
    """One recipient's way so far."""

    address: str
    outcome: Outcome | None = None  # None while something may still be tried
    failure: Failure | None = None
    result: RecipientResult | None = None
    route: str | None = None
    attempts: int = 0
    only_route: str | None = None  # greylisting and full mailboxes stay with the route that met them
    may_ask_one_other: bool = True
    excluded: set[str] = field(default_factory=set)
    splits: int = 0
    may_have_it: bool = False  # an attempt ended as unknown; only an acceptance can make that better
    too_large_for: set[str] = field(default_factory=set)
    passed_over: set[str] = field(default_factory=set)  # routes that were closed when it was their turn

    def told(self) -> RecipientOutcome:
        """What became of it, as far as anybody knows."""
        outcome = self.outcome
        failure = self.failure
        if outcome is None:
            # Nothing was left to try. Whether it could be later is the last failure's word.
            outcome = Outcome.DEFERRED
            if failure is None:
                failure = local_failure(Cause.TIMEOUT, "the message's time was over before any route could be asked")
        if self.may_have_it and outcome is not Outcome.ACCEPTED:
            # What a later attempt was told says nothing about the copy that may have been taken.
            outcome = Outcome.UNKNOWN
        return RecipientOutcome(
            outcome=outcome,
            cause=failure.cause if failure is not None else None,
            reply=self.result.reply if self.result is not None else None,
            route=self.route,
            attempts=self.attempts,
            failure=failure,
        )


@dataclass(slots=True, eq=False)
class MessageWay:
    """One submission's way so far."""

    submission: Submission
    recipients: list[RecipientWay]
    seconds_left: float
    attempts: list[Attempt] = field(default_factory=list)
    asked_this_round: set[tuple[str, str]] = field(default_factory=set)  # (route, address)
    asked: dict[str, int] = field(default_factory=dict)  # transactions by route

    @property
    def open_recipients(self) -> list[RecipientWay]:
        """Those for whom something may still be tried."""
        return [one for one in self.recipients if one.outcome is None]

    def report(self) -> DeliveryReport:
        """What became of it."""
        return DeliveryReport(
            recipients=Recipients({one.address: one.told() for one in self.recipients}),
            attempts=tuple(self.attempts),
            message_id=self.submission.message_id,
        )


@dataclass(frozen=True, slots=True)
class Work:
    """A job, whose it is, and for whom."""

    job: Job
    message: MessageWay
    recipients: tuple[RecipientWay, ...]
    reserved: int
    is_probe: bool

    def doubt(self, route: str, addresses: Collection[str], failure: Failure) -> None:
        """Nobody will read the reply to what was handed over for these addresses."""
        for recipient in self.recipients:
            if recipient.outcome is None and recipient.address in addresses:
                recipient.may_have_it = True
                recipient.route = route
                recipient.failure = failure


class Turns(Deadline):
    """The budgets of a stream's messages: each turn has what its own message has left by then.

    Parts of one message share its budget, so it is read when the turn begins and not when the stream does.
    """

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        super().__init__(0.0)
        self._waiting: deque[MessageWay] | None = None

    def add(self, message: MessageWay) -> None:
        """A job of this message was handed over; the first one's turn begins at once."""
        if self._waiting is None:
            self._waiting = deque()
            self._begin(message)
        else:
            self._waiting.append(message)

    def renew(self) -> None:
        """See `Deadline.renew`."""
        if self._waiting:
            self._begin(self._waiting.popleft())
        else:
            super().renew()

    def _begin(self, message: MessageWay) -> None:
        self.seconds = max(message.seconds_left, 0.001)
        super().renew()


def counted_seconds(transaction: Transaction) -> float:
    """What a transaction took of its message's budget."""
    if not transaction.stage_seconds:
        return transaction.seconds
    return sum(seconds for stage, seconds in transaction.stage_seconds.items() if stage not in _FREE_STAGES)


def outcome_of_attempt(recipient: RecipientWay) -> Outcome:
    """What its last attempt came to, which is not what becomes of it in the end."""
    if recipient.result is not None and recipient.result.verdict is Verdict.UNKNOWN:
        return Outcome.UNKNOWN
    return recipient.outcome or Outcome.DEFERRED
