"""What is done about a failure, in a sentence or two for people, and the documentation's table of causes.

Made of the policy's decision, so that what is said is what is done.
"""

from typing import assert_never

from reliable_email.classification import Cause, Failure, Scope
from reliable_email.classification.meanings import MEANINGS, is_permanent
from reliable_email.delivery.policy import Decision, Effect, Step, action_of, decide
from reliable_email.smtp.replies import Reply

# What no decision says, and people want to know.
_BESIDES: dict[Cause, str] = {
    Cause.TLS_REQUIRED: "Never goes on without TLS.",
    Cause.TLS_FAILED: "Never goes on without TLS.",
    Cause.CODE_RAISED: "Parks the message where all routes raised.",
    Cause.SENDER_NOT_AUTHENTICATED: "Parks the message where no route is left.",
    Cause.SENDER_NOT_VERIFIED: "Parks the message where no route is left.",
}


def package_does(failure: Failure) -> str:
    """What the package does about a failure."""
    decision = decide(failure)
    sentences = [_step(decision, failure), _effect(decision.effect)]
    if decision.step is Step.OTHER_ROUTE:
        sentences.append(_BESIDES.get(failure.cause, ""))
    if not decision.spends_attempt and decision.step in (Step.OTHER_ROUTE, Step.ANY_ROUTE):
        sentences.append("The message loses no attempt.")
    return " ".join(sentence for sentence in sentences if sentence)


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
            return "Rejects this recipient, and never tries it by another route; others are not affected."
        case Step.REJECT:
            return "Rejects the message."
        case Step.SAME_ROUTE_LATER:
            return "Tries this recipient again later by the same route; others are not affected."
        case Step.ANY_ROUTE:
            return "Takes the next route, or tries again later."
        case Step.OTHER_ROUTE:
            return "Takes the next route."
        case Step.ONE_OTHER_ROUTE:
            return "Tries one other route, then rejects and keeps the server's words."
        case Step.ROOMIER_ROUTE:
            return "Takes a route that allows larger messages, else rejects."
        case Step.SPLIT:
            return "Sends the rest in a new transaction at once."
        case Step.EACH_ALONE:
            return "Asks for each recipient alone, by the same route at once."
        case Step.ONCE_MORE_ALONE:
            return "Asks the same route once more, alone, on a fresh connection; then takes the next route."
        case Step.HOLD:
            return "Sends no second copy by itself, except as the message's own policy says."
        case Step.PARK:
            return "Puts nothing of it on the wire; the queue parks the message."
        case Step.STOP:
            return "Nothing was sent; whoever has the message now sends it."
        case _:
            assert_never(decision.step)


def _effect(effect: Effect) -> str:
    match effect:
        case Effect.NONE:
            return ""
        case Effect.COUNT:
            return "Several failures in a row close the route for a while."
        case Effect.OPEN:
            return "Closes the route at once, until a person acts or a probe succeeds."
        case Effect.EXHAUSTED:
            return "Closes the route until the allowance is renewed."
        case Effect.BLOCKED:
            return "Closes the route for hours."
        case Effect.CLOSE_SENDER:
            return "Closes the route for this sender domain."
        case Effect.CLOSE_SENDER_THERE:
            return "Closes the route for mail of this sender domain to this receiver."
        case Effect.SLOW_DOWN:
            return "Slows down, then recovers."
        case Effect.FEWER_CONNECTIONS:
            return "Goes on with fewer connections."
        case Effect.LEARN_SIZE | Effect.LEARN_RECIPIENTS:
            return "Remembers the limit."
        case _:
            assert_never(effect)
