"""Django looks for models here; they live in `reliable_email.store`."""

from reliable_email.store.tables.attempts import Attempt
from reliable_email.store.tables.events import ProviderEvent
from reliable_email.store.tables.handled import HandlerEvent
from reliable_email.store.tables.holds import IncomingHold
from reliable_email.store.tables.messages import OutboxMessage
from reliable_email.store.tables.parts import Part, PartReference
from reliable_email.store.tables.recipients import OutboxRecipient
from reliable_email.store.tables.routes import LearnedLimit, Opening
from reliable_email.store.tables.shared import (
    Action,
    LatencyTotal,
    OutcomeTotal,
    RouteState,
    Suppression,
    Tally,
    Worker,
)

__all__ = [
    "Action",
    "Attempt",
    "HandlerEvent",
    "IncomingHold",
    "LatencyTotal",
    "LearnedLimit",
    "Opening",
    "OutboxMessage",
    "OutboxRecipient",
    "OutcomeTotal",
    "Part",
    "PartReference",
    "ProviderEvent",
    "RouteState",
    "Suppression",
    "Tally",
    "Worker",
]
