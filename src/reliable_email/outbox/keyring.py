"""Encryption at rest: content, subject, header preview, replies and fields, with keys that can be rotated.

Rows name the fingerprint of the key that wrote them, so that a worker can tell at its start whether every key that
pending rows need is there, instead of finding out one message at a time.
"""

import contextlib
import hashlib
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from django.core.exceptions import ImproperlyConfigured

from reliable_email.values import keeps_no_locals

if TYPE_CHECKING:
    from cryptography.fernet import Fernet


class KeyMissing(ImproperlyConfigured):
    """A row was written with a key that is not in `RELIABLE_EMAIL["ENCRYPTION_KEYS"]`."""


class Keyring:
    """The Fernet keys, the one to write with first; without keys everything is written as it is."""

    def __init__(self, keys: Sequence[str] = ()) -> None:
        self._keys = tuple(keys)

    def __repr__(self) -> str:
        return f"Keyring({', '.join(self.fingerprints)})"

    @property
    def fingerprints(self) -> tuple[str, ...]:
        """Names of the keys, safe to store and to show."""
        return tuple(_fingerprint(key) for key in self._keys)

    @property
    def current(self) -> str:
        """The fingerprint to write with; "" for no encryption."""
        return self.fingerprints[0] if self._keys else ""

    @cached_property
    @keeps_no_locals
    def _ciphers(self) -> "dict[str, Fernet]":
        if not self._keys:
            return {}
        try:
            from cryptography.fernet import Fernet
        except ImportError as error:
            raise ImproperlyConfigured(
                "RELIABLE_EMAIL['ENCRYPTION_KEYS'] needs cryptography: pip install 'django-reliable-email[encryption]'"
            ) from error
        with contextlib.suppress(ValueError):
            return {_fingerprint(key): Fernet(key) for key in self._keys}
        # Outside of the handler: the error may hold the key, and would be kept as the context of this one.
        raise ImproperlyConfigured(
            "A key in RELIABLE_EMAIL['ENCRYPTION_KEYS'] is no Fernet key; make one with "
            "cryptography.fernet.Fernet.generate_key()."
        )

    def seal(self, data: bytes) -> bytes:
        """Encrypt with the current key, where there is one."""
        return self._ciphers[self.current].encrypt(data) if self._keys else data

    def seal_text(self, text: str) -> str:
        """Encrypt text; empty text stays empty."""
        return self.seal(text.encode()).decode("ascii") if self._keys and text else text

    def open(self, data: bytes, fingerprint: str) -> bytes:
        """Decrypt what the key with this fingerprint wrote.

        Raises:
            KeyMissing: that key is not here, or the data was not written by it.
        """
        if not fingerprint:
            return data
        cipher = self._ciphers.get(fingerprint)
        if cipher is None:
            raise KeyMissing(f"the encryption key {fingerprint} is not in RELIABLE_EMAIL['ENCRYPTION_KEYS']")
        from cryptography.fernet import InvalidToken

        try:
            return cipher.decrypt(data)
        except InvalidToken:
            raise KeyMissing(f"what is stored was not written with the encryption key {fingerprint}") from None

    def open_text(self, text: str, fingerprint: str) -> str:
        """Decrypt text."""
        return self.open(text.encode("ascii"), fingerprint).decode() if fingerprint and text else text


def _fingerprint(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()[:16]


def configured_keyring() -> Keyring:
    """The keys of `RELIABLE_EMAIL["ENCRYPTION_KEYS"]`."""
    from reliable_email import conf

    return Keyring(conf.get().encryption_keys)
