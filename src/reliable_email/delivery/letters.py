"""Which letter a message is: a digest of what its readers get, so that a changed message is not taken for a repetition.

It covers sender, subject, bodies, attachments and headers. Date and Message-ID are new at every building; To, Cc and
Bcc say who gets the letter, not what it says. Lazy values count as what they say now. What is drawn by chance when a
message is written (boundaries) or says when (signatures) is never part of it, so no message is written for this.
"""

import hashlib
import re
import struct
import sys
from collections.abc import Mapping, Sequence, Set
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from email.message import Message
from typing import Any, Final

from django.core.mail import EmailMessage, EmailMultiAlternatives
from django.utils.functional import Promise

# https://anymail.dev/en/stable/sending/anymail_additions/: what a provider's API makes of a message.
API_ATTRIBUTES: Final = (
    "envelope_sender", "metadata", "send_at", "tags", "track_clicks", "track_opens", "template_id", "merge_data",
    "merge_global_data", "merge_headers", "merge_metadata", "esp_extra",
)  # fmt: skip
_LEFT_OUT: Final = frozenset({"date", "message-id", "to", "cc", "bcc"})
_FIELDS: Final = (
    "from_email", "subject", "body", "content_subtype", "encoding", "mixed_subtype", "alternative_subtype",
    "alternatives", "attachments", "reply_to", *API_ATTRIBUTES,
)  # fmt: skip
# Of a message whose class writes it in its own way, everything counts but these.
_NOT_OF_THE_LETTER: Final = frozenset(
    {"to", "cc", "bcc", "extra_headers", "connection", "_connection", "delivery", "delivery_options", "anymail_status"}
)
_BOUNDARY: Final = re.compile(r';\s*boundary=(?:"[^"]*"|[^\s;]*)', re.I)
_WRITERS: Final = ("message", "_create_message", "_add_bodies", "_add_attachments", "_add_attachment")


def letter_digest(message: EmailMessage) -> str:
    """The same for messages that say the same, in this process and in any other; the message is not changed."""
    digest = hashlib.blake2b(digest_size=32)
    _feed_letter(digest, message)
    return digest.hexdigest()


def _feed_letter(digest: Any, message: EmailMessage) -> None:
    names = {name for name in _FIELDS if hasattr(message, name)}
    if writes_by_itself(message):
        names |= vars(message).keys() - _NOT_OF_THE_LETTER
    for name in sorted(names):
        value = getattr(message, name)
        if value is None or (name in API_ATTRIBUTES and is_unset(value)):
            continue
        _feed_text(digest, b"n", name)
        _feed(digest, value)
    headers = message.extra_headers
    for header, value in sorted((str(name).lower(), value) for name, value in headers.items()):
        if header not in _LEFT_OUT:
            _feed_text(digest, b"h", header)
            _feed_text(digest, b"t", str(value))


def is_unset(value: object) -> bool:
    """Whether this is django-anymail's word for an attribute that nobody set, which is no None and is true."""
    anymail = sys.modules.get("anymail.utils")
    return anymail is not None and value is anymail.UNSET


def writes_by_itself(message: EmailMessage) -> bool:
    """Whether the class has a way of its own to write a message, of which we know nothing but what it holds."""
    cls = type(message)
    return "message" in vars(message) or any(
        getattr(cls, name, None) not in (getattr(EmailMessage, name, None), getattr(EmailMultiAlternatives, name, None))
        for name in _WRITERS
    )


def _feed_text(digest: Any, kind: bytes, text: str) -> None:
    _feed_bytes(digest, kind, text.encode("utf-8", "surrogatepass"))


def _feed_bytes(digest: Any, kind: bytes, data: bytes | bytearray | memoryview) -> None:
    # With its length, so that no two values read alike when they stand side by side.
    digest.update(kind + struct.pack(">Q", memoryview(data).nbytes))
    digest.update(data)


def _feed(digest: Any, value: Any) -> None:
    match value:
        case str() | Promise():
            _feed_text(digest, b"t", str(value))
        case bytes() | bytearray() | memoryview():
            _feed_bytes(digest, b"b", value)
        case EmailMessage():
            digest.update(b"m")
            _feed_letter(digest, value)
        case Message():
            digest.update(b"p")
            _feed_part(digest, value)
        case Mapping():
            digest.update(b"d" + struct.pack(">Q", len(value)))
            for key, one in sorted(value.items(), key=lambda item: str(item[0])):
                _feed(digest, key)
                _feed(digest, one)
        case Set():
            digest.update(b"l" + struct.pack(">Q", len(value)))
            for one in sorted(value, key=str):
                _feed(digest, one)
        case Sequence():
            digest.update(b"l" + struct.pack(">Q", len(value)))
            for one in value:
                _feed(digest, one)
        case None | bool() | int() | float() | Decimal() | datetime() | date() | time() | timedelta():
            _feed_text(digest, b"v", repr(value))
        case _:
            _feed_text(digest, b"o", f"{type(value).__qualname__} {_name_of(value)}")


def _name_of(value: Any) -> str:
    """What tells an object that is no data from others of its class, and is the same in every process."""
    if hasattr(value, "pk") and hasattr(value, "_meta"):  # a row of a table
        return f"{value._meta.label} {value.pk}"
    cls: Any = type(value)
    if cls.__str__ is object.__str__ and cls.__repr__ is object.__repr__:
        return ""  # Python would name its place in memory
    return str(value)


def _feed_part(digest: Any, part: Message) -> None:
    for name, value in part.raw_items():
        if name.lower() not in _LEFT_OUT:
            _feed_text(digest, b"h", name.lower())
            _feed_text(digest, b"t", _BOUNDARY.sub("", str(value)))
    _feed(digest, part.get_payload())
