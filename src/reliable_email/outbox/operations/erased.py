"""The trace of an erased person: a keyed hash of the address, which keeps all mail from it.

A hash without a key would be undone by trying addresses. The key is the first of `ENCRYPTION_KEYS`, else SECRET_KEY;
the older ones are tried too, so that keys can be rotated.
"""

import hmac
from collections.abc import Collection, Iterable, Sequence

from reliable_email.outbox.keyring import KeyMissing
from reliable_email.records import dataclass
from reliable_email.smtp.syntax.paths import identity
from reliable_email.store.tables.shared import Suppression

_PURPOSE = b"reliable_email.erased"
_FINGERPRINT_CHARACTERS = 16  # as many as `Suppression.digest_key` has
ERASED, ERASING = "erased", "being erased"
SOURCE = "erase"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """The hash of one address by one key, which is named by its fingerprint."""

    key: str
    digest: str

    def __str__(self) -> str:
        return f"{self.key}:{self.digest}"


class Marker:
    """Makes marks with every key that the site has; the first is the one to write with."""

    def __init__(self, secrets: Sequence[str]) -> None:
        keys = [_keyed(secret.encode()) for secret in secrets]
        self._keys = {hmac.digest(key, b"fingerprint", "sha256").hex()[:_FINGERPRINT_CHARACTERS]: key for key in keys}

    def __repr__(self) -> str:
        return f"Marker({', '.join(self._keys)})"

    @property
    def fingerprints(self) -> Collection[str]:
        """Names of the keys, safe to store and to show."""
        return self._keys.keys()

    def marks(self, address: str) -> tuple[Mark, ...]:
        """Return the marks of an address, in any spelling; the first one is by the key to write with."""
        text = identity(address).encode("utf-8", "surrogatepass")
        return tuple(Mark(key=name, digest=hmac.digest(key, text, "sha256").hex()) for name, key in self._keys.items())

    def mark(self, address: str) -> Mark:
        """The one to keep.

        Raises:
            KeyMissing: the site has no key.
        """
        marks = self.marks(address)
        if not marks:
            raise KeyMissing("There is no key for the marks of erased persons: set SECRET_KEY or ENCRYPTION_KEYS.")
        return marks[0]

    def by_digest(self, addresses: Iterable[str]) -> dict[str, str]:
        """Each address by the digests that may be kept of it."""
        return {mark.digest: address for address in addresses for mark in self.marks(address)}


def configured_marker() -> Marker:
    """Return a marker with the keys in the settings."""
    from reliable_email import conf

    return Marker((*conf.get().encryption_keys, *conf.secret_keys()))


def unfinished(using: str) -> list[int]:
    """Return the entries of persons of whom something may be left, since a message to them was not settled yet.

    No index knows the marked rows, and most sites never have one: who finds nothing here need not look for them.
    """
    rows = Suppression._base_manager.using(using).exclude(digest_key="").filter(reason=ERASING)
    return list(rows.values_list("pk", flat=True))


def _keyed(secret: bytes) -> bytes:
    """A key for this purpose alone."""
    return hmac.digest(secret, _PURPOSE, "sha256")
