"""The conversion of a passage's result to what is written of a recipient's row."""

from collections import Counter
from dataclasses import replace

from reliable_email.classification import Cause, Failure
from reliable_email.delivery.passages.passage import Passage
from reliable_email.delivery.passages.progress import Fate, Progress, Send
from reliable_email.delivery.policy import queue_delay
from reliable_email.delivery.route import Route
from reliable_email.delivery.telling.tracing import AttemptTrace
from reliable_email.outbox.rows.claim import Claimed
from reliable_email.outbox.rows.loading import StoredMessage
from reliable_email.outbox.rows.rescue import MAX_RESENDS
from reliable_email.outbox.rows.settle import AttemptRow, Evidence, Settlement
from reliable_email.outbox.rows.transitions import Event
from reliable_email.smtp.transaction import Transaction

CLOSED_SECONDS = 15.0  # how soon a message looks again whether one of its routes is open
MISCONFIGURED_SECONDS = 60.0

_EVENTS = {
    Fate.OPEN: Event.KEEP,
    Fate.ACCEPTED: Event.ACCEPT,
    Fate.REJECTED: Event.REJECT,
    Fate.LATER: Event.DEFER,
    Fate.PARKED: Event.PARK,
    Fate.UNKNOWN: Event.LOSE,
    Fate.RELEASED: Event.RELEASE,
}


def settlement_of(
    one: Progress,
    *,
    route: Route | None,
    encryption_key: str,
    jitter: float,
    final_reply_seconds: float,
    provider_message_id: str = "",
) -> Settlement:
    """Return what is written of a recipient whose fate or way has changed.

    Args:
        route: the one whose answer changed it; None at the end of a passage.
        jitter: in [0, 1).
        final_reply_seconds: a resend waits at least so long, unless the provider drops second copies.
    """
    claimed = one.key
    assert isinstance(claimed, Claimed)
    spends = one.spends_attempt and one.fate not in (Fate.OPEN, Fate.RELEASED)
    settlement = Settlement(
        claimed=claimed,
        event=_EVENTS[one.fate],
        evidence=_evidence(one, route, encryption_key, provider_message_id),
        spends_attempt=spends,
        pinned_route=one.pin if one.pin != claimed.pinned_route else None,
        notes=one.notes if one.notes != tuple(claimed.refused_by) else None,
    )
    match one.fate:
        case Fate.LATER:
            # Waiting for a route that could not be asked says nothing new of the message.
            keeps = not one.attempts and claimed.attempts > 0
            return replace(settlement, in_seconds=_delay(one, claimed, jitter), keeps_evidence=keeps)
        case Fate.UNKNOWN:
            is_exact = route is not None and route.idempotency_header is not None
            wait = queue_delay(claimed.attempts + 1, jitter=jitter)
            resend = one.may_resend and claimed.delivery.unknowns < MAX_RESENDS
            return replace(settlement, in_seconds=wait if is_exact else max(wait, final_reply_seconds), resend=resend)
        case _:
            return settlement


def ended(one: Progress, event: Event, cause: str = "", detail: str = "", *, in_seconds: float = 0.0) -> Settlement:
    """Return what is written of a recipient for which no route was asked.

    An expired one keeps the last words that were said about it.
    """
    assert isinstance(one.key, Claimed)
    return Settlement(
        claimed=one.key,
        event=event,
        evidence=Evidence(cause=cause, detail=detail),
        in_seconds=in_seconds,
        keeps_evidence=event is Event.GIVE_UP,
    )


def attempt_of(
    send: Send,
    transaction: Transaction,
    message: StoredMessage,
    claim: int,
    worker: str,
    provider_message_id: str,
) -> AttemptRow:
    """Return the journal's row of one transaction, with what went wrong in this very one."""
    failure = send.failure
    evidence = Evidence(
        route=send.route.alias,
        stage=transaction.stage.value,
        cause=failure.cause.value if failure is not None else "",
        # What was said of the one that failed: the server may have taken the message for the others.
        reply=failure.reply if failure is not None else transaction.reply,
        detail=failure.detail if failure is not None else "",
        provider_message_id=provider_message_id,
        encryption_key=message.encryption_key,
    )
    positions: dict[str, int] = {}
    for one in send.recipients:
        assert isinstance(one.key, Claimed)
        positions[one.address] = one.key.position
    return AttemptRow(
        message_id=message.id,
        claim=claim,
        worker=worker,
        evidence=evidence,
        seconds=transaction.seconds,
        peer=transaction.peer or "",
        outcomes={positions[address]: outcome for address, outcome in send.outcomes.items()},
        causes={positions[address]: one.cause.value for address, one in send.failures.items()},
        stage_seconds={stage.value: seconds for stage, seconds in transaction.stage_seconds.items()},
        dialogue=transaction.dialogue,
    )


def trace_of(attempt: AttemptRow, message: StoredMessage) -> AttemptTrace:
    """Return what tracing is told of an attempt."""
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


def _delay(one: Progress, claimed: Claimed, jitter: float) -> float:
    asked_for = one.failure.retry_after if one.failure is not None else None
    if one.spends_attempt:
        return queue_delay(claimed.attempts + 1, jitter=jitter, asked_for=asked_for)
    is_broken = one.failure is not None and one.failure.cause is Cause.CANNOT_BE_BUILT
    return max(MISCONFIGURED_SECONDS if is_broken else CLOSED_SECONDS, asked_for or 0.0) * (1.0 + jitter)


def _evidence(one: Progress, route: Route | None, encryption_key: str, provider_message_id: str) -> Evidence:
    failure: Failure | None = one.failure
    if failure is None:
        reply = one.result.reply if one.result is not None else None
        return Evidence(
            route=route.alias if route is not None else one.route or "",
            stage="final_reply" if one.fate is Fate.ACCEPTED else "",
            reply=reply,
            provider_message_id=provider_message_id,
            encryption_key=encryption_key,
        )
    return Evidence(
        route=route.alias if route is not None else one.route or "",
        stage=failure.stage.value if failure.stage is not None else "",
        cause=failure.cause.value,
        reply=failure.reply,
        detail=failure.detail,
        encryption_key=encryption_key,
    )


def progress_of(claimed: Claimed, *, may_stand: bool) -> Progress:
    """Return a recipient that is in hand at the beginning of a passage."""
    return Progress(
        claimed.address,
        claimed,
        pin=claimed.pinned_route,
        is_doubted=claimed.delivery.unknowns > 0,
        notes=tuple(claimed.refused_by),
        may_stand=may_stand,
    )


def claimed_of(one: Progress) -> Claimed:
    """Return the row of a recipient."""
    assert isinstance(one.key, Claimed)
    return one.key


def stored_of(passage: Passage) -> StoredMessage:
    """Return the message of a passage."""
    assert isinstance(passage.key, StoredMessage)
    return passage.key
