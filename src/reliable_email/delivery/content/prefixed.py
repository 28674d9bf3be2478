"""Content with further header lines in front of it, so that what was built once need not be built again."""

from collections.abc import Iterator

from reliable_email.records import dataclass
from reliable_email.smtp.transaction import Content


@dataclass(frozen=True, slots=True)
class _HeaderContent:
    """Content with one more header line at its top."""

    line: bytes
    inner: Content

    @property
    def size(self) -> int:
        return self.inner.size + len(self.line)

    @property
    def is_7bit(self) -> bool:
        return self.inner.is_7bit

    @property
    def needs_smtputf8(self) -> bool:
        return self.inner.needs_smtputf8

    def chunks(self) -> Iterator[bytes]:
        chunks = self.inner.chunks()
        yield self.line + next(chunks, b"")
        yield from chunks

    def downgraded(self) -> "Content | None":
        inner = self.inner.downgraded()
        return None if inner is None else _HeaderContent(self.line, inner)


def with_header(content: Content, name: str, value: str) -> Content:
    """The content with a header line in front of it; what is not printable ASCII in the value is escaped."""
    printable = "".join(char if char.isprintable() else " " for char in value)
    return _HeaderContent(f"{name}: {printable}\r\n".encode("ascii", "backslashreplace"), content)
