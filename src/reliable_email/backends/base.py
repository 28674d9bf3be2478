"""The base of all doors: ordinary Django backends that know the alias they were created for."""

from typing import TYPE_CHECKING, Any

import django
from django.core.mail.backends.base import BaseEmailBackend

if TYPE_CHECKING or django.VERSION >= (6, 1):

    class Door(BaseEmailBackend):
        """A backend with an alias: of the entry of MAILERS; None where it was made by hand."""

        alias: str | None

else:

    class Door(BaseEmailBackend):
        """Base of the doors on a Django that gives its backends no alias."""

        def __init__(self, *, alias: str | None = None) -> None:
            super().__init__()
            self.alias = alias


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
