"""MIME written without a change to what may be signed: attached messages, signed and encrypted parts, at any depth.

Python's writer folds long headers anew, and encodes bytes over 127 anew under some policies. Who has signed a part has
signed its bytes (RFC 1847 §2.1, RFC 6376 §5.3), and a message that is attached may hold a signature that nobody here
knows.
"""

import email
import email.encoders
import email.policy
from email.generator import BytesGenerator
from email.header import Header
from email.message import Message
from io import BytesIO
from typing import Any

_IDENTITIES = frozenset({"7bit", "8bit", "binary"})
_SIGNATURES = ("DKIM-Signature", "ARC-Seal")


class _Read(str):
    """A header's value as Python has it, and as it was read: with the white space around it."""

    as_read: str


class _AsRead(email.policy.EmailPolicy):
    """Headers that were read are written as they were; those that a program has set are folded."""

    def header_source_parse(self, sourcelines: list[str]) -> tuple[str, str]:
        """Keep the white space before a value, which some signatures count and `EmailPolicy` drops."""
        name, value = super().header_source_parse(sourcelines)
        kept = _Read(value)
        kept.as_read = "".join(sourcelines).partition(":")[2].rstrip("\r\n")
        return name, kept

    def fold_binary(self, name: str, value: Any) -> bytes:
        """Return a header as it was read, without folding it again."""
        if isinstance(value, _Read):
            return f"{name}:{value.as_read}{self.linesep}".encode("utf-8", "surrogateescape")
        if hasattr(value, "name"):
            return super().fold_binary(name, value)
        if isinstance(value, Header):
            value = value.encode(linesep=self.linesep)
        elif not value.isascii() and not any("\udc80" <= char <= "\udcff" for char in value):
            value = Header(value, "utf-8", header_name=name).encode(linesep=self.linesep)
        return f"{name}: {value}{self.linesep}".encode("ascii", "surrogateescape")


AS_READ = _AsRead(linesep="\r\n", cte_type="8bit", refold_source="none")


class _OnlyTooLong(email.policy.EmailPolicy):
    """A policy that writes headers as they were read, and folds only those that are too long for a line."""

    def fold_binary(self, name: str, value: Any) -> bytes:
        """Fold a header; huge ones in linear time, since the email package takes the square of their length."""
        if isinstance(value, _Read) and len(name) + len(max(f":{value.as_read}".split("\r\n"), key=len)) <= _MAX_LINE:
            return f"{name}:{value.as_read}{self.linesep}".encode("utf-8", "surrogateescape")
        if isinstance(value, str) and not hasattr(value, "name") and len(value) > _HUGE_HEADER and value.isascii():
            return _folded(f"{name}: {value}", self.linesep).encode("ascii")
        return super().fold_binary(name, value)


_HUGE_HEADER = 8192
_MAX_LINE = 998
_ONLY_TOO_LONG = _OnlyTooLong(utf8=True, linesep="\r\n", cte_type="8bit", max_line_length=_MAX_LINE)


def _folded(header: str, linesep: str) -> str:
    """A header folded before white space where a line would be too long (RFC 5322 §2.2.3)."""
    folded = []
    for line in header.splitlines():
        start = 0
        while len(line) - start > _MAX_LINE:
            # The white space begins the next line; what has none stays as it is.
            at = max(line.rfind(" ", start + 1, start + _MAX_LINE), line.rfind("\t", start + 1, start + _MAX_LINE))
            if at < 0 or not line[start:at].strip():
                found = [n for n in (line.find(" ", start + _MAX_LINE), line.find("\t", start + _MAX_LINE)) if n >= 0]
                at = min(found, default=len(line))
            folded.append(line[start:at])
            start = at
        folded.append(line[start:])
    return linesep.join(one for one in folded if one.strip()) + linesep


class _Writer(BytesGenerator):
    """Python's writer, but for what is inside of attached messages and signed parts."""

    policy: Any

    def _handle_message(self, msg: Any) -> None:
        self._as_read(super()._handle_message, msg)  # type: ignore[misc]

    def _handle_multipart_signed(self, msg: Any) -> None:
        self._as_read(self._handle_multipart, msg)  # type: ignore[attr-defined]

    _handle_multipart_encrypted = _handle_multipart_signed

    def _as_read(self, handle: Any, msg: Any) -> None:
        before = self.policy
        self.policy = AS_READ.clone(linesep=before.linesep)
        try:
            handle(msg)
        finally:
            self.policy = before


def written(message: Message, policy: Any) -> bytes:
    """The message's bytes; the policy folds and encodes what is surely not signed."""
    out = BytesIO()
    _Writer(out, mangle_from_=False, policy=policy).flatten(message)
    return out.getvalue()


def is_signed(part: Message) -> bool:
    """Return whether a change inside this part would break a signature or an encryption."""
    return part.get_content_type() in ("multipart/signed", "multipart/encrypted") or has_signed_headers(part)


def has_signed_headers(part: Message) -> bool:
    """Return whether a signature covers the header fields."""
    return any(name in part for name in _SIGNATURES)


def encoded(data: bytes, *, max_line_bytes: int, opens_messages: bool) -> bytes:
    """The same message, with each part encoded that has bytes over 127 or over-long lines and may be changed.

    Args:
        opens_messages: whether to do so inside of an attached message that holds no signature; else it stays as it is.
    """
    parsed = email.message_from_bytes(data, policy=AS_READ)
    _encode(parsed, max_line_bytes, opens_messages=opens_messages)
    return written(parsed, _ONLY_TOO_LONG)


def _encode(part: Any, max_line_bytes: int, *, opens_messages: bool) -> bool:
    """Encode a part and what is in it; whether all of it is clean then."""
    if is_signed(part):
        return False
    if part.get_content_maintype() == "message" and not (opens_messages and not _holds_signature(part)):
        return False
    if part.is_multipart():
        # Each is encoded, also behind one that must not be.
        found = [_encode(one, max_line_bytes, opens_messages=opens_messages) for one in part.get_payload()]
        is_clean = all(found)
        if is_clean and part.get("Content-Transfer-Encoding", "7bit").lower() in ("8bit", "binary"):
            part.replace_header("Content-Transfer-Encoding", "7bit")  # RFC 2045 §6.4: as what is inside
        return is_clean
    payload = part.get_payload(decode=True)
    if not isinstance(payload, bytes) or part.get("Content-Transfer-Encoding", "7bit").lower() not in _IDENTITIES:
        return True
    if not payload.isascii() or max(map(len, payload.splitlines()), default=0) > max_line_bytes:
        encode = email.encoders.encode_quopri if part.get_content_maintype() == "text" else email.encoders.encode_base64
        del part["Content-Transfer-Encoding"]
        part.set_payload(payload)
        encode(part)
    return True


def _holds_signature(part: Message) -> bool:
    return any(is_signed(one) for one in part.walk())
