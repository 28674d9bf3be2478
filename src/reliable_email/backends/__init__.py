"""The doors: ordinary Django e-mail backends.

They are imported when they are first asked for, so that a backend which needs no tables never loads the models.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reliable_email.backends.default import DefaultMailer
    from reliable_email.backends.error_mail import ErrorMailBackend
    from reliable_email.backends.failover import FailoverBackend
    from reliable_email.backends.outbox import OutboxBackend
    from reliable_email.backends.smtp import ReliableSMTPBackend

_MODULES = {
    "DefaultMailer": "default",
    "ErrorMailBackend": "error_mail",
    "FailoverBackend": "failover",
    "OutboxBackend": "outbox",
    "ReliableSMTPBackend": "smtp",
}

__all__ = ["DefaultMailer", "ErrorMailBackend", "FailoverBackend", "OutboxBackend", "ReliableSMTPBackend"]


def __getattr__(name: str) -> Any:
    try:
        module = _MODULES[name]
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    found = getattr(import_module(f"{__name__}.{module}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})
