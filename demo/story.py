"""What became of each message, in lines that explain themselves."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby

from reliable_email.classification import Cause
from reliable_email.classification.meanings import MEANINGS
from reliable_email.delivery.report import Attempt, DeliveryReport, Outcome
from reliable_email.delivery.telling.consequences import package_does, typical

SIGNS = {Outcome.ACCEPTED: "✓", Outcome.REJECTED: "✗", Outcome.DEFERRED: "…", Outcome.UNKNOWN: "?"}

# In words of this demo, which knows that there is a second provider; other causes have the package's own.
_WHY = {
    Cause.SYSTEM_TEMPORARY: "the server is busy and has nothing of the message yet, so the next provider is asked",
    Cause.DISCONNECTED: "the server hung up before the content: it cannot have the message, so the next one is asked",
    Cause.OUTCOME_UNKNOWN: "the server closed the connection after the final dot: it may have the message, so it is "
    "not sent again",
    Cause.QUOTA_EXCEEDED: "the account's quota is used up, so the next provider takes this and what follows",
    Cause.MAILBOX_UNKNOWN: "there is no such mailbox, and no other provider would find one",
    Cause.GREYLISTED: "the recipient's server asks to come back later; by another provider the wait would begin anew",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Hop:
    """One attempt.

    Attributes:
        outcome: how it ended for the recipient.
        cause: why, None where it was accepted.
        said: the server's words, "" where it said nothing.
    """

    route: str
    outcome: Outcome
    cause: Cause | None = None
    said: str = ""

    @property
    def why(self) -> str:
        """What it means and what is done, "" where nothing is to be explained."""
        if self.cause is None:
            return ""
        meaning = MEANINGS[self.cause]
        return _WHY.get(self.cause) or f"{meaning.says} {package_does(typical(self.cause))}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One message."""

    number: int
    recipient: str
    message_id: str
    outcome: Outcome
    route: str
    hops: tuple[Hop, ...]

    @property
    def way(self) -> str:
        """The routes it took, each with a sign."""
        parts = []
        for (route, outcome), same in groupby(self.hops, key=lambda hop: (hop.route, hop.outcome)):
            times = len(list(same))
            parts.append(f"{route} {SIGNS[outcome]}" + (f" ({times} times)" if times > 1 else ""))
        return " → ".join(parts) or "no route is open"

    @property
    def troubles(self) -> list[Hop]:
        """What went wrong on the way, each thing once."""
        return list({(hop.route, hop.cause): hop for hop in self.hops if hop.cause is not None}.values())


def line_of(number: int, recipient: str, report: DeliveryReport) -> Line:
    """Read a report."""
    one = report.recipients[recipient]
    return Line(
        number=number,
        recipient=recipient,
        message_id=report.message_id,
        outcome=one.outcome,
        route=one.route or "",
        hops=tuple(_hop(attempt, recipient) for attempt in report.attempts),
    )


def _hop(attempt: Attempt, recipient: str) -> Hop:
    failure = attempt.failure
    if failure is None:
        return Hop(route=attempt.route, outcome=attempt.outcomes[recipient])
    said = "" if failure.reply is None else str(failure.reply)
    return Hop(route=attempt.route, outcome=attempt.outcomes[recipient], cause=failure.cause, said=said)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """Everything of one cause on one route.

    Attributes:
        numbers: the messages that it met.
        ended_as: how these ended.
    """

    route: str
    cause: Cause
    numbers: tuple[int, ...]
    ended_as: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """A run, counted.

    Attributes:
        by_route: outcomes of messages, by the route that had the last word.
        held: how many messages each server has.
    """

    by_route: Counter[tuple[str, Outcome]] = field(default_factory=Counter)
    troubles: tuple[Trouble, ...] = ()
    held: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, lines: Sequence[Line], held: dict[str, int]) -> "Totals":
        """Count."""
        met: defaultdict[tuple[str, Cause], list[Line]] = defaultdict(list)
        for line in lines:
            for hop in line.troubles:
                if hop.cause is not None:
                    met[hop.route, hop.cause].append(line)
        troubles = tuple(
            Trouble(
                route=route,
                cause=cause,
                numbers=tuple(line.number for line in some),
                ended_as=tuple(dict.fromkeys(ending(line) for line in some)),
            )
            for (route, cause), some in met.items()
        )
        return cls(by_route=Counter((line.route, line.outcome) for line in lines), troubles=troubles, held=held)

    def count(self, outcome: Outcome) -> int:
        """Messages that ended so."""
        return sum(count for (_, one), count in self.by_route.items() if one is outcome)


def ending(line: Line) -> str:
    """How a message ended, with the route that took it."""
    return f"accepted by {line.route}" if line.outcome is Outcome.ACCEPTED else str(line.outcome)
