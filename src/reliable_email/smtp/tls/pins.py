"""Pinned public keys: SHA-256 of the SPKI of the server's own certificate, as browsers and curl write them.

A pin is checked in addition to the chain, right after the handshake and before anything is said in it.
"""

import base64
import binascii
from collections.abc import Iterable

from reliable_email.patterns import pattern
from reliable_email.smtp.tls.certificates import key_fingerprint

_PREFIX = pattern(r"(?i)(?:pin-)?sha-?256(?://|/|:|=)")
_HEX = pattern(r"(?:[0-9A-Fa-f]{2}:?){31}[0-9A-Fa-f]{2}")
DIGEST_BYTES = 32


def parse_pin(text: str) -> bytes:
    """The digest of a pin: "sha256//" with base64 (curl), plain base64, or hex with or without colons.

    Raises:
        ValueError: it is none of these, in words for the operator.
    """
    bare = text.strip()
    match = _PREFIX.match(bare)
    if match is not None:
        bare = bare[match.end() :]
    bare = bare.strip().strip('"')
    if _HEX.fullmatch(bare):
        return bytes.fromhex(bare.replace(":", ""))
    try:
        digest = base64.b64decode(
            bare.rstrip("=") + "=" * (-len(bare.rstrip("=")) % 4), altchars=_alphabet(bare), validate=True
        )
    except (binascii.Error, ValueError):
        digest = b""
    if len(digest) != DIGEST_BYTES:
        raise ValueError(
            f"the pin {text!r} is not the SHA-256 of a public key: give 44 characters of base64 (as curl writes them, "
            "sha256//…) or 64 hexadecimal digits"
        )
    return digest


def show_pin(digest: bytes) -> str:
    """The way in which a pin is shown and best configured."""
    return "sha256//" + base64.b64encode(digest).decode()


def pin_of(certificate: bytes) -> str:
    """The pin of a DER certificate's key.

    Raises:
        ValueError: it is not a certificate.
    """
    return show_pin(key_fingerprint(certificate))


def is_pinned(certificate: bytes, pins: Iterable[str]) -> bool:
    """Return whether the certificate's key is one of the pinned keys.

    Raises:
        ValueError: a pin is malformed, or the certificate is.
    """
    digests = {parse_pin(pin) for pin in pins}
    return key_fingerprint(certificate) in digests


def _alphabet(text: str) -> bytes:
    return b"-_" if "-" in text or "_" in text else b"+/"
