"""The SMTP transport: a stream of jobs over pooled connections.

A connection that had been in use and turns out to be gone before a job's terminator was even asked for (idle close,
`421` waiting in the buffer, a limit of messages per connection, a refused RSET) is replaced once for that job, unseen
by the caller: the server has nothing of the message, and no attempt is lost. So is one on which a chained envelope got
no answer that counts (see `smtp.driver.learned_limits`).
"""

import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from functools import partial

from reliable_email.smtp.deadline import Deadline
from reliable_email.smtp.driver import learned_limits
from reliable_email.smtp.driver.first_logins import is_login_refused
from reliable_email.smtp.driver.learned_limits import Trial
from reliable_email.smtp.driver.pool import pool
from reliable_email.smtp.driver.stream import Stream
from reliable_email.smtp.failures import FailureKind, WireError, WireFailure
from reliable_email.smtp.options import ConnectionOptions
from reliable_email.smtp.protocol.conversation import is_session_limit
from reliable_email.smtp.stages import Stage
from reliable_email.smtp.syntax.paths import deduplicate
from reliable_email.smtp.transaction import (
    Aside,
    Job,
    RecipientResult,
    Transaction,
    Transport,
    Verdict,
    WireSteps,
)

_BEFORE_CONTENT = (Stage.MAIL, Stage.RCPT, Stage.DATA)


class SMTPTransport(Transport):
    """The SMTP transport of one route."""

    def __init__(self, options: ConnectionOptions) -> None:
        self.options = options

    def steps(self, jobs: Iterable[Job], *, deadline: Deadline) -> WireSteps:
        """Yield the steps of sending: waits for the wire, questions, and finished transactions."""
        source, trial = _Source(jobs), Trial(self.options)
        settled: list[Transaction] = []
        replaced: set[int] = set()
        suspected: dict[int, int] = {}  # jobs that may have met a limit of a session, and behind how many messages
        login_refused: WireError | None = None
        try:
            while source.has_more():
                if source.is_new_turn:
                    deadline.renew()
                fresh = source.wants_fresh
                began_at = time.monotonic()
                try:
                    if login_refused is not None:
                        raise login_refused
                    acquiring = Aside(partial(pool.acquire, self.options, deadline=deadline, fresh=fresh))
                    connection, was_used = yield from acquiring.steps(lambda acquired: pool.release(acquired[0]))
                except WireError as error:
                    if is_login_refused(error):
                        # The same credentials once more, for each message, would lock the account.
                        login_refused = error
                    transaction = not_opened(next(source), error, began_at=began_at)
                    settled.append(transaction)
                    yield transaction
                    continue
                try:
                    stream = Stream(connection, source, deadline=deadline, settled=settled, trial=trial)
                    with closing(stream.steps()) as steps:
                        for step in steps:
                            if not isinstance(step, Transaction):
                                yield step
                                continue
                            was_used_for_it = was_used
                            was_used = True
                            if suspected:
                                self._learn_limit(step, suspected)
                            is_limit = connection.message_count > 1 and _is_session_limit(step)
                            if is_limit and not connection.session.open_exchanges:
                                connection.retire()
                            if (
                                was_used_for_it
                                and id(step.job) not in replaced
                                and (_is_replaceable(step) or (is_limit and not connection.has_room))
                            ):
                                settled.remove(step)
                                replaced.add(id(step.job))
                                if is_limit:
                                    suspected[id(step.job)] = connection.message_count - 1
                                source.put_back(step.job)
                                continue
                            yield step
                    if stream.left_over is not None:
                        why = stream.left_over_why
                        source.put_back(stream.left_over, is_repeat=why is not None)
                        reply = why.failure.reply if why is not None else None
                        if reply is not None and is_session_limit(reply, at_mail=True):
                            suspected[id(stream.left_over)] = connection.message_count - 1
                finally:
                    pool.release(connection)
        finally:
            trial.close()

    def _learn_limit(self, transaction: Transaction, suspected: dict[int, int]) -> None:
        """Learn a session's number of messages, if a job that was refused behind them passes on a new connection."""
        completed = suspected.pop(id(transaction.job), 0)
        is_answered = any(result.reply is not None for result in transaction.results.values())
        if completed > 0 and is_answered and not _is_session_limit(transaction):
            learned_limits.learn_messages_per_connection(self.options.host, self.options.port, completed)

    def probe(self, deadline: Deadline) -> WireFailure | None:
        """Connect, do TLS and log in without a message; what went wrong, None where all is well.

        Nothing is done where a connection is at work: that one proves more.
        """
        if pool.is_in_use(self.options):
            return None
        try:
            connection, _ = pool.acquire(self.options, deadline=deadline, fresh=True)
        except WireError as error:
            return error.failure
        pool.release(connection)
        return None

    def is_full(self) -> bool:
        """Return whether all allowed connections are in use."""
        return pool.is_full(self.options)


class _Source(Iterator[Job]):
    """The caller's jobs, with one that can be put back."""

    def __init__(self, jobs: Iterable[Job]) -> None:
        self._jobs = iter(jobs)
        self._ahead: list[Job] = []
        self._taken = 0
        self.is_repeat = False  # whether the next one was put back

    @property
    def is_new_turn(self) -> bool:
        """True if the next job is another message than the first, and so has its own time budget."""
        return self._taken > 0 and not self.is_repeat

    @property
    def wants_fresh(self) -> bool:
        """True if the next job should use a new connection."""
        return self.is_repeat or any(job.is_repeat for job in self._ahead[:1])

    def put_back(self, job: Job, *, is_repeat: bool = True) -> None:
        self._ahead.append(job)
        self.is_repeat |= is_repeat

    def has_more(self) -> bool:
        if not self._ahead:
            following = next(self._jobs, None)
            if following is None:
                return False
            self._ahead.append(following)
        return True

    def __next__(self) -> Job:
        self.is_repeat = False
        self._taken += 1
        if self._ahead:
            return self._ahead.pop(0)
        return next(self._jobs)


def _is_replaceable(transaction: Transaction) -> bool:
    failure = transaction.failure
    if failure is None or transaction.stage not in _BEFORE_CONTENT or transaction.content_bytes:
        return False
    is_gone = failure.kind is FailureKind.DISCONNECTED or (
        failure.kind is FailureKind.REFUSED and failure.reply is not None and failure.reply.code == 421
    )
    all_not_sent = all(result.verdict is Verdict.NOT_SENT for result in transaction.results.values())
    # A refused RSET ends as NOT_SENT with the refusal: no recipient was asked for.
    is_reset_refused = failure.kind is FailureKind.REFUSED and failure.stage is Stage.MAIL
    return all_not_sent and (is_gone or is_reset_refused)


def _is_session_limit(transaction: Transaction) -> bool:
    """Return whether only a limit of the session stood against the message, as far as the words tell."""
    if transaction.content_bytes or any(one.verdict is Verdict.ACCEPTED for one in transaction.results.values()):
        return False
    at_mail = transaction.stage is Stage.MAIL
    failures = [one.failure for one in transaction.results.values()]
    replies = [failure.reply for failure in failures if failure is not None]
    if transaction.stage not in _BEFORE_CONTENT:
        return False
    return any(reply is not None and is_session_limit(reply, at_mail=at_mail) for reply in replies)


def not_opened(job: Job, error: WireError, *, began_at: float) -> Transaction:
    """Return the transaction of a job that got no connection, so that no recipient was asked for."""
    failure = error.failure
    seconds = time.monotonic() - began_at
    result = RecipientResult(verdict=Verdict.NOT_SENT, reply=failure.reply, failure=failure)
    return Transaction(
        job=job,
        results=dict.fromkeys(deduplicate(job.recipients), result),
        stage=failure.stage,
        failure=failure,
        reply=failure.reply,
        started_at=began_at,
        seconds=seconds,
        stage_seconds={failure.stage: seconds},  # what came before it took its part of this
        peer=failure.peer,
        dialogue=error.dialogue,
    )
