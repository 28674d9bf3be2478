"""What MIME cannot say: the attributes that django-anymail adds, kept as JSON and put back for such routes."""

import email
import email.policy
from collections.abc import Sequence
from datetime import date, datetime
from email.message import EmailMessage as MimeMessage
from email.utils import getaddresses
from typing import Any

from django.core.mail import EmailMessage, EmailMultiAlternatives

from reliable_email.delivery.report import address_key

# https://anymail.dev/en/stable/sending/anymail_additions/
_PLAIN = ("envelope_sender", "metadata", "tags", "track_clicks", "track_opens", "esp_extra")
# These make the provider build the message, which SMTP routes cannot.
TEMPLATE_ATTRIBUTES = ("template_id", "merge_data", "merge_global_data", "merge_metadata", "merge_headers")
_OWN_HEADERS = frozenset(
    {
        "subject", "from", "to", "cc", "bcc", "reply-to",
        "mime-version", "content-type", "content-transfer-encoding", "content-disposition",
    }
)  # fmt: skip


class NotStorable(ValueError):
    """The message holds something that the outbox cannot keep."""


def foreign_fields(message: EmailMessage | None) -> dict[str, Any] | None:
    """The attributes as JSON; None where there are none.

    Raises:
        NotStorable: a value is no JSON.
    """
    found = {}
    for name in (*_PLAIN, *TEMPLATE_ATTRIBUTES):
        value = getattr(message, name, None)
        if value is not None and value != {} and value != []:
            found[name] = _as_json(name, value)
    return found or None


def needs_template(message: EmailMessage | None) -> bool:
    """Whether only a provider's API can build it."""
    return any(getattr(message, name, None) for name in TEMPLATE_ATTRIBUTES)


def _as_json(name: str, value: Any) -> Any:
    match value:
        case None | bool() | int() | float() | str():
            return value
        case datetime() | date():
            return value.isoformat()
        case dict():
            return {str(key): _as_json(name, one) for key, one in value.items()}
        case list() | tuple() | set():
            return [_as_json(name, one) for one in value]
        case _ if type(value).__module__ == "django.utils.functional":  # a lazy string
            return str(value)
        case _:
            raise NotStorable(f"message.{name} holds {type(value).__name__}, which the outbox cannot store")


def rebuild_message(content: bytes, fields: dict[str, Any] | None, recipients: Sequence[str]) -> EmailMessage:
    """The caller's message again, for a route that takes no MIME; `recipients` are all of the envelope."""
    mime = email.message_from_bytes(content, policy=email.policy.default)
    assert isinstance(mime, MimeMessage)
    shown = {name: [str(one) for one in _addresses(mime, name)] for name in ("to", "cc", "reply-to")}
    visible = {address_key(address) for address in (*shown["to"], *shown["cc"])}
    message = EmailMultiAlternatives(
        subject=str(mime.get("subject", "")),
        from_email=str(mime.get("from", "")),
        to=shown["to"],
        cc=shown["cc"],
        bcc=[address for address in recipients if address_key(address) not in visible],
        reply_to=shown["reply-to"],
        headers={name: str(value) for name, value in mime.items() if name.lower() not in _OWN_HEADERS},
    )
    _add_parts(message, mime)
    for name, value in (fields or {}).items():
        setattr(message, name, value)
    return message


def _addresses(mime: MimeMessage, name: str) -> list[str]:
    from email.utils import formataddr

    return [formataddr(pair) for pair in getaddresses([str(value) for value in mime.get_all(name, [])]) if pair[1]]


def _add_parts(message: EmailMultiAlternatives, mime: MimeMessage) -> None:
    has_body = False
    for part in mime.walk():
        if part.is_multipart() and part.get_content_type() != "message/rfc822":
            continue
        kind = part.get_content_type()
        is_text = part.get_content_maintype() == "text" and part.get_content_disposition() != "attachment"
        if is_text and not has_body:
            message.body, message.content_subtype = part.get_content(), part.get_content_subtype()
            has_body = True
        elif is_text and not part.get_filename():
            message.attach_alternative(part.get_content(), kind)
        elif part.get("Content-ID") is not None or kind == "message/rfc822":
            message.attach(part)
        else:
            payload = part.get_payload(decode=True)
            message.attach(part.get_filename(), payload if isinstance(payload, bytes) else b"", kind)
