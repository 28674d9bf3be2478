"""Sentences for people about what the package does after a failure, and the documentation's table of causes.

The sentences are derived from the policy's decision, so that they say what the package really does.
"""

from typing import assert_never

from reliable_email.classification import Cause, Failure, Scope
from reliable_email.classification.meanings import MEANINGS, is_permanent
from reliable_email.delivery.policy import Decision, Effect, Step, action_of, decide
from reliable_email.smtp.syntax.replies import Reply

# What no decision says, and people want to know.
_BESIDES: dict[Cause, str] = {
    Cause.TLS_REQUIRED: "Never goes on without TLS.",
    Cause.TLS_FAILED: "Never goes on without TLS.",
    Cause.CODE_RAISED: "Parks the message if all routes raised.",
    Cause.SENDER_NOT_AUTHENTICATED: "Parks the message if no route is left.",
    Cause.SENDER_NOT_VERIFIED: "Parks the message if no route is left.",
}


def package_does(failure: Failure) -> str:
    """Describe what the package does after a failure, in a few sentences."""
    return " ".join(package_steps(failure))


def package_steps(failure: Failure) -> tuple[str, ...]:
    """The same, sentence by sentence."""
    decision = decide(failure)
    sentences = [_step(decision, failure), _effect(decision.effect)]
    if decision.step is Step.OTHER_ROUTE:
        sentences.append(_BESIDES.get(failure.cause, ""))
    if not decision.spends_attempt and decision.step in (Step.OTHER_ROUTE, Step.ANY_ROUTE):
        sentences.append("Does not count as an attempt.")
    return tuple(sentence for sentence in sentences if sentence)


def typical(cause: Cause, code: int = 550) -> Failure:
    """A failure of that cause as a reply of that code usually brings it."""
    return Failure(
        cause=cause,
        scope=MEANINGS[cause].scope,
        permanent=is_permanent(cause, code),
        certain=True,
        reply=Reply(code, ()),
    )


def causes_table() -> str:
    """One row a cause, as Markdown: what it means, what it is about, what is done, what a person should do."""
    rows = [
        "| Cause | What it means | About | Action (4yz / 5yz) | What the package does | What you should do |",
        "|---|---|---|---|---|---|",
    ]
    for cause, meaning in MEANINGS.items():
        failures = [typical(cause, code) for code in (450, 550)]
        about = meaning.scope.value.replace("_", " ")
        actions = " / ".join(dict.fromkeys(action_of(failure).value for failure in failures))
        package = " / ".join(dict.fromkeys(map(package_does, failures)))
        rows.append(f"| `{cause.value}` | {meaning.says} | {about} | {actions} | {package} | {meaning.person or '–'} |")
    return "\n".join(rows) + "\n"


def _step(decision: Decision, failure: Failure) -> str:
    match decision.step:
        case Step.REJECT if failure.scope is Scope.RECIPIENT:
            return "Rejects this recipient, without asking another route; other recipients are not affected."
        case Step.REJECT:
            return "Rejects the message."
        case Step.SAME_ROUTE_LATER:
            return "Tries this recipient again later by the same route; other recipients are not affected."
        case Step.ANY_ROUTE:
            return "Uses the next route, or tries again later."
        case Step.OTHER_ROUTE:
            return "Uses the next route."
        case Step.ONE_OTHER_ROUTE:
            return "Tries one other route, then rejects with the server's reply."
        case Step.ROOMIER_ROUTE:
            return "Uses a route that accepts larger messages; rejects if there is none."
        case Step.SPLIT:
            return "Sends to the other recipients in a new transaction at once."
        case Step.EACH_ALONE:
            return "Tries each recipient in a transaction of its own, at once by the same route."
        case Step.ONCE_MORE_ALONE:
            return "Tries the same route once more, on a new connection; then uses the next route."
        case Step.HOLD:
            return "Sends no second copy unless the message's policy allows it."
        case Step.PARK:
            return "Sends nothing of the message; the queue parks it."
        case Step.STOP:
            return "Sends nothing; the worker that has the message now sends it."
        case _:
            assert_never(decision.step)


def _effect(effect: Effect) -> str:
    match effect:
        case Effect.NONE:
            return ""
        case Effect.COUNT:
            return "Several failures in a row close the route for a while."
        case Effect.OPEN:
            return "Closes the route until you correct its configuration or a probe succeeds."
        case Effect.EXHAUSTED:
            return "Closes the route until its quota is renewed."
        case Effect.BLOCKED:
            return "Closes the route for hours."
        case Effect.CLOSE_SENDER:
            return "Closes the route for this sender domain."
        case Effect.CLOSE_SENDER_THERE:
            return "Closes the route for mail of this sender domain to this receiver."
        case Effect.SLOW_DOWN:
            return "Uses the route less often for a while."
        case Effect.FEWER_CONNECTIONS:
            return "Uses fewer connections."
        case Effect.LEARN_SIZE | Effect.LEARN_RECIPIENTS:
            return "Remembers the limit."
        case _:
            assert_never(effect)
