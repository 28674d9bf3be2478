"""A serializer of the common message as MIME, without the email package: several times cheaper, and the same message.

Common is: Django's own classes, text and alternatives as str, attachments as (name, content, type), headers and
addresses of everyday form. For everything else `serialized` answers None, and Django's `message()` writes it. What is
written here is 7-bit clean, so that every route takes it unchanged. That both ways say the same is proven by
differential tests, not by care alone: when in doubt, this module answers None.
"""

import binascii
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from email.utils import formatdate
from functools import lru_cache
from itertools import count
from time import time
from typing import Final, TypeAlias
from urllib.parse import quote

import django
from django.core.mail import EmailMessage, EmailMultiAlternatives
from django.utils.functional import Promise

from reliable_email.patterns import pattern
from reliable_email.process_state import remember

_CLASSES: Final = (EmailMessage, EmailMultiAlternatives)
# Changed from outside, Django's methods say something else than this module.
_METHODS: Final = tuple(
    (cls, name, vars(cls)[name])
    for cls in _CLASSES
    for name in ("message", "_create_message", "_add_bodies", "_add_attachments", "_add_attachment")
    if name in vars(cls)
)
_STRUCTURED: Final = frozenset(
    (
        *("from", "to", "cc", "bcc", "reply-to", "sender", "mime-version"),
        "subject",
        *("resent-from", "resent-to", "resent-cc", "resent-bcc", "resent-sender", "resent-date"),
        *("content-type", "content-transfer-encoding", "content-disposition", "content-id", "content-description"),
    )
)
_WRITTEN: Final = frozenset({"from", "to", "cc", "reply-to"})

_FOLD_COLUMN: Final = 76
_MAX_LINE: Final = 900
_WORD_BYTES: Final = 42  # of UTF-8 in one encoded word: 75 characters at most (RFC 2047 §2)
_CACHED_TEXT: Final = 65536
_CACHED_BYTES: Final = 1024 * 1024
_PIECE_BYTES: Final = 57 * 16384  # whole lines
# Two things that Django's versions write differently.
_IS_DJANGO_6: Final = django.VERSION >= (6, 0)
_NAMELESS: Final = "Content-Disposition: attachment\r\n" if _IS_DJANGO_6 else ""

_TOKEN: Final = pattern(r"[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+-]+")
_FIELD_NAME: Final = pattern(r"[A-Za-z][A-Za-z0-9-]*")
_PRINTABLE: Final = pattern(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")
_ATOM: Final = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_ADDRESS: Final = pattern(rf"{_ATOM}(?:\.{_ATOM})*@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*")
_NAMED: Final = pattern(rf'(?:"([^"\\\r\n]*)"|([^"<>()\[\]:;@\\,\r\n]*)) <({_ADDRESS.pattern})>')
_ATOMS: Final = pattern(rf"{_ATOM}(?: {_ATOM})*")
_NAME: Final = pattern(r"[^\x00-\x1f\x7f\ud800-\udfff\s]+(?: [^\x00-\x1f\x7f\ud800-\udfff\s]+)*")
_FILE_NAME: Final = pattern(r"[A-Za-z0-9 ._()+=,@~-]+")
# What is joined once, at the end, since an attachment may be very large.
_Pieces: TypeAlias = list[bytes | bytearray]


class _Uncommon(Exception):
    """Leave this message to Django."""


def serialized(message: EmailMessage, *, message_id: str, localtime: bool, charset: str) -> bytes | None:
    """The message's bytes, or None where it is not a common one.

    Args:
        message: not changed.
        message_id: for a message whose own headers name none.
        localtime: whether Date is in local time (Django's EMAIL_USE_LOCALTIME).
        charset: Django's DEFAULT_CHARSET.
    """
    try:
        return _message(message, message_id, localtime=localtime, charset=charset)
    except (_Uncommon, UnicodeError):
        return None


def _message(message: EmailMessage, message_id: str, *, localtime: bool, charset: str) -> bytes:
    encoding = message.encoding or charset
    if type(message) not in _CLASSES or not isinstance(encoding, str) or encoding.lower() != "utf-8":
        raise _Uncommon
    if not _IS_DJANGO_6 and encoding != "utf-8":
        raise _Uncommon  # Django 5.2 knows it in this one spelling; by another it writes the text's bytes as base64
    if any(vars(cls).get(name) is not method for cls, name, method in _METHODS):
        raise _Uncommon
    if {"message", "mixed_subtype", "alternative_subtype"} & vars(message).keys():
        raise _Uncommon
    extra = message.extra_headers
    names = {_name_of(name).lower() for name in extra}
    if len(names) != len(extra) or (names & _STRUCTURED) - {"from"}:
        raise _Uncommon
    head = [
        _unstructured("Subject", message.subject),
        _addresses("From", [_from(message)]),
        _addresses("To", message.to),
        _addresses("Cc", message.cc),
        _addresses("Reply-To", message.reply_to or ()),
    ]
    if "date" not in names:
        head.append(f"Date: {_date(int(time()), localtime)}\r\n")
    if "message-id" not in names:
        head.append(f"Message-ID: {message_id}\r\n")
    head += (_unstructured(name, value) for name, value in extra.items() if name.lower() not in _WRITTEN)
    head.append("MIME-Version: 1.0\r\n")
    return b"".join(["".join(head).encode("ascii"), *_body(message)])


# Headers.


@lru_cache(2)
def _date(second: int, localtime: bool) -> str:
    """The Date of every message of a second: a batch has thousands of them."""
    return formatdate(second, localtime=localtime)


def _name_of(name: object) -> str:
    if not isinstance(name, str) or not _FIELD_NAME.fullmatch(name):
        raise _Uncommon
    return name


def _text_of(value: object) -> str:
    if isinstance(value, str | Promise):
        return str(value)
    raise _Uncommon


def _from(message: EmailMessage) -> object:
    named = [value for name, value in message.extra_headers.items() if name.lower() == "from"]
    if named and "From" not in message.extra_headers:
        raise _Uncommon  # Django finds it in this one spelling alone
    return named[0] if named else message.from_email


def _unstructured(name: str, value: object) -> str:
    text = _text_of(value)
    if not text:
        return f"{name}: \r\n"
    if "=?" in text:
        raise _Uncommon  # what looks like an encoded word would be read as one
    if _PRINTABLE.fullmatch(text):
        if len(name) + len(text) + 2 <= _FOLD_COLUMN:
            return f"{name}: {text}\r\n"
        return _folded(name, text)
    if not _NAME.fullmatch(text) or name.lower() in ("date", "message-id", "in-reply-to", "references"):
        raise _Uncommon
    return f"{name}: {_encoded(text, len(name) + 2)}\r\n"


def _folded(name: str, text: str) -> str:
    if "  " in text or name.lower() in ("date", "message-id"):
        raise _Uncommon
    line = f"{name}:"
    lines = []
    for word in text.split(" "):
        if len(word) > _MAX_LINE:
            raise _Uncommon
        if len(line) + len(word) + 1 > _FOLD_COLUMN and line.strip() and line != f"{name}:":
            lines.append(line)
            line = ""
        line = f"{line} {word}"
    return "\r\n".join([*lines, line]) + "\r\n"


def _encoded(text: str, column: int) -> str:
    """RFC 2047 words; a character is never cut in two."""
    words = []
    room = min(_WORD_BYTES, max(12, (_FOLD_COLUMN - column - 12) // 4 * 3))
    piece = bytearray()
    for char in text:
        data = char.encode()
        if len(piece) + len(data) > room:
            words.append(_word(piece))
            piece = bytearray()
            room = _WORD_BYTES
        piece += data
    words.append(_word(piece))
    return "\r\n ".join(words)


def _word(data: bytes | bytearray) -> str:
    return f"=?utf-8?b?{binascii.b2a_base64(data, newline=False).decode('ascii')}?="


def _addresses(name: str, values: Sequence[object]) -> str:
    if not values:
        return ""
    written = [_address(value) for value in values]
    line = f"{name}: {', '.join(written)}\r\n"
    if len(line) <= _FOLD_COLUMN + 2:
        return line
    return f"{name}: " + ",\r\n ".join(written) + "\r\n"


def _address(value: object) -> str:
    text = _text_of(value)
    if _ADDRESS.fullmatch(text):
        return text
    match = _NAMED.fullmatch(text)
    if match is None:
        raise _Uncommon
    quoted, plain, address = match.groups()
    shown = quoted if quoted is not None else plain
    if not shown or "=?" in shown or not _NAME.fullmatch(shown):
        raise _Uncommon
    if not shown.isascii():
        return f"{_encoded(shown, 10)} <{address}>"
    if _ATOMS.fullmatch(shown):
        return f"{shown} <{address}>"
    if len(shown) > _FOLD_COLUMN - 10:
        raise _Uncommon
    return f'"{shown}" <{address}>'


# Bodies.


def _body(message: EmailMessage) -> _Pieces:
    alternatives = list(getattr(message, "alternatives", None) or ())
    parts: list[_Pieces] = []
    if message.body or not (alternatives or message.attachments):
        parts.append([_text_part(_text_of(message.body or ""), message.content_subtype)])
    parts += [_alternative(one) for one in alternatives]
    body = _multipart("alternative", parts) if alternatives else (parts[0] if parts else [])
    if not message.attachments:
        return body
    attached = [_attachment(one) for one in message.attachments]
    return _multipart("mixed", [body, *attached] if body else attached)


def _alternative(one: object) -> _Pieces:
    if not isinstance(one, tuple) or len(one) != 2:
        raise _Uncommon
    content, kind = one
    main, _, sub = _text_of(kind).partition("/")
    if main != "text":
        raise _Uncommon
    return [_text_part(_text_of(content), sub)]


def _attachment(one: object) -> _Pieces:
    if not isinstance(one, tuple) or len(one) != 3:
        raise _Uncommon
    name, content, kind = one
    if not isinstance(kind, str) or not _TOKEN.fullmatch(kind):
        raise _Uncommon
    main, _, sub = kind.partition("/")
    if main in ("message", "multipart"):
        raise _Uncommon
    disposition = f"Content-Disposition: attachment; {_file_name(name)}\r\n" if name else _NAMELESS
    if main == "text":
        if not isinstance(content, str):
            raise _Uncommon
        return [disposition.encode("ascii"), _text_part(content, sub)]
    if isinstance(content, str) and not (content.isascii() or _IS_DJANGO_6):
        raise _Uncommon  # Django 5.2 has its own idea of such text's bytes
    data = content.encode() if isinstance(content, str) else content
    if not isinstance(data, bytes | bytearray | memoryview):
        raise _Uncommon
    head = f"Content-Type: {kind}\r\nContent-Transfer-Encoding: base64\r\n{disposition}\r\n"
    encode = _cached_base64 if len(data) <= _CACHED_BYTES else _base64
    return [head.encode("ascii"), encode(bytes(data))]


def _file_name(name: object) -> str:
    text = _text_of(name)
    if len(text) > 200 or text != text.strip():
        raise _Uncommon
    if _FILE_NAME.fullmatch(text):
        if len(text) > 50:
            raise _Uncommon
        return f'filename="{text}"'
    if text.isascii() or not _NAME.fullmatch(text):
        raise _Uncommon
    encoded = quote(text, safe="")
    if len(encoded) > 800:
        raise _Uncommon
    return f"\r\n filename*=utf-8''{encoded}"


def _text_part(text: str, subtype: str) -> bytes:
    if len(text) <= _CACHED_TEXT:
        return _cached_text_part(text, subtype)
    return _write_text_part(text, subtype)


def _write_text_part(text: str, subtype: str) -> bytes:
    """A text part, its header included. Line ends become CRLF; from Django 6.0 on the last line gets one, too."""
    if not _TOKEN.fullmatch(f"text/{subtype}"):
        raise _Uncommon
    lines = text.encode("utf-8").splitlines()
    data = b"\r\n".join(lines)
    if _IS_DJANGO_6 or text.endswith(("\n", "\r")):
        data += b"\r\n"
    if b"\0" in data:
        raise _Uncommon
    encoding = "7bit"
    if not data.isascii() or max(map(len, lines), default=0) > _MAX_LINE:
        encoding, data = _shortest(data)
    head = f'Content-Type: text/{subtype}; charset="utf-8"\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n'
    return head.encode("ascii") + data


# The texts of a batch, and the footers of a site, are the same again and again.
_cached_text_part: Callable[[str, str], bytes] = lru_cache(maxsize=64)(_write_text_part)


def _shortest(data: bytes) -> tuple[str, bytes]:
    sample = data[:2048]
    if sum(byte > 126 or byte == 61 for byte in sample) * 6 > len(sample):
        return "base64", bytes(_base64(data))
    # b2a_qp counts on LF line ends, and takes a CR before them for text.
    encoded = binascii.b2a_qp(data.replace(b"\r\n", b"\n"), istext=True, quotetabs=False)
    return "quoted-printable", encoded.replace(b"\n", b"\r\n")


def _base64(data: bytes) -> bytes | bytearray:
    # In pieces: as many short lines at once would take several times the memory of a large attachment.
    written = bytearray()
    for start in range(0, len(data), _PIECE_BYTES):
        encoded = binascii.b2a_base64(memoryview(data)[start : start + _PIECE_BYTES], newline=False)
        written += b"".join(_lines(encoded))
    return written


# The same brochure goes to everybody. A handful at most, since they are large.
_cached_base64: Callable[[bytes], bytes | bytearray] = lru_cache(maxsize=4)(_base64)


def _lines(encoded: bytes) -> Iterator[bytes]:
    for start in range(0, len(encoded), 76):
        yield encoded[start : start + 76] + b"\r\n"


_boundaries = count()
_boundary_stem = os.urandom(12).hex()


def _multipart(subtype: str, parts: Iterable[_Pieces]) -> _Pieces:
    """Parts between boundaries that no content can hold: nobody outside this process can guess them."""
    boundary = f"=_{_boundary_stem}{next(_boundaries):x}".encode("ascii")
    head = b'Content-Type: multipart/%b; boundary="%b"\r\n\r\n' % (subtype.encode("ascii"), boundary)
    before, after = b"--%b\r\n" % boundary, b"\r\n"
    return [head, *(piece for part in parts for piece in (before, *part, after)), b"--%b--\r\n" % boundary]


def _new_stem() -> None:
    global _boundary_stem
    _boundary_stem = os.urandom(12).hex()


remember(__name__, after_fork=_new_stem)
