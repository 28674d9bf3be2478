"""Replies to an envelope that was sent behind a terminator: which of them count (rule 4 of the session)."""

from reliable_email.smtp.failures import FailureKind
from reliable_email.smtp.protocol.conversation import is_about_conversation
from reliable_email.smtp.protocol.events import NotAsked
from reliable_email.smtp.protocol.exchange import Exchange


def not_asked(exchange: Exchange, *, is_proven: bool) -> NotAsked | None:
    """The event of a chained exchange that ended before its 354; None where what was said to it is a refusal.

    Args:
        is_proven: whether an earlier chained envelope got its 354 on this connection.
    """
    if is_proven and not exchange.is_cut_off and not exchange.has_odd_refusal:
        return None
    failure = exchange.first_failure()
    reply = failure.reply
    if reply is not None and reply.code == 421:
        is_telling = is_about_conversation(reply)  # else the service is closing, or a limit is reached
    else:
        # A server that took chained envelopes and leaves has other reasons.
        is_telling = not (is_proven and failure.kind is FailureKind.DISCONNECTED)
    return NotAsked(
        job=exchange.job, failure=failure, counts_at_once=exchange.is_behind_terminator, is_telling=is_telling
    )
