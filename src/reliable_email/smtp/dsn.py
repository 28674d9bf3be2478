"""Delivery status notifications that a sender asks for (RFC 3461): who is told, of what, and under which name.

Where the server does not announce DSN nothing of it is said, and mail goes out as ever.
"""

import json
from collections.abc import Mapping
from enum import StrEnum
from typing import TypeVar

from reliable_email.records import dataclass, field
from reliable_email.smtp.syntax.paths import identity

MAX_ENVID_CHARACTERS = 100  # RFC 3461 §4.4
MAX_ORCPT_CHARACTERS = 500  # §4.2


class Notify(StrEnum):
    """The events of which a recipient's server sends a notice (RFC 3461 §4.1)."""

    NEVER = "never"
    SUCCESS = "success"
    FAILURE = "failure"
    DELAY = "delay"


class Return(StrEnum):
    """The part of a message that a notice of failure returns (RFC 3461 §4.3)."""

    FULL = "full"
    HEADERS = "hdrs"


Word = TypeVar("Word", Notify, Return)


@dataclass(frozen=True, slots=True, kw_only=True)
class DSN:
    """The wishes. What is not given is left to the server.

    Attributes:
        notify: what is told; `never` stands alone.
        ret: how much comes back.
        envid: the sender's own name for the message, which every notice repeats; printable ASCII.
        orcpt: whether each recipient's address is said as the original one, by which notices name it.
        originals: other addresses than their own for some recipients, in any spelling of these, as ORCPT says them.

    Raises:
        ValueError: a value cannot go on the wire.
    """

    notify: tuple[Notify, ...] = ()
    ret: Return | None = None
    envid: str = ""
    orcpt: bool = False
    originals: tuple[tuple[str, str], ...] = ()
    _by_identity: Mapping[str, str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # A queue knows recipients by their paths, and a caller by whatever spelling was at hand.
        object.__setattr__(self, "_by_identity", {identity(one): original for one, original in self.originals})
        if Notify.NEVER in self.notify and len(self.notify) > 1:
            raise ValueError("notify is 'never', or some of 'success', 'failure' and 'delay'")
        if any(not 32 <= ord(char) < 127 for char in self.envid):
            raise ValueError("envid contains characters that are not printable ASCII")
        if len(xtext(self.envid)) > MAX_ENVID_CHARACTERS:
            raise ValueError(f"envid is longer than {MAX_ENVID_CHARACTERS} characters, as it is said")
        for _, original in self.originals:
            if "@" not in original or any(ord(char) < 32 or ord(char) == 127 for char in original):
                raise ValueError(f"{original!r} is not an original recipient's address")

    def mail_parameters(self) -> str:
        """Return the parameters for MAIL, each with a space before it."""
        ret = f" RET={self.ret.value.upper()}" if self.ret is not None else ""
        return f"{ret} ENVID={xtext(self.envid)}" if self.envid else ret

    def recipient_parameters(self, recipient: str) -> str:
        """Return the parameters for this recipient's RCPT."""
        notify = f" NOTIFY={','.join(one.value.upper() for one in self.notify)}" if self.notify else ""
        own = recipient if self.orcpt else ""
        original = self._by_identity.get(identity(recipient), own) if self._by_identity else own
        if not original:
            return notify
        said = original_recipient(original)
        return f"{notify} ORCPT={said}" if len(said) <= MAX_ORCPT_CHARACTERS else notify

    def over(self, other: "DSN | None") -> "DSN":
        """Return these options, completed by the other's."""
        if other is None:
            return self
        return DSN(
            notify=self.notify or other.notify,
            ret=self.ret or other.ret,
            envid=self.envid or other.envid,
            orcpt=self.orcpt or other.orcpt,
            originals=self.originals or other.originals,
        )


def dsn_from(value: object) -> DSN:
    """The wishes as a person writes them: {"notify": "failure,delay", "ret": "hdrs", "envid": "…", "orcpt": True}.

    `orcpt` may also be a mapping of recipients to the addresses that they had before.

    Raises:
        ValueError: it cannot be understood.
    """
    if isinstance(value, DSN):
        return value
    if not isinstance(value, Mapping):
        raise ValueError("must be a dict with notify, ret, envid or orcpt")
    unknown = set(value) - {"notify", "ret", "envid", "orcpt"}
    if unknown:
        raise ValueError(f"knows no {', '.join(sorted(map(str, unknown)))}: there are notify, ret, envid and orcpt")
    orcpt = value.get("orcpt") or False
    originals: tuple[tuple[str, str], ...] = ()
    if isinstance(orcpt, Mapping):
        originals, orcpt = tuple((str(one), str(other)) for one, other in orcpt.items()), False
    if not isinstance(orcpt, bool):
        raise ValueError("has an orcpt that is neither true, false nor a dict of addresses")
    ret = value.get("ret")
    return DSN(
        notify=tuple(_word(Notify, word) for word in _words(value.get("notify"))),
        ret=_word(Return, {"headers": "hdrs"}.get(str(ret).lower(), str(ret))) if ret else None,
        envid=str(value.get("envid") or ""),
        orcpt=orcpt,
        originals=originals,
    )


def dsn_to_text(dsn: DSN) -> str:
    """The wishes in ASCII, for a table."""
    return json.dumps([dsn.notify, dsn.ret, dsn.envid, dsn.orcpt, dsn.originals])


def dsn_from_text(text: str) -> DSN:
    """The wishes again.

    Raises:
        ValueError: this was not written by `dsn_to_text`.
    """
    notify, ret, envid, orcpt, originals = json.loads(text)
    return DSN(
        notify=tuple(Notify(word) for word in notify),
        ret=Return(ret) if ret is not None else None,
        envid=envid,
        orcpt=orcpt,
        originals=tuple((one, original) for one, original in originals),
    )


def xtext(text: str) -> str:
    """RFC 3461 §4: printable ASCII as it is, all else, "+" and "=" as +HH."""
    return "".join(
        chr(byte) if 33 <= byte <= 126 and byte not in b"+=" else f"+{byte:02X}" for byte in text.encode("utf-8")
    )


def original_recipient(address: str) -> str:
    """The value of ORCPT: of type rfc822, or utf-8 where the address is beyond ASCII (RFC 6533 §3)."""
    if address.isascii():
        return f"rfc822;{xtext(address)}"
    return "utf-8;" + "".join(
        char if 33 <= ord(char) <= 126 and char not in "+=\\" else f"\\x{{{ord(char):X}}}" for char in address
    )


def _words(value: object) -> list[str]:
    if not value:
        return []
    parts = list(value) if isinstance(value, list | tuple | set) else str(value).split(",")
    return [str(part).strip().lower() for part in parts if str(part).strip()]


def _word(kind: type[Word], word: str) -> Word:
    try:
        return kind(word.lower())
    except ValueError:
        known = ", ".join(repr(one.value) for one in kind)
        raise ValueError(f"has {word!r}, which is not one of {known}") from None
