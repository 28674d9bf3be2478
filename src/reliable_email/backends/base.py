"""The base of all doors: ordinary Django backends that know the alias they were created for."""

from collections.abc import Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import django
from django.core.mail import EmailMessage
from django.core.mail.backends.base import BaseEmailBackend

if TYPE_CHECKING or django.VERSION >= (6, 1):

    class Door(BaseEmailBackend):
        """A backend with an alias: of the entry of MAILERS; None where it was made by hand."""

        alias: str | None

else:

    class Door(BaseEmailBackend):
        """The same for a Django that gives its backends no alias."""

        def __init__(self, *, alias: str | None = None) -> None:
            super().__init__()
            self.alias = alias


class LikeDjangos(Door):
    """Names that Django's own `send_messages()` uses, since classes that were derived from it hold a copy of that."""

    _lock = nullcontext()  # nothing here needs one

    def _send(self, email_message: EmailMessage) -> bool:
        """Send one message; whether some recipient took it."""
        if not email_message.recipients():
            return False
        return bool(self._send_directly([email_message]))

    def _send_directly(self, messages: Sequence[EmailMessage]) -> int:
        raise NotImplementedError


class OpenConnection:
    """The value of `connection` while a backend is open. The connections belong to the process."""

    def __init__(self, summary: str) -> None:
        self._summary = summary

    def __repr__(self) -> str:
        return f"<OpenConnection: {self._summary}>"

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(
            f"{name!r} is smtplib's, and this is no connection of smtplib: the process keeps those. Send by "
            "send_messages(). For other commands derive the class from Django's SMTP backend, and name it as a "
            "route of a FailoverBackend."
        )
