"""docs/reference/causes.md: what each cause means, and what is done about it in a direct send and in the queue."""

from typing import assert_never

from reliable_email.classification import Cause
from reliable_email.delivery import breaker, policy
from reliable_email.delivery.consequences import causes_table, typical
from reliable_email.delivery.policy import Decision, Effect, Step
from tools.reference.markdown import code, span, table

_BEGINNING = """\
# Causes and actions

A refusal or a broken connection is classified: what does it mean, what is it about, does it last? The decision follows
from the cause, and is the same for a direct send and for the queue. `manage.py explain_reply` classifies any reply.

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
        "## What is done\n\nThe reply's first digit decides where it makes a difference: 4yz passes by itself, 5yz "
        "lasts.\nThis is the rule for a reply to the message; at RCPT an answer is about that recipient alone.\n\n"
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
            return "another route at once, or this one after a while"
        case Step.OTHER_ROUTE:
            # The outbox knows these two causes.
            parks = cause in (Cause.SENDER_NOT_VERIFIED, Cause.SENDER_NOT_AUTHENTICATED)
            return f"another route; where there is none it {'is parked' if parks else 'waits'}"
        case Step.ONE_OTHER_ROUTE:
            return "one other route is asked, then rejected"
        case Step.ROOMIER_ROUTE:
            return "a route that takes larger messages, else rejected"
        case Step.SPLIT:
            return "the same route at once, in a transaction of its own"
        case Step.EACH_ALONE:
            return "the same route at once, for each recipient alone"
        case Step.ONCE_MORE_ALONE:
            return "the same route once more, alone, on a fresh connection; then another one"
        case Step.HOLD:
            return "held as `unknown`, or sent again by the same route where that was allowed; never another route"
        case Step.PARK:
            return "parks the message in the queue"
        case Step.STOP:
            return "stopped: our own journal said no"
        case _:
            assert_never(step)


def _effect(effect: Effect) -> str:
    match effect:
        case Effect.NONE:
            return "nothing"
        case Effect.COUNT:
            return "counts against it"
        case Effect.OPEN:
            return "closed at once, until a person acts"
        case Effect.EXHAUSTED:
            return "closed until its quota is renewed"
        case Effect.BLOCKED:
            return f"closed for {span(breaker.BLOCKED_SECONDS)}"
        case Effect.CLOSE_SENDER:
            return "closed for this sender's domain"
        case Effect.CLOSE_SENDER_THERE:
            return "closed for this sender's domain and this receiver"
        case Effect.SLOW_DOWN:
            return "asked less often"
        case Effect.FEWER_CONNECTIONS:
            return "gets fewer connections"
        case Effect.LEARN_SIZE:
            return "its size limit is remembered"
        case Effect.LEARN_RECIPIENTS:
            return "its recipients limit is remembered"
        case _:
            assert_never(effect)


def _breaker() -> str:
    rows = (
        ("failures in a row that close a route", str(breaker.FAILURES_TO_OPEN)),
        ("closed for, the first time", span(breaker.FIRST_OPEN_SECONDS)),
        ("doubled each time, up to", span(breaker.MAX_OPEN_SECONDS)),
        ("what a person has to mend is probed every", span(breaker.PERSON_PROBE_SECONDS)),
        ("a quota without a named end is probed after", span(breaker.EXHAUSTED_SECONDS)),
        ("a sender that is not verified is tried again after", span(breaker.SENDER_SECONDS)),
        ("a learned limit holds for", span(breaker.LEARNED_SECONDS)),
        ("too many messages: left alone for", f"{span(breaker.SLOW_SECONDS)} to {span(breaker.MAX_SLOW_SECONDS)}"),
        ("too many logins: left alone for", f"{span(breaker.LOGIN_SECONDS)} to {span(breaker.MAX_LOGIN_SECONDS)}"),
    )
    text = "## How long a route is left alone\n\nA change of its configuration opens the question anew, at once.\n\n"
    return text + table(("What", "How much"), rows)


def _schedule() -> str:
    delays = [policy.queue_delay(number, jitter=0.0) for number in range(1, 10)]
    rows = [(str(number), span(delay)) for number, delay in enumerate(delays, 1)]
    rows[-1] = (f"{rows[-1][0]} and later", rows[-1][1])
    return (
        "## The outbox's schedule\n\n"
        f"Up to {policy.JITTER_SHARE:.0%} is added by chance, so that not all wake together. A longer wait that the\n"
        f"server asks for is obeyed. Given up after {span(policy.GIVE_UP_SECONDS)} unless the message or "
        "`EXPIRES_DAYS` says otherwise.\n\n" + table(("After attempt", "Wait"), rows)
    )
