"""Content as it may go on the wire."""

import email
import email.policy
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_BARE = re.compile(rb"\r\n|\r|\n")


class InvalidContent(ValueError):
    """The content may not go on the wire."""


@dataclass(frozen=True, slots=True)
class BytesContent:
    """Content in memory."""

    data: bytes
    size: int
    is_7bit: bool
    needs_smtputf8: bool

    @classmethod
    def from_bytes(cls, data: bytes) -> "BytesContent":
        """Normalise."""
        if b"\0" in data:
            raise InvalidContent("NUL")
        data = _BARE.sub(b"\r\n", data)
        if not data.endswith(b"\r\n"):
            data += b"\r\n"
        return cls(data, len(data), data.isascii(), not data.partition(b"\r\n\r\n")[0].isascii())

    def chunks(self) -> Iterator[bytes]:
        """Pieces."""
        for start in range(0, len(self.data), 65536):
            yield self.data[start : start + 65536]

    def downgraded(self) -> "BytesContent | None":
        """7 bit."""
        if self.needs_smtputf8:
            return None
        message = email.message_from_bytes(self.data, policy=email.policy.SMTP.clone(cte_type="7bit"))
        content = self.from_bytes(message.as_bytes())
        return content if content.is_7bit else None


def stuffed(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Dot-stuffing."""
    tail = b"\r\n"
    for chunk in chunks:
        data = (tail + chunk).replace(b"\r\n.", b"\r\n..")[len(tail) :]
        if tail == b"\r" and chunk[:2] == b"\n.":
            data = b"\n.." + data[2:] if not data.startswith(b"\n..") else data
        tail = (tail + chunk)[-2:]
        tail = tail if tail == b"\r\n" else (b"\r" if tail[-1:] == b"\r" else b"")
        yield data
