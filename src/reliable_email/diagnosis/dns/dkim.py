"""DKIM keys (RFC 6376 section 3.6.1, RFC 8301, RFC 8463): is there one at a selector, and is it good?"""

import base64
import binascii
from fnmatch import fnmatchcase

from reliable_email.diagnosis.dns.lookup import Answer, Ask
from reliable_email.providers import Provider, get, names
from reliable_email.records import dataclass
from reliable_email.smtp.tls.der import BIT_STRING, INTEGER, SEQUENCE, DERError, read

GOOD_BITS = 2048
LEAST_BITS = 1024  # RFC 8301: verifiers must not take shorter ones
_ED25519_BYTES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """The DKIM key at one selector.

    Attributes:
        kind: "rsa" or "ed25519".
        bits: of an RSA key; 0 where they do not count.
        is_revoked: `p=` is empty.
        is_testing: `t=y`: receivers may ignore failures.
        problem: why it cannot be used, "" where it can.
    """

    selector: str
    domain: str
    kind: str = "rsa"
    bits: int = 0
    is_revoked: bool = False
    is_testing: bool = False
    problem: str = ""

    @property
    def is_usable(self) -> bool:
        """True if a signature by it can pass."""
        return not self.problem and not self.is_revoked

    @property
    def words(self) -> str:
        """ "s1, RSA 2048 bits"."""
        kind = f"RSA {self.bits} bits" if self.kind == "rsa" else "Ed25519"
        return f"{self.selector}, {kind}"


def find_key(ask: Ask, selector: str, domain: str, provider: Provider | None = None) -> Key | Answer | None:
    """The key; None where there is none, or where it is another provider's; the answer where it could not be asked."""
    name = f"{selector}._domainkey.{domain}"
    answer = ask(name, "TXT")
    if answer.is_unasked:
        return answer
    if not answer.values or _is_anothers(answer, provider):
        return None
    if len(answer.values) > 1:
        return Key(selector=selector, domain=domain, problem="there is more than one record, and there may be one")
    return read_key(answer.values[0], selector=selector, domain=domain)


def read_key(text: str, *, selector: str, domain: str) -> Key:
    """The key that a record holds."""

    def broken(problem: str) -> Key:
        return Key(selector=selector, domain=domain, problem=problem)

    tags: dict[str, str] = {}
    for part in text.split(";"):
        name, equals, value = part.partition("=")
        if part.strip() and not equals:
            return broken(f"“{part.strip()[:40]}” is not a tag")
        if name.strip():
            tags[name.strip()] = value.strip()
    if "v" in tags and tags["v"] != "DKIM1":
        return broken(f"its version is “{tags['v'][:20]}”, not DKIM1")
    if "p" not in tags:
        return broken("it holds no key (p=)")
    kind = tags.get("k", "rsa").lower()
    is_testing = "y" in tags.get("t", "").split(":")
    if not tags["p"]:
        return Key(selector=selector, domain=domain, kind=kind, is_revoked=True)
    try:
        key = base64.b64decode("".join(tags["p"].split()), validate=True)
    except (binascii.Error, ValueError):
        return broken("its key is no base64; was it cut when it was pasted?")
    if kind == "ed25519":
        if len(key) != _ED25519_BYTES:
            return broken(f"an Ed25519 key has {_ED25519_BYTES} bytes, this one {len(key)}")
        return Key(selector=selector, domain=domain, kind=kind, is_testing=is_testing)
    if kind != "rsa":
        return broken(f"there is no key type “{kind[:20]}”")
    try:
        bits = rsa_bits(key)
    except DERError:
        return broken("its key cannot be read; was it cut when it was pasted?")
    if bits < LEAST_BITS:
        return broken(f"its RSA key has {bits} bits, and receivers take none below {LEAST_BITS}")
    return Key(selector=selector, domain=domain, kind=kind, bits=bits, is_testing=is_testing)


def rsa_bits(key: bytes) -> int:
    """The size of a key in DER: SubjectPublicKeyInfo as everybody publishes it, or the bare RSAPublicKey.

    Raises:
        DERError: it is neither.
    """
    outer = read(key)
    if outer.tag != SEQUENCE or len(outer.encoding) != len(key):
        raise DERError("no single sequence")
    parts = list(outer.children())
    if len(parts) == 2 and parts[0].tag == SEQUENCE and parts[1].tag == BIT_STRING:
        return rsa_bits(parts[1].content[1:])  # after the count of unused bits
    if len(parts) != 2 or any(part.tag != INTEGER for part in parts):
        raise DERError("no RSA key")
    return int.from_bytes(parts[0].content).bit_length()


def _is_anothers(answer: Answer, provider: Provider | None) -> bool:
    """Selectors such as "s1" are used by several providers; where a CNAME leads tells whose it is."""
    if provider is None or answer.canonical_name == answer.name:
        return False
    if any(fnmatchcase(answer.canonical_name, pattern) for pattern in provider.dkim_targets):
        return False
    others = (get(name) for name in names() if name != provider.name)
    return any(fnmatchcase(answer.canonical_name, pattern) for other in others for pattern in other.dkim_targets)
