"""The doors: ordinary Django e-mail backends.

They are imported when they are first asked for, so that a backend which needs no tables never loads the models.
"""

from typing import TYPE_CHECKING

from reliable_email import late_names

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

__getattr__ = late_names(__name__, _MODULES)


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})
