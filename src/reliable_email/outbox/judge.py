"""What a worker makes of one recipient's result: pure, on top of the policy that direct sends follow too.

`Way` is what one round has learned about a recipient. A round asks each route at most once; what is left when no route
is left to ask is `left_over`'s answer.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import assert_never

from reliable_email.classification import Cause, Failure, classify
from reliable_email.delivery.failures import unknown_failure
from reliable_email.delivery.policy import Decision, Step, decide, queue_delay
from reliable_email.delivery.report import Outcome
from reliable_email.delivery.route import Route
from reliable_email.delivery.submission import OnUnknown
from reliable_email.outbox.claim import Claimed
from reliable_email.outbox.rescue import MAX_RESENDS
from reliable_email.outbox.settle import Evidence, Settlement
from reliable_email.outbox.stored import StoredMessage
from reliable_email.outbox.transitions import Event
from reliable_email.records import record
from reliable_email.smtp.failures import FailureKind
from reliable_email.smtp.transaction import RecipientResult, Verdict

CLOSED_SECONDS = 15.0  # how soon a message looks again whether one of its routes is open
MISCONFIGURED_SECONDS = 60.0
MAX_SPLITS = 8


_NO_EVIDENCE = Evidence()


@dataclass(slots=True, eq=False)
class Way:
    """One recipient's round. There are hundreds at once, so that what most have in common is shared.

    Attributes:
        asked: routes that need not be asked again in this round.
        spends_attempt: whether anything in this round counts against the message.
        is_done: it is settled, or nobody's business any more.
    """

    claimed: Claimed
    message: StoredMessage
    asked: frozenset[str] = frozenset()
    failure: Failure | None = None
    evidence: Evidence = _NO_EVIDENCE
    spends_attempt: bool = False
    splits: int = 0
    is_done: bool = False


@record(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What follows from one result.

    Attributes:
        settlement: to be written.
        outcome: for the attempt's row.
        failure, decision: for the route's state; None after an acceptance.
    """

    settlement: Settlement
    outcome: Outcome
    failure: Failure | None = None
    decision: Decision | None = None


def judge(
    way: Way,
    result: RecipientResult,
    route: Route,
    others: Sequence[Route],
    *,
    jitter: float,
    now: datetime,
    final_reply_seconds: float,
    provider_message_id: str = "",
) -> Judgement:
    """Judge, and note in `way` what the rest of the round has to know.

    Args:
        others: the mailer's other routes.
        jitter: in [0, 1).
        final_reply_seconds: a resend waits at least so long.
    """
    key = way.message.encryption_key
    if result.verdict is Verdict.ACCEPTED:
        stage = "final_reply"
        evidence = Evidence(
            route=route.alias,
            stage=stage,
            reply=result.reply,
            provider_message_id=provider_message_id,
            encryption_key=key,
        )
        if route.delivers:
            return _settled(way, Event.ACCEPT, evidence, Outcome.ACCEPTED, spends_attempt=True)
        # What a console has printed has reached nobody.
        evidence = Evidence(route=route.alias, stage=stage, cause=Cause.ROUTE_CLOSED, detail="it only shows messages")
        delay = queue_delay(way.claimed.attempts + 1, jitter=jitter)
        return _settled(way, Event.DEFER, evidence, Outcome.DEFERRED, in_seconds=delay, spends_attempt=True)
    failure = _failure_of(way, result, route, now)
    decision = decide(failure)
    if result.failure is not None and result.failure.kind is FailureKind.UNSUPPORTED:
        decision = Decision(step=Step.ROOMIER_ROUTE)  # another server may offer the extension
    way.failure, way.evidence = failure, _evidence(failure, route, key)
    way.spends_attempt |= decision.spends_attempt
    settlement, outcome = _follow(way, failure, decision, route, others, jitter, final_reply_seconds)
    return Judgement(settlement=settlement, outcome=outcome, failure=failure, decision=decision)


def _follow(
    way: Way,
    failure: Failure,
    decision: Decision,
    route: Route,
    others: Sequence[Route],
    jitter: float,
    final_reply_seconds: float,
) -> tuple[Settlement, Outcome]:
    attempts = way.claimed.attempts + decision.spends_attempt
    delay = queue_delay(attempts, jitter=jitter, asked_for=failure.retry_after)
    match decision.step:
        case Step.REJECT:
            return _end(way, Event.REJECT, spends_attempt=True), Outcome.REJECTED
        case Step.STOP:
            return _end(way, Event.RELEASE), Outcome.DEFERRED
        case Step.PARK:
            return _end(way, Event.PARK, spends_attempt=True), Outcome.DEFERRED
        case Step.HOLD:
            is_exact = route.idempotency_header is not None
            wish = way.message.on_unknown or route.on_unknown or OnUnknown.HOLD
            resend = (is_exact or wish is OnUnknown.RESEND) and way.claimed.delivery.unknowns < MAX_RESENDS
            wait = delay if is_exact else max(delay, final_reply_seconds)
            settlement = _end(
                way, Event.LOSE, in_seconds=wait, spends_attempt=True, resend=resend, pinned_route=route.alias
            )
            return settlement, Outcome.UNKNOWN
        case Step.SAME_ROUTE_LATER:
            settlement = _end(
                way,
                Event.DEFER,
                in_seconds=delay,
                spends_attempt=decision.spends_attempt,
                pinned_route=route.alias,
            )
            return settlement, Outcome.DEFERRED
        case Step.SPLIT:
            way.splits += 1
            if way.splits < MAX_SPLITS:
                way.asked -= {route.alias}
            return _go_on(way), Outcome.DEFERRED
        case Step.ONE_OTHER_ROUTE | Step.ROOMIER_ROUTE:
            refused = {*way.claimed.refused_by, route.alias}
            left = [one for one in others if one.alias not in refused]
            was_asked = decision.step is Step.ONE_OTHER_ROUTE and way.claimed.refused_by
            if was_asked or not left or way.claimed.pinned_route:
                return _end(way, Event.REJECT, spends_attempt=True), Outcome.REJECTED
            return _go_on(way, refused_by=route.alias), Outcome.DEFERRED
        case Step.OTHER_ROUTE | Step.ANY_ROUTE:
            return _go_on(way), Outcome.DEFERRED
        case _:
            assert_never(decision.step)


def left_over(way: Way, *, jitter: float, closed_seconds: float = CLOSED_SECONDS) -> Settlement:
    """What becomes of a recipient for whom no route is left in this round."""
    failure = way.failure
    if failure is None:
        # Every route is closed: waiting spends nothing.
        return _end(way, Event.DEFER, in_seconds=closed_seconds * (1.0 + jitter))
    if failure.permanent and failure.cause in (Cause.SENDER_NOT_VERIFIED, Cause.SENDER_NOT_AUTHENTICATED):
        return _end(way, Event.PARK)  # only a person can mend that, and the message is worth keeping
    if not way.spends_attempt:
        wait = max(closed_seconds, failure.retry_after or 0.0)
        return _end(way, Event.DEFER, in_seconds=wait * (1.0 + jitter))
    delay = queue_delay(way.claimed.attempts + 1, jitter=jitter, asked_for=failure.retry_after)
    return _end(way, Event.DEFER, in_seconds=delay, spends_attempt=True)


def parked(way: Way, cause: str, detail: str) -> Settlement:
    """For what only a person can mend."""
    way.evidence = Evidence(cause=cause, detail=detail)
    return _end(way, Event.PARK)


def misconfigured(way: Way, detail: str) -> Settlement:
    """Its mailer cannot be used as it is configured: it waits, and nothing is held against it."""
    way.evidence = Evidence(cause="misconfigured", detail=detail)
    return _end(way, Event.DEFER, in_seconds=MISCONFIGURED_SECONDS)


def ended(way: Way, event: Event, cause: str, detail: str = "") -> Settlement:
    """For what needs no route: suppressed, or its time is over."""
    if event is not Event.GIVE_UP:
        way.evidence = Evidence(cause=cause, detail=detail)
    return _end(way, event)


def _failure_of(way: Way, result: RecipientResult, route: Route, now: datetime) -> Failure:
    if result.verdict is Verdict.UNKNOWN:
        return unknown_failure(result)
    wire = result.failure
    assert wire is not None, "every result but an accepted one has its failure"
    domain = way.message.from_domain
    return classify(wire, provider=route.provider, sender_domain=domain, now=now)


def _evidence(failure: Failure, route: Route, encryption_key: str) -> Evidence:
    return Evidence(
        route=route.alias,
        stage=failure.stage.value if failure.stage is not None else "",
        cause=failure.cause.value,
        reply=failure.reply,
        detail=failure.detail,
        encryption_key=encryption_key,
    )


def _end(
    way: Way,
    event: Event,
    *,
    in_seconds: float = 0.0,
    spends_attempt: bool = False,
    resend: bool = False,
    pinned_route: str | None = None,
) -> Settlement:
    way.is_done = True
    return Settlement(
        claimed=way.claimed,
        event=event,
        evidence=way.evidence,
        in_seconds=in_seconds,
        spends_attempt=spends_attempt,
        resend=resend,
        pinned_route=pinned_route,
    )


def _go_on(way: Way, *, refused_by: str = "") -> Settlement:
    return Settlement(claimed=way.claimed, event=Event.KEEP, evidence=way.evidence, refused_by=refused_by)


def _settled(
    way: Way, event: Event, evidence: Evidence, outcome: Outcome, *, in_seconds: float = 0.0, spends_attempt: bool
) -> Judgement:
    way.evidence = evidence
    settlement = _end(way, event, in_seconds=in_seconds, spends_attempt=spends_attempt)
    return Judgement(settlement=settlement, outcome=outcome)
