"""The progress of a message's recipients over the routes: the notes that `passage` keeps."""

from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING

from reliable_email.classification import Cause, Failure
from reliable_email.delivery.failures import not_told_of
from reliable_email.delivery.policy import Decision
from reliable_email.delivery.report import address_key
from reliable_email.delivery.route import Route
from reliable_email.delivery.words import Outcome
from reliable_email.records import dataclass, field, record, replace
from reliable_email.smtp.failures import FailureKind
from reliable_email.smtp.stages import Stage
from reliable_email.smtp.transaction import RecipientResult, Transaction, Verdict

if TYPE_CHECKING:
    from reliable_email.delivery.passages.passage import Passage

# Notes of a recipient's row: a plain alias has refused the message; marked, it refused it for a limit, or cannot
# carry it at all.
LIMITED, UNABLE = "limited:", "unable:"
NOT_ASKED = frozenset({Cause.ROUTE_CLOSED, Cause.CANNOT_BE_BUILT, Cause.QUOTA_EXCEEDED})
NOBODY: frozenset[str] = frozenset()


class Fate(StrEnum):
    """The result for a recipient in a passage."""

    OPEN = "open"  # something may still be tried in this passage
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    LATER = "later"  # nothing more in this passage; another one may follow
    PARKED = "parked"  # waits for a person
    UNKNOWN = "unknown"
    RELEASED = "released"  # our own journal did not permit it


@record(frozen=True, slots=True, kw_only=True)
class Manner:
    """The differences between a direct send and the queue.

    Attributes:
        waits: whether another passage may follow, so that what is left over waits: a queue.
        asks_a_lone_route: whether the only route is asked although its breaker or quota says no. A breaker is there to
            find another way; where there is none, only a refused password, a person or a broken configuration stops
            a direct send.
        reserves: whether an envelope takes from its route's quotas when it is let in. In a queue it does so with the
            permission to send it, in the same commit, since it may never come so far.
    """

    waits: bool
    asks_a_lone_route: bool
    reserves: bool


DIRECT = Manner(waits=False, asks_a_lone_route=True, reserves=True)
QUEUED = Manner(waits=True, asks_a_lone_route=False, reserves=False)


@dataclass(slots=True, eq=False)
class Progress:
    """The progress of one recipient. There are hundreds at once, so empty sets are shared.

    Attributes:
        key: whatever the door wants to find again.
        failure: the last thing that went wrong for it; None where nothing did.
        result: the last transport's word on it.
        route: the last one that was asked.
        attempts: transactions of this passage that it was part of.
        pin: the only route that may have it; "" for any.
        is_doubted: an attempt may have left a copy, so that the pin holds whatever happens.
        notes: what earlier passages left: routes that refused the message, and limits.
        may_stand: an hour has passed since a route refused it and no other could be asked: the refusing one may be
            asked again, and its answer stands.
        may_resend: whether another copy may follow the doubt, by the same route.
        spends_attempt: whether anything in this passage counts against the message.
        standing: a refusal that ends the message unless another route takes it.
        asked: routes that are not asked again in this round.
        left_out: routes that could not be asked when it was their turn.
        excluded: routes that are not asked again in this passage.
        may_come_back: routes that may take it another time.
        held_by: routes on which only a person can help.
        conversed: routes that were asked once more, alone, because their reply was about the conversation.
        again_on: the route that is to be asked at once again, on a connection of its own.
        is_alone: it goes in an envelope of its own.
        was_answered: since a route refused it, another has answered and left the door open.
    """

    address: str
    key: object = None
    fate: Fate = Fate.OPEN
    failure: Failure | None = None
    result: RecipientResult | None = None
    route: str | None = None
    attempts: int = 0
    pin: str = ""
    is_doubted: bool = False
    notes: tuple[str, ...] = ()
    may_stand: bool = False
    may_resend: bool = False
    spends_attempt: bool = False
    standing: Failure | None = None
    asked: frozenset[str] = NOBODY
    left_out: frozenset[str] = NOBODY
    excluded: frozenset[str] = NOBODY
    may_come_back: frozenset[str] = NOBODY
    held_by: frozenset[str] = NOBODY
    conversed: frozenset[str] = NOBODY
    again_on: str = ""
    is_alone: bool = False
    was_answered: bool = False
    tries: dict[str, int] = field(default_factory=dict)

    def has_refused(self, alias: str) -> bool:
        """Return whether this route permanently refused the message."""
        return alias in self.notes

    def is_lost_on(self, alias: str) -> bool:
        """Return whether this route refused the message or cannot carry it."""
        return alias in self.notes or UNABLE + alias in self.notes

    def limits_on(self, alias: str) -> int:
        """Return the number of consecutive refusals for a limit on this route."""
        return self.notes.count(LIMITED + alias)

    def may_try(self, alias: str, *, most: int) -> bool:
        """Return whether this route may be asked in this passage, with at most `most` attempts."""
        if alias in self.excluded or self.is_lost_on(alias) or self.tries.get(alias, 0) >= most:
            return False
        return self.pin in ("", alias)

    def wants_fresh(self, alias: str) -> bool:
        """Return whether to use a new connection, because the failure may be the last connection's.

        An orderly refusal for a limit is not, and who opens more connections against one meets the next limit.
        """
        if not self.tries.get(alias):
            return False
        reply = self.failure.reply if self.failure is not None else None
        return not self.limits_on(alias) or reply is None or reply.code == 421

    def may_stand_by(self, alias: str) -> bool:
        """Return whether this route, which has refused the message, may be asked once more."""
        return alias not in self.asked and alias not in self.excluded and self.has_refused(alias)

    def is_pin_over(self, routes: Sequence[Route]) -> bool:
        """Return whether the route that the recipient waits for cannot be asked now, which ends the wait."""
        is_there = any(route.alias == self.pin for route in routes)
        cannot_be_asked = self.pin in self.left_out or self.pin in self.excluded
        return not is_there or cannot_be_asked or self.is_lost_on(self.pin)

    def ask_at_once(self, alias: str) -> None:
        """Let this route be asked again in this round, as if it had not been."""
        self.asked -= {alias}
        self.tries[alias] = max(0, self.tries[alias] - 1)

    def routes_left(self, routes: Sequence[Route]) -> list[str]:
        """The routes that have not refused the message; one that cannot be asked now is left, too."""
        return [route.alias for route in routes if not self.is_lost_on(route.alias)]


@dataclass(slots=True, eq=False)
class Send:
    """One envelope for one route; its transaction goes to `Passage.take`.

    Attributes:
        reserved, reserved_at: recipients that were taken from the route's quotas for it, and when.
        is_probe: it is the one message by which a closed route is tried.
        opening: the number of the route's opening that was seen when it began.
        is_repeat: it was tried on this route before, and wants a connection of its own.
        refused_at: domains whose receiver refused the sender, in this very transaction.
        is_alone: nothing else may be on that connection: the last reply was about the conversation.
        outcomes, failures: of this very transaction, by address.
    """

    passage: "Passage"
    route: Route
    recipients: tuple[Progress, ...]
    reserved: int
    is_probe: bool
    opening: int
    is_repeat: bool
    is_alone: bool
    may_resend: bool
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    failures: dict[str, Failure] = field(default_factory=dict)
    is_taken: bool = False
    reserved_at: float = 0.0
    left_out_by: tuple[Failure, Decision] | None = None  # those that one envelope had too many
    refused_at: frozenset[str] = NOBODY
    is_marked: bool = False  # a refusal of its own has closed the route already

    @property
    def addresses(self) -> tuple[str, ...]:
        """The addresses of the envelope."""
        return tuple(one.address for one in self.recipients)

    @property
    def failure(self) -> Failure | None:
        """The first failure in this transaction, which is the attempt's own evidence."""
        return next(iter(self.failures.values()), None)


def is_withheld(transaction: Transaction) -> bool:
    """Return whether the journal withheld the permission: then it is no attempt, since the server was not asked."""
    return bool(transaction.results) and all(
        result.failure is not None and result.failure.kind is FailureKind.WITHHELD
        for result in transaction.results.values()
    )


def told_by(transaction: Transaction, recipients: Sequence[Progress]) -> list[RecipientResult]:
    """Return the transport's result for each recipient, although it may have merged spellings of one address."""
    results = transaction.results
    if all(one.address in results for one in recipients):
        return [results[one.address] for one in recipients]
    by_key = {address_key(address): result for address, result in results.items()}
    return [by_key.get(address_key(one.address)) or not_told_of(transaction) for one in recipients]


def is_own(result: RecipientResult) -> bool:
    """Return whether a result is about this recipient alone: from its RCPT, or found without a server."""
    failure = result.failure
    return failure is not None and failure.stage is Stage.RCPT


def why_nobody_else(one: Progress, routes: Sequence[Route]) -> str:
    """Describe the other routes that could not be asked, if only the refusing route could be."""
    aliases = one.routes_left(routes)
    return f"no other route could be asked meanwhile ({', '.join(aliases)})" if aliases else ""


def domain_of(one: Progress) -> str:
    """The receiver's name, as far as it is known."""
    return one.address.rpartition("@")[2].lower()


def receivers_of(refused: Sequence[tuple[Progress, RecipientResult]]) -> frozenset[str]:
    """The domains that refused, each by its own reply; of those that share one, nobody knows which it was."""
    own = {domain_of(one) for one, result in refused if is_own(result)}
    shared = {domain_of(one) for one, result in refused if not is_own(result)}
    return frozenset(own | shared if len(shared) == 1 else own)


def note_not_asked(one: Progress, route: Route, failure: Failure) -> None:
    """Record why a route was not asked, unless a more specific failure is known."""
    if one.failure is None or one.failure.cause in NOT_ASKED:
        one.failure, one.route = failure, one.route or route.alias


def noted(notes: tuple[str, ...], alias: str) -> tuple[str, ...]:
    """Note a route once."""
    return notes if alias in notes else (*notes, alias)


def outcome_of(one: Progress, result: RecipientResult) -> Outcome:
    """Return the outcome of this attempt for a recipient, which is not yet the final one."""
    if result.verdict is Verdict.UNKNOWN:
        return Outcome.UNKNOWN
    return Outcome.REJECTED if one.fate is Fate.REJECTED else Outcome.DEFERRED


def standing_alone(failure: Failure, why: str) -> Failure:
    """Add to a standing refusal the reason why no other route was asked."""
    if not why:
        return failure
    return replace(failure, detail="; ".join(part for part in (failure.detail, why) if part))
