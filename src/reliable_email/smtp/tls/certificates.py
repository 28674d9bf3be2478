"""The fields of a certificate (RFC 5280 §4), read for people and for pins, whether or not it is trusted.

OpenSSL gives the fields of a certificate only after it has accepted it; a refused one is the one worth reading.
"""

import hashlib
import ipaddress
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta

from reliable_email.records import dataclass
from reliable_email.smtp.tls import der
from reliable_email.smtp.tls.der import DERError, Element

_NAME_PARTS = {
    b"\x55\x04\x03": "CN",
    b"\x55\x04\x06": "C",
    b"\x55\x04\x07": "L",
    b"\x55\x04\x08": "ST",
    b"\x55\x04\x0a": "O",
    b"\x55\x04\x0b": "OU",
}
_SUBJECT_KEY_IDENTIFIER = b"\x55\x1d\x0e"
_KEY_USAGE = b"\x55\x1d\x0f"
_SUBJECT_ALT_NAME = b"\x55\x1d\x11"
_BASIC_CONSTRAINTS = b"\x55\x1d\x13"
_AUTHORITY_KEY_IDENTIFIER = b"\x55\x1d\x23"

_VERSION_TAG = 0xA0
_EXTENSIONS_TAG = 0xA3
_DNS_NAME_TAG = 0x82
_IP_ADDRESS_TAG = 0x87
_KEY_CERT_SIGN_BIT = 0x04


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """The fields that explain a refusal.

    Attributes:
        subject, issuer: names as "CN=…, O=…", control characters replaced.
        host_names: DNS names and IP addresses of the subject alternative name.
        not_before, not_after: aware, UTC.
        is_ca: basicConstraints says so.
        signs_certificates: keyUsage allows it.
        fingerprint: SHA-256 of the whole certificate, hex.
        key_fingerprint: SHA-256 of the public key (SPKI), for `pins`.
        encoded: the DER bytes.
    """

    subject: str
    issuer: str
    host_names: tuple[str, ...]
    not_before: datetime
    not_after: datetime
    is_ca: bool
    signs_certificates: bool
    has_basic_constraints: bool
    has_critical_basic_constraints: bool
    has_key_usage: bool
    has_subject_key_identifier: bool
    has_authority_key_identifier: bool
    has_critical_host_names: bool
    fingerprint: str
    key_fingerprint: bytes
    encoded: bytes

    @property
    def is_self_issued(self) -> bool:
        """Subject and issuer are the same: a root, or a self-signed certificate."""
        return self.subject == self.issuer

    @property
    def issuer_name(self) -> str:
        """The issuer's common name, or the whole name where it has none."""
        return _common_name(self.issuer)

    @property
    def subject_name(self) -> str:
        """The subject's common name, its first host name, or the whole name."""
        return _common_name(self.subject) or next(iter(self.host_names), "")

    def time_left(self, now: datetime) -> timedelta:
        """Until it expires; negative afterwards."""
        return self.not_after - now


def read_certificate(encoded: bytes) -> Certificate:
    """Read a DER certificate.

    Raises:
        DERError: it is none, or is damaged.
    """
    fields = _fields(encoded)
    issuer, validity, subject = fields[2], fields[3], fields[4]
    instants = [_instant(element) for element in validity.children()]
    if len(instants) != 2:
        raise DERError("a validity that is not two instants")
    not_before, not_after = instants
    extensions = {oid: (critical, value) for oid, critical, value in _extensions(fields)}
    alt_critical, alt_names = extensions.get(_SUBJECT_ALT_NAME, (False, b""))
    constraints_critical, constraints = extensions.get(_BASIC_CONSTRAINTS, (False, b""))
    return Certificate(
        subject=_name(subject),
        issuer=_name(issuer),
        host_names=tuple(_host_names(alt_names)),
        not_before=not_before,
        not_after=not_after,
        is_ca=_says_ca(constraints),
        signs_certificates=_allows_signing(extensions.get(_KEY_USAGE, (False, b""))[1]),
        has_basic_constraints=_BASIC_CONSTRAINTS in extensions,
        has_critical_basic_constraints=constraints_critical,
        has_key_usage=_KEY_USAGE in extensions,
        has_subject_key_identifier=_SUBJECT_KEY_IDENTIFIER in extensions,
        has_authority_key_identifier=_AUTHORITY_KEY_IDENTIFIER in extensions,
        has_critical_host_names=alt_critical,
        fingerprint=hashlib.sha256(encoded).hexdigest(),
        key_fingerprint=hashlib.sha256(fields[5].encoding).digest(),
        encoded=encoded,
    )


def read_chain(encoded: Iterable[bytes]) -> tuple[Certificate, ...]:
    """Read certificates, leaving out what cannot be read."""
    chain = []
    for item in encoded:
        try:
            chain.append(read_certificate(item))
        except DERError:
            continue
    return tuple(chain)


def key_fingerprint(encoded: bytes) -> bytes:
    """SHA-256 of the certificate's SubjectPublicKeyInfo, as in RFC 7469 §2.4.

    Raises:
        DERError: it is not a certificate.
    """
    return hashlib.sha256(_fields(encoded)[5].encoding).digest()


def _fields(encoded: bytes) -> list[Element]:
    """serialNumber, signature, issuer, validity, subject, subjectPublicKeyInfo and what follows (RFC 5280 §4.1)."""
    body = next(der.read(encoded).children(), None)
    if body is None or body.tag != der.SEQUENCE:
        raise DERError("not a certificate")
    fields = list(body.children())
    if fields and fields[0].tag == _VERSION_TAG:  # absent in version 1
        del fields[0]
    if len(fields) < 6 or any(field.tag != der.SEQUENCE for field in fields[1:6]):
        raise DERError("not a certificate")
    return fields


def _extensions(fields: list[Element]) -> Iterator[tuple[bytes, bool, bytes]]:
    for field in fields[6:]:
        if field.tag != _EXTENSIONS_TAG:
            continue
        for extension in der.read(field.content).children():
            parts = list(extension.children())
            if len(parts) < 2:
                raise DERError("an extension without a value")
            is_critical = parts[1].tag == der.BOOLEAN and parts[1].content != b"\0"
            yield parts[0].content, is_critical, parts[-1].content


def _name(name: Element) -> str:
    parts = []
    for relative in name.children():
        for attribute in relative.children():
            pieces = list(attribute.children())
            if len(pieces) == 2 and pieces[0].content in _NAME_PARTS:
                parts.append(f"{_NAME_PARTS[pieces[0].content]}={_text(pieces[1])}")
    # The common name is what people look for.
    return ", ".join(sorted(parts, key=lambda part: not part.startswith("CN=")))


def _common_name(name: str) -> str:
    if not name.startswith("CN="):
        return name
    return name.removeprefix("CN=").split(", O=")[0].split(", OU=")[0].split(", C=")[0]


def _text(element: Element) -> str:
    encoding = "utf-16-be" if element.tag == der.BMP_STRING else "utf-8"
    text = element.content.decode(encoding, "replace")
    # A certificate can be made by anybody: no line breaks or direction marks into a terminal.
    return "".join(character if character.isprintable() else "\ufffd" for character in text)


def _instant(element: Element) -> datetime:
    text = element.content.decode("ascii", "replace")
    if element.tag == der.UTC_TIME:
        # RFC 5280 §4.1.2.5.1: two digits from 50 on are the twentieth century.
        text = ("19" if text[:2] >= "50" else "20") + text
    try:
        return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)
    except ValueError as error:
        raise DERError(f"not a time: {text!r}") from error


def _host_names(value: bytes) -> Iterator[str]:
    if not value:
        return
    for name in der.read(value).children():
        if name.tag == _DNS_NAME_TAG:
            yield _text(name)
        elif name.tag == _IP_ADDRESS_TAG and len(name.content) in (4, 16):
            yield str(ipaddress.ip_address(name.content))


def _says_ca(value: bytes) -> bool:
    if not value:
        return False
    first = next(der.read(value).children(), None)
    return first is not None and first.tag == der.BOOLEAN and first.content != b"\0"


def _allows_signing(value: bytes) -> bool:
    if not value:
        return False
    bits = der.read(value).content  # the first byte counts unused bits
    return len(bits) > 1 and bool(bits[1] & _KEY_CERT_SIGN_BIT)
