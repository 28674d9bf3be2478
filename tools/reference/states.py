"""docs/reference/states.md: the life of a recipient in the outbox, from the table that the SQL is made of."""

from typing import assert_never

from reliable_email.outbox.transitions import RULES, Event, Guard, Rule
from reliable_email.store.states import State
from tools.reference.markdown import code, table

_BEGINNING = """\
# States of the outbox

Each recipient of a queued message has a state of its own. Every row below is a condition of an SQL statement: a write
that no row allows changes nothing.

"""


def page() -> str:
    """The whole page."""
    return "\n".join([_BEGINNING + _states(), _diagram(), _transitions()])


def _states() -> str:
    rows = [(code(state.value), code(state.outcome.value), _meaning(state)) for state in State]
    return table(("State", "Shown as", "Meaning"), rows)


def _meaning(state: State) -> str:
    match state:
        case State.QUEUED:
            return "waits for its time or its turn"
        case State.CLAIMED:
            return "a worker has it in hand; surely no server has it by this claim"
        case State.AUTHORIZED:
            return "journaled: from here on the server may have it"
        case State.UNKNOWN:
            return "a server may have it, and no answer was read"
        case State.PARKED:
            return "waits for a person"
        case State.ACCEPTED:
            return "a server has taken it. The end"
        case State.REJECTED:
            return "refused for good. The end, unless a person requeues it"
        case State.EXPIRED:
            return "its time was over. The end, unless a person requeues it"
        case State.CANCELLED:
            return "called off. The end, unless a person requeues it"
        case _:
            assert_never(state)


def _diagram() -> str:
    """For each state, where it may go."""
    lines = []
    width = max(len(state.value) for state in State)
    for state in State:
        ways: dict[State, list[str]] = {}
        for event, rule in RULES.items():
            if state in rule.sources:
                ways.setdefault(rule.target, []).append(event.value)
        name = state.value
        for target, events in ways.items():
            lines.append(f"{name:<{width}} -> {target.value:<{width}} {', '.join(events)}".rstrip())
            name = ""
        if not ways:
            lines.append(f"{name:<{width}} .")
    return "## Where each may go\n\n```text\n" + "\n".join(lines) + "\n```\n"


def _transitions() -> str:
    rows = [
        (
            code(event.value),
            _by(event),
            ", ".join(code(state) for state in rule.states),
            code(rule.target.value),
            code(rule.doubted.value) if rule.doubted else "–",
            _guard(rule),
        )
        for event, rule in RULES.items()
    ]
    head = ("Event", "By", "From", "To", "To, in doubt", "Only if")
    text = (
        "## Transitions\n\nIn doubt is a recipient of whom an earlier attempt may have left a copy: what fails for\n"
        "good then does not become `rejected`, which would say that nothing has arrived.\n\n"
    )
    return text + table(head, rows)


def _by(event: Event) -> str:
    if event.value.startswith("report_"):
        return "a provider's report"  # heard by a webhook, at any time
    match event:
        case Event.CLAIM:
            return "a worker that takes it"
        case (
            Event.RELEASE
            | Event.AUTHORIZE
            | Event.KEEP
            | Event.ACCEPT
            | Event.REJECT
            | Event.DEFER
            | Event.PARK
            | Event.LOSE
            | Event.GIVE_UP
        ):
            return "the worker that holds it"
        case Event.LATE_ACCEPT | Event.LATE_REJECT | Event.LATE_DEFER:
            return "the worker that held it, late"
        case Event.RESCUE_UNSENT | Event.RESCUE_POISON | Event.RESCUE_SENT:
            return "any worker"
        case Event.EXPIRE:
            return "time"
        case (
            Event.CANCEL
            | Event.HOLD
            | Event.REQUEUE
            | Event.RESOLVE_ACCEPTED
            | Event.RESOLVE_REJECTED
            | Event.RESOLVE_RESEND
        ):
            return "a person"
        case _:
            assert_never(event)


def _guard(rule: Rule) -> str:
    match rule.guard:
        case Guard.NOTHING:
            return "–"
        case Guard.HOLDS_CLAIM:
            return "the row names the writer's claim"
        case Guard.HOLDS_LIVE_LEASE:
            return "the row names the writer's claim, and the lease is live"
        case Guard.LEASE_IS_OVER:
            return "the lease is over"
        case other:
            return other.name.lower().replace("_", " ")  # a name says enough until somebody finds better words
