"""When a route is asked and when it is left alone: one frozen state, and functions from state to state. Pure.

closed --three failures in a row, or one that needs no second--> open --its time is over--> half-open (one probe)
half-open --success--> closed        half-open --failure--> open, for longer         paused: by an operator, alone
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from reliable_email.classification import Cause, Failure
from reliable_email.delivery.policy import Effect

FAILURES_TO_OPEN: Final = 3
FIRST_OPEN_SECONDS: Final = 15.0
MAX_OPEN_SECONDS: Final = 900.0
PERSON_PROBE_SECONDS: Final = 900.0  # what a person has to mend is probed now and then all the same
BLOCKED_SECONDS: Final = 7200.0
EXHAUSTED_SECONDS: Final = 3600.0  # the provider named no time: look again every hour
SENDER_SECONDS: Final = 3600.0
LEARNED_SECONDS: Final = 7 * 86400.0  # a limit that was learned from one refusal is not a law
SLOW_SECONDS: Final = 1.0
MAX_SLOW_SECONDS: Final = 60.0
LOGIN_SECONDS: Final = 60.0  # "too many logins" passes in minutes, not in seconds
MAX_LOGIN_SECONDS: Final = 900.0
PROBE_SECONDS: Final = 60.0  # how long one process may hold the only probe
STANDBY_DOUBT_SECONDS: Final = 60.0  # how soon a standby route is looked at again that failed once
# What a login without a message can refute; the other reasons only a message can.
_SEEN_BY_LOGIN: Final = frozenset(
    {
        Cause.AUTH_FAILED,
        Cause.AUTH_THROTTLED,
        Cause.TLS_FAILED,
        Cause.HOST_NOT_FOUND,
        Cause.CONNECT_FAILED,
        Cause.TIMEOUT,
        Cause.DISCONNECTED,
        Cause.PROTOCOL_ERROR,
    }
)


class Phase(StrEnum):
    """A breaker's words, as in an electric circuit: open means that nothing goes through."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"
    PAUSED = "paused"


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerState:
    """One route's. Instants are seconds of the wall clock, since several processes share it.

    Attributes:
        failures: in a row.
        openings: in a row; each doubles the time.
        reason, evidence: why it is open, and in whose words.
        until: when it may be probed.
        probe_until: while somebody probes.
        needs_person: whether only a change of the configuration helps.
        paused_by: who paused it, and why.
        fingerprint: of the configuration that failed; another one asks the question anew.
        closed_senders: sender domains that this route refuses, and until when they are not tried.
        max_message_bytes, max_recipients: learned limits, and until when they hold.
        slow_until: until when it is left alone because it was asked too often.
        slow_seconds: for how long; doubled by each further complaint, halved by each success.
        standby_at: when somebody looks again whether it would take a message.
    """

    phase: Phase = Phase.CLOSED
    failures: int = 0
    openings: int = 0
    reason: Cause | None = None
    evidence: str = ""
    opened_at: float = 0.0
    until: float = 0.0
    probe_until: float = 0.0
    needs_person: bool = False
    paused_by: str = ""
    fingerprint: str = ""
    closed_senders: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    max_message_bytes: int | None = None
    max_recipients: int | None = None
    max_message_bytes_until: float = 0.0
    max_recipients_until: float = 0.0
    slow_until: float = 0.0
    slow_seconds: float = 0.0
    standby_at: float = 0.0


class Permission(StrEnum):
    """Whether a message may go by a route now."""

    YES = "yes"
    PROBE = "probe"  # its time is over: one may try, after `begin_probe`
    NO = "no"


def permission(state: BreakerState, *, now: float, sender_domain: str = "") -> Permission:
    """Whether a message from this domain may go by the route."""
    if state.closed_senders.get(sender_domain, 0.0) > now:
        return Permission.NO
    match state.phase:
        case Phase.CLOSED:
            return Permission.NO if state.slow_until > now else Permission.YES
        case Phase.PAUSED:
            return Permission.NO
        case Phase.OPEN:
            return Permission.PROBE if now >= state.until else Permission.NO
        case Phase.HALF_OPEN:
            return Permission.PROBE if now >= state.probe_until else Permission.NO


def with_configuration(state: BreakerState, fingerprint: str) -> BreakerState:
    """The state for this configuration: what another one did wrong says nothing about it; a pause holds."""
    if state.fingerprint == fingerprint:
        return state
    if state.phase is Phase.PAUSED:
        return replace(state, fingerprint=fingerprint)
    return BreakerState(fingerprint=fingerprint)


def begin_probe(state: BreakerState, *, now: float) -> BreakerState:
    """Take the only probe."""
    return replace(state, phase=Phase.HALF_OPEN, probe_until=now + PROBE_SECONDS)


def begin_standby_probe(state: BreakerState, *, now: float, every_seconds: float) -> BreakerState | None:
    """Take the turn to look, without a message, whether the route would take one; None where it is not time."""
    match state.phase:
        case Phase.PAUSED:
            return None
        case Phase.CLOSED:
            if now < state.standby_at:
                return None
            wait = every_seconds if not state.failures else min(every_seconds, STANDBY_DOUBT_SECONDS)
            return replace(state, standby_at=now + wait)
        case Phase.OPEN | Phase.HALF_OPEN:
            is_due = permission(state, now=now) is Permission.PROBE
            return begin_probe(state, now=now) if is_due and state.reason in _SEEN_BY_LOGIN else None


def after_success(state: BreakerState, *, sender_domain: str = "") -> BreakerState:
    """It took a message, or a probe came through."""
    senders = {domain: until for domain, until in state.closed_senders.items() if domain != sender_domain}
    if state.phase is Phase.PAUSED:
        return replace(state, closed_senders=MappingProxyType(senders))
    slow_seconds = state.slow_seconds / 2
    return replace(
        _with_limits_of(state),
        closed_senders=MappingProxyType(senders),
        slow_until=state.slow_until,
        slow_seconds=slow_seconds if slow_seconds >= SLOW_SECONDS else 0.0,
    )


def after_failure(
    state: BreakerState,
    effect: Effect,
    failure: Failure,
    *,
    now: float,
    sender_domain: str = "",
    recipients: int = 0,
    message_bytes: int = 0,
) -> BreakerState:
    """What a failure makes of it.

    Args:
        effect: the policy's word on it.
        failure: for its words, and the time that they name.
        sender_domain: of the message.
        recipients: how many the transaction had taken, for `LEARN_RECIPIENTS`.
        message_bytes: of the message that was too large, for `LEARN_SIZE`.
    """
    asked_for = _asked_for(failure, now)
    match effect:
        case Effect.NONE:
            return state
        case Effect.SLOW_DOWN | Effect.FEWER_CONNECTIONS:
            return _slowed(state, failure, asked_for, now)
        case Effect.LEARN_SIZE:
            if message_bytes <= 1:
                return state
            known = max_message_bytes(state, now=now)
            limit = message_bytes - 1 if known is None else min(known, message_bytes - 1)
            return replace(state, max_message_bytes=limit, max_message_bytes_until=now + LEARNED_SECONDS)
        case Effect.LEARN_RECIPIENTS:
            if not recipients:
                return state
            return replace(state, max_recipients=recipients, max_recipients_until=now + LEARNED_SECONDS)
        case Effect.CLOSE_SENDER:
            senders = dict(state.closed_senders) | {sender_domain: now + SENDER_SECONDS}
            return replace(state, closed_senders=MappingProxyType(senders))
        case Effect.COUNT:
            failures = state.failures + 1
            if state.phase is not Phase.HALF_OPEN and failures < FAILURES_TO_OPEN:
                return replace(state, failures=failures)
            seconds = min(FIRST_OPEN_SECONDS * 2.0**state.openings, MAX_OPEN_SECONDS)
            return _open(replace(state, failures=failures), failure, now=now, seconds=seconds)
        case Effect.OPEN:
            return replace(_open(state, failure, now=now, seconds=PERSON_PROBE_SECONDS), needs_person=True)
        case Effect.BLOCKED:
            return _open(state, failure, now=now, seconds=asked_for or BLOCKED_SECONDS)
        case Effect.EXHAUSTED:
            return _open(state, failure, now=now, seconds=asked_for or EXHAUSTED_SECONDS)


def pause(state: BreakerState, *, by: str, now: float) -> BreakerState:
    """An operator takes the route out of use."""
    return replace(state, phase=Phase.PAUSED, paused_by=by, opened_at=now)


def resume(state: BreakerState) -> BreakerState:
    """An operator puts it back, and its record is clean."""
    return _with_limits_of(state)


def max_message_bytes(state: BreakerState, *, now: float) -> int | None:
    """The learned limit of a message's size, while it holds."""
    return state.max_message_bytes if state.max_message_bytes_until > now else None


def max_recipients(state: BreakerState, *, now: float) -> int | None:
    """The learned limit of recipients in one transaction, while it holds."""
    return state.max_recipients if state.max_recipients_until > now else None


def _with_limits_of(state: BreakerState) -> BreakerState:
    """A clean record that keeps what was learned about limits."""
    return BreakerState(
        fingerprint=state.fingerprint,
        max_message_bytes=state.max_message_bytes,
        max_message_bytes_until=state.max_message_bytes_until,
        max_recipients=state.max_recipients,
        max_recipients_until=state.max_recipients_until,
        standby_at=state.standby_at,
    )


def _slowed(state: BreakerState, failure: Failure, asked_for: float | None, now: float) -> BreakerState:
    first, most = SLOW_SECONDS, MAX_SLOW_SECONDS
    if failure.cause is Cause.AUTH_THROTTLED:
        first, most = LOGIN_SECONDS, MAX_LOGIN_SECONDS
    seconds = min(max(first, state.slow_seconds * 2), most)
    until = now + (asked_for if asked_for is not None else seconds)
    return replace(state, slow_seconds=seconds, slow_until=max(until, state.slow_until))


def _open(state: BreakerState, failure: Failure, *, now: float, seconds: float) -> BreakerState:
    if state.phase is Phase.PAUSED:
        return state
    return replace(
        state,
        phase=Phase.OPEN,
        openings=state.openings + 1,
        reason=failure.cause,
        evidence=_evidence(failure),
        opened_at=now,
        until=now + seconds,
        probe_until=0.0,
    )


def _asked_for(failure: Failure, now: float) -> float | None:
    if failure.retry_at is not None:
        return max(failure.retry_at.timestamp() - now, 1.0)
    return failure.retry_after


def _evidence(failure: Failure) -> str:
    stage = f"at {failure.stage}: " if failure.stage is not None else ""
    return stage + (str(failure.reply) if failure.reply is not None else failure.detail)
