"""Django looks for models here; they live in `reliable_email.store`."""

from reliable_email.store.attempts import Attempt
from reliable_email.store.events import ProviderEvent
from reliable_email.store.handled import HandlerEvent
from reliable_email.store.holds import IncomingHold
from reliable_email.store.messages import OutboxMessage
from reliable_email.store.parts import Part, PartReference
from reliable_email.store.recipients import OutboxRecipient
from reliable_email.store.routes import LearnedLimit, Opening
from reliable_email.store.shared import Action, LatencyTotal, OutcomeTotal, RouteState, Suppression, Tally, Worker

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
