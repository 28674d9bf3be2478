"""What a receiver, or a signature, notices of two contents that should be one message.

Header fields decoded, the tree of parts with their types and names, text decoded and data byte for byte; and the raw
bytes of what may be signed: attached messages, the first part of multipart/signed, and the whole where it has a DKIM
signature. Not noticed: which transfer encoding carries a part, where a header is folded, boundaries, and what is new in
each writing (Message-ID and Date, where the message names none).
"""

import email
import email.policy
import re
from collections.abc import Collection, Iterator
from email.header import decode_header, make_header
from email.message import Message
from email.utils import collapse_rfc2231_value, getaddresses
from typing import Any

_ADDRESSES = frozenset(
    ("from", "to", "cc", "bcc", "reply-to", "sender", "resent-from", "resent-to", "resent-cc", "resent-sender")
)
_OF_THE_WRITING = frozenset(("content-transfer-encoding", "content-type", "content-disposition", "mime-version"))
_FOLD = re.compile(r"\r?\n(?=[ \t])")


def differences(
    ours: bytes, theirs: bytes, sources: tuple[bytes, ...] = (), *, of_the_writing: Collection[str] = ()
) -> list[str]:
    """What differs, in words; empty where nobody would notice.

    Args:
        of_the_writing: names of header fields that are new in each writing.
        sources: bytes that the caller handed over, of messages or signed parts: who keeps them is right.
    """
    if ours == theirs:
        return []
    mine, other = _read(ours), _read(theirs)
    for name in of_the_writing:
        del mine[name], other[name]
    found = list(_of_parts(mine, other, ""))
    kept = [source.rstrip(b"\r\n") for source in sources]
    for what, left, right in _paired(list(signable(ours)), list(signable(theirs))):
        left, right = left.rstrip(b"\r\n"), right.rstrip(b"\r\n")
        if left != right and right in kept and left not in kept:
            found.append(f"the bytes of {what}: {_first_difference(left, right)}")
    return found


def _read(data: bytes) -> Message:
    return email.message_from_bytes(data, policy=email.policy.compat32)


def _paired(mine: list[tuple[str, bytes]], other: list[tuple[str, bytes]]) -> Iterator[tuple[str, bytes, bytes]]:
    if [what for what, _ in mine] != [what for what, _ in other]:
        yield "parts that may be signed", b"%d" % len(mine), b"%d others" % len(other)
        return
    for (what, left), (_, right) in zip(mine, other, strict=True):
        yield what, left, right


def _of_parts(mine: Any, other: Any, where: str) -> Iterator[str]:
    here = where or "the message"
    left, right = _headers(mine), _headers(other)
    for name in sorted(left.keys() | right.keys()):
        if left.get(name) != right.get(name):
            yield f"{here}: {name}: {left.get(name)!r} for {right.get(name)!r}"
    for what, read in _QUESTIONS.items():
        if read(mine) != read(other):
            yield f"{here}: {what}: {read(mine)!r} for {read(other)!r}"
    inner, outer = mine.get_payload(), other.get_payload()
    if isinstance(inner, list) and isinstance(outer, list):
        if len(inner) != len(outer):
            yield f"{here}: {len(inner)} parts for {len(outer)}"
            return
        for number, (one, two) in enumerate(zip(inner, outer, strict=True), 1):
            yield from _of_parts(one, two, f"{where}/{number}")
    elif isinstance(inner, list) or isinstance(outer, list):
        yield f"{here}: parts for none"
    else:
        said, wanted = content(mine), content(other)
        if said != wanted:
            yield f"{here}: content: {_first_difference(said, wanted)}"


def _headers(part: Any) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for name, value in part.raw_items() if hasattr(part, "raw_items") else part.items():
        lower = name.lower()
        if lower not in _OF_THE_WRITING:
            found.setdefault(lower, []).append(_value(lower, str(value)))
    return found


def _value(name: str, raw: str) -> Any:
    text = _FOLD.sub("", raw).strip()
    if name in _ADDRESSES:
        return [(decoded(shown), _address(address)) for shown, address in getaddresses([text])]
    return re.sub(r"[ \t]+", " ", decoded(text))


def _address(address: str) -> str:
    local, at, domain = decoded(address).rpartition("@")
    return f"{local}{at}{domain.lower()}"


def decoded(raw: str) -> str:
    """A header's text, encoded words and raw UTF-8 read."""
    with_bytes = raw.encode("ascii", "surrogateescape") if _has_surrogates(raw) else None
    text = with_bytes.decode("utf-8", "replace") if with_bytes is not None else raw
    if "=?" not in text:
        return text
    try:
        return str(make_header(decode_header(text)))
    except (LookupError, ValueError):
        return text


def _has_surrogates(text: str) -> bool:
    return any("\udc80" <= char <= "\udcff" for char in text)


def _disposition(part: Any) -> tuple[str | None, str | None]:
    return part.get_content_disposition(), decoded(name) if (name := part.get_filename()) else None


def _parameters(part: Any) -> list[tuple[str, str]]:
    found = part.get_params(failobj=[])[1:]
    return sorted(
        (name.lower(), decoded(collapse_rfc2231_value(value)).lower() if name.lower() == "charset" else decoded(
            collapse_rfc2231_value(value)))
        for name, value in found
        if name.lower() != "boundary"
    )  # fmt: skip


_QUESTIONS = {
    "type": lambda part: part.get_content_type(),
    "parameters": _parameters,
    "disposition": _disposition,
}


def content(part: Any) -> str | bytes:
    """What a leaf holds: text decoded, with one form of line end, or bytes."""
    data = part.get_payload(decode=True)
    if not isinstance(data, bytes):
        return str(data)
    if part.get_content_maintype() in ("multipart", "message"):
        # Broken: no parts could be read. Django 5.2 sends the line ends that are in the bytes, which no server wants.
        return data.replace(b"\r\n", b"\n").rstrip(b"\n")
    if part.get_content_maintype() != "text":
        return data
    try:
        return data.decode(part.get_content_charset() or "utf-8").replace("\r\n", "\n")
    except (LookupError, ValueError):
        return data.replace(b"\r\n", b"\n")


def signable(data: bytes) -> Iterator[tuple[str, bytes]]:
    """The raw bytes of attached messages and of first parts of multipart/signed, outermost first."""
    head, _, body = data.partition(b"\r\n\r\n")
    part = email.message_from_bytes(head + b"\r\n\r\n")
    kind = part.get_content_type()
    if kind == "message/rfc822":
        yield "an attached message", body
        yield from signable(body)
        return
    boundary = part.get_boundary()
    if part.get_content_maintype() != "multipart" or not boundary:
        return
    pieces = _pieces(body, boundary.encode("ascii", "surrogateescape"))
    if kind in ("multipart/signed", "multipart/encrypted") and pieces:
        yield "a signed part", pieces[0]
    for piece in pieces:
        yield from signable(piece)


def _pieces(body: bytes, boundary: bytes) -> list[bytes]:
    """The parts between the boundaries; a line end before a boundary is the boundary's (RFC 2046 §5.1.1)."""
    cut = re.split(rb"(?:\A|\r\n)--" + re.escape(boundary) + rb"(--)?[ \t]*(?:\r\n|\Z)", body)
    parts = cut[2::2]
    ends = cut[1::2]
    return [part for part, end in zip(parts, ends, strict=False) if end is None]


def _first_difference(mine: Any, other: Any) -> str:
    if type(mine) is not type(other):
        return f"{mine[:60]!r} for {other[:60]!r}"
    size = min(len(mine), len(other))
    at = next((n for n in range(size) if mine[n] != other[n]), size)
    start = max(0, at - 10)
    return f"at {at}, {mine[start : at + 50]!r} for {other[start : at + 50]!r}"
