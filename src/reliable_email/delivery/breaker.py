"""The circuit breaker of a route: one frozen state, and functions from state to state. Pure.

closed --three failures in a row, or one that needs no second--> open --its time is over--> half-open (one probe)
half-open --success--> closed        half-open --failure--> open, for longer         paused: by an operator, alone

Openings are numbered, so that one outage is one opening: a transaction that began before the last one says nothing
about the route as it is now, however many of them fail and however late they do.
"""

from collections.abc import Collection, Iterable, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from reliable_email.classification import Cause, Failure
from reliable_email.delivery.evidence import asked_seconds, evidence_of, is_seen_by_login
from reliable_email.delivery.fingerprints import Likeness, Part, joined, likeness
from reliable_email.delivery.policy import Effect
from reliable_email.records import dataclass, field, replace

FAILURES_TO_OPEN: Final = 3
FIRST_OPEN_SECONDS: Final = 15.0
MAX_OPEN_SECONDS: Final = 900.0
WAITED_FOR_SECONDS: Final = 60.0  # the longest pause between two probes while mail waits for the route
PERSON_PROBE_SECONDS: Final = 900.0  # what a person has to mend is probed now and then all the same
LOGIN_PROBE_SECONDS: Final = 3600.0  # providers lock accounts out whose login fails too often
LONGEST_SECONDS: Final = 7 * 86400.0  # whatever a reply says
BLOCKED_SECONDS: Final = 7200.0
EXHAUSTED_SECONDS: Final = 3600.0  # the provider named no time: look again every hour
SENDER_SECONDS: Final = 3600.0
_MOST_SENDERS: Final = 500  # of one route that are kept away from it at once
LEARNED_SECONDS: Final = 7 * 86400.0  # a limit that was learned from one refusal is not a law
SLOW_SECONDS: Final = 1.0
MAX_SLOW_SECONDS: Final = 60.0
LOGIN_SECONDS: Final = 60.0  # "too many logins" passes in minutes, not in seconds
MAX_LOGIN_SECONDS: Final = 900.0
PROBE_SECONDS: Final = 60.0  # how long one process may hold the only probe
_CLOCK_SECONDS: Final = 60.0  # how far the clocks of two processes may be apart
STANDBY_DOUBT_SECONDS: Final = 60.0  # how soon a standby route is looked at again that failed once


class Phase(StrEnum):
    """A breaker's words, as in an electric circuit: open means that nothing goes through."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"
    PAUSED = "paused"

    @property
    def word(self) -> str:
        """The phase as people and monitors read it: a closed route is one that nothing uses."""
        return _PHASE_WORDS[self]


_PHASE_WORDS = {
    Phase.CLOSED: "in use",
    Phase.OPEN: "closed",
    Phase.HALF_OPEN: "on trial",
    Phase.PAUSED: "paused",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerState:
    """One route's. Instants are seconds of the wall clock, since several processes share it.

    Attributes:
        number: how often it has opened so far.
        failures: in a row.
        failed_probes: since it opened; each doubles the time.
        reason, evidence: why it is open, and in whose words.
        failed_at: when the failure was told that set `until`.
        until: when it may be probed.
        asked_until: until when the server's own words keep probes away.
        is_trouble: whether it opened for trouble that passes by itself, so that waiting mail may hurry the probe.
        is_seen_by_login: whether a login without a message can show that the reason is gone.
        probe_until: while somebody probes.
        needs_person: whether only a change of the configuration helps.
        paused_by: who paused it, and why.
        fingerprint: of the configuration that failed; another one asks the question anew.
        closed_senders: sender domains that this route refuses, or `sender_at` where it is one receiver that does; and
            until when they are not tried.
        max_message_bytes, max_recipients: learned limits, and until when they hold.
        slow_until: until when it is left alone because it was asked too often.
        slow_seconds: for how long; doubled by each further complaint, halved by each success.
        standby_at: when somebody looks again whether it would take a message.
    """

    phase: Phase = Phase.CLOSED
    number: int = 0
    failures: int = 0
    failed_probes: int = 0
    reason: Cause | None = None
    evidence: str = ""
    opened_at: float = 0.0
    failed_at: float = 0.0
    until: float = 0.0
    asked_until: float = 0.0
    is_trouble: bool = False
    is_seen_by_login: bool = False
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
    """The answer to "may a message use the route now?"."""

    YES = "yes"
    PROBE = "probe"  # its time is over: one may try, after `begin_probe`
    NO = "no"


def permission(state: BreakerState, *, now: float, sender_domain: str = "") -> Permission:
    """Return whether a message from this domain may use the route."""
    if is_sender_closed(state, sender_domain, now=now):
        return Permission.NO
    match state.phase:
        case Phase.CLOSED:
            return Permission.NO if _is_ahead(state.slow_until, now) else Permission.YES
        case Phase.PAUSED:
            return Permission.NO
        case Phase.OPEN:
            return Permission.NO if _is_ahead(state.until, now) else Permission.PROBE
        case Phase.HALF_OPEN:
            return (
                Permission.NO if _is_ahead(state.probe_until, now, longest=PERSON_PROBE_SECONDS) else Permission.PROBE
            )


def sender_at(sender_domain: str, receiver: str) -> str:
    """The key of `closed_senders` for a sender domain's mail to the addresses of one domain; people read it, too."""
    return f"{sender_domain} to {receiver}"


def is_sender_closed(state: BreakerState, sender_domain: str, *, now: float, receiver: str = "") -> bool:
    """Return whether the route is closed for this sender's mail: for all of it, or for this receiver only."""
    key = sender_at(sender_domain, receiver) if receiver else sender_domain
    return _is_ahead(state.closed_senders.get(key, 0.0), now)


def with_configuration(state: BreakerState, fingerprint: str) -> BreakerState:
    """The state for this configuration: what another one did wrong says nothing about it; a pause holds.

    Where it cannot be told whether it is another one, it counts as the same; but what only another one helps with is
    tried once.
    """
    if state.fingerprint == fingerprint:
        return state
    found = likeness(state.fingerprint, fingerprint, Part.WHOLE) if state.fingerprint and fingerprint else None
    if found is Likeness.SAME or found is Likeness.UNKNOWN:
        names = joined(state.fingerprint, fingerprint)
        known = state if names == state.fingerprint else replace(state, fingerprint=names)
        is_worth_a_try = found is Likeness.UNKNOWN and state.needs_person and state.phase is Phase.OPEN
        return replace(known, until=min(state.until, state.failed_at)) if is_worth_a_try else known
    if state.phase is Phase.PAUSED:
        return replace(state, fingerprint=fingerprint)
    return BreakerState(fingerprint=fingerprint, number=state.number)


def begin_probe(state: BreakerState, *, now: float) -> BreakerState:
    """Take the only probe."""
    # A login that nobody reports on may have been refused, too.
    seconds = PERSON_PROBE_SECONDS if state.reason is Cause.AUTH_FAILED else PROBE_SECONDS
    return replace(state, phase=Phase.HALF_OPEN, probe_until=now + seconds)


def begin_standby_probe(state: BreakerState, *, now: float, every_seconds: float) -> BreakerState | None:
    """Take the turn to look, without a message, whether the route would take one; None where it is not time."""
    match state.phase:
        case Phase.PAUSED:
            return None
        case Phase.CLOSED:
            if _is_ahead(state.standby_at, now, longest=every_seconds):
                return None
            wait = every_seconds if not state.failures else min(every_seconds, STANDBY_DOUBT_SECONDS)
            return replace(state, standby_at=now + wait)
        case Phase.OPEN | Phase.HALF_OPEN:
            is_due = permission(state, now=now) is Permission.PROBE
            return begin_probe(state, now=now) if is_due and state.is_seen_by_login else None


def hurried(state: BreakerState) -> BreakerState:
    """The state where mail waits for the route: a minute after the last failure is soon enough, and not too late.

    Never sooner than the server asked for, and never where a login was refused, a quota is used up or the site is
    blocked: asking more often makes those worse.
    """
    if state.phase is not Phase.OPEN or not state.is_trouble:
        return state
    until = max(min(state.until, state.failed_at + WAITED_FOR_SECONDS), state.asked_until)
    return replace(state, until=until) if until < state.until else state


def after_success(state: BreakerState, *, opening: int | None = None, sender_domain: str = "") -> BreakerState:
    """The state after it took a message, or a probe came through.

    Args:
        opening: the number that the state had when the transaction began; None for the one that it has now.
        sender_domain: of the message.
    """
    if _is_older(state, opening):
        return state
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
    opening: int | None = None,
    sender_domain: str = "",
    receivers: Collection[str] = (),
    recipients: int = 0,
    message_bytes: int = 0,
) -> BreakerState:
    """Return the state after a failure.

    Args:
        effect: the policy's word on it.
        failure: for its words, and the time that they name.
        opening: the number that the state had when the transaction began; None for the one that it has now.
        sender_domain: of the message.
        receivers: domains of those whose receiver refused the sender, for `CLOSE_SENDER_THERE`.
        recipients: how many the transaction had taken, for `LEARN_RECIPIENTS`.
        message_bytes: of the message that was too large, for `LEARN_SIZE`.
    """
    asked_for = asked_seconds(failure, now=now, longest=LONGEST_SECONDS)
    if _is_older(state, opening):
        return _lengthened(state, asked_for, now) if effect in _OPENS else state
    if state.phase is Phase.HALF_OPEN and effect in _ORDERLY:
        state = after_success(state)  # it speaks of this message alone, and of the route that it answers
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
            return _without(state, [sender_domain], now)
        case Effect.CLOSE_SENDER_THERE:
            return _without(state, [sender_at(sender_domain, receiver) for receiver in receivers], now)
        case Effect.COUNT if state.phase is Phase.CLOSED and state.failures + 1 < FAILURES_TO_OPEN:
            return replace(state, failures=state.failures + 1)
        case Effect.COUNT | Effect.OPEN | Effect.BLOCKED | Effect.EXHAUSTED:
            return _failed(state, effect, failure, asked_for, now)


def opens_at(state: BreakerState, *, now: float) -> float | None:
    """Return the time at which the route may be asked again; None if only an operator can reopen it."""
    match state.phase:
        case Phase.PAUSED:
            return None
        case Phase.CLOSED:
            moment = state.slow_until
        case Phase.OPEN:
            moment = state.until
        case Phase.HALF_OPEN:
            moment = state.probe_until
    return moment if _is_ahead(moment, now) else now


def pause(state: BreakerState, *, by: str, now: float) -> BreakerState:
    """An operator takes the route out of use."""
    return replace(state, phase=Phase.PAUSED, paused_by=by, opened_at=now)


def resume(state: BreakerState) -> BreakerState:
    """An operator puts it back, and its record is clean."""
    return _with_limits_of(state)


def max_message_bytes(state: BreakerState, *, now: float) -> int | None:
    """The learned limit of a message's size, while it holds."""
    return state.max_message_bytes if _is_ahead(state.max_message_bytes_until, now) else None


def max_recipients(state: BreakerState, *, now: float) -> int | None:
    """The learned limit of recipients in one transaction, while it holds."""
    return state.max_recipients if _is_ahead(state.max_recipients_until, now) else None


def _with_limits_of(state: BreakerState) -> BreakerState:
    """A clean record that keeps what was learned about limits."""
    return BreakerState(
        number=state.number,
        fingerprint=state.fingerprint,
        max_message_bytes=state.max_message_bytes,
        max_message_bytes_until=state.max_message_bytes_until,
        max_recipients=state.max_recipients,
        max_recipients_until=state.max_recipients_until,
        standby_at=state.standby_at,
    )


def _without(state: BreakerState, keys: Iterable[str], now: float) -> BreakerState:
    """Close the route for these senders; the row is read with every claim, so that old ones do not stay in it."""
    senders = {key: until for key, until in state.closed_senders.items() if _is_ahead(until, now)}
    senders |= dict.fromkeys(keys, now + SENDER_SECONDS)
    newest = sorted(senders.items(), key=lambda one: one[1])[-_MOST_SENDERS:]
    return replace(state, closed_senders=MappingProxyType(dict(newest)))


def _slowed(state: BreakerState, failure: Failure, asked_for: float | None, now: float) -> BreakerState:
    first, most = SLOW_SECONDS, MAX_SLOW_SECONDS
    if failure.cause is Cause.AUTH_THROTTLED:
        first, most = LOGIN_SECONDS, MAX_LOGIN_SECONDS
    if _is_ahead(state.slow_until, now):
        # Every message that was under way hears of the same limit: that is one limit, and no reason to double the rest.
        seconds = max(first, state.slow_seconds)
        rest = asked_for if asked_for is not None else first if first > state.slow_seconds else 0.0
        until = max(now + rest, state.slow_until)
    else:
        seconds = min(max(first, state.slow_seconds * 2), most)
        until = now + (asked_for if asked_for is not None else seconds)
    slowed = replace(state, slow_seconds=seconds, slow_until=until)
    if state.phase is not Phase.HALF_OPEN:
        return slowed
    # The probe has learned nothing of the reason, and is over.
    rest = now + LOGIN_PROBE_SECONDS if state.reason is Cause.AUTH_FAILED else until
    return replace(slowed, phase=Phase.OPEN, until=max(until, rest), probe_until=0.0)


_ORDERLY: Final = frozenset(
    {Effect.LEARN_SIZE, Effect.LEARN_RECIPIENTS, Effect.CLOSE_SENDER, Effect.CLOSE_SENDER_THERE}
)
_NAMES_A_TIME: Final = frozenset({Effect.BLOCKED, Effect.EXHAUSTED})
_OPENS: Final = frozenset({Effect.COUNT, Effect.OPEN, Effect.BLOCKED, Effect.EXHAUSTED})


def _failed(state: BreakerState, effect: Effect, failure: Failure, asked_for: float | None, now: float) -> BreakerState:
    """Open, or stay open: by the phase in which a failure is told that speaks of the route as it is now."""
    match state.phase:
        case Phase.PAUSED:
            return state
        case Phase.CLOSED:
            opened = replace(state, number=state.number + 1, failures=state.failures + 1, opened_at=now)
            return _open(opened, effect, failure, asked_for, now)
        case Phase.OPEN:
            # No probe: somebody who had no other way. It may be told more than was known.
            if effect in _NAMES_A_TIME and not state.is_trouble and not state.needs_person and asked_for is not None:
                return _open(replace(state, asked_until=0.0), effect, failure, asked_for, now)
            is_worse = not state.needs_person if effect is Effect.OPEN else state.is_trouble
            if effect is Effect.COUNT or not is_worse:
                return _lengthened(state, asked_for, now)
            worse = _open(state, effect, failure, asked_for, now)
            return replace(worse, until=max(worse.until, state.until))
        case Phase.HALF_OPEN:
            if effect is Effect.COUNT and state.reason is Cause.AUTH_FAILED:
                # It did not come as far as the login, whose refusal stands.
                still = replace(
                    state, phase=Phase.OPEN, failed_at=now, until=now + LOGIN_PROBE_SECONDS, probe_until=0.0
                )
                return _lengthened(still, asked_for, now)
            return _open(replace(state, failed_probes=state.failed_probes + 1), effect, failure, asked_for, now)


def _open(state: BreakerState, effect: Effect, failure: Failure, asked_for: float | None, now: float) -> BreakerState:
    match effect:
        case Effect.OPEN if failure.cause is Cause.AUTH_FAILED and state.reason is Cause.AUTH_FAILED:
            seconds = LOGIN_PROBE_SECONDS
        case Effect.OPEN:
            seconds = PERSON_PROBE_SECONDS
        case Effect.BLOCKED:
            seconds = BLOCKED_SECONDS if asked_for is None else asked_for
        case Effect.EXHAUSTED:
            seconds = EXHAUSTED_SECONDS if asked_for is None else asked_for
        case _:
            seconds = min(FIRST_OPEN_SECONDS * 2.0 ** min(state.failed_probes, 10), MAX_OPEN_SECONDS)
    opened = replace(
        state,
        phase=Phase.OPEN,
        reason=failure.cause,
        evidence=evidence_of(failure),
        failed_at=now,
        until=now + seconds,
        probe_until=0.0,
        needs_person=effect is Effect.OPEN,
        is_trouble=effect is Effect.COUNT,
        is_seen_by_login=is_seen_by_login(failure),
    )
    return _lengthened(opened, asked_for, now)


def _lengthened(state: BreakerState, asked_for: float | None, now: float) -> BreakerState:
    """Keep away for as long as the server's words ask; while a probe is under way that counts if it fails."""
    if asked_for is None or state.phase not in (Phase.OPEN, Phase.HALF_OPEN):
        return state
    asked_until = max(state.asked_until, now + asked_for)
    return replace(state, asked_until=asked_until, until=max(state.until, asked_until))


def _is_older(state: BreakerState, opening: int | None) -> bool:
    """Return whether a transaction began before the route's last opening."""
    return opening is not None and opening < state.number


def _is_ahead(until: float, now: float, *, longest: float = LONGEST_SECONDS) -> bool:
    """Return whether an instant is in the future. One that is too far away was written by a wrong clock."""
    return now < until <= now + longest + _CLOCK_SECONDS
