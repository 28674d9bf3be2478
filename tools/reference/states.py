"""docs/reference/states.md: the life of a recipient in the outbox, from the table that the SQL is made of."""

from typing import assert_never

from reliable_email.outbox.rows.transitions import RULES, Event, Guard, Rule
from reliable_email.store.tables.states import State
from tools.reference.markdown import code, table

_BEGINNING = """\
# States of the outbox

For operators and contributors: the states of a recipient in the outbox, and the events that change them. Each recipient
of a queued message has its own state. Every transition below is a condition of an SQL statement, so a write that is not
listed changes nothing.

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
            return "waits until it is due"
        case State.CLAIMED:
            return "claimed by a worker, which has not sent it"
        case State.AUTHORIZED:
            return "in the journal: the server may have it"
        case State.UNKNOWN:
            return "a server may have it, and no reply was read"
        case State.PARKED:
            return "waits for your decision"
        case State.ACCEPTED:
            return "a server took responsibility for it. Final"
        case State.REJECTED:
            return "permanently refused. Final, unless you requeue it"
        case State.EXPIRED:
            return "not delivered in time. Final, unless you requeue it"
        case State.CANCELLED:
            return "cancelled by an operator. Final, unless you requeue it"
        case _:
            assert_never(state)


def _diagram() -> str:
    """Draw the transitions from each state."""
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
    return "## Transitions from each state\n\n```text\n" + "\n".join(lines) + "\n```\n"


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
        "## Events\n\nA recipient is in doubt if an earlier attempt may have left a copy. A permanent failure then\n"
        "does not make it `rejected`, which would mean that nothing has arrived.\n\n"
    )
    return text + table(head, rows)


def _by(event: Event) -> str:
    if event.value.startswith("report_"):
        return "a provider's report"  # heard by a webhook, at any time
    match event:
        case Event.CLAIM:
            return "a worker"
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
            return "the worker with the claim"
        case Event.LATE_ACCEPT | Event.LATE_REJECT | Event.LATE_DEFER:
            return "the worker whose claim has ended"
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
            return "an operator"
        case _:
            assert_never(event)


def _guard(rule: Rule) -> str:
    match rule.guard:
        case Guard.NOTHING:
            return "–"
        case Guard.HOLDS_CLAIM:
            return "the row has the writer's claim"
        case Guard.HOLDS_LIVE_LEASE:
            return "the row has the writer's claim, and the lease has not expired"
        case Guard.LEASE_IS_OVER:
            return "the lease has expired"
        case other:
            return other.name.lower().replace("_", " ")  # the names of the others are clear
