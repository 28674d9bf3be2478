"""The layer that makes a Django site's e-mail arrive: a known outcome for every recipient, once.

What most code needs is here; it is imported when it is first asked for, so that importing the package costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reliable_email.backends.outbox import submit
    from reliable_email.delivery.report import DeliveryReport, Outcome, RecipientOutcome
    from reliable_email.delivery.submission import DeliveryOptions, OnUnknown, Priority
    from reliable_email.exceptions import DeliveryError, InvalidMailer, OutcomeUnknown

__version__ = "0.1.0"

_HOMES = {
    "DeliveryError": "exceptions",
    "DeliveryOptions": "delivery.submission",
    "DeliveryReport": "delivery.report",
    "InvalidMailer": "exceptions",
    "OnUnknown": "delivery.submission",
    "Outcome": "delivery.report",
    "OutcomeUnknown": "exceptions",
    "Priority": "delivery.submission",
    "RecipientOutcome": "delivery.report",
    "submit": "backends.outbox",
}

__all__ = [
    "DeliveryError",
    "DeliveryOptions",
    "DeliveryReport",
    "InvalidMailer",
    "OnUnknown",
    "Outcome",
    "OutcomeUnknown",
    "Priority",
    "RecipientOutcome",
    "submit",
]


def __getattr__(name: str) -> Any:
    try:
        home = _HOMES[name]
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    return getattr(import_module(f"{__name__}.{home}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
