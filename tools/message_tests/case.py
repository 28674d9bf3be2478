"""One message of the tests, made anew for each door."""

import email
import email.policy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import django
from django.core.mail import EmailMessage

Made = tuple[EmailMessage, tuple[bytes, ...]]


@dataclass(frozen=True)
class Case:
    """A message by its name.

    Attributes:
        make: the message, and bytes in it that somebody may have signed.
    """

    name: str
    make: Callable[[], Made]

    def marked(self, number: int) -> Made:
        """The message with a hidden recipient by which it is known where it arrives."""
        message, sources = self.make()
        message.bcc = [*message.bcc, marker(number)]
        return message, sources


def marker(number: int) -> str:
    """The hidden recipient of the case with this number."""
    return f"case{number}@sink.test"


class Whole(EmailMessage):
    """A message that is written as these bytes, as those are whose class signs them."""

    data: bytes

    def message(self, **options: Any) -> Any:
        """As each version of Django takes it."""
        if django.VERSION >= (6, 0):
            return email.message_from_bytes(self.data, policy=options.get("policy", email.policy.default))
        return _Old(self.data)


class _Old:
    """What Django 5.2 asks for."""

    def __init__(self, data: bytes) -> None:
        self._parsed = email.message_from_bytes(data)

    def as_bytes(self, unixfrom: bool = False, linesep: str = "\n") -> bytes:
        """The bytes."""
        return self._parsed.as_bytes(unixfrom, policy=email.policy.compat32.clone(linesep=linesep))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._parsed, name)
