"""Addresses as they may stand between the angle brackets of MAIL and RCPT (RFC 5321 §4.1.2, RFC 6531 §3.3)."""

import re
from collections.abc import Iterable
from functools import lru_cache

MAX_LOCAL_PART_BYTES = 64  # RFC 5321 §4.5.3.1
MAX_DOMAIN_BYTES = 255
MAX_PATH_BYTES = 254  # 256 with the brackets

_UNQUOTED = re.compile(r'[^\s"(),:;<>@\[\\\]\x00-\x1f\x7f]+')
_QUOTED = re.compile(r'"(?:[^"\\\x00-\x1f\x7f]|\\[^\x00-\x1f\x7f])*"')
_DOMAIN = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?\.?|\[[A-Za-z0-9.:_-]+\]")


class InvalidPath(ValueError):
    """The address may not go on the wire; the text says why."""


# Each is asked for when the message is built, when its commands are planned, and a sender for every message.
@lru_cache(maxsize=1024)
def forward_path(address: str) -> tuple[str, bool]:
    """The path for RCPT, and whether it needs SMTPUTF8.

    Raises:
        InvalidPath: it is no addr-spec, or could be read as more than one.
    """
    local, at, domain = address.rpartition("@")
    if not at or not local:
        raise InvalidPath(f"{address!r} is not an e-mail address: it has no local part before an @")
    if not (_UNQUOTED.fullmatch(local) or (_QUOTED.fullmatch(local) and not _has_brackets(local))):
        raise InvalidPath(f"{address!r} has characters in its local part that may not go on the wire")
    if len(local.encode("utf-8", "surrogatepass")) > MAX_LOCAL_PART_BYTES:
        raise InvalidPath(f"the local part of {address!r} is longer than {MAX_LOCAL_PART_BYTES} bytes")
    domain = _ascii_domain(address, domain)
    path = f"{local}@{domain}"
    try:
        length = len(path.encode())
    except UnicodeEncodeError:
        raise InvalidPath(f"{address!r} has half a character (a lone surrogate)") from None
    if length > MAX_PATH_BYTES:
        raise InvalidPath(f"{address!r} is longer than {MAX_PATH_BYTES} bytes")
    return path, not path.isascii()


def reverse_path(address: str) -> tuple[str, bool]:
    """The path for MAIL: as `forward_path`, and the null path is allowed."""
    return forward_path(address) if address else ("", False)


def deduplicate(addresses: Iterable[str]) -> tuple[str, ...]:
    """Each address once, in order, in its first spelling; domains are compared without case."""
    addresses = tuple(addresses)
    if len(addresses) < 2:
        return addresses
    first: dict[str, str] = {}
    for address in addresses:
        local, at, domain = address.rpartition("@")
        first.setdefault(f"{local}{at}{domain.lower()}", address)
    return tuple(first.values())


def _has_brackets(local: str) -> bool:
    return "<" in local or ">" in local


def _ascii_domain(address: str, domain: str) -> str:
    if not domain.isascii():
        try:
            domain = domain.encode("idna").decode("ascii")
        except UnicodeError as error:
            raise InvalidPath(f"the domain of {address!r} cannot be written in ASCII (IDNA): {error}") from error
    if not _DOMAIN.fullmatch(domain) or ".." in domain:
        raise InvalidPath(f"{address!r} has no valid domain")
    if len(domain) > MAX_DOMAIN_BYTES:
        raise InvalidPath(f"the domain of {address!r} is longer than {MAX_DOMAIN_BYTES} bytes")
    return domain
