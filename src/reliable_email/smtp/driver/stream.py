"""The order of a stream of jobs on one connection: one after the other, chained, or in flights.

Chained, which is the rule: permission is asked for before each terminator, and the next job's envelope goes out behind
the terminator. At most one job's outcome is open at a time. What is chained and gets no answer that counts goes back,
first in its source, and is asked by itself (see `smtp.driver.learned_limits`).

In flights (RFC 3030, only where the options ask for it): up to `flight` jobs whose policy allows a second copy are on
their way at once, envelope and content in one piece. The window is refilled after every reply: one that is refilled
when it is half empty meets the server's Nagle and our delayed acknowledgement, and stands still for 40 ms each time.
Permission is asked for once for a whole flight, with the recipients that are about to be asked for. A server that hangs
up on a flight gets no more of them for an hour: some count each message without a valid recipient as a protocol error,
and hang up after the third.
"""

import time
from collections import deque
from collections.abc import Generator, Iterable
from dataclasses import replace

from reliable_email.smtp.deadline import Deadline
from reliable_email.smtp.driver.connection import Connection
from reliable_email.smtp.driver.learned_limits import Trial
from reliable_email.smtp.failures import FailureKind, WireFailure
from reliable_email.smtp.protocol.conversation import is_about_conversation
from reliable_email.smtp.protocol.events import NotAsked
from reliable_email.smtp.protocol.exchange import raised
from reliable_email.smtp.protocol.wire_content import InvalidContent, for_the_wire
from reliable_email.smtp.stages import Stage
from reliable_email.smtp.syntax.paths import deduplicate
from reliable_email.smtp.transaction import Ask, Grant, Job, RecipientResult, Transaction, Verdict, Wait

# A flight's content is in memory, and goes out before anybody has said that he wants it.
MAX_FLYING_BYTES = 256 * 1024
# Exim ends a session after eleven commands that begin no message, and counts a RSET behind a refused flight as one.
MAX_COUNTED_RESETS = 10
_FEW_REFUSED = 3  # a server of another name is taken for an Exim only from then on


class Stream:
    """The jobs of one connection, sent one after the other.

    Args:
        connection: established and idle.
        jobs: pulled one ahead of the wire; what was pulled is always answered.
        settled: finished transactions that no `Ask` has told yet; the stream adds its own.
        trial: what is found out about chaining.
    """

    def __init__(
        self,
        connection: Connection,
        jobs: Iterable[Job],
        *,
        deadline: Deadline,
        settled: list[Transaction],
        trial: Trial,
    ) -> None:
        self._connection = connection
        self._source = iter(jobs)
        self._deadline = deadline
        self._settled = settled
        self._trial = trial
        self._order: deque[Job] = deque()  # begun, oldest first
        self._cleared: deque[Job] = deque()  # authorized and not yet flying
        self._flown: set[int] = set()  # ids of those in `_order` that went out in a flight
        self._unbegun: dict[int, Transaction] = {}
        self._set_aside: Job | None = None  # pulled, and of another kind than those before it
        self._not_asked: Job | None = None  # the last one
        self._why: NotAsked | None = None
        self._chained: Job | None = None  # its envelope is out behind a terminator, or it was
        self._has_begun = False

    def steps(self) -> Generator[Wait | Ask | Transaction, None, None]:
        """Submit jobs as long as the connection lasts and has room; see `Transport.steps`."""
        connection = self._connection
        try:
            while self._order or self._cleared or self._may_pull():
                self._give_up_cleared()
                if not self._order and not (yield from self._launch()):
                    return
                head = self._order[0]
                is_due = lambda: connection.wanted is not None or self._is_over(head)  # noqa: B023, E731
                yield from connection.steps(is_due, self._deadline)
                while self._order and self._is_over(self._order[0]):
                    transaction = self._land()
                    if transaction is not None:
                        yield transaction
                if connection.wanted is not None:
                    yield from self._complete()
                elif self._cleared or self._flies_now():
                    yield from self._refill()
        finally:
            # A driver that stops early, or whose `Ask` failed: nothing half-said may stay behind.
            if connection.session.open_exchanges:
                connection.abort()
            connection.idle_since = time.monotonic()

    @property
    def left_over(self) -> Job | None:
        """A job that was pulled and not begun, or not asked, where the connection ended first."""
        return self._set_aside

    @property
    def left_over_why(self) -> NotAsked | None:
        """The reason why the job that is left over was not asked, if it was begun."""
        return self._why if self._set_aside is not None and self._set_aside is self._not_asked else None

    # Pulling.

    def _may_pull(self) -> bool:
        return not self._connection.is_broken and self._connection.has_room

    def _next(self) -> Job | None:
        job, self._set_aside = self._set_aside, None
        return job if job is not None else next(self._source, None)

    def _follows(self, job: Job) -> bool:
        """Return whether the job may use this connection after others; if not, it is set aside."""
        if not self._connection.session.fits(job):
            self._connection.retire()  # it must not be the next one, too
        elif not job.is_repeat or not self._has_begun or job is self._not_asked:
            return True
        self._set_aside = job
        return False

    def _launch(self) -> Generator[Ask, None, bool]:
        """Begin with the next job, as it can go; False where there is none."""
        if self._cleared:
            yield from self._refill()
            return True
        job = self._next()
        if job is None or not self._follows(job):
            return False
        if self._has_begun and job is not self._not_asked:
            self._deadline.renew()
        self._has_begun = True
        if self._can_fly(job):
            self._set_aside = job
            yield from self._refill()
        else:
            self._order.append(job)
            self._connection.begin(job)
        return True

    def _is_over(self, job: Job) -> bool:
        return id(job) in self._unbegun or self._connection.has_finished(job)

    def _land(self) -> Transaction | None:
        """The oldest job's transaction; None where it turned out that it was not asked."""
        job = self._order.popleft()
        event = self._connection.take_not_asked(job)
        if event is not None:
            self._trial.not_asked(job, event)
            self._set_aside = self._not_asked = job  # nothing was pulled behind it
            self._why = event
            self._chained = None
            return None
        transaction = self._unbegun.pop(id(job), None) or self._connection.take(job)
        if job.may_resend and self._connection.options.flight > 1 and not transaction.with_verdict(Verdict.ACCEPTED):
            self._connection.refused_flights += 1
            if self._connection.refused_flights >= MAX_COUNTED_RESETS:
                self._connection.retire()
        self._trial.concluded(transaction)
        if id(job) in self._flown:
            self._flown.remove(id(job))
            if transaction.with_verdict(Verdict.UNKNOWN):
                self._trial.flight_was_lost()
        if self._order:
            self._deadline.renew()
        if self._chained is job:
            self._chained = None
        elif self._chained is not None and _is_odd(transaction):
            self._trial.blame()
        self._settled.append(transaction)
        return transaction

    # One after the other.

    def _complete(self) -> Generator[Wait | Ask, None, None]:
        """Stream the content, ask for permission, hand over the terminator and the next job's envelope."""
        connection = self._connection
        wanted = connection.wanted
        assert wanted is not None
        if self._chained is wanted.job:
            self._trial.passed()
        self._chained = None
        self._trial.is_wanted(wanted.job)
        try:
            last_piece = yield from connection.stream(for_the_wire(wanted.content), self._deadline)
        except Exception as error:  # noqa: BLE001 - it was looked at before, and its code is other people's
            is_invalid = isinstance(error, InvalidContent)
            failure = raised(Stage.CONTENT, error)
            connection.give_up(replace(failure, kind=FailureKind.INVALID_CONTENT) if is_invalid else failure)
            return
        if last_piece is None:
            return
        grant = Grant(job=wanted.job, recipients=wanted.recipients, refused=wanted.refused)
        ask = Ask([grant], self._seen())
        yield ask
        if wanted.job not in ask.allowed:
            connection.withhold()
            return
        if connection.complete(last_piece) and not wanted.job.is_repeat:
            self._chain()

    def _chain(self) -> None:
        connection = self._connection
        while self._may_pull() and connection.session.is_pipelining and self._trial.may_chain():
            job = self._next()
            if job is None or not self._follows(job):
                return
            if self._can_fly(job) or self._trial.goes_alone(job):
                self._set_aside = job  # it begins when what is on its way has landed
                return
            self._order.append(job)
            connection.begin(job)
            if not connection.has_finished(job):  # else it was refused here, and the next one may go
                self._chained = job
                return

    def _seen(self) -> list[Transaction]:
        seen = list(self._settled)
        self._settled.clear()
        return seen

    # In flights.

    def _can_fly(self, job: Job) -> bool:
        session = self._connection.session
        return (
            self._connection.options.flight > 1
            and job.may_resend
            and not self._trial.goes_alone(job)
            and not self._trial.flights_are_lost()
            and session.is_pipelining
            and session.capabilities.chunking
            and _is_small(job)
        )

    def _flies_now(self) -> bool:
        return bool(self._order) and self._can_fly(self._order[-1])

    def _refill(self) -> Generator[Ask, None, None]:
        """Keep the window full with what is cleared; clear another flight when there is nothing left."""
        connection = self._connection
        while not connection.is_broken and connection.session.open_exchanges < connection.options.flight:
            if not self._cleared and not (yield from self._clear()):
                return
            if self._cleared:
                job = self._cleared.popleft()
                self._order.append(job)
                try:
                    chunks = list(job.content.chunks())
                except Exception as error:  # noqa: BLE001 - code of other people's
                    self._unbegun[id(job)] = _not_sent(job, raised(Stage.CONTENT, error))
                else:
                    self._flown.add(id(job))
                    connection.fly(job, chunks)

    def _give_up_cleared(self) -> None:
        """Answer for jobs that had permission when the connection ended: they were never on it."""
        while self._cleared and self._connection.is_broken:
            job = self._cleared.popleft()
            self._order.append(job)
            self._unbegun[id(job)] = _not_begun(
                job, FailureKind.DISCONNECTED, "the connection ended before the message's turn"
            )

    def _clear(self) -> Generator[Ask, None, bool]:
        """Ask for permission for another flight; False where no job can join it."""
        jobs: list[Job] = []
        limit = min(self._connection.options.flight, self._connection.room, self._resets_left())
        while len(jobs) < limit:
            job = self._next()
            if job is None:
                break
            if not self._can_fly(job):
                self._set_aside = job
                break
            jobs.append(job)
        if not jobs:
            return False
        grants = [Grant(job=job, recipients=deduplicate(job.recipients)) for job in jobs]
        ask = Ask(grants, self._seen())
        yield ask
        for job in jobs:
            if job in ask.allowed:
                self._cleared.append(job)
            else:  # nothing of it is on the wire, so the connection need not end
                self._order.append(job)
                self._unbegun[id(job)] = _not_begun(
                    job, FailureKind.WITHHELD, "the permission to hand the message over was not given"
                )
        return True

    def _resets_left(self) -> int:
        """Return how many more messages may fly, if each of them should be refused."""
        session, refused = self._connection.session, self._connection.refused_flights
        greeting = session.greeting.text.lower() if session.greeting is not None else ""
        if refused < _FEW_REFUSED and "exim" not in greeting:
            return self._connection.options.flight
        return MAX_COUNTED_RESETS - refused - session.open_exchanges


def _is_small(job: Job) -> bool:
    try:
        return job.content.size <= MAX_FLYING_BYTES
    except Exception:  # noqa: BLE001 - code of other people's; it is told as this job's failure when it is begun
        return False


def _is_odd(transaction: Transaction) -> bool:
    """Return whether the final reply is about the commands that followed the terminator."""
    return transaction.reply is not None and is_about_conversation(transaction.reply)


def _not_begun(job: Job, kind: FailureKind, detail: str) -> Transaction:
    return _not_sent(job, WireFailure(stage=Stage.MAIL, kind=kind, detail=detail))


def _not_sent(job: Job, failure: WireFailure) -> Transaction:
    result = RecipientResult(verdict=Verdict.NOT_SENT, failure=failure)
    results = dict.fromkeys(deduplicate(job.recipients), result)
    return Transaction(job=job, results=results, stage=failure.stage, failure=failure)
