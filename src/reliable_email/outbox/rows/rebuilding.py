"""The caller's message again, for a route that takes no MIME: out of `foreign_fields`, or of the content alone.

Content alone does not say all: who wrote an attachment as text or bytes, which part was an alternative. It is what
there is for a message that was queued while all routes were SMTP. Such a rebuilding never fails; a part of uncommon
form hangs on the message as it is.
"""

import base64
import email
import email.policy
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from email.message import EmailMessage as MimeMessage
from email.message import Message, MIMEPart
from email.mime.base import MIMEBase
from functools import partial
from typing import Any, Final
from uuid import UUID

import django
from django.core.mail import EmailAlternative, EmailAttachment, EmailMessage, EmailMultiAlternatives

from reliable_email.delivery.content.stored_mime import stored_mime
from reliable_email.delivery.report import address_key

_OWN_HEADERS: Final = frozenset(
    {
        "subject", "from", "to", "cc", "bcc", "reply-to",
        "mime-version", "content-type", "content-transfer-encoding", "content-disposition",
    }
)  # fmt: skip
_CONTAINERS: Final = frozenset({"multipart/mixed", "multipart/alternative", "multipart/related"})
_TAGS: Final[dict[str, Callable[[Any], Any]]] = {
    "$float": float,
    "$text": lambda text: base64.b64decode(text).decode("utf-8", "surrogatepass"),
    "$bytes": base64.b64decode,
    "$datetime": datetime.fromisoformat,
    "$date": date.fromisoformat,
    "$time": time.fromisoformat,
    "$seconds": lambda seconds: timedelta(seconds=seconds),
    "$decimal": Decimal,
    "$uuid": UUID,
}


class ContentDiffers(Exception):
    """The stored content is not the one that the stored fields were taken from."""


def rebuild_message(
    content: bytes, fields: dict[str, Any] | None, recipients: Sequence[str], *, sender: str | None = None
) -> EmailMessage:
    """The caller's message; `recipients` are all of the envelope.

    Raises:
        ContentDiffers: an attachment is not where it was.
    """
    if fields is not None and "letter" in fields:
        return _letter(fields, content)
    message = _from_mime(content, recipients, sender)
    for name, value in (fields or {}).items():  # as they were stored before whole letters were
        setattr(message, name, value)
    return message


# Out of fields.


def _letter(fields: dict[str, Any], content: bytes) -> EmailMessage:
    message = _class(fields["class"])()
    for name, value in fields["attributes"]:
        setattr(message, name, decoded(value))
    if isinstance(message, EmailMultiAlternatives):
        message.alternatives = [EmailAlternative(*one) for one in message.alternatives or ()]
    children: list[Any] = []
    if any("$part" in one for one in fields["attachments"]):
        children = _inner(email.message_from_bytes(content, policy=email.policy.default))
    message.attachments = [_attachment(one, children) for one in fields["attachments"]]
    if fields["writes_itself"]:
        message.message = partial(stored_mime, content)  # type: ignore[method-assign]
    return message


def _class(kind: str) -> type[EmailMessage]:
    if kind == "anymail":
        with suppress(ImportError):
            from anymail.message import AnymailMessage

            return AnymailMessage  # type: ignore[no-any-return]
    return EmailMessage if kind == "plain" else EmailMultiAlternatives


def decoded(value: Any) -> Any:
    """A value that `foreign_fields` has encoded."""
    if isinstance(value, list):
        return [decoded(one) for one in value]
    if not isinstance(value, dict):
        return value
    [(tag, inner)] = value.items()
    match tag:
        case "$dict":
            return {decoded(key): decoded(one) for key, one in inner}
        case "$set":
            return {decoded(one) for one in inner}
        case "$tuple":
            return tuple(decoded(one) for one in inner)
        case "$mime":
            return _part(inner)
        case "$letter":
            return _letter(inner, b"")
        case _:
            return _TAGS[tag](inner)


def _attachment(stored: dict[str, Any], children: list[Any]) -> Any:
    [(tag, inner)] = stored.items()
    if tag == "$mime":
        return _part(inner)
    if tag == "$file":
        return EmailAttachment(*map(decoded, inner))
    name, from_end, size, kind = inner
    data = children[-from_end].get_payload(decode=True) if from_end <= len(children) else None
    if not isinstance(data, bytes) or len(data) != size:
        raise ContentDiffers(f"attachment {name!r} is not among the last parts of the stored content")
    return EmailAttachment(decoded(name), data, kind)


def _part(stored: dict[str, Any], *, is_inner: bool = False) -> Message:
    part: Message
    if stored["family"] == "old":
        part = Message() if is_inner else MIMEBase.__new__(MIMEBase)
        Message.__init__(part)
    else:
        part = MimeMessage() if stored["family"] == "message" else MIMEPart(policy=email.policy.default)
    for name, value in stored["headers"]:
        part.set_raw(*_header(part, name, decoded(value)))
    for name in ("preamble", "epilogue"):
        setattr(part, name, decoded(stored.get(name)))
    part.set_default_type(stored.get("default_type", "text/plain"))
    payload = stored["payload"]
    if isinstance(payload, list):
        payload = [_part(one, is_inner=True) for one in payload]
    part._payload = decoded(payload) if not isinstance(payload, list) else payload  # type: ignore[attr-defined]
    return part


def _header(part: Any, name: str, value: str) -> tuple[str, Any]:
    """Return a header for `set_raw`; one that is not ASCII was set by a program, and is written as such."""
    is_set = isinstance(part, MIMEPart) and not value.isascii() and not any(char in "\r\n" for char in value)
    if not is_set or any("\udc80" <= char <= "\udcff" for char in value):
        return name, value
    found: tuple[str, Any] = part.policy.header_store_parse(name, value)
    return found


# Out of MIME.


def _from_mime(content: bytes, recipients: Sequence[str], sender: str | None) -> EmailMessage:
    mime = email.message_from_bytes(content, policy=email.policy.default)
    assert isinstance(mime, MimeMessage)
    shown = {name: _addresses(mime, name) for name in ("from", "to", "cc", "reply-to")}
    visible = {address_key(address) for address in (*shown["to"], *shown["cc"])}
    author = ", ".join(shown["from"])
    headers = {name: str(value) for name, value in mime.items() if name.lower() not in _OWN_HEADERS}
    if sender is not None and address_key(author) != address_key(sender):
        headers["From"] = author  # `from_email` is where bounces go
        author = sender
    message = EmailMultiAlternatives(
        subject=str(mime.get("subject", "")),
        from_email=author,
        to=shown["to"],
        cc=shown["cc"],
        bcc=[address for address in recipients if address_key(address) not in visible],
        reply_to=shown["reply-to"],
        headers=headers,
    )
    message.from_email = author  # the constructor puts the site's own where it is empty
    _add_parts(message, mime, in_alternative=False)
    return message


def _addresses(mime: MimeMessage, name: str) -> list[str]:
    # Read again as text: of raw UTF-8 the parsed addresses have bytes that nobody could write.
    read: Any = [email.policy.default.header_factory(name, str(value)) for value in mime.get_all(name, [])]
    return [str(one) for header in read for one in header.addresses if one.username or one.domain]


def _inner(part: Any) -> list[Any]:
    return part.get_payload() if part.is_multipart() else []


def _add_parts(message: EmailMultiAlternatives, part: Any, *, in_alternative: bool) -> None:
    kind = part.get_content_type()
    if kind in _CONTAINERS:
        for one in _inner(part):
            _add_parts(message, one, in_alternative=in_alternative or kind == "multipart/alternative")
        return
    text = _text(part)
    is_shown = text is not None and part.get_content_disposition() != "attachment" and not part.get_filename()
    if is_shown and not message.body and not message.alternatives and part.get_content_maintype() == "text":
        message.body, message.content_subtype = text or "", part.get_content_subtype()
    elif is_shown and (in_alternative or kind == "text/html"):
        message.attach_alternative(text or "", _full_type(part))
    elif text is not None and not _is_uncommon(part):
        message.attachments.append(EmailAttachment(part.get_filename(), text, kind))
    elif part.is_multipart() or _is_uncommon(part) or not isinstance(part.get_payload(decode=True), bytes):
        # django-anymail reads a part that holds others in its old form alone.
        is_old = django.VERSION < (6, 0) or part.is_multipart()
        message.attachments.append(_as_old(part) if is_old else part)
    else:
        message.attachments.append(EmailAttachment(part.get_filename(), part.get_payload(decode=True), kind))


def _text(part: Any) -> str | None:
    """Return the text of a part, with Python's line ends; None if it cannot be decoded."""
    if part.get_content_maintype() != "text":
        return None
    with suppress(LookupError, ValueError):
        data = part.get_payload(decode=True)
        return data.decode(part.get_content_charset() or "ascii").replace("\r\n", "\n")  # type: ignore[no-any-return]
    return None


def _further_parameters(part: Any) -> Iterator[tuple[str, str]]:
    for name, value in part.get_params(failobj=[])[1:]:
        if name.lower() not in ("charset", "name", "boundary"):
            yield name, value


def _full_type(part: Any) -> str:
    return "; ".join([part.get_content_type(), *(f"{name}={value}" for name, value in _further_parameters(part))])


def _is_uncommon(part: Any) -> bool:
    """Return whether a name, a type and bytes do not say all of it."""
    return (
        part.get_content_maintype() == "message"
        or part.get("Content-ID") is not None
        or part.get_content_disposition() == "inline"
        or any(True for _ in _further_parameters(part))
    )


def _as_old(part: Any, *, is_inner: bool = False) -> Message:
    """The part as Django 5.2 takes it, and 6 still does."""
    old: Message = Message() if is_inner else MIMEBase.__new__(MIMEBase)
    Message.__init__(old)
    payload = part._payload  # as it was read: its getter decodes
    for name, value in part.raw_items():
        # What holds other parts has no bytes of its own to encode, which django-anymail would try.
        if not (isinstance(payload, list) and name.lower() == "content-transfer-encoding"):
            old.set_raw(name, str(value))
    old.preamble, old.epilogue = part.preamble, part.epilogue
    old.set_default_type(part.get_default_type())
    old._payload = [_as_old(one, is_inner=True) for one in payload] if isinstance(payload, list) else payload  # type: ignore[attr-defined]
    return old
