"""A message's attributes that MIME cannot hold, as JSON, for routes that are APIs and take no MIME.

A whole letter is kept where the message is made for such a route, or one of the queue's routes is one: fields as they
were set, every attribute that django-anymail knows, and attachments. Nothing is pickled. What JSON or a database's kind
of it has no form for is written as a mapping with one key, its tag. An attachment that the stored content holds byte
for byte is not stored twice.
"""

import base64
import sys
from collections.abc import Mapping, Sequence, Set
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from email.header import Header
from email.message import EmailMessage as MimeMessage
from email.message import Message, MIMEPart
from typing import Any, Final
from uuid import UUID

from django.core.mail import EmailMessage, EmailMultiAlternatives
from django.utils import timezone
from django.utils.functional import Promise

from reliable_email.delivery.report import API_ATTRIBUTES, is_unset, writes_by_itself

# These make the provider build the message, which SMTP routes cannot.
TEMPLATE_ATTRIBUTES: Final = ("template_id", "merge_data", "merge_global_data", "merge_metadata", "merge_headers")
_BATCH_ATTRIBUTES: Final = frozenset({"merge_data", "merge_metadata", "merge_headers"})
_OF_APIS: Final = frozenset(API_ATTRIBUTES)
_NAMES: Final = {cls: frozenset(dir(cls)) for cls in (EmailMessage, EmailMultiAlternatives)}
FIELDS: Final = ("subject", "body", "from_email", "to", "cc", "bcc", "reply_to", "extra_headers")
_OPTIONAL_FIELDS: Final = ("content_subtype", "encoding", "alternatives")
# Of the caller's object: how and whether it was sent.
_NO_PART_OF_IT: Final = frozenset(
    {"connection", "delivery", "delivery_options", "anymail_status", "attachments", "sent_using"}
)
_LARGE_BYTES: Final = 2048


class NotStorable(ValueError):
    """The message holds something that the outbox cannot keep."""


def foreign_fields(message: EmailMessage | None, *, keeps_all: bool = False) -> dict[str, Any] | None:
    """The message as JSON; None where MIME says all that any of its routes needs.

    Args:
        message: not changed.
        keeps_all: whether a route may need more of it than MIME says.

    Raises:
        NotStorable: a value cannot be kept.
    """
    if message is None or not (keeps_all or is_made_for_an_api(message)):
        return None
    return _letter(message, may_refer=not writes_by_itself(message))


def is_made_for_an_api(message: EmailMessage) -> bool:
    """Return whether it says something that a provider's API alone understands."""
    if _says_nothing_to_apis(message):
        return False
    return _is_anymail(message) or any(_is_set(message, name) for name in API_ATTRIBUTES)


def template_attributes(message: EmailMessage | None) -> list[str]:
    """Attributes by which only a provider's API can build the message."""
    if message is None or _says_nothing_to_apis(message):
        return []
    return [name for name in TEMPLATE_ATTRIBUTES if _is_set(message, name) and _says(name, getattr(message, name))]


def _says(name: str, value: object) -> bool:
    # For django-anymail an empty one is a batch, too: each recipient gets a message of their own.
    return value is not None if name in _BATCH_ATTRIBUTES else bool(value)


def has_own_time(message: EmailMessage | None) -> bool:
    """Return whether it names a time at which only a provider's API can send it (django-anymail's `send_at`)."""
    if message is None or _says_nothing_to_apis(message):
        return False
    return _is_set(message, "send_at") and message.send_at is not None  # type: ignore[attr-defined]


def _says_nothing_to_apis(message: EmailMessage) -> bool:
    """Tell a plain message of Django's by one look, instead of by one for each attribute that it could have."""
    names = _NAMES.get(type(message))
    return names is not None and _OF_APIS.isdisjoint(names) and _OF_APIS.isdisjoint(vars(message))


def _is_set(message: EmailMessage | None, name: str) -> bool:
    # None is a wish of its own: django-anymail then leaves out what its settings would add.
    return hasattr(message, name) and not is_unset(getattr(message, name))


def _is_anymail(message: EmailMessage) -> bool:
    anymail = sys.modules.get("anymail.message")
    return anymail is not None and isinstance(message, anymail.AnymailMessageMixin)


def _letter(message: EmailMessage, *, may_refer: bool) -> dict[str, Any]:
    attachments = message.attachments or ()
    names = [*FIELDS, *(name for name in _OPTIONAL_FIELDS if name in vars(message))]
    attributes = [[name, _encoded(f"message.{name}", getattr(message, name))] for name in names]
    for name in API_ATTRIBUTES:
        if _is_set(message, name):
            value = getattr(message, name)
            if name == "send_at" and isinstance(value, datetime) and timezone.is_naive(value):
                value = timezone.make_aware(value)  # now, in the caller's time zone
            attributes.append([name, _encoded(f"message.{name}", value)])
    attributes += _further(message, {name for name, _ in attributes})
    kind = "anymail" if _is_anymail(message) else ""
    return {
        "letter": 1,
        "class": kind or ("alternatives" if isinstance(message, EmailMultiAlternatives) else "plain"),
        "writes_itself": writes_by_itself(message),
        "attributes": attributes,
        "attachments": [
            _attachment(one, len(attachments) - place, may_refer=may_refer) for place, one in enumerate(attachments)
        ],
    }


def _further(message: EmailMessage, known: set[str]) -> list[list[Any]]:
    """Return the further attributes of the message that are data, as some providers' packages need them."""
    found = []
    for name, value in vars(message).items():
        if name in known or name in _NO_PART_OF_IT or name in API_ATTRIBUTES or name.startswith("_"):
            continue
        try:
            found.append([name, _encoded(name, value)])
        except NotStorable:
            continue
    return found


def _attachment(one: Any, from_end: int, *, may_refer: bool) -> Any:
    if isinstance(one, Message):
        return {"$mime": _part(one)}
    name, content, kind = (*one, None, None)[:3]
    # Text and messages are read by Django, and written in its own way.
    is_data = isinstance(content, bytes) and not str(kind).lower().startswith(("text/", "message/", "multipart/"))
    if may_refer and is_data and len(content) > _LARGE_BYTES:
        # Django writes attachments as the last parts of the whole.
        return {"$part": [_encoded("a file name", name), from_end, len(content), str(kind)]}
    return {"$file": [_encoded("a file name", name), _encoded("an attachment", content), _encoded("a type", kind)]}


def _part(part: Message) -> dict[str, Any]:
    """A MIME part as it is, headers unfolded; it is not written, since that draws boundaries and folds."""
    payload: Any = part._payload  # type: ignore[attr-defined]  # as it was read: its getter decodes
    family = "message" if isinstance(part, MimeMessage) else "part" if isinstance(part, MIMEPart) else "old"
    raw: Any = part.raw_items()
    headers = [
        [name, _encoded(name, value.encode() if isinstance(value, Header) else str(value))] for name, value in raw
    ]
    if isinstance(payload, list):
        payload = [_part(one) for one in payload]
    else:
        payload = _encoded("a MIME part", payload)
    stored = {"family": family, "headers": headers, "payload": payload}
    for name in ("preamble", "epilogue"):
        if getattr(part, name) is not None:
            stored[name] = _encoded("a MIME part", getattr(part, name))
    if part.get_default_type() != "text/plain":
        stored["default_type"] = part.get_default_type()  # in a digest, what names no type is a message
    return stored


def _encoded(what: str, value: Any) -> Any:
    """A value in JSON that every database keeps; see `rebuilding.decoded`."""
    match value:
        case None | bool() | int():
            return value
        case float():
            return value if value == value and abs(value) != float("inf") else {"$float": repr(value)}
        case str() | Promise():
            text = str(value)
            # PostgreSQL's JSON has neither NUL nor half characters.
            if "\0" in text or any("\ud800" <= char <= "\udfff" for char in text if char > "\ud7ff"):
                return {"$text": _base64(text.encode("utf-8", "surrogatepass"))}
            return text
        case bytes() | bytearray() | memoryview():
            return {"$bytes": _base64(bytes(value))}
        case datetime():
            return {"$datetime": value.isoformat()}
        case date():
            return {"$date": value.isoformat()}
        case time():
            return {"$time": value.isoformat()}
        case timedelta():
            return {"$seconds": value.total_seconds()}
        case Decimal():
            return {"$decimal": str(value)}
        case UUID():
            return {"$uuid": str(value)}
        case EmailMessage():
            return {"$letter": _letter(value, may_refer=False)}
        case Message():
            return {"$mime": _part(value)}
        case Mapping():
            # As pairs: a database sorts keys, and their order may be the caller's.
            return {"$dict": [[_encoded(what, key), _encoded(what, one)] for key, one in value.items()]}
        case Set():
            return {"$set": [_encoded(what, one) for one in sorted(value, key=str)]}
        case tuple():
            return {"$tuple": [_encoded(what, one) for one in value]}
        case Sequence():
            return [_encoded(what, one) for one in value]
        case _ if type(value).__name__ == "Charset" and hasattr(value, "input_charset"):
            return str(value.input_charset)
        case _:
            raise NotStorable(f"{what} holds {type(value).__name__}, which the outbox cannot store")


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
