"""Troubles that come and go by themselves, in a circle of four minutes; computed, the clock comes from outside."""

from collections.abc import Sequence
from dataclasses import dataclass

from demo.live.troubles import Trouble

CIRCLE_SECONDS = 240.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Spell:
    """One trouble in the circle.

    Attributes:
        begins, ends: seconds in the circle; None for a trouble that ends by itself.
    """

    route: str
    trouble: Trouble
    begins: float
    ends: float | None = None


SPELLS: Sequence[Spell] = (
    Spell(route="gmail", trouble=Trouble.HANGS_UP, begins=10.0),
    Spell(route="gmail", trouble=Trouble.QUOTA, begins=45.0, ends=110.0),
    # While both have a trouble, mail from the sender that only one of them would take waits for a person.
    Spell(route="sendgrid", trouble=Trouble.SENDER, begins=70.0, ends=140.0),
    Spell(route="gmail", trouble=Trouble.DOWN, begins=165.0, ends=190.0),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A trouble begins, or is over."""

    route: str
    trouble: Trouble
    begins: bool


def changes(since: float, until: float) -> list[Change]:
    """What changes after one moment and up to another, both in seconds since the start, in order."""
    found: list[tuple[float, Change]] = []
    first, last = int(since // CIRCLE_SECONDS), int(until // CIRCLE_SECONDS)
    for circle in range(first, last + 1):
        for spell in SPELLS:
            for at, begins in ((spell.begins, True), (spell.ends, False)):
                if at is not None and since < circle * CIRCLE_SECONDS + at <= until:
                    change = Change(route=spell.route, trouble=spell.trouble, begins=begins)
                    found.append((circle * CIRCLE_SECONDS + at, change))
    return [change for _, change in sorted(found, key=lambda one: one[0])]
