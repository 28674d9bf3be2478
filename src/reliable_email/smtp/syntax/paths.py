"""Addresses as they may stand between the angle brackets of MAIL and RCPT (RFC 5321 §4.1.2, RFC 6531 §3.3).

An address has one identity, by which every list, search and report of this package knows it: its path on the wire,
without case. ASCII domains go as they are, since what DNS resolves can be reached, whatever rules its name breaks;
other labels go by UTS 46 (not transitional) and IDNA 2008, so that `faß.example` is not `fass.example`.
"""

import contextlib
import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache

from reliable_email.patterns import pattern

# By which rules an identity was made; what is stored says so, and is written anew where they change.
IDENTITY_VERSION = 1

MAX_DOMAIN_BYTES = 255
# Local parts may be longer than the 64 bytes of RFC 5321 §4.5.3.1.1, which asks for no limit where that is possible:
# reply tokens and return paths are. What bounds them is the line of MAIL, 512 bytes (§4.5.3.1.4).
MAX_PATH_BYTES = 512 - len("MAIL FROM:<>\r\n")

_PLAIN = pattern(r"[A-Za-z0-9._%+-]+@[a-z0-9-]+(?:\.[a-z0-9-]+)+")
_UNQUOTED = pattern(r'[^\s"(),:;<>@\[\\\]\x00-\x1f\x7f]+')
_QUOTED = pattern(r'"(?:[^"\\\x00-\x1f\x7f]|\\[^\x00-\x1f\x7f])*"')
_ESCAPED = pattern(r"\\(.)")
_DOMAIN = pattern(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*|\[[A-Za-z0-9.:_-]+\]")
_JOINERS = pattern("[\u200c\u200d]")
# ASCII alone: what another letter's small form is depends on who asks, and a server decides about its local parts.
_LOWER = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}


class InvalidPath(ValueError):
    """The address may not go on the wire; the text says why."""


# Each is asked for when the message is built, when its commands are planned, and a sender for every message.
@lru_cache(maxsize=1024)
def forward_path(address: str) -> tuple[str, bool]:
    """The path for RCPT, and whether it needs SMTPUTF8. A bare name is a mailbox of the server (§4.5.1).

    Raises:
        InvalidPath: it is no addr-spec, or could be read as more than one.
    """
    local, at, domain = _parts(address)
    if not local or (at and not domain):
        raise InvalidPath(f"{address!r} is not an e-mail address: it has nothing before or after its @")
    if not (_UNQUOTED.fullmatch(local) or (_QUOTED.fullmatch(local) and not _has_brackets(local))):
        raise InvalidPath(f"{address!r} has characters in its local part that SMTP does not allow")
    path = _without_needless_quotes(local)
    if at:
        path = f"{path}@{_ascii_domain(address, domain)}"
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


@lru_cache(maxsize=4096)
def identity(address: str) -> str:
    """Return the identity of an addr-spec, equal for all its spellings; of other text, the text in lower case.

    It never goes on the wire itself: local parts keep their case there.
    """
    if _PLAIN.fullmatch(address):
        return address.lower()
    text = address.strip()
    try:
        path, _ = forward_path(text)
    except InvalidPath:
        return unicodedata.normalize("NFC", text).lower()
    local, at, domain = _parts(path)
    if _QUOTED.fullmatch(local):
        content = _unquoted(local)
        # "a..b" needs its quotes on the wire, and names the same mailbox as a..b, which some servers have.
        local = content if _UNQUOTED.fullmatch(content) else _quoted(content)
    return f"{unicodedata.normalize('NFC', local).translate(_LOWER)}{at}{domain.lower()}"


def domain_identity(domain: str) -> str:
    """A domain as it goes on the wire; of what is none, its text in lower case."""
    try:
        return _ascii_domain(domain, domain.strip())
    except InvalidPath:
        return domain.strip().lower()


def with_ascii_domain(text: str, addr_spec: str) -> str:
    """The text, which names this address, with the address's domain as it goes on the wire.

    Raises:
        InvalidPath: that domain has no such form.
    """
    domain = _parts(addr_spec)[2]
    if domain.isascii():
        return text
    written = f"@{_ascii_domain(addr_spec, domain)}"
    return re.sub(rf"@{re.escape(domain)}(?=\s*(?:[>,;(]|$))", written, text)


def older_spellings(address: str) -> frozenset[str]:
    """Return an address's identity and the spellings in which lists stored it before there were identities."""
    key = identity(address)
    local, at, domain = _parts(key)
    found = {key, address.strip().lower()}
    if "" in local.split("."):
        found.add(f'"{local}"{at}{domain}')  # as it has to be quoted on the wire
    if "xn--" in domain:
        import idna

        with contextlib.suppress(idna.IDNAError):
            found.add(f"{local}{at}{'.'.join(idna.ulabel(label) for label in domain.split('.'))}")
    return frozenset(found)


def deduplicate(addresses: Iterable[str]) -> tuple[str, ...]:
    """Each address once, in order, in its first spelling."""
    addresses = tuple(addresses)
    if len(addresses) < 2:
        return addresses
    first: dict[str, str] = {}
    for address in addresses:
        first.setdefault(identity(address), address)
    return tuple(first.values())


def _parts(address: str) -> tuple[str, str, str]:
    """Local part, "@" and domain; a bare name is all local part."""
    local, at, domain = address.rpartition("@")
    return (local, at, domain) if at else (address, "", "")


def _has_brackets(local: str) -> bool:
    return "<" in local or ">" in local


def _unquoted(local: str) -> str:
    return _ESCAPED.sub(r"\1", local[1:-1])


def _quoted(content: str) -> str:
    escaped = content.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _without_needless_quotes(local: str) -> str:
    """RFC 5321 §4.1.2: the quoted form is for what has no other, and names the same mailbox."""
    if not local.startswith('"'):
        return local
    content = _unquoted(local)
    is_dot_string = bool(_UNQUOTED.fullmatch(content)) and "" not in content.split(".")
    return content if is_dot_string else _quoted(content)


def _ascii_domain(address: str, domain: str) -> str:
    if not domain.isascii():
        domain = _by_idna(address, domain)
    if not domain.startswith("["):
        # The root's dot means nothing here, and is no part of the path's syntax.
        domain = domain.removesuffix(".").lower()
    if not _DOMAIN.fullmatch(domain):
        raise InvalidPath(f"{address!r} has no valid domain")
    if len(domain) > MAX_DOMAIN_BYTES:
        raise InvalidPath(f"the domain of {address!r} is longer than {MAX_DOMAIN_BYTES} bytes")
    return domain


def _by_idna(address: str, domain: str) -> str:
    import idna

    try:
        # Some of its characters are dots, or nothing at all.
        labels = idna.uts46_remap(domain, std3_rules=False).split(".")
        return ".".join(label if label.isascii() else _a_label(label) for label in labels)
    except (idna.IDNAError, UnicodeError) as error:
        raise InvalidPath(f"the domain of {address!r} cannot be written in ASCII (IDNA 2008): {error}") from error


def _a_label(label: str) -> str:
    import idna

    try:
        return idna.alabel(label).decode("ascii")
    except idna.InvalidCodepointContext:
        # Nobody can have a name with a joiner where none may stand: it came along when the address was copied.
        bare = _JOINERS.sub("", label)
        if bare == label:
            raise
        return bare if bare.isascii() else idna.alabel(bare).decode("ascii")
