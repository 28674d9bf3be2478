"""What became of a message, for every recipient: the value that callers find at `message.delivery`."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import parseaddr
from enum import StrEnum

from reliable_email.classification import Cause, Failure
from reliable_email.smtp.replies import Reply
from reliable_email.smtp.stages import Stage

_PLAIN = re.compile(r"[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+")


class Outcome(StrEnum):
    """Per recipient. After a direct send one of the first four; the others belong to the outbox."""

    ACCEPTED = "accepted"  # a provider answered 2yz to the whole message
    REJECTED = "rejected"  # it will not be tried again
    DEFERRED = "deferred"  # not taken, and trying again later makes sense
    UNKNOWN = "unknown"  # it may have been taken; RFC 1047
    QUEUED = "queued"
    PARKED = "parked"  # waits for a person
    EXPIRED = "expired"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipientOutcome:
    """One recipient's outcome, with the evidence for it.

    Attributes:
        outcome: see `Outcome`.
        cause: what the failure means; None where there was none.
        reply: the server's last words about this recipient.
        route: the alias of the mailer that was asked last.
        attempts: transactions that this recipient was part of.
        failure: the whole classification, with the sentence that says what to do in `help`.
    """

    outcome: Outcome
    cause: Cause | None = None
    reply: Reply | None = None
    route: str | None = None
    attempts: int = 0
    failure: Failure | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One transaction on one route: a line of the report's history.

    Attributes:
        route: the alias of the mailer.
        stage: how far it came.
        started_at: when it began.
        seconds: how long it took.
        outcomes: of each recipient, by address.
        failure: what went wrong with it as a whole.
        reply: the server's last words.
        peer: the address of the server.
    """

    route: str
    stage: Stage
    started_at: datetime
    seconds: float
    outcomes: Mapping[str, Outcome]
    failure: Failure | None = None
    reply: Reply | None = None
    peer: str | None = None


def address_key(address: str) -> str:
    """An address in the spelling under which reports are keyed: the addr-spec, its domain in lower case."""
    local, at, domain = bare_address(address).rpartition("@")
    return f"{local}{at}{domain.lower()}"


def bare_address(address: str) -> str:
    """The addr-spec of an address that may carry a display name."""
    if _PLAIN.fullmatch(address):
        return address  # nearly all are; parsing one costs more than all the rest of a report
    return parseaddr(address)[1] or address.strip()


class Recipients(Mapping[str, RecipientOutcome]):
    """Outcomes by address; found by any spelling that `message.recipients()` has."""

    __slots__ = ("_outcomes",)

    def __init__(self, outcomes: Mapping[str, RecipientOutcome]) -> None:
        self._outcomes = {address_key(address): outcome for address, outcome in outcomes.items()}

    def __getitem__(self, address: str) -> RecipientOutcome:
        return self._outcomes[address_key(address)]

    def __iter__(self) -> Iterator[str]:
        return iter(self._outcomes)

    def __len__(self) -> int:
        return len(self._outcomes)

    def __repr__(self) -> str:
        return f"Recipients({self._outcomes!r})"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryReport:
    """What became of one message.

    Attributes:
        recipients: an outcome for each recipient.
        attempts: each transaction that was tried, in order.
        message_id: the Message-ID of the content that was sent.
    """

    recipients: Recipients
    attempts: tuple[Attempt, ...] = field(default=())
    message_id: str = ""

    def _with(self, outcome: Outcome) -> list[str]:
        return [address for address, one in self.recipients.items() if one.outcome is outcome]

    @property
    def accepted(self) -> list[str]:
        """Addresses that a provider took."""
        return self._with(Outcome.ACCEPTED)

    @property
    def rejected(self) -> list[str]:
        """Addresses that were refused for good."""
        return self._with(Outcome.REJECTED)

    @property
    def deferred(self) -> list[str]:
        """Addresses that were not taken, and could be later."""
        return self._with(Outcome.DEFERRED)

    @property
    def unknown(self) -> list[str]:
        """Addresses that may or may not have been taken."""
        return self._with(Outcome.UNKNOWN)
