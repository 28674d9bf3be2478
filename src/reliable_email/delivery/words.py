"""The closed sets that callers, rows and reports speak in. Nothing else is imported with them."""

from enum import StrEnum


class Outcome(StrEnum):
    """The result for one recipient. A direct send has one of the first four; the others are those of the outbox."""

    ACCEPTED = "accepted"  # a provider answered 2yz to the whole message
    REJECTED = "rejected"  # it will not be tried again
    DEFERRED = "deferred"  # not taken, and trying again later makes sense
    UNKNOWN = "unknown"  # it may have been taken; RFC 1047
    QUEUED = "queued"
    PARKED = "parked"  # waits for a person
    EXPIRED = "expired"
    CANCELLED = "cancelled"


class OnUnknown(StrEnum):
    """The action for a recipient whose outcome is unknown."""

    HOLD = "hold"  # a person or a provider's event decides
    RESEND = "resend"  # the same route again, with the same Message-ID


class Priority(StrEnum):
    """The order in which messages are sent; high never waits behind bulk."""

    HIGH = "high"
    NORMAL = "normal"
    BULK = "bulk"
