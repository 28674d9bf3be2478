"""The table in which the ways of a message's recipients part: a column for each attempt, a line for each recipient."""

from reliable_email.records import dataclass
from reliable_email.store.questions.stories import AttemptStory, MessageStory
from reliable_email.store.tables.states import State
from reliable_email.views.parts.evidence import badge, shown_address

MOST_RECIPIENTS = 20
MOST_ATTEMPTS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """One recipient: where it stands, and what each attempt came to for it; "" where it was not asked for."""

    address: str
    state: str
    badge: str
    outcomes: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Branches:
    """The table.

    Attributes:
        attempts: the columns, the oldest first.
        left_out_attempts: older ones.
        left_out: recipients that are not shown; those that need somebody come first.
    """

    attempts: tuple[AttemptStory, ...]
    lines: tuple[Branch, ...]
    left_out_attempts: int
    left_out: int


def branches(found: MessageStory) -> Branches | None:
    """The table; None where there is nothing that could part."""
    if len(found.recipients) < 2 or not found.attempts:
        return None
    attempts = tuple(found.attempts[-MOST_ATTEMPTS:])
    urgent = sorted(found.recipients, key=lambda one: one.state == State.ACCEPTED)
    lines = tuple(
        Branch(
            address=shown_address(one.address),
            state=one.state,
            badge=badge(one.state),
            outcomes=tuple(
                (outcome, badge(outcome)) for outcome in (attempt.outcomes.get(one.address, "") for attempt in attempts)
            ),
        )
        for one in urgent[:MOST_RECIPIENTS]
    )
    return Branches(
        attempts=attempts,
        lines=lines,
        left_out_attempts=len(found.attempts) - len(attempts),
        left_out=len(urgent) - len(lines),
    )
