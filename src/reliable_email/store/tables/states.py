"""The states of one recipient's delivery, as they are stored."""

from enum import IntEnum, StrEnum

from reliable_email.delivery.words import Outcome, Priority

# What the outbox and people write as the cause of a state, besides what a server gives.
OWN_CAUSES = (
    "cancelled", "held", "resolved", "misconfigured", "no_such_mailer", "key_missing", "content_gone", "poison",
)  # fmt: skip


class State(StrEnum):
    """The state of a recipient; `outbox.rows.transitions` has the events that change it."""

    QUEUED = "queued"  # waits for its time or its turn
    CLAIMED = "claimed"  # a worker has it in hand and has promised nothing to a server yet
    AUTHORIZED = "authorized"  # journaled: from here on the server may have the message
    UNKNOWN = "unknown"  # a server may have taken it (RFC 1047)
    PARKED = "parked"  # waits for a person
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    EXPIRED = "expired"
    CANCELLED = "cancelled"

    @property
    def outcome(self) -> Outcome:
        """The outcome that callers see, who know nothing of claims."""
        if self is State.CLAIMED or self is State.AUTHORIZED:
            return Outcome.QUEUED
        return Outcome(self.value)

    @property
    def is_in_hand(self) -> bool:
        """True if a worker holds it."""
        return self is State.CLAIMED or self is State.AUTHORIZED

    @property
    def is_open(self) -> bool:
        """True if it can still change without a person."""
        return self is State.QUEUED or self.is_in_hand


class PriorityRank(IntEnum):
    """`Priority` in the order of the claim's index."""

    HIGH = 0
    NORMAL = 1
    BULK = 2

    @classmethod
    def of(cls, priority: Priority) -> "PriorityRank":
        """The rank of a caller's priority."""
        return cls[priority.name]

    @property
    def priority(self) -> Priority:
        """The caller's word for it."""
        return Priority[self.name]
