"""Delivers submissions over ordered routes, at once: rounds over the routes, inside each message's own budget.

A batch goes by streams, so that messages overlap on a pipelined wire. In a round each route is asked at most once for
each recipient; the first healthy route in the list always comes first. Between rounds there is a short pause with full
jitter. What a failure means for a recipient and for a route is `policy`'s word, not decided here.

Guarantees: a recipient that was accepted, or may have been, is never offered to another route; every recipient ends
with an outcome; nothing raises for what happens on a route.
"""

import logging
import random as _random
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from datetime import UTC, datetime

from reliable_email.classification import Cause, Failure, classify
from reliable_email.delivery import breaker, filters
from reliable_email.delivery.breaker import Permission
from reliable_email.delivery.failures import closed_failure, interrupted, local_failure, not_told_of, unknown_failure
from reliable_email.delivery.policy import Decision, Effect, Step, decide, direct_delay
from reliable_email.delivery.prefixed import with_header
from reliable_email.delivery.report import Attempt, DeliveryReport, Outcome, address_key
from reliable_email.delivery.route import Route
from reliable_email.delivery.state import RouteEvent, RouteStateStore
from reliable_email.delivery.submission import OnUnknown, Priority, Submission
from reliable_email.delivery.ways import MessageWay, RecipientWay, Turns, Work, counted_seconds, outcome_of_attempt
from reliable_email.smtp.failures import FailureKind, WireFailure
from reliable_email.smtp.stages import Stage
from reliable_email.smtp.transaction import (
    Authorize,
    Content,
    Grant,
    Job,
    RecipientResult,
    Transaction,
    Verdict,
    allow_all,
)

logger = logging.getLogger("reliable_email.delivery")


class Delivery:
    """One batch over one list of routes; see the module.

    Args:
        routes: in order of preference, at least one.
        store: what is remembered of them.
        timeout: seconds for one message over all routes; None for the sum of theirs.
        authorize: see `Authorize`.
        on_attempt: called after each attempt of each message.
        sleep, random, clock: the world, for tests.
    """

    def __init__(
        self,
        routes: Sequence[Route],
        *,
        store: RouteStateStore,
        timeout: float | None = None,
        authorize: Authorize = allow_all,
        on_attempt: Callable[[Submission, Attempt], None] | None = None,
        sleep: Callable[[float], None] = time.sleep,
        random: Callable[[], float] = _random.random,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._routes = list(routes)
        self._store = store
        self._timeout = timeout if timeout is not None else sum(route.timeout for route in routes)
        self._authorize = authorize
        self._on_attempt = on_attempt
        self._sleep = sleep
        self._random = random
        self._now = now
        # A breaker is there to find another way. Where there is none, only a refused password stops a direct send.
        self._is_lone = len(routes) == 1
        self._last_failures: dict[str, Failure] = {}
        self._messages: list[MessageWay] = []
        self._reports: list[DeliveryReport] | None = None  # when all is over

    @property
    def reports(self) -> list[DeliveryReport]:
        """What became of each submission, in order; as far as it is known, where `deliver` was interrupted."""
        if self._reports is not None:
            return self._reports
        return [message.report() for message in self._messages]

    def deliver(self, submissions: Iterable[Submission]) -> list[DeliveryReport]:
        """What became of each submission, in order.

        What is no failure of a route (Ctrl-C, the time limit of a task) is raised, and `reports` answers all the same.
        """
        self._reports = None
        messages = self._messages = [
            MessageWay(one, [RecipientWay(address) for address in one.recipients], self._timeout) for one in submissions
        ]
        try:
            self._deliver(messages)
        except BaseException as error:
            self._note_interruption(error)
            raise
        self._reports = [message.report() for message in messages]
        return self._reports

    def _deliver(self, messages: list[MessageWay]) -> None:
        self._suppress(messages)
        rounds = max(route.max_attempts for route in self._routes)
        for number in range(1, rounds + 1):
            if number > 1 and not self._pause(messages, number):
                break
            self._round(messages)

    def _note_interruption(self, error: BaseException) -> None:
        for message in self._messages:
            for recipient in message.open_recipients:
                if recipient.failure is None:
                    recipient.failure = interrupted(error, may_have_it=False)

    def _suppress(self, messages: list[MessageWay]) -> None:
        """Reject whom this site sends nothing to, before anybody is asked."""
        addresses = sorted({one.address for message in messages for one in message.recipients})
        unwanted = set(filters.suppressed(addresses))
        for message in messages:
            for recipient in message.recipients:
                if recipient.address in unwanted:
                    recipient.outcome = Outcome.REJECTED
                    recipient.failure = local_failure(Cause.SUPPRESSED, "the address is on the suppression list")

    def _round(self, messages: list[MessageWay]) -> None:
        for message in messages:
            message.asked_this_round.clear()
        while True:
            plan = self._plan(messages)
            if not plan:
                return
            for route, works in plan:
                self._run(route, works)

    def _pause(self, messages: list[MessageWay], number: int) -> bool:
        """Wait before a further round; False where nobody would be asked in it."""
        waiting = [
            message for message in messages if any(self._may_ask_again(message, one) for one in message.open_recipients)
        ]
        if not waiting:
            return False
        seconds = direct_delay(number - 1, jitter=self._random())
        # All that have recipients left wait too: a route that was closed to them may be open after the pause.
        for message in messages:
            if message.open_recipients:
                message.seconds_left -= seconds
        if all(message.seconds_left <= 0 for message in waiting):
            return False
        self._sleep(seconds)
        return True

    def _may_ask_again(self, message: MessageWay, recipient: RecipientWay) -> bool:
        return message.seconds_left > 0 and any(
            self._is_candidate(route, message, recipient) and route.alias not in recipient.passed_over
            for route in self._routes
        )

    # Choosing.

    def _plan(self, messages: list[MessageWay]) -> list[tuple[Route, list[Work]]]:
        """Who is asked next: for each open recipient the first route that is left to it in this round."""
        plan: dict[str, tuple[Route, list[Work]]] = {}
        for message in messages:
            if message.seconds_left <= 0:
                continue
            # Routes that are closed are passed over at once; a recipient that is admitted waits for its answer.
            while chosen := self._chosen(message):
                admitted = False
                for route, recipients in chosen:
                    for part in self._parts(route, recipients):
                        work = self._admit(route, message, part)
                        if work is not None:
                            plan.setdefault(route.alias, (route, []))[1].append(work)
                            admitted = True
                if admitted:
                    break
        return list(plan.values())

    def _chosen(self, message: MessageWay) -> list[tuple[Route, list[RecipientWay]]]:
        chosen: dict[str, tuple[Route, list[RecipientWay]]] = {}
        for recipient in message.open_recipients:
            route = self._choose(message, recipient)
            if route is not None:
                chosen.setdefault(route.alias, (route, []))[1].append(recipient)
        return list(chosen.values())

    def _choose(self, message: MessageWay, recipient: RecipientWay) -> Route | None:
        for route in self._routes:
            if (route.alias, recipient.address) in message.asked_this_round:
                continue
            if self._is_candidate(route, message, recipient):
                return route
        return None

    def _is_candidate(self, route: Route, message: MessageWay, recipient: RecipientWay) -> bool:
        if route.alias in recipient.excluded or message.asked.get(route.alias, 0) >= route.max_attempts:
            return False
        return recipient.only_route in (None, route.alias)

    def _parts(self, route: Route, recipients: list[RecipientWay]) -> Iterator[tuple[RecipientWay, ...]]:
        """Recipients in envelopes of the size that the route takes, as documented or as learned."""
        learned = breaker.max_recipients(self._store.read(route), now=self._store.now())
        limits = [limit for limit in (route.max_recipients, learned) if limit]
        size = min(limits) if limits else len(recipients)
        for start in range(0, len(recipients), size):
            yield tuple(recipients[start : start + size])

    def _admit(self, route: Route, message: MessageWay, recipients: tuple[RecipientWay, ...]) -> Work | None:
        """Ask breaker and quota; a route that is closed counts as asked in this round, and costs no attempt."""
        submission = message.submission
        for recipient in recipients:
            message.asked_this_round.add((route.alias, recipient.address))
        if self._is_too_large(route, submission, recipients):
            return None
        answer, closed = self._ask(route, submission, len(recipients))
        if closed is not None:
            self._pass_over(route, recipients, closed)
            return None
        for recipient in recipients:
            recipient.passed_over.discard(route.alias)
        content: Content = submission.content
        if route.idempotency_header is not None:
            content = with_header(content, route.idempotency_header, _idempotency_value(submission))
        job = Job(
            sender=submission.sender,
            recipients=tuple(recipient.address for recipient in recipients),
            content=content,
            key=submission,
            may_resend=self._may_resend(route, submission),
            is_repeat=message.asked.get(route.alias, 0) > 0,
        )
        reserved = len(recipients) if route.quotas else 0
        return Work(job, message, recipients, reserved, answer is Permission.PROBE)

    @staticmethod
    def _pass_over(route: Route, recipients: Sequence[RecipientWay], closed: Failure) -> None:
        for recipient in recipients:
            recipient.passed_over.add(route.alias)
            if recipient.failure is None or recipient.failure.cause is Cause.ROUTE_CLOSED:
                recipient.failure, recipient.route = closed, route.alias

    def _is_too_large(self, route: Route, submission: Submission, recipients: Sequence[RecipientWay]) -> bool:
        """Whether the route takes no message of this size, as documented or as learned; noted for the recipients."""
        learned = breaker.max_message_bytes(self._store.read(route), now=self._store.now())
        limit = min((one for one in (route.max_message_bytes, learned) if one is not None), default=None)
        if limit is None or submission.content.size <= limit:
            return False
        detail = f"the message has {submission.content.size:,} bytes, {route.alias} takes at most {limit:,}"
        for recipient in recipients:
            recipient.route = recipient.route or route.alias
            self._too_large(route, recipient, local_failure(Cause.MESSAGE_TOO_LARGE, detail))
        return True

    def _too_large(self, route: Route, recipient: RecipientWay, failure: Failure) -> None:
        recipient.excluded.add(route.alias)
        recipient.too_large_for.add(route.alias)
        if recipient.failure is None or recipient.failure.cause is Cause.ROUTE_CLOSED:
            recipient.failure = failure
        if all(one.alias in recipient.too_large_for for one in self._routes):
            recipient.failure = failure
            recipient.outcome = Outcome.REJECTED

    @staticmethod
    def _may_resend(route: Route, submission: Submission) -> bool:
        """Whether a second copy may follow an unknown outcome: the provider drops it, or the caller wants it."""
        wish = submission.options.on_unknown or route.on_unknown
        return route.idempotency_header is not None or wish is OnUnknown.RESEND

    def _ask(self, route: Route, submission: Submission, count: int) -> tuple[Permission, Failure | None]:
        """Ask quota and breaker; the failure says why not."""
        # The quota first: whoever is given the only probe and then stays away keeps the others from it.
        has_room = self._store.reserve(route, count, priority=submission.options.priority or Priority.NORMAL)
        if not has_room and not self._is_lone:  # alone, the provider itself is asked
            return Permission.NO, local_failure(Cause.QUOTA_EXCEEDED, f"the quota of {route.alias} is used up for now")
        answer = self._store.ask(route, sender_domain=submission.from_domain)
        closed = self._closed_because(route, submission) if answer is Permission.NO else None
        if closed is not None and has_room:
            self._store.settle(route, reserved=count, used=0)
        return answer, closed

    def _closed_because(self, route: Route, submission: Submission) -> Failure | None:
        """Why a route that its breaker has closed is not asked; None where it is asked all the same."""
        state = self._store.read(route)
        if self._is_lone and state.reason is not Cause.AUTH_FAILED and not state.paused_by:
            return None
        return closed_failure(route, state, sender_domain=submission.from_domain, now=self._store.now())

    # Asking.

    def _run(self, route: Route, works: list[Work]) -> None:
        by_job = {id(work.job): work for work in works}
        handed_over: dict[int, Collection[str]] = {}  # for whom the terminator may be on its way, by job
        deadline = Turns()

        def jobs() -> Iterator[Job]:
            for work in works:
                closed = self._closed_meanwhile(route, work)
                if closed is None and work.message.seconds_left > 0:
                    deadline.add(work.message)
                    yield work.job
                    continue
                # What happened before its turn has closed the route, or other parts of it have used up its time.
                del by_job[id(work.job)]
                self._store.settle(route, reserved=work.reserved, used=0)
                if closed is not None:
                    self._pass_over(route, work.recipients, closed)

        def authorize(grants: Sequence[Grant], settled: Sequence[Transaction]) -> Collection[Job]:
            allowed = self._authorize(grants, settled)
            handed_over.update((id(grant.job), grant.recipients) for grant in grants if grant.job in allowed)
            return allowed

        transactions = route.transport.transact(jobs(), deadline=deadline, authorize=authorize)
        try:
            for transaction in transactions:
                attempt = self._digest(route, by_job[id(transaction.job)], transaction)
                work = by_job.pop(id(transaction.job))
                self._tell_attempt(work, attempt)
        except BaseException as error:
            for key in by_job.keys() & handed_over.keys():
                by_job[key].doubt(route.alias, handed_over[key], interrupted(error, may_have_it=True))
            raise
        for work in by_job.values():  # a transport that forgot a job has not sent it
            failure = WireFailure(stage=Stage.CONNECT, kind=FailureKind.DISCONNECTED, detail="it was never tried")
            result = RecipientResult(verdict=Verdict.NOT_SENT, failure=failure)
            results = dict.fromkeys(work.job.recipients, result)
            transaction = Transaction(job=work.job, results=results, stage=Stage.CONNECT, failure=failure)
            self._tell_attempt(work, self._digest(route, work, transaction))

    def _closed_meanwhile(self, route: Route, work: Work) -> Failure | None:
        state = self._store.read(route)
        submission = work.message.submission
        if work.is_probe and state.phase is breaker.Phase.HALF_OPEN:
            return None
        answer = breaker.permission(state, now=self._store.now(), sender_domain=submission.from_domain)
        closed = self._closed_because(route, submission) if answer is Permission.NO else None
        known = self._last_failures.get(route.alias)
        if closed is not None and known is not None and known.cause is state.reason:
            return known  # it was said a moment ago, and in this very stream
        return closed

    def _digest(self, route: Route, work: Work, transaction: Transaction) -> Attempt:
        message = work.message
        message.asked[route.alias] = message.asked.get(route.alias, 0) + 1
        message.seconds_left -= counted_seconds(transaction)
        used = 0
        worst: tuple[Failure, Decision] | None = None
        results = {address_key(address): one for address, one in transaction.results.items()}
        for recipient in work.recipients:
            result = results.get(address_key(recipient.address)) or not_told_of(transaction)
            recipient.attempts += 1
            recipient.route = route.alias
            recipient.result = result
            if result.verdict in (Verdict.ACCEPTED, Verdict.UNKNOWN):
                used += 1
            if result.verdict is Verdict.ACCEPTED:
                self._accept(route, recipient)
                continue
            failure = self._failure_of(route, result, message.submission)
            decision = decide(failure)
            if result.failure is not None and result.failure.kind is FailureKind.UNSUPPORTED:
                decision = Decision(step=Step.OTHER_ROUTE)  # another server may offer the extension
            recipient.failure = failure
            self._last_failures[route.alias] = failure
            self._follow(route, recipient, failure, decision, message)
            if decision.effect is not Effect.NONE and (worst is None or worst[1].effect is Effect.NONE):
                worst = failure, decision
        self._store.settle(route, reserved=work.reserved, used=used)
        self._tell(route, message.submission, worst, transaction)
        return self._note_attempt(route, work, transaction, worst[0] if worst else None)

    def _accept(self, route: Route, recipient: RecipientWay) -> None:
        if route.delivers:
            recipient.outcome = Outcome.ACCEPTED
            recipient.failure = None
            return
        # What a console has printed has reached nobody.
        recipient.failure = local_failure(Cause.ROUTE_CLOSED, f"{route.alias} only shows messages, it delivers none")
        recipient.outcome = Outcome.DEFERRED

    def _failure_of(self, route: Route, result: RecipientResult, submission: Submission) -> Failure:
        if result.verdict is Verdict.UNKNOWN:
            return unknown_failure(result)
        evidence = result.failure
        assert evidence is not None, "every result but an accepted one has its failure"
        return classify(evidence, provider=route.provider, sender_domain=submission.from_domain, now=self._now())

    def _follow(
        self, route: Route, recipient: RecipientWay, failure: Failure, decision: Decision, message: MessageWay
    ) -> None:
        """Do what the policy says with one recipient."""
        match decision.step:
            case Step.REJECT:
                recipient.outcome = Outcome.REJECTED
            case Step.STOP | Step.PARK:
                recipient.outcome = Outcome.DEFERRED
            case Step.HOLD:
                recipient.may_have_it = True
                if self._may_resend(route, message.submission):
                    recipient.only_route = route.alias
                else:
                    recipient.outcome = Outcome.UNKNOWN
            case Step.SAME_ROUTE_LATER:
                recipient.only_route = route.alias
            case Step.SPLIT:
                self._split(route, recipient, message)
            case Step.ONE_OTHER_ROUTE:
                recipient.excluded.add(route.alias)
                if not recipient.may_ask_one_other or self._is_lone:
                    recipient.outcome = Outcome.REJECTED
                recipient.may_ask_one_other = False
            case Step.ROOMIER_ROUTE:
                self._too_large(route, recipient, failure)
            case Step.OTHER_ROUTE:
                recipient.excluded.add(route.alias)
                if not recipient.may_have_it:
                    recipient.only_route = None  # the wait that began here cannot end here
            case Step.ANY_ROUTE:
                if not decision.retries_directly:
                    recipient.excluded.add(route.alias)

    def _split(self, route: Route, recipient: RecipientWay, message: MessageWay) -> None:
        """Too many in one envelope: at once again, with those alone that were left out."""
        recipient.splits += 1
        taken = sum(1 for one in message.recipients if one.outcome is Outcome.ACCEPTED)
        if recipient.splits > 1 and not taken:
            recipient.excluded.add(route.alias)  # even a smaller envelope was too large: it means something else
            return
        message.asked_this_round.discard((route.alias, recipient.address))
        message.asked[route.alias] = max(0, message.asked[route.alias] - 1)

    def _tell(
        self, route: Route, submission: Submission, worst: tuple[Failure, Decision] | None, transaction: Transaction
    ) -> None:
        accepted = len(transaction.with_verdict(Verdict.ACCEPTED))
        if worst is not None:
            failure, decision = worst
            if accepted and decision.effect is not Effect.COUNT:
                self._store.tell(route, RouteEvent(failure=None, sender_domain=submission.from_domain))
            event = RouteEvent(
                failure=failure,
                effect=decision.effect,
                sender_domain=submission.from_domain,
                recipients=accepted,
                message_bytes=submission.content.size,
            )
            self._store.tell(route, event)
        was_heard = transaction.stage in (Stage.RCPT, Stage.DATA, Stage.CONTENT, Stage.FINAL_REPLY)
        if worst is None and (accepted or was_heard):
            self._store.tell(route, RouteEvent(failure=None, sender_domain=submission.from_domain))

    def _note_attempt(self, route: Route, work: Work, transaction: Transaction, failure: Failure | None) -> Attempt:
        outcomes = {one.address: outcome_of_attempt(one) for one in work.recipients}
        first = failure or next((one.failure for one in work.recipients if one.failure is not None), None)
        attempt = Attempt(
            route=route.alias,
            stage=transaction.stage,
            started_at=self._now(),
            seconds=transaction.seconds,
            outcomes=outcomes,
            failure=first,
            reply=transaction.reply,
            peer=transaction.peer,
        )
        work.message.attempts.append(attempt)
        return attempt

    def _tell_attempt(self, work: Work, attempt: Attempt) -> None:
        if self._on_attempt is not None:
            self._on_attempt(work.message.submission, attempt)


def _idempotency_value(submission: Submission) -> str:
    return submission.options.idempotency_key or submission.message_id.strip("<>")
