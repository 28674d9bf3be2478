"""One claim's way over the routes, on one connection: choose, send, settle, and turn to the next route.

The transport asks before each terminator; the answer is one commit that settles what is finished and journals what
comes next. What the database could not take is kept and written later: a reply that was read is not
thrown away while there is a process to remember it.
"""

import logging
import random
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain

from django.core.exceptions import ImproperlyConfigured

from reliable_email.classification import Cause, Failure
from reliable_email.delivery.breaker import Permission, max_message_bytes, max_recipients, permission
from reliable_email.delivery.logged import log_fields
from reliable_email.delivery.policy import Decision, Effect
from reliable_email.delivery.prefixed import with_header
from reliable_email.delivery.report import Outcome
from reliable_email.delivery.route import Route
from reliable_email.delivery.state import RouteEvent, RouteStateStore
from reliable_email.delivery.tracing import AttemptTrace, is_traced, trace_attempt, tracing_round
from reliable_email.delivery.words import OnUnknown
from reliable_email.outbox.claim import Claim
from reliable_email.outbox.faultpoints import point
from reliable_email.outbox.given_ids import given_id
from reliable_email.outbox.journal import Intent, Written
from reliable_email.outbox.judge import Way, ended, judge, left_over, misconfigured, parked
from reliable_email.outbox.keyring import KeyMissing, Keyring
from reliable_email.outbox.logged import log_written
from reliable_email.outbox.settle import AttemptRow, Evidence, Settlement
from reliable_email.outbox.steps import Read, RunHere, Steps
from reliable_email.outbox.stored import StoredMessage, load_contents, load_messages, load_submission, slices
from reliable_email.outbox.suppressed import suppressed
from reliable_email.outbox.transitions import Event
from reliable_email.smtp.content import BytesContent
from reliable_email.smtp.deadline import Deadline
from reliable_email.smtp.failures import FailureKind
from reliable_email.smtp.stages import Stage
from reliable_email.smtp.steps import Aside, Ask, WireSteps, is_stepped
from reliable_email.smtp.transaction import Content, Grant, Job, RecipientResult, Transaction, Verdict
from reliable_email.store.states import State

logger = logging.getLogger("reliable_email.outbox")

# Transactions whose outcome is only in memory, where nothing is asked for permission (all of them were refused).
_PENDING = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundOptions:
    """What a round is told.

    Attributes:
        using: alias of the database.
        worker: unique name of the worker.
        final_reply_seconds: how long a late reply may take; resends wait for it.
        keyring: for content at rest.
    """

    using: str
    worker: str
    final_reply_seconds: float = 600.0
    keyring: Keyring = field(default_factory=Keyring)


@dataclass(slots=True)
class _Work:
    """A job, for whom it is, and what of it is written already."""

    job: Job
    message: StoredMessage
    ways: dict[str, Way]
    reserved: int
    is_probe: bool
    outcomes: dict[int, Outcome] = field(default_factory=dict)
    causes: dict[int, str] = field(default_factory=dict)
    is_digested: bool = False


class Round:
    """See the module.

    Args:
        claim: what was claimed.
        options: see `RoundOptions`.
        routes_of: the routes of a mailer, the preferred one first; raises LookupError where there is no such mailer.
        store: what is remembered of routes.
        write: commits settlements, attempts and intents; see `journal.commit`.
        run_here: goes through steps in a thread of its own, for transports that block.
        give_back: ids of rows that are not for this line after all.
        may_go_on: asked before each message; False ends the round, and what was not begun is released.
        may_authorize: asked before each permission.
    """

    def __init__(
        self,
        claim: Claim,
        options: RoundOptions,
        *,
        routes_of: Callable[[str], Sequence[Route]],
        store: RouteStateStore,
        write: Callable[[Sequence[Settlement], Sequence[AttemptRow], Sequence[Intent]], Steps[Written]],
        run_here: RunHere,
        give_back: Collection[int] = (),
        may_go_on: Callable[[], bool] = lambda: True,
        may_authorize: Callable[[], bool] = lambda: True,
    ) -> None:
        self._claim = claim
        self._options = options
        self._routes_of = routes_of
        self._store = store
        self._write = write
        self._run_here = run_here
        self._give_back = give_back
        self._may_go_on = may_go_on
        self._may_authorize = may_authorize
        self._settlements: list[Settlement] = []
        self._attempts: list[AttemptRow] = []
        self._ways: list[Way] = []
        self._messages: dict[int, StoredMessage] = {}
        self._stored: dict[int, bytes] = {}  # contents as they were read with the messages, until they are needed
        self._routes: dict[str, list[Route]] = {}
        self.is_loaded = False
        self._reading_error: BaseException | None = None
        self.transactions = 0

    def write_known(self) -> Steps[None]:
        """Write what is known, and leave the rest in hand."""
        yield from self._flush()

    def finish(self) -> Steps[None]:
        """Write what is known and give back the rest; again, after `run` or this has raised."""
        yield from self._release()

    def run(self) -> Steps[None]:
        """Take every recipient of the claim as far as it gets now. All that is known is written when it ends."""
        loading = Read(self._load)
        yield loading
        self._ways = loading.result()
        self.is_loaded = True
        yield from self._flush()
        traceparents = [message.traceparent for message in self._messages.values()]
        with tracing_round(worker=self._options.worker, traceparents=traceparents):
            yield from self._take_over_the_routes()
        yield from self._release()

    def _take_over_the_routes(self) -> Steps[None]:
        while self._may_go_on():
            plan = self._plan()
            if not plan:
                break
            for route, works in plan:
                yield from self._send(route, works)
            yield from self._flush()
        if self._may_go_on():
            for way in self._ways:
                if not way.is_done:
                    self._settlements.append(left_over(way, jitter=random.random()))  # noqa: S311 - no secret

    def _load(self) -> list[Way]:
        messages, self._stored = load_messages(self._options.using, (one.message_id for one in self._claim.rows))
        self._messages = messages
        ways = [Way(one, messages[one.message_id]) for one in self._claim.rows]
        unwanted = suppressed(self._options.using, [one.address for one in self._claim.rows])
        for way in ways:
            if way.claimed.id in self._give_back:
                way.is_done = True
                self._settlements.append(Settlement(claimed=way.claimed, event=Event.RELEASE, evidence=way.evidence))
            elif way.claimed.is_over:
                self._settlements.append(ended(way, Event.GIVE_UP, ""))
            elif way.claimed.address.lower() in unwanted:
                detail = "the address is on the suppression list"
                self._settlements.append(ended(way, Event.REJECT, Cause.SUPPRESSED.value, detail))
            else:
                try:
                    self._routes_for(way)
                except LookupError as error:
                    self._settlements.append(parked(way, "no_such_mailer", str(error.args[0] if error.args else "")))
                except ImproperlyConfigured as error:
                    self._settlements.append(misconfigured(way, str(error)))
        return ways

    def _routes_for(self, way: Way) -> list[Route]:
        mailer = way.claimed.mailer
        if mailer not in self._routes:
            self._routes[mailer] = list(self._routes_of(mailer))
        return self._routes[mailer]

    # Choosing.

    def _plan(self) -> list[tuple[Route, list[_Work]]]:
        """Who is asked next: each open recipient by the first route that is left to it in this round."""
        chosen: dict[tuple[str, int], tuple[Route, list[Way]]] = {}
        for way in self._ways:
            if way.is_done:
                continue
            route = self._choose(way)
            if route is not None:
                chosen.setdefault((route.alias, way.message.id), (route, []))[1].append(way)
        plan: dict[str, tuple[Route, list[_Work]]] = {}
        for (alias, _), (route, ways) in chosen.items():
            for part in self._parts(route, ways):
                work = self._admit(route, part)
                if work is not None:
                    plan.setdefault(alias, (route, []))[1].append(work)
        if plan or not chosen:
            return list(plan.values())
        return self._plan()  # those that were asked are closed; others may be left

    def _choose(self, way: Way) -> Route | None:
        for route in self._routes_for(way):
            if route.alias in way.asked or route.alias in way.claimed.refused_by:
                continue
            if way.claimed.pinned_route in ("", route.alias):
                return route
        return None

    def _parts(self, route: Route, ways: list[Way]) -> Iterator[list[Way]]:
        learned = max_recipients(self._store.read(route), now=self._store.now())
        limits = [limit for limit in (route.max_recipients, learned) if limit]
        if any(way.splits for way in ways):
            limits.append(max(1, len(ways) // 2))
        size = min(limits) if limits else len(ways)
        for start in range(0, len(ways), size):
            yield ways[start : start + size]

    def _admit(self, route: Route, ways: list[Way]) -> _Work | None:
        """A job, where breaker and quota let it through; a closed route counts as asked, and costs no attempt."""
        message = ways[0].message
        for way in ways:
            way.asked |= {route.alias}
        limit = self._max_message_bytes(route)
        if limit is not None and message.content_size > limit:
            for way in ways:
                limits = [self._max_message_bytes(one) for one in self._routes_for(way)]
                if all(one is not None and message.content_size > one for one in limits):
                    detail = f"the message has {message.content_size:,} bytes, no route takes so many"
                    self._settlements.append(ended(way, Event.REJECT, Cause.MESSAGE_TOO_LARGE.value, detail))
            return None
        if not self._store.reserve(route, len(ways), priority=ways[0].claimed.priority.priority):
            _pass_over(ways, route, Cause.QUOTA_EXCEEDED, "this route's quota is used up for now")
            return None
        # Asked last: whoever is given the only probe and then stays away keeps the others from it.
        answer = self._store.ask(route, sender_domain=message.from_domain)
        if answer is Permission.NO:
            self._store.settle(route, reserved=len(ways), used=0)
            _pass_over(ways, route, Cause.ROUTE_CLOSED, "this route is closed")
            return None
        job = Job(
            sender=message.sender,
            recipients=tuple(way.claimed.address for way in ways),
            content=_NO_CONTENT,
            key=message.id,
        )
        by_address = {way.claimed.address: way for way in ways}
        reserved = len(ways) if route.quotas else 0
        return _Work(job, message, by_address, reserved, is_probe=answer is Permission.PROBE)

    def _max_message_bytes(self, route: Route) -> int | None:
        """As documented, or as learned from a refusal."""
        learned = max_message_bytes(self._store.read(route), now=self._store.now())
        return min((one for one in (route.max_message_bytes, learned) if one is not None), default=None)

    # Sending.

    def _send(self, route: Route, works: list[_Work]) -> Steps[None]:
        by_job: dict[int, _Work] = {}
        by_message: dict[int, list[_Work]] = {}
        for work in works:
            by_message.setdefault(work.message.id, []).append(work)
        parts = slices(works_[0].message for works_ in by_message.values())
        first = next(parts)
        if all(message.id in self._stored for message in first):
            contents = self._contents(first, by_message)
        else:
            reading = Read(lambda: self._contents(first, by_message))
            yield reading
            contents = reading.result()
        jobs = self._jobs(route, chain([(first, contents)], self._loaded(parts, by_message)), by_message, by_job)
        point("send:begin")
        if is_stepped(route.transport):
            yield from self._send_in_steps(route, route.transport.steps(jobs, deadline=Deadline(route.timeout)), by_job)
        else:
            sending = Aside(lambda: self._send_here(route, jobs, by_job))
            yield sending
            sending.result()
        point("send:end")
        error, self._reading_error = self._reading_error, None
        if error is not None:
            raise error

    def _send_in_steps(self, route: Route, wire_steps: WireSteps, by_job: dict[int, _Work]) -> Steps[None]:
        # Closed, whatever happens: what is half said on the wire must not stay there.
        with closing(wire_steps) as steps:
            for step in steps:
                if isinstance(step, Transaction):
                    self._digest(route, by_job[id(step.job)], step)
                    if self._has_much_to_write:
                        yield from self._flush()
                elif isinstance(step, Ask):
                    step.allowed = yield from self._authorize(route, by_job, step.grants, step.settled)
                else:
                    yield step

    def _send_here(self, route: Route, jobs: Iterator[Job], by_job: dict[int, _Work]) -> None:
        """For a transport that blocks; in a thread of its own, and with that thread's database connection."""

        def authorize(grants: Sequence[Grant], settled: Sequence[Transaction]) -> Collection[Job]:
            return self._run_here(self._authorize(route, by_job, grants, settled))

        for transaction in route.transport.transact(jobs, deadline=Deadline(route.timeout), authorize=authorize):
            self._digest(route, by_job[id(transaction.job)], transaction)
            if self._has_much_to_write:
                self._run_here(self._flush())

    @property
    def _has_much_to_write(self) -> bool:
        return len(self._attempts) >= _PENDING

    def _loaded(
        self, parts: Iterable[list[StoredMessage]], by_message: dict[int, list[_Work]]
    ) -> Iterator[tuple[list[StoredMessage], dict[int, BytesContent]]]:
        """The rest of the contents. An error is raised when what is on the wire has been answered."""
        for messages in parts:
            try:
                contents = self._contents(messages, by_message)
            except Exception as error:  # noqa: BLE001 - `_send` raises it
                self._reading_error = error
                return
            yield messages, contents

    def _jobs(
        self,
        route: Route,
        loaded: Iterable[tuple[list[StoredMessage], dict[int, BytesContent]]],
        by_message: dict[int, list[_Work]],
        by_job: dict[int, _Work],
    ) -> Iterator[Job]:
        """Jobs with their contents, read a few megabytes at a time, for as long as the worker goes on."""
        for messages, contents in loaded:
            for message in messages:
                content = contents.pop(message.id, None)
                for work in by_message[message.id]:
                    if content is None or not self._may_go_on():
                        self._unreserve(route, work)
                        continue
                    if not work.is_probe and not self._is_open(route, message):
                        # It closed under this very batch: the others need not find that out one by one.
                        self._unreserve(route, work)
                        _pass_over(list(work.ways.values()), route, Cause.ROUTE_CLOSED, "this route has closed")
                        continue
                    job = self._job(route, work, content)
                    by_job[id(job)] = work
                    point("send:job")
                    yield job

    def _contents(self, messages: list[StoredMessage], by_message: dict[int, list[_Work]]) -> dict[int, BytesContent]:
        stored = {message.id: self._stored.pop(message.id) for message in messages if message.id in self._stored}
        asked_for = [message for message in messages if message.id not in stored]
        if asked_for:
            stored |= load_contents(self._options.using, asked_for)
        contents: dict[int, BytesContent] = {}
        unreadable: dict[int, str] = {}
        for message in messages:
            if message.id in stored:
                try:
                    data = self._options.keyring.open(stored.pop(message.id), message.encryption_key)
                except KeyMissing as error:
                    unreadable[message.id] = str(error)
                else:
                    contents[message.id] = BytesContent(data)
        for words in set(unreadable.values()):
            logger.error("A message cannot be read: %s", words, extra=log_fields(cause="key_missing"))
        for message in messages:
            if message.id not in contents:
                missing = ("content_gone", "its content was pruned or deleted")
                if message.id in unreadable:
                    missing = ("key_missing", unreadable[message.id])
                for work in by_message[message.id]:
                    self._settlements += [parked(way, *missing) for way in work.ways.values() if not way.is_done]
        return contents

    def _job(self, route: Route, work: _Work, content: BytesContent) -> Job:
        sent: Content = content
        if route.idempotency_header is not None:
            sent = with_header(content, route.idempotency_header, work.message.message_id.strip("<>"))
        key: object = work.message.id
        if route.is_foreign:
            key = load_submission(self._options.using, work.message, content, self._options.keyring)
        return Job(
            sender=work.job.sender,
            recipients=work.job.recipients,
            content=sent,
            key=key,
            may_resend=_may_resend(route, work),
        )

    def _is_open(self, route: Route, message: StoredMessage) -> bool:
        state = self._store.read(route)
        return permission(state, now=self._store.now(), sender_domain=message.from_domain) is not Permission.NO

    def _unreserve(self, route: Route, work: _Work) -> None:
        self._store.settle(route, reserved=work.reserved, used=0)

    def _authorize(
        self, route: Route, by_job: dict[int, _Work], grants: Sequence[Grant], settled: Sequence[Transaction]
    ) -> Steps[Collection[Job]]:
        for transaction in settled:
            self._digest(route, by_job[id(transaction.job)], transaction)
        if not self._may_authorize():
            return []
        intents = []
        for grant in grants:
            work = by_job[id(grant.job)]
            # What was refused at RCPT is written before it could become unknown; what goes on stays claimed.
            for address, result in grant.refused.items():
                self._take(route, work, work.ways[address], result, is_early=True)
            open_ways = [work.ways[address] for address in grant.recipients]
            intents.append(Intent(recipients=[way.claimed for way in open_ways], route=route.alias))
        written = yield from self._flush(intents)
        if not self._may_authorize():
            return []  # the lease ended, or somebody said stop, while this was written
        return [grant.job for grant, may in zip(grants, written.permitted, strict=True) if may]

    # Judging.

    def _digest(self, route: Route, work: _Work, transaction: Transaction) -> None:
        """Judge a finished transaction, once."""
        if work.is_digested:
            return
        work.is_digested = True
        self.transactions += 1
        worst: tuple[Failure, Decision] | None = None
        used = 0
        for address, result in transaction.results.items():
            used += result.verdict in (Verdict.ACCEPTED, Verdict.UNKNOWN)
            way = work.ways[address]
            if way.claimed.position in work.outcomes:
                continue
            found = self._take(route, work, way, result, provider_message_id=given_id(route, transaction))
            if found is not None and (worst is None or worst[1].effect is Effect.NONE):
                worst = found
        self._store.settle(route, reserved=work.reserved, used=used)
        self._tell(route, work, worst, transaction)
        if not all(_is_withheld(result) for result in transaction.results.values()):
            attempt = self._attempt(route, work, transaction)
            self._attempts.append(attempt)
            if is_traced():
                trace_attempt(_trace_of(attempt, work.message))

    def _take(
        self,
        route: Route,
        work: _Work,
        way: Way,
        result: RecipientResult,
        *,
        provider_message_id: str = "",
        is_early: bool = False,
    ) -> tuple[Failure, Decision] | None:
        others = [one for one in self._routes_for(way) if one.alias != route.alias]
        judgement = judge(
            way,
            result,
            route,
            others,
            jitter=random.random(),  # noqa: S311 - no secret
            now=datetime.fromtimestamp(self._store.now(), tz=UTC),
            final_reply_seconds=self._options.final_reply_seconds,
            provider_message_id=provider_message_id,
        )
        work.outcomes[way.claimed.position] = judgement.outcome
        if judgement.failure is not None:
            work.causes[way.claimed.position] = judgement.failure.cause.value
        self._settlements.append(judgement.settlement)
        if judgement.failure is None or judgement.decision is None or judgement.decision.effect is Effect.NONE:
            return None
        if is_early:
            self._tell_failure(route, work, judgement.failure, judgement.decision, accepted=0)
        return judgement.failure, judgement.decision

    def _tell(
        self, route: Route, work: _Work, worst: tuple[Failure, Decision] | None, transaction: Transaction
    ) -> None:
        accepted = len(transaction.with_verdict(Verdict.ACCEPTED))
        if worst is not None:
            self._tell_failure(route, work, *worst, accepted=accepted)
        elif accepted or transaction.stage in (Stage.RCPT, Stage.DATA, Stage.CONTENT, Stage.FINAL_REPLY):
            self._store.tell(route, RouteEvent(failure=None, sender_domain=work.message.from_domain))

    def _tell_failure(self, route: Route, work: _Work, failure: Failure, decision: Decision, *, accepted: int) -> None:
        event = RouteEvent(
            failure=failure,
            effect=decision.effect,
            sender_domain=work.message.from_domain,
            recipients=accepted,
            message_bytes=work.message.content_size,
        )
        self._store.tell(route, event)

    def _attempt(self, route: Route, work: _Work, transaction: Transaction) -> AttemptRow:
        first = next((way.failure for way in work.ways.values() if way.failure is not None), None)
        evidence = Evidence(
            route=route.alias,
            stage=transaction.stage.value,
            cause=first.cause.value if first is not None else "",
            reply=transaction.reply or (first.reply if first is not None else None),
            detail=first.detail if first is not None else "",
            provider_message_id=given_id(route, transaction),
            encryption_key=work.message.encryption_key,
        )
        return AttemptRow(
            message_id=work.message.id,
            claim=self._claim.number,
            worker=self._options.worker,
            evidence=evidence,
            seconds=transaction.seconds,
            peer=transaction.peer or "",
            outcomes=work.outcomes,
            causes=work.causes,
            stage_seconds={stage.value: seconds for stage, seconds in transaction.stage_seconds.items()},
        )

    # Writing.

    def _flush(self, intents: Sequence[Intent] = ()) -> Steps[Written]:
        """Write what is known. Where that raises, nothing was written, and all of it is kept for the next time."""
        if not (self._settlements or self._attempts or intents):
            return Written(permitted=[], settled=[])
        written = yield from self._write(self._settlements, self._attempts, intents)
        log_written(self._messages, self._settlements, self._attempts, written.settled)
        self._settlements, self._attempts = [], []
        return written

    @property
    def is_in_doubt(self) -> bool:
        """Whether some were handed over, or may have been, and nobody has said what became of them."""
        return any(not way.is_done and way.claimed.delivery.state is State.AUTHORIZED for way in self._ways)

    def _release(self) -> Steps[None]:
        """Write what is known, which says who is still in hand, and give back what was not begun."""
        if not self.is_loaded:
            no_evidence = Evidence()
            self._settlements = [
                Settlement(claimed=one, event=Event.RELEASE, evidence=no_evidence) for one in self._claim.rows
            ]
        yield from self._flush()
        for way in self._ways:
            # A permission that was given and never answered for may have been used: a flight was in the air.
            if not way.is_done and way.claimed.delivery.state is State.CLAIMED:
                way.is_done = True
                self._settlements.append(Settlement(claimed=way.claimed, event=Event.RELEASE, evidence=way.evidence))
        yield from self._flush()


def _trace_of(attempt: AttemptRow, message: StoredMessage) -> AttemptTrace:
    evidence = attempt.evidence
    return AttemptTrace(
        route=evidence.route,
        stage=evidence.stage,
        seconds=attempt.seconds,
        outcomes=Counter(attempt.outcomes.values()),
        cause=evidence.cause,
        reply_code=evidence.reply.code if evidence.reply is not None else None,
        peer=attempt.peer,
        message_id=message.message_id,
        traceparent=message.traceparent,
    )


def _pass_over(ways: list[Way], route: Route, cause: Cause, detail: str) -> None:
    for way in ways:
        if way.failure is None:
            way.evidence = Evidence(route=route.alias, cause=cause.value, detail=detail)


def _is_withheld(result: RecipientResult) -> bool:
    """Our own refusal: no attempt, since the server was not asked to take anything."""
    return result.failure is not None and result.failure.kind is FailureKind.WITHHELD


def _may_resend(route: Route, work: _Work) -> bool:
    """Whether a second copy may follow an unknown outcome: only such messages go in flights."""
    wish = work.message.on_unknown or route.on_unknown
    return route.idempotency_header is not None or wish is OnUnknown.RESEND


_NO_CONTENT = BytesContent(b"")
