"""Content as it may go on the wire: CRLF line ends, no NUL, lines within bounds, dots stuffed (RFC 5321 §4.5.2, 2.3.8).

Line ends are normalised once, here. What a server takes for the end of a message is a CRLF . CRLF and nothing else, but
some take a bare LF or CR for it too; content that has none of these cannot smuggle a second message past them.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

from reliable_email.patterns import pattern
from reliable_email.smtp.syntax import mime
from reliable_email.smtp.transaction import Content

MAX_LINE_BYTES = 998  # RFC 5322 §2.1.1, without the CRLF
PIECE_BYTES = 65536

_FIELD = pattern(rb"[!-9;-~]+[ \t]*:")
# Written anew, such content would no longer be what was signed (RFC 6376 §5.3, RFC 1847 §2.1).
_SIGNATURE = pattern(rb"^(?:DKIM-Signature|ARC-Seal):|^Content-Type:\s*multipart/(?:signed|encrypted)\b", re.I | re.M)


class InvalidContent(ValueError):
    """The content may not go on the wire; the text says why."""


@dataclass(frozen=True)
class BytesContent:
    """Content in memory, normal already: see `from_bytes`."""

    data: bytes

    @cached_property
    def is_checked(self) -> bool:
        """True, or raises as `check` does; looked at once."""
        data = self.data
        _refuse_nul(data)
        pairs = data.count(b"\r\n")
        if data.count(b"\r") != pairs or data.count(b"\n") != pairs:
            raise InvalidContent("a CR or LF of the content is not part of a CRLF")
        if not data.endswith(b"\r\n"):
            raise InvalidContent("the content does not end with a CRLF")
        return True

    @classmethod
    def from_bytes(cls, data: bytes) -> "BytesContent":
        """Make content of any bytes: line ends are normalised, and over-long lines encoded where they can be.

        Raises:
            InvalidContent: it has a NUL, a line that stays too long, or a header section that is none.
        """
        data = normal(data)
        if has_long_line(data):
            data = _without_long_lines(data)
        _check_header(data)
        return cls(data)

    @property
    def size(self) -> int:
        """The number of bytes."""
        return len(self.data)

    @cached_property
    def is_7bit(self) -> bool:
        """True if every byte is below 128."""
        return self.data.isascii()

    @cached_property
    def needs_smtputf8(self) -> bool:
        """True if the header section contains raw UTF-8."""
        return not self.is_7bit and not header_section(self.data).isascii()

    def chunks(self) -> Iterator[bytes]:
        """Yield the bytes in pieces."""
        if len(self.data) <= PIECE_BYTES:
            yield self.data
            return
        for start in range(0, len(self.data), PIECE_BYTES):
            yield self.data[start : start + PIECE_BYTES]

    def downgraded(self) -> "BytesContent | None":
        """Return the content as 7-bit text; None if that is not possible."""
        if self.needs_smtputf8:
            return None
        data = _encoded(self.data, opens_messages=True)
        return BytesContent(data) if data.isascii() and not has_long_line(data) else None

    def cleaned(self) -> "BytesContent":
        """The same with everything encoded that may be; signed parts and attached messages stay as they are."""
        return self if self.is_7bit else BytesContent(_encoded(self.data, opens_messages=False))


def normal(data: bytes) -> bytes:
    """The bytes with CRLF for every line end, and one at the end.

    Raises:
        InvalidContent: there is a NUL among them.
    """
    _refuse_nul(data)
    pairs = data.count(b"\r\n")
    if data.count(b"\n") != pairs or data.count(b"\r") != pairs:
        # Three passes in C are twice as fast as one by a regular expression.
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")
    return data if data.endswith(b"\r\n") else data + b"\r\n"


def stuffed(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Normal content with every dot at the beginning of a line doubled (RFC 5321 §4.5.2), however it was cut.

    Raises:
        InvalidContent: a CR or LF stands alone. Some servers would read the end of the message there.
    """
    before = b"\r\n"  # the last two bytes; the content begins at the beginning of a line
    for chunk in chunks:
        if chunk:
            joined = before + chunk
            pairs = joined.count(b"\r\n")
            # A CR at the end is judged with the next chunk; a LF at the beginning was judged with the last one.
            if joined.count(b"\r") - joined.endswith(b"\r") != pairs or joined[1:].count(b"\n") != pairs:
                raise InvalidContent("a CR or LF of the content is not part of a CRLF")
            yield joined.replace(b"\r\n.", b"\r\n..")[2:]
            before = joined[-2:]
    if before != b"\r\n":
        raise InvalidContent("the content does not end with a CRLF")


def for_the_wire(content: Content) -> Iterator[bytes]:
    """The content as it stands between 354 and the terminator, looked at once.

    Raises:
        InvalidContent: see `stuffed`.
    """
    if not isinstance(content, BytesContent):
        return stuffed(content.chunks())
    data = content.data if content.is_checked else b""
    if data.startswith(b".") or b"\r\n." in data:
        return stuffed(content.chunks())
    return content.chunks()


def check(content: Content) -> None:
    """Read content once before it goes anywhere.

    Raises:
        InvalidContent: it is no content as `stuffed` and RFC 5321 §2.3.1 want it.
    """
    if isinstance(content, BytesContent):
        assert content.is_checked
    else:
        is_empty = True
        for chunk in stuffed(content.chunks()):
            _refuse_nul(chunk)
            is_empty = False
        if is_empty:
            raise InvalidContent("the content is empty")


def _refuse_nul(data: bytes) -> None:
    if b"\0" in data:
        raise InvalidContent("the content contains a NUL byte, which RFC 5321 §2.3.1 does not allow on the wire")


def header_section(data: bytes) -> bytes:
    """The bytes before the empty line."""
    return b"" if data.startswith(b"\r\n") else data.partition(b"\r\n\r\n")[0]


def _check_header(data: bytes) -> None:
    """A line that is neither a field nor folded would end the header section early, for some readers."""
    for line in header_section(data).split(b"\r\n"):
        if line[:1] not in (b" ", b"\t") and line and not _FIELD.match(line):
            raise InvalidContent(f"the header section has a line that is no header field: {line[:60]!r}")


def has_long_line(data: bytes) -> bool:
    """Return whether a line of normalized content has more than 998 bytes."""
    limit = MAX_LINE_BYTES + 2
    start = 0
    while len(data) - start > limit:
        end = data.rfind(b"\n", start, start + limit)
        if end < 0:
            return True
        start = end + 1
    return False


def _without_long_lines(data: bytes) -> bytes:
    # What is attached may be signed in a way that nobody here knows; it is opened where the line is inside.
    for opens_messages in (False, True):
        encoded = _encoded(data, opens_messages=opens_messages)
        if not has_long_line(encoded):
            return encoded
    why = "encoding it would break its signature" if _SIGNATURE.search(data) else "it cannot be encoded"
    raise InvalidContent(f"the content has a line of more than {MAX_LINE_BYTES} bytes, and {why}")


def _encoded(data: bytes, *, opens_messages: bool) -> bytes:
    return normal(mime.encoded(data, max_line_bytes=MAX_LINE_BYTES, opens_messages=opens_messages))
