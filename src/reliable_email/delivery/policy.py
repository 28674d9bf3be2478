"""The policy: what each failure does to the recipient and to the route. Pure, for direct sends and the queue alike.

The table is DESIGN in code, one row per cause. Three rules stand above it:

* a recipient whose outcome is unknown is never given to another route: it may have the message already;
* a recipient that does not exist is never given to another route: that only spoils the other route's reputation;
* a failure of the route is never held against the message: it costs no attempt.
"""

from enum import StrEnum
from typing import Final, assert_never

from reliable_email.classification import Cause, Failure, Scope
from reliable_email.records import dataclass, replace
from reliable_email.smtp.stages import Stage


class Step(StrEnum):
    """The next step for a recipient."""

    REJECT = "reject"
    SAME_ROUTE_LATER = "same_route_later"  # another route would start from zero, or cannot help
    ANY_ROUTE = "any_route"  # another one at once; the same one again only after a while
    OTHER_ROUTE = "other_route"  # never this one again as things are
    ONE_OTHER_ROUTE = "one_other_route"  # ask one other route, then reject
    PARK = "park"  # no route can help; a person looks at the message
    ROOMIER_ROUTE = "roomier_route"  # one that takes larger messages, else reject
    SPLIT = "split"  # the same route at once, in a transaction of its own
    EACH_ALONE = "each_alone"  # the same route at once, each recipient in an envelope of its own
    ONCE_MORE_ALONE = "once_more_alone"  # the same route once more, on a fresh connection; then another one
    HOLD = "hold"  # unknown: a person, a provider's event, or the message's own policy decides
    STOP = "stop"  # our own journal said no; whoever said it knows what is to be done


class Effect(StrEnum):
    """The effect of a failure on the route."""

    NONE = "none"
    COUNT = "count"  # the breaker counts
    OPEN = "open"  # closed to traffic at once, until a person acts; probed slowly
    EXHAUSTED = "exhausted"  # until the quota's window resets
    BLOCKED = "blocked"  # for hours
    CLOSE_SENDER = "close_sender"  # for this sender domain only
    CLOSE_SENDER_THERE = "close_sender_there"  # for this sender domain's mail to this receiver only
    SLOW_DOWN = "slow_down"
    FEWER_CONNECTIONS = "fewer_connections"
    LEARN_SIZE = "learn_size"
    LEARN_RECIPIENTS = "learn_recipients"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The consequences of one failure.

    Attributes:
        step: what happens to the recipient.
        effect: what happens to the route.
        spends_attempt: whether it counts against the message's attempts in the queue.
        retries_directly: whether a direct send may ask the same route again within its budget.
        is_for_a_limit: whether it is a limit that passes by itself; from the third in a row on it spends an attempt.
    """

    step: Step
    effect: Effect = Effect.NONE
    spends_attempt: bool = True
    retries_directly: bool = False
    is_for_a_limit: bool = False


_REJECT: Final = Decision(step=Step.REJECT)
_TROUBLE: Final = Decision(step=Step.ANY_ROUTE, effect=Effect.COUNT, retries_directly=True)
_ROUTE_REFUSES: Final = Decision(step=Step.OTHER_ROUTE, effect=Effect.COUNT, spends_attempt=False)
_NEEDS_PERSON: Final = Decision(step=Step.OTHER_ROUTE, effect=Effect.OPEN, spends_attempt=False)
_RECIPIENT_LATER: Final = Decision(step=Step.SAME_ROUTE_LATER, retries_directly=True)
# 4yz to one recipient is no reason to think less of the route; but another one may have what this one lacks
# ("451 4.3.0 Temporary lookup failure": the relay's own table is away).
_OTHERS_TOO: Final = Decision(step=Step.ANY_ROUTE, retries_directly=True)

# The server may not have taken the command as ours: the same message once more, alone, on a fresh connection.
_CONVERSATION: Final = Decision(step=Step.ONCE_MORE_ALONE)
_BEFORE_MAIL: Final = frozenset(
    {Stage.RESOLVE, Stage.CONNECT, Stage.TLS, Stage.GREETING, Stage.EHLO, Stage.STARTTLS, Stage.AUTH}
)
# Of rules: an API's numbers, which name nothing, and an extension that this server lacks.
_MAY_BE_THIS_ROUTES: Final = ("http.", "aws.", "exception.", "form.ability")

_TABLE: Final[dict[Cause, Decision]] = {
    Cause.MAILBOX_UNKNOWN: _REJECT,
    Cause.MAILBOX_INACTIVE: _REJECT,
    Cause.ADDRESS_INVALID: _REJECT,
    Cause.SUPPRESSED: _REJECT,
    Cause.MAILBOX_FULL: _RECIPIENT_LATER,
    Cause.GREYLISTED: _RECIPIENT_LATER,
    Cause.CONTENT_REJECTED: _REJECT,
    # Bytes that a text rule or our own check objects to would be refused again.
    Cause.SYNTAX_OR_UNSUPPORTED: _REJECT,
    Cause.MESSAGE_TOO_LARGE: Decision(step=Step.ROOMIER_ROUTE, effect=Effect.LEARN_SIZE),
    Cause.SENDER_REJECTED: Decision(step=Step.ONE_OTHER_ROUTE),
    Cause.SENDER_NOT_VERIFIED: Decision(step=Step.OTHER_ROUTE, effect=Effect.CLOSE_SENDER, spends_attempt=False),
    Cause.SENDER_NOT_AUTHENTICATED: Decision(step=Step.OTHER_ROUTE, effect=Effect.CLOSE_SENDER, spends_attempt=False),
    Cause.TOO_MANY_RECIPIENTS: Decision(step=Step.SPLIT, effect=Effect.LEARN_RECIPIENTS, spends_attempt=False),
    Cause.AUTH_FAILED: _NEEDS_PERSON,
    Cause.HELO_REFUSED: _NEEDS_PERSON,
    Cause.RELAY_DENIED: _NEEDS_PERSON,
    Cause.TLS_REQUIRED: _NEEDS_PERSON,
    Cause.TLS_FAILED: _NEEDS_PERSON,
    Cause.HOST_NOT_FOUND: _NEEDS_PERSON,
    Cause.AUTH_THROTTLED: Decision(
        step=Step.ANY_ROUTE, effect=Effect.FEWER_CONNECTIONS, spends_attempt=False, retries_directly=True
    ),
    Cause.CONNECTION_LIMIT: Decision(
        step=Step.ANY_ROUTE,
        effect=Effect.FEWER_CONNECTIONS,
        spends_attempt=False,
        retries_directly=True,
        is_for_a_limit=True,
    ),
    Cause.RATE_LIMITED: Decision(
        step=Step.ANY_ROUTE,
        effect=Effect.SLOW_DOWN,
        spends_attempt=False,
        retries_directly=True,
        is_for_a_limit=True,
    ),
    Cause.QUOTA_EXCEEDED: Decision(step=Step.OTHER_ROUTE, effect=Effect.EXHAUSTED, spends_attempt=False),
    Cause.REPUTATION_BLOCKED: Decision(step=Step.OTHER_ROUTE, effect=Effect.BLOCKED, spends_attempt=False),
    Cause.DNS_OR_ROUTING: _RECIPIENT_LATER,
    Cause.SYSTEM_TEMPORARY: _TROUBLE,
    Cause.CONNECT_FAILED: _TROUBLE,
    Cause.TIMEOUT: _TROUBLE,
    Cause.DISCONNECTED: _TROUBLE,
    Cause.PROTOCOL_ERROR: _TROUBLE,
    # Behind MAIL an orderly 5yz proves the route alive.
    Cause.SYSTEM_PERMANENT: Decision(step=Step.ONE_OTHER_ROUTE),
    Cause.UNCLASSIFIED: Decision(step=Step.ONE_OTHER_ROUTE),
    Cause.OUTCOME_UNKNOWN: Decision(step=Step.HOLD, effect=Effect.COUNT),
    Cause.WITHHELD: Decision(step=Step.STOP, spends_attempt=False),
    Cause.CANNOT_BE_BUILT: Decision(step=Step.OTHER_ROUTE, spends_attempt=False),
    Cause.INVALID_CONTENT: Decision(step=Step.PARK),
    Cause.CODE_RAISED: Decision(step=Step.OTHER_ROUTE),
    Cause.ROUTE_CLOSED: Decision(step=Step.ANY_ROUTE, spends_attempt=False),
}


_OF_ONE_RECEIVER: Final = frozenset({".7.26", ".7.27", ".7.29", ".7.30", ".7.31", ".7.32", ".7.509", ".7.515"})


def decide(failure: Failure) -> Decision:
    """The row of the table, with what only the failure itself can tell."""
    decision = _TABLE[failure.cause]
    # 421 answers any command, and the connection is gone (RFC 5321 section 3.8): at RCPT it is not about the recipient.
    hung_up = failure.reply is not None and failure.reply.code == 421
    if failure.stage in _BEFORE_MAIL and failure.reply is not None:
        return _before_mail(failure, decision)
    if failure.is_about_conversation:
        return _CONVERSATION
    decision = _decide(failure, decision, is_one_recipients=failure.stage is Stage.RCPT and not hung_up)
    if failure.stage is Stage.MAIL and decision.step is Step.REJECT:
        # Only a sender and a size have been said: whatever the words, content and recipients are not to blame.
        return Decision(step=Step.ONE_OTHER_ROUTE)
    return decision


def _decide(failure: Failure, decision: Decision, *, is_one_recipients: bool) -> Decision:
    """Return the decision for a failure at MAIL or later, refined by more than its cause."""
    match failure.cause:
        case Cause.MAILBOX_FULL | Cause.GREYLISTED:
            return decision
        case Cause.MAILBOX_UNKNOWN | Cause.MAILBOX_INACTIVE:
            # A 4yz may be a user database that is down.
            return decision if failure.permanent else _RECIPIENT_LATER
        case Cause.DNS_OR_ROUTING:
            return _REJECT if failure.permanent else decision
        case Cause.SYNTAX_OR_UNSUPPORTED if failure.permanent and failure.rule.startswith(_MAY_BE_THIS_ROUTES):
            # The request may be wrong, and not the message; another server may have what this one lacks.
            return Decision(step=Step.ONE_OTHER_ROUTE)
        case Cause.CONTENT_REJECTED | Cause.SYNTAX_OR_UNSUPPORTED | Cause.SENDER_REJECTED | Cause.MESSAGE_TOO_LARGE:
            # A 4yz about the message: this server may change its mind.
            return decision if failure.permanent else Decision(step=Step.ANY_ROUTE, retries_directly=True)
        case Cause.UNCLASSIFIED | Cause.SYSTEM_PERMANENT:
            if failure.scope is Scope.ROUTE:
                # Before MAIL: nothing was said of the message, so it costs the message nothing.
                return _ROUTE_REFUSES
            if not failure.permanent:
                return _OTHERS_TOO if is_one_recipients else _TROUBLE
            # At RCPT an unknown 5yz is about this recipient; another route would only be told the same.
            return _REJECT if failure.stage is Stage.RCPT and failure.scope is Scope.RECIPIENT else decision
        case Cause.SYSTEM_TEMPORARY if is_one_recipients:
            return _OTHERS_TOO
        case Cause.CONNECTION_LIMIT if failure.reply is None:
            # Our own limit: all of them are at work, which says nothing against the route.
            return Decision(step=Step.ANY_ROUTE, spends_attempt=False, retries_directly=True)
        case Cause.RATE_LIMITED if failure.scope is Scope.RECIPIENT:
            # "This user is receiving mail too quickly": the route is fine.
            return _RECIPIENT_LATER
        case Cause.SENDER_NOT_AUTHENTICATED if not failure.permanent:
            # The receiver's words for a look-up that failed, or for mail that it slows down at first.
            return Decision(step=Step.ANY_ROUTE, retries_directly=True)
        case Cause.SENDER_NOT_AUTHENTICATED if failure.reply is not None and _is_one_receivers(failure.reply.enhanced):
            # Others may take the same sender's mail by this route: it stays open for them.
            return Decision(step=Step.OTHER_ROUTE, effect=Effect.CLOSE_SENDER_THERE, spends_attempt=False)
        case Cause.SENDER_NOT_VERIFIED if failure.scope is Scope.RECIPIENT:
            # Amazon SES in its sandbox names the recipient.
            return Decision(step=Step.OTHER_ROUTE, spends_attempt=False)
        case _:
            return decision


def _is_one_receivers(enhanced: str) -> bool:
    """Return whether an enhanced status is a rule of one receiver (Gmail, Microsoft) for senders."""
    return enhanced[1:] in _OF_ONE_RECEIVER


class Action(StrEnum):
    """The reaction to a failure, in five groups, as `explain_reply --json` prints it."""

    FAIL_RECIPIENT = "fail_recipient"
    FAIL_MESSAGE = "fail_message"
    RETRY_LATER = "retry_later"
    THROTTLE_ROUTE = "throttle_route"
    LEAVE_ROUTE = "leave_route"


def action_of(failure: Failure) -> Action:
    """The group of what `decide` says of a failure."""
    decision = decide(failure)
    match decision.step:
        case Step.REJECT:
            return Action.FAIL_RECIPIENT if failure.scope is Scope.RECIPIENT else Action.FAIL_MESSAGE
        case Step.ONE_OTHER_ROUTE | Step.ROOMIER_ROUTE | Step.HOLD | Step.PARK:
            return Action.FAIL_MESSAGE
        case Step.SAME_ROUTE_LATER | Step.STOP:
            return Action.RETRY_LATER
        case Step.SPLIT | Step.EACH_ALONE:
            return Action.THROTTLE_ROUTE
        case Step.OTHER_ROUTE | Step.ONCE_MORE_ALONE:
            return Action.LEAVE_ROUTE
        case Step.ANY_ROUTE:
            slower = decision.effect in (Effect.SLOW_DOWN, Effect.FEWER_CONNECTIONS)
            return Action.THROTTLE_ROUTE if slower else Action.RETRY_LATER
        case _:
            assert_never(decision.step)


def _before_mail(failure: Failure, decision: Decision) -> Decision:
    """Return the decision for a failure before MAIL: it is about the route and costs the message no attempt."""
    if decision.step in (Step.REJECT, Step.ONE_OTHER_ROUTE, Step.ROOMIER_ROUTE, Step.SPLIT, Step.SAME_ROUTE_LATER):
        if failure.permanent:
            return _ROUTE_REFUSES
        return replace(_TROUBLE, spends_attempt=False)
    return replace(decision, spends_attempt=False)


def as_limit() -> Decision:
    """The decision on a limit of recipients that a single recipient meets: it is one of the session, or of a time."""
    return _TABLE[Cause.RATE_LIMITED]


_LATER_SECONDS: Final = (30.0, 120.0, 300.0, 900.0, 1800.0, 3600.0, 7200.0, 14400.0, 21600.0)
GIVE_UP_SECONDS: Final = 3 * 86400.0
JITTER_SHARE: Final = 0.15
DIRECT_CAP_SECONDS: Final = 1.0


def queue_delay(attempts: int, *, jitter: float, asked_for: float | None = None) -> float:
    """Seconds until the next attempt from the queue.

    Args:
        attempts: those that were spent, this one included; from 1.
        jitter: in [0, 1). It is added after the cap: at the cap all would wake together otherwise.
        asked_for: what the server's words asked for; it is obeyed where it is longer.
    """
    base = _LATER_SECONDS[min(max(attempts, 1), len(_LATER_SECONDS)) - 1]
    return max(base, asked_for or 0.0) * (1.0 + JITTER_SHARE * jitter)


def direct_delay(round_number: int, *, jitter: float) -> float:
    """Seconds before the next round of a direct send: full jitter, at most one second (a person is waiting)."""
    return jitter * min(DIRECT_CAP_SECONDS, 0.25 * 2.0 ** max(round_number - 1, 0))
