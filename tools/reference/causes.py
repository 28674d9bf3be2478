"""docs/reference/causes.md: what each cause means, and what is done about it in a direct send and in the queue."""

from typing import assert_never

from reliable_email.classification import Cause
from reliable_email.delivery import breaker, policy
from reliable_email.delivery.policy import Decision, Effect, Step
from reliable_email.delivery.telling.consequences import causes_table, typical
from tools.reference.markdown import code, span, table

_BEGINNING = """\
# Causes and actions

For everyone who meets a cause in a report, a log or a command's output: its meaning, what the package does, and what
you should do. Direct sends and the queue decide alike. `manage.py explain_reply` classifies any reply.

## What each cause means

"""


def page() -> str:
    """The whole page."""
    return "\n".join([_BEGINNING + causes_table(), _policy(), _breaker(), _schedule()])


def _policy() -> str:
    rows = []
    for cause in Cause:
        passing, lasting = (_decision(cause, reply_code) for reply_code in (450, 550))
        step = _step(passing.step, cause)
        if lasting.step is not passing.step:
            step = f"4yz: {step}; 5yz: {_step(lasting.step, cause)}"
        rows.append(
            (
                code(cause.value),
                step,
                _effect(lasting.effect),
                "yes" if lasting.spends_attempt else "no",
                "yes" if passing.retries_directly else "no",
            )
        )
    head = ("Cause", "The recipient", "The route", "Counts as an attempt", "A direct send asks again")
    text = (
        "## What the package does\n\nFor some causes the reply's first digit decides: 4yz is temporary, 5yz is "
        "permanent.\n"
        "The table is for replies to a message; a reply to RCPT concerns only that recipient.\n\n"
    )
    return text + table(head, rows)


def _decision(cause: Cause, reply_code: int) -> Decision:
    return policy.decide(typical(cause, reply_code))


def _step(step: Step, cause: Cause) -> str:
    match step:
        case Step.REJECT:
            return "rejected; no other route is asked"
        case Step.SAME_ROUTE_LATER:
            return "the same route again, later"
        case Step.ANY_ROUTE:
            return "another route at once, or this one later"
        case Step.OTHER_ROUTE:
            # The outbox knows these two causes.
            parks = cause in (Cause.SENDER_NOT_VERIFIED, Cause.SENDER_NOT_AUTHENTICATED)
            return f"another route; {'parked' if parks else 'waits'} if there is none"
        case Step.ONE_OTHER_ROUTE:
            return "one other route, then rejected"
        case Step.ROOMIER_ROUTE:
            return "a route that accepts larger messages; rejected if there is none"
        case Step.SPLIT:
            return "the same route at once, in a transaction of its own"
        case Step.EACH_ALONE:
            return "the same route at once, for each recipient alone"
        case Step.ONCE_MORE_ALONE:
            return "the same route once more, on a new connection; then another one"
        case Step.HOLD:
            return "held as `unknown`, or resent by the same route if that is allowed; never another route"
        case Step.PARK:
            return "parked in the queue"
        case Step.STOP:
            return "stopped, because the journal gave no permission"
        case _:
            assert_never(step)


def _effect(effect: Effect) -> str:
    match effect:
        case Effect.NONE:
            return "nothing"
        case Effect.COUNT:
            return "counts as a failure of the route"
        case Effect.OPEN:
            return "closed until you correct its configuration"
        case Effect.EXHAUSTED:
            return "closed until its quota is renewed"
        case Effect.BLOCKED:
            return f"closed for {span(breaker.BLOCKED_SECONDS)}"
        case Effect.CLOSE_SENDER:
            return "closed for this sender's domain"
        case Effect.CLOSE_SENDER_THERE:
            return "closed for this sender's domain and this receiver"
        case Effect.SLOW_DOWN:
            return "used less often for a while"
        case Effect.FEWER_CONNECTIONS:
            return "fewer connections"
        case Effect.LEARN_SIZE:
            return "the size limit is remembered"
        case Effect.LEARN_RECIPIENTS:
            return "the limit of recipients is remembered"
        case _:
            assert_never(effect)


def _breaker() -> str:
    rows = (
        ("failures in a row after which a route is closed", str(breaker.FAILURES_TO_OPEN)),
        ("closed the first time for", span(breaker.FIRST_OPEN_SECONDS)),
        ("doubled each time, up to", span(breaker.MAX_OPEN_SECONDS)),
        ("probes of a route whose configuration is wrong, every", span(breaker.PERSON_PROBE_SECONDS)),
        ("probe after a used-up quota, if the reply names no time, after", span(breaker.EXHAUSTED_SECONDS)),
        ("next attempt for a sender that is not verified, after", span(breaker.SENDER_SECONDS)),
        ("a learned limit is kept for", span(breaker.LEARNED_SECONDS)),
        ("pause after too many messages", f"{span(breaker.SLOW_SECONDS)} to {span(breaker.MAX_SLOW_SECONDS)}"),
        ("pause after too many logins", f"{span(breaker.LOGIN_SECONDS)} to {span(breaker.MAX_LOGIN_SECONDS)}"),
    )
    text = "## How long a route is closed\n\nIf you change a route's configuration, it is used again at once.\n\n"
    return text + table(("What", "How much"), rows)


def _schedule() -> str:
    delays = [policy.queue_delay(number, jitter=0.0) for number in range(1, 10)]
    rows = [(str(number), span(delay)) for number, delay in enumerate(delays, 1)]
    rows[-1] = (f"{rows[-1][0]} and later", rows[-1][1])
    return (
        "## The outbox's schedule\n\n"
        f"Up to {policy.JITTER_SHARE:.0%} is added at random, so that retries don't coincide. If the server asks for "
        f"a longer\n"
        f"wait, the package waits longer. A message expires after {span(policy.GIVE_UP_SECONDS)} unless the message or "
        "`EXPIRES_DAYS` sets another time.\n\n" + table(("After attempt", "Wait"), rows)
    )
