"""From Django's `EmailMessage` to a submission: envelope, content with a fixed Message-ID and Date, the caller's wishes.

Everything that makes a message impossible to send is found here, before any connection, and raised as `ValueError`.
Nothing is written on the caller's message.
"""

import copy
import email.policy
import re
from email.utils import make_msgid, parseaddr
from typing import Any

import django
from django.core.mail import EmailMessage

from reliable_email.delivery.submission import DeliveryOptions, Submission
from reliable_email.smtp.content import BytesContent
from reliable_email.smtp.paths import deduplicate, forward_path, reverse_path

_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\x85\u2028\u2029]")


def build_submission(message: EmailMessage, *, message_id: str = "") -> Submission:
    """The submission that a message makes.

    Args:
        message: not changed.
        message_id: the Message-ID to use where the message's own headers name none; "" makes a new one.

    Raises:
        ValueError: an address, a header or the content cannot go on the wire.
        TypeError: `message.delivery_options` is not `DeliveryOptions`.
    """
    options = getattr(message, "delivery_options", None) or DeliveryOptions()
    if not isinstance(options, DeliveryOptions):
        raise TypeError(f"message.delivery_options must be DeliveryOptions, not {type(options).__name__}")
    recipients = deduplicate(_addr_spec(address) for address in message.recipients())
    for recipient in recipients:
        forward_path(recipient)
    sender = _addr_spec(message.from_email) if message.from_email else ""
    reverse_path(sender)
    prepared = copy.copy(message)
    prepared.extra_headers = dict(message.extra_headers)
    _check_headers(prepared)
    named = next((value for name, value in prepared.extra_headers.items() if name.lower() == "message-id"), None)
    from_domain = _addr_spec(prepared.extra_headers.get("From", message.from_email) or "").rpartition("@")[2].lower()
    if named is None:
        # Not the machine's own name, as Django has it: to learn that may take the resolver for ever.
        named = message_id or make_msgid(domain=from_domain or "localhost")
        prepared.extra_headers["Message-ID"] = named
    try:
        data = _as_bytes(prepared)
    except UnicodeEncodeError as error:
        raise ValueError(f"the message holds half a character (a lone surrogate): {error.reason}") from error
    return Submission(
        message=message,
        sender=sender,
        recipients=recipients,
        content=BytesContent.from_bytes(data),
        message_id=str(named),
        from_domain=from_domain,
        options=options,
    )


def _addr_spec(address: Any) -> str:
    text = str(address)
    if _CONTROL.search(text) or "\n" in text or "\r" in text:
        raise ValueError(f"an address holds a control character: {text!r}")
    return parseaddr(text)[1] or text.strip()


def _check_headers(message: EmailMessage) -> None:
    for name, value in {"Subject": message.subject, **message.extra_headers}.items():
        if _CONTROL.search(str(value)):
            raise ValueError(f"the header {name} holds a control character: {str(value)!r}")


def _as_bytes(message: EmailMessage) -> bytes:
    if django.VERSION >= (6, 0):
        return bytes(message.message(policy=email.policy.SMTP).as_bytes())
    return bytes(message.message().as_bytes(linesep="\r\n"))  # type: ignore[call-arg]
