"""A worker's log of what it has written; `delivery.telling.log_records` has the fields and levels.

An attempt is one record. What ends badly without one, or needs a person, is told once for each commit, however many
messages it is about.
"""

import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from reliable_email import conf
from reliable_email.classification import Cause
from reliable_email.delivery.report import Outcome
from reliable_email.delivery.telling.log_records import log_fields, words_of
from reliable_email.outbox.rows.loading import StoredMessage
from reliable_email.outbox.rows.rescue import Rescued
from reliable_email.outbox.rows.settle import AttemptRow, Evidence, Settlement
from reliable_email.outbox.rows.transitions import Event
from reliable_email.store.tables.states import State
from reliable_email.values import masked, printable

logger = logging.getLogger("reliable_email.outbox")

# The worst first: it names the attempt.
_ORDER = (Outcome.REJECTED, Outcome.DEFERRED, Outcome.ACCEPTED)
_NAMED = 10
_MISCONFIGURED = "misconfigured"
# What each end means for whoever reads it.
_ENDS = {
    State.UNKNOWN: "unknown whether a server has it; a person has to say (email_outbox resolve)",
    State.PARKED: "parked until you decide (email_outbox requeue or cancel)",
    State.EXPIRED: "given up, its time is over",
    State.REJECTED: "rejected without an attempt",
}


def log_written(
    messages: Mapping[int, StoredMessage],
    settlements: Sequence[Settlement],
    attempts: Sequence[AttemptRow],
    settled: Sequence[bool],
) -> None:
    """Tell of one commit."""
    if _is_all_well(settlements, attempts) and not logger.isEnabledFor(logging.INFO):
        return  # the rule; nothing is put together for nobody
    for attempt in attempts:
        _log_attempt(attempt, messages.get(attempt.message_id))
    written = [one for one, is_written in zip(settlements, settled, strict=True) if is_written]
    if logger.isEnabledFor(logging.DEBUG):
        _log_recipients(written)
    by_end: dict[tuple[int, str, str, str, str], list[Settlement]] = defaultdict(list)
    for one in written:
        end = _end_of(one)
        if end is not None:
            level, words = end
            evidence = one.evidence
            by_end[level, words, evidence.route, evidence.stage, evidence.cause].append(one)
    for (level, words, *_), group in by_end.items():
        ids = sorted({one.claimed.message_id for one in group})
        _log_end(level, words, [messages[pk] for pk in ids if pk in messages], group[0])


def _is_all_well(settlements: Sequence[Settlement], attempts: Sequence[AttemptRow]) -> bool:
    for settlement in settlements:
        if settlement.claimed.delivery.state is not State.ACCEPTED:
            return False
    return all(outcome is Outcome.ACCEPTED for attempt in attempts for outcome in attempt.outcomes.values())


def _log_attempt(attempt: AttemptRow, message: StoredMessage | None) -> None:
    counts = Counter(attempt.outcomes.values())
    worst = next((one for one in _ORDER if counts[one]), None)
    if worst is None:
        return  # unknown: told by what becomes of it
    level = logging.INFO if worst is Outcome.ACCEPTED else logging.WARNING
    if not logger.isEnabledFor(level):
        return
    evidence = attempt.evidence
    cause = evidence.cause if worst is not Outcome.ACCEPTED else ""
    logger.log(
        level,
        "message %s: %s by %s at %s in %.2f s%s",
        message.message_id if message is not None else attempt.message_id,
        ", ".join(f"{counts[one]} {one}" for one in (Outcome.ACCEPTED, *_ORDER[:-1]) if counts[one]),
        evidence.route,
        evidence.stage,
        attempt.seconds,
        f" ({cause}){_said(evidence)}" if cause else "",
        extra=log_fields(
            message_id=message.message_id if message is not None else None,
            outbox_id=attempt.message_id,
            route=evidence.route,
            cause=cause,
            stage=evidence.stage,
            outcome=worst,
        ),
    )


def _end_of(one: Settlement) -> tuple[int, str] | None:
    """Level and words for what no attempt's record tells; None for the rest."""
    state, cause = one.claimed.delivery.state, one.evidence.cause
    match state:
        case State.UNKNOWN if one.claimed.delivery.is_resend_due:
            return logging.WARNING, "unknown whether a server has it; it is sent again"
        case State.UNKNOWN | State.PARKED | State.EXPIRED:
            return logging.ERROR, _ENDS[state]
        case State.REJECTED if cause == Cause.SUPPRESSED:
            return logging.INFO, _ENDS[state]
        case State.QUEUED if cause == _MISCONFIGURED:
            return logging.ERROR, "its mailer cannot be used as it is configured; it waits"
        case State.QUEUED if cause == Cause.ROUTE_CLOSED and one.event is Event.DEFER:
            return logging.DEBUG, "waits for a route that is closed"
        case _:
            return None


def _log_end(level: int, words: str, messages: Sequence[StoredMessage], one: Settlement) -> None:
    if not messages or not logger.isEnabledFor(level):
        return
    evidence = one.evidence
    is_single = len(messages) == 1
    named = ", ".join(message.message_id for message in messages[:_NAMED])
    more = f" and {len(messages) - _NAMED} more" if len(messages) > _NAMED else ""
    because = f" ({evidence.cause}){_said(evidence)}" if evidence.cause else ""
    logger.log(
        level,
        "message%s %s%s: %s%s",
        "" if is_single else "s",
        named,
        more,
        words,
        because,
        extra=log_fields(
            message_id=messages[0].message_id if is_single else None,
            outbox_id=messages[0].id if is_single else None,
            route=evidence.route,
            cause=evidence.cause,
            stage=evidence.stage,
            outcome=one.claimed.delivery.state.outcome,
        ),
    )


def log_rescued(rescued: Rescued) -> None:
    """Log the attempts that dead workers left behind."""
    for attempt in rescued.attempts:
        evidence = attempt.evidence
        is_resent = attempt.message_id in rescued.resent
        logger.log(
            logging.WARNING if is_resent else logging.ERROR,
            "message %s: %s%s",
            rescued.names.get(attempt.message_id, attempt.message_id),
            evidence.detail,
            "; it is sent again" if is_resent else "; a person has to say (email_outbox resolve)",
            extra=log_fields(
                message_id=rescued.names.get(attempt.message_id),
                outbox_id=attempt.message_id,
                route=evidence.route,
                cause=evidence.cause,
                stage=evidence.stage,
                outcome=Outcome.UNKNOWN,
            ),
        )
    if rescued.parked:
        words = "%d recipients are parked: several workers were lost while they had them in hand"
        logger.error(words, rescued.parked, extra=log_fields(cause="crashed", outcome=Outcome.PARKED))
    if rescued.requeued:
        words = "%d recipients of a lost worker are back in the queue; no server has their messages"
        logger.warning(words, rescued.requeued, extra=log_fields(outcome=Outcome.QUEUED))


def _log_recipients(written: Iterable[Settlement]) -> None:
    """The only records with addresses."""
    is_masked = conf.get().mask_addresses
    for one in written:
        address = printable(one.claimed.address)
        logger.debug(
            "%s: %s",
            masked(address) if is_masked else address,
            one.claimed.delivery.state,
            extra=log_fields(
                outbox_id=one.claimed.message_id,
                route=one.evidence.route,
                cause=one.evidence.cause,
                stage=one.evidence.stage,
                outcome=one.claimed.delivery.state.outcome,
            ),
        )


def _said(evidence: Evidence) -> str:
    """Return the reply for the log; "" for a message whose content is encrypted."""
    if evidence.reply is None:
        return f": {words_of(evidence.detail)}" if evidence.detail else ""
    if evidence.reply.is_positive:
        return ""  # to those who were not refused
    if evidence.encryption_key:
        return f": {evidence.reply.code} {evidence.reply.enhanced}".rstrip()
    return f": {words_of(str(evidence.reply))}"
