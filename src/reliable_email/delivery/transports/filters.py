"""Filters in front of any route: the site's suppression list, and the allow-list of a route on a test system.

Both decide before anything is on the wire. The allow-list stands in front of the route's transport, so that it holds
for direct sends and for the outbox alike and nobody who owns the route can forget to ask it.
"""

from collections import deque
from collections.abc import Collection, Iterable, Iterator
from contextlib import closing

from reliable_email.delivery.content.prefixed import with_header
from reliable_email.delivery.report import address_key
from reliable_email.records import dataclass, replace
from reliable_email.smtp.deadline import Deadline
from reliable_email.smtp.failures import FailureKind, WireFailure
from reliable_email.smtp.stages import Stage
from reliable_email.smtp.syntax.paths import domain_identity
from reliable_email.smtp.transaction import (
    Ask,
    Grant,
    Job,
    RecipientResult,
    Transaction,
    Transport,
    Verdict,
    WireSteps,
)


def is_allowed(address: str, only_to: Collection[str]) -> bool:
    """Return whether an allow-list of addresses and domains contains the address; local parts ignore case."""
    key = address_key(address)
    domain = key.rpartition("@")[2]
    return any(key == address_key(entry) if "@" in entry else domain == domain_identity(entry) for entry in only_to)


def restricted(transport: Transport, *, only_to: Collection[str], redirect_to: str | None = None) -> Transport:
    """The transport behind an allow-list; the transport itself where the list is empty."""
    return RestrictedTransport(transport, only_to=only_to, redirect_to=redirect_to) if only_to else transport


@dataclass(frozen=True, slots=True, eq=False)
class _Turn:
    """One of the caller's jobs, and what is made of it: `inner` is None where nobody may get it."""

    outer: Job
    inner: Job | None
    refused: tuple[str, ...]
    redirected: tuple[str, ...]


class _Book:
    """The turns of one stream. It keeps every object whose id it knows, so that no id is given twice."""

    def __init__(self) -> None:
        self._turns: list[_Turn] = []
        self._by_inner: dict[int, _Turn] = {}
        self._waiting: deque[_Turn] = deque()
        self.refused: dict[int, Transaction] = {}
        self.told: dict[int, tuple[Transaction, Transaction]] = {}

    def enter(self, turn: _Turn) -> None:
        self._turns.append(turn)
        self._waiting.append(turn)
        if turn.inner is not None:
            self._by_inner[id(turn.inner)] = turn

    def turn_of(self, inner: Job) -> _Turn:
        return self._by_inner[id(inner)]

    def refused_before(self, inner: Job | None) -> Iterator[Transaction]:
        """Yield the transactions of refused jobs in front of this one; of all remaining jobs for None."""
        while self._waiting:
            turn = self._waiting.popleft()
            if turn.inner is not None and turn.inner is inner:
                return
            if turn.inner is None:
                yield self.refused[id(turn)]


class RestrictedTransport(Transport):
    """Passes on the recipients that an allow-list names; the others are refused, or redirected to one address.

    A redirected message says in a header for whom it was: `X-Redirected-For`.
    """

    def __init__(self, transport: Transport, *, only_to: Collection[str], redirect_to: str | None = None) -> None:
        self._transport = transport
        self._only_to = tuple(only_to)
        self._redirect_to = redirect_to

    def steps(self, jobs: Iterable[Job], *, deadline: Deadline) -> WireSteps:
        """Yield the steps of sending: waits, questions and finished transactions."""
        book = _Book()
        unsettled: list[Transaction] = []  # of jobs that never reached the transport

        def passed_on() -> Iterator[Job]:
            for job in jobs:
                turn = self._turn(job)
                book.enter(turn)
                if turn.inner is not None:
                    yield turn.inner
                    continue
                transaction = self._refused(turn)
                book.refused[id(turn)] = transaction
                unsettled.append(transaction)

        def outer(transaction: Transaction) -> Transaction:
            """The caller gets one object for one story, however often it is told."""
            known = book.told.get(id(transaction))
            if known is None:
                known = transaction, self._outer(book.turn_of(transaction.job), transaction)
                book.told[id(transaction)] = known
            return known[1]

        with closing(self._transport.steps(passed_on(), deadline=deadline)) as steps:
            for step in steps:
                if isinstance(step, Transaction):
                    yield from book.refused_before(step.job)
                    yield outer(step)
                elif isinstance(step, Ask):
                    grants = [self._grant(book.turn_of(grant.job), grant) for grant in step.grants]
                    asking = Ask(grants, [*unsettled, *map(outer, step.settled)])
                    unsettled.clear()
                    yield asking
                    allowed = {id(job) for job in asking.allowed}
                    step.allowed = [one.job for one in step.grants if id(book.turn_of(one.job).outer) in allowed]
                else:
                    yield step
        yield from book.refused_before(None)

    def _turn(self, job: Job) -> _Turn:
        allowed = tuple(one for one in job.recipients if is_allowed(one, self._only_to))
        others = tuple(one for one in job.recipients if not is_allowed(one, self._only_to))
        if not others:
            return _Turn(job, job, (), ())
        if self._redirect_to is None:
            inner = replace(job, recipients=allowed) if allowed else None
            return _Turn(job, inner, others, ())
        content = job.content
        for address in others:
            content = with_header(content, "X-Redirected-For", address)
        keys = {address_key(one) for one in allowed}
        extra = () if address_key(self._redirect_to) in keys else (self._redirect_to,)
        return _Turn(job, replace(job, recipients=(*allowed, *extra), content=content), (), others)

    def _refusal(self) -> RecipientResult:
        failure = WireFailure(
            stage=Stage.RCPT, kind=FailureKind.SUPPRESSED, detail="this mailer's only_to does not name the address"
        )
        return RecipientResult(verdict=Verdict.NOT_SENT, failure=failure)

    def _refused(self, turn: _Turn) -> Transaction:
        result = self._refusal()
        results = dict.fromkeys(turn.outer.recipients, result)
        return Transaction(job=turn.outer, results=results, stage=Stage.RCPT, failure=result.failure)

    def _outer(self, turn: _Turn, transaction: Transaction) -> Transaction:
        results = dict.fromkeys(turn.refused, self._refusal())
        by_key = {address_key(address): result for address, result in transaction.results.items()}
        for address in turn.outer.recipients:
            if address in turn.redirected:
                assert self._redirect_to is not None, "only a redirect has redirected recipients"
                results[address] = by_key[address_key(self._redirect_to)]
            elif address_key(address) in by_key:
                results[address] = by_key[address_key(address)]
        return replace(transaction, job=turn.outer, results=results)

    def _grant(self, turn: _Turn, grant: Grant) -> Grant:
        granted = {address_key(address) for address in grant.recipients}
        refused = {address_key(address): result for address, result in grant.refused.items()}
        recipients: list[str] = []
        not_granted: dict[str, RecipientResult] = dict.fromkeys(turn.refused, self._refusal())
        for address in turn.outer.recipients:
            key = address_key(self._redirect_to or "") if address in turn.redirected else address_key(address)
            if key in granted:
                recipients.append(address)
            elif key in refused:
                not_granted[address] = refused[key]
        return Grant(job=turn.outer, recipients=tuple(recipients), refused=not_granted)
