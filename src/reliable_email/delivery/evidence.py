"""The part of a failure that is about the route: the reply, its duration, and whether a probe can find it gone.

Pure.
"""

import math
from typing import Final

from reliable_email.classification import Cause, Failure
from reliable_email.smtp.stages import Stage
from reliable_email.values import masked

_BEFORE_ENVELOPE: Final = frozenset(
    {Stage.RESOLVE, Stage.CONNECT, Stage.TLS, Stage.GREETING, Stage.EHLO, Stage.STARTTLS, Stage.AUTH}
)
# What went wrong with the connection shows in the next one, at whatever stage it was noticed.
_OF_CONNECTIONS: Final = frozenset(
    {Cause.CONNECT_FAILED, Cause.TIMEOUT, Cause.DISCONNECTED, Cause.PROTOCOL_ERROR, Cause.OUTCOME_UNKNOWN}
)
# What only a message can refute, where nobody knows at which stage it was said.
_OF_MESSAGES: Final = frozenset(
    {
        Cause.QUOTA_EXCEEDED,
        Cause.REPUTATION_BLOCKED,
        Cause.RELAY_DENIED,
        Cause.TLS_REQUIRED,
        Cause.SYSTEM_PERMANENT,
        Cause.UNCLASSIFIED,
    }
)


def asked_seconds(failure: Failure, *, now: float, longest: float) -> float | None:
    """Return for how many seconds the server asks to be left alone, `longest` at most; None if it names no time."""
    seconds = failure.retry_after
    if failure.retry_at is not None:
        seconds = max(failure.retry_at.timestamp() - now, 1.0)
    if seconds is None or math.isnan(seconds):
        return None
    return max(min(seconds, longest), -longest)


def is_seen_by_login(failure: Failure) -> bool:
    """Return whether a login without a message can show that the reason is gone."""
    if failure.stage in _BEFORE_ENVELOPE or failure.cause in _OF_CONNECTIONS:
        return True
    if failure.reply is not None and failure.reply.code == 421:  # the server is going away (RFC 5321 section 3.8)
        return failure.cause not in _OF_MESSAGES
    return failure.stage is None and failure.cause not in _OF_MESSAGES


def evidence_of(failure: Failure) -> str:
    """Return the stage and the server's words, as people read them.

    A route's state is kept in clear and for long, and is about nobody: of an address, the first letter and the domain
    stay.
    """
    stage = f"at {failure.stage}: " if failure.stage is not None else ""
    return stage + masked(failure.said)
