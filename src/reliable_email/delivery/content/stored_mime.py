"""Content that was built once, in the form in which Django's backends ask a message for it."""

import email
import email.message
import email.policy
from typing import Any

import django


class StoredMime(email.message.EmailMessage):
    """A MIME message that is written as the bytes it was read from, as long as it is not changed."""

    _headers: list[tuple[str, Any]]
    _payload: Any
    _stored: bytes | None = None
    _as_read: tuple[Any, ...] = ()

    def as_bytes(self, unixfrom: bool = False, policy: Any = None, linesep: str | None = None) -> bytes:
        """The bytes; `linesep` is the argument that Django 5.2 has here."""
        ending = linesep or (policy.linesep if policy is not None else self._linesep)
        if self._stored is not None and not unixfrom and self._as_read == (tuple(self._headers), self._payload):
            return self._stored if ending == "\r\n" else self._stored.replace(b"\r\n", ending.encode("ascii"))
        chosen = (policy or self.policy).clone(linesep=ending)
        return super().as_bytes(unixfrom, policy=chosen)

    def as_string(
        self, unixfrom: bool = False, maxheaderlen: Any = None, policy: Any = None, linesep: str | None = None
    ) -> str:
        """The same as text, where it is ASCII."""
        data = self.as_bytes(unixfrom, policy=policy, linesep=linesep or "\n")
        return data.decode("ascii") if data.isascii() else super().as_string(unixfrom, policy=policy)

    @property
    def _linesep(self) -> str:
        return "\r\n" if django.VERSION >= (6, 0) else "\n"


def stored_mime(data: bytes, *, policy: Any = None) -> StoredMime:
    """A message of these bytes, whose line ends are CRLF; it has the arguments of Django's `EmailMessage.message()`."""
    found: Any = email.message_from_bytes(data, _class=StoredMime, policy=policy or email.policy.SMTP)
    found._stored, found._as_read = data, (tuple(found._headers), found._payload)
    return found  # type: ignore[no-any-return]
