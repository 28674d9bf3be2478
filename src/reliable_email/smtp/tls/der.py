"""Just enough of DER (X.690) to find a field inside a certificate. Reads; never decides whether to trust."""

from collections.abc import Iterator

from reliable_email.records import dataclass

BOOLEAN = 0x01
INTEGER = 0x02
BIT_STRING = 0x03
UTC_TIME = 0x17
BMP_STRING = 0x1E
SEQUENCE = 0x30


class DERError(ValueError):
    """The bytes are not the structure that was asked for."""


@dataclass(frozen=True, slots=True)
class Element:
    """One value: its tag (class and form bits included), its content, and the whole encoding."""

    tag: int
    content: bytes
    encoding: bytes

    def children(self) -> Iterator["Element"]:
        """The elements inside, in order.

        Raises:
            DERError: the content is not a row of elements.
        """
        at = 0
        while at < len(self.content):
            element = read(self.content, at)
            at += len(element.encoding)
            yield element


def read(data: bytes, at: int = 0) -> Element:
    """The element that begins at a position.

    Raises:
        DERError: it is cut off, or uses a form that certificates do not contain.
    """
    if at + 2 > len(data):
        raise DERError("cut off in the head of an element")
    tag, length = data[at], data[at + 1]
    begin = at + 2
    if tag & 0x1F == 0x1F:
        raise DERError("a tag of several bytes")
    if length & 0x80:
        size = length & 0x7F
        if not 1 <= size <= 4 or begin + size > len(data):
            raise DERError("a length that is indefinite, too large or cut off")
        length = int.from_bytes(data[begin : begin + size])
        begin += size
    end = begin + length
    if end > len(data):
        raise DERError("cut off inside an element")
    return Element(tag, data[begin:end], data[at:end])
