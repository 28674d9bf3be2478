"""From Django's `EmailMessage` to a submission: envelope, content with fixed Message-ID and Date, the caller's wishes.

Everything that makes a message impossible to send is found here, before any connection, and raised as `ValueError`.
Nothing is written on the caller's message.
"""

import copy
import email.policy
import os
import re
import time
from email.utils import parseaddr
from itertools import count

import django
from django.core.mail import EmailMessage

from reliable_email import conf
from reliable_email.delivery.serializer import serialized
from reliable_email.delivery.submission import DeliveryOptions, Submission
from reliable_email.smtp.content import BytesContent
from reliable_email.smtp.paths import deduplicate, forward_path, reverse_path

# What could end a header line for some reader, and what no header may hold (RFC 5322 §2.2). Django 5.2 looks for CR
# and LF alone. A tab is white space.
_CONTROL = re.compile("[\x00-\x08\x0a-\x1f\x7f\x85\u2028\u2029]")
_PLAIN = re.compile(r"[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+")
_message_ids = count()


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
    recipients = deduplicate(map(_addr_spec, message.recipients()))
    paths = [forward_path(recipient) for recipient in recipients]
    sender = _addr_spec(message.from_email) if message.from_email else ""
    paths.append(reverse_path(sender))
    _check_headers(message)
    headers = {name.lower(): value for name, value in message.extra_headers.items()}
    if "bcc" in headers:
        raise ValueError("Bcc is no header of a message that is sent: use the message's `bcc` for blind copies.")
    from_domain = _addr_spec(headers.get("from", message.from_email) or "").rpartition("@")[2].lower()
    named = str(headers["message-id"]) if "message-id" in headers else message_id or new_message_id(from_domain)
    needs_utf8 = any(path_needs_utf8 for _, path_needs_utf8 in paths)
    return Submission(
        message=message,
        sender=sender,
        recipients=recipients,
        content=BytesContent.from_bytes(_bytes(message, named, needs_utf8=needs_utf8)),
        message_id=named,
        from_domain=from_domain,
        options=options,
    )


def new_message_id(domain: str) -> str:
    """A Message-ID in the sender's domain.

    Not in the machine's own name, as Django has it: to learn that may take the resolver for ever.
    """
    stamp = f"{time.time_ns():x}.{os.getpid():x}.{next(_message_ids):x}.{os.urandom(6).hex()}"
    return f"<{stamp}@{domain if domain.isascii() and domain else 'localhost'}>"


def _addr_spec(address: object) -> str:
    text = str(address)
    if _PLAIN.fullmatch(text):
        return text
    if _CONTROL.search(text):
        raise ValueError(f"an address holds a control character: {text!r}")
    text = text.strip()
    if "<" not in text and "(" not in text:
        return text  # whether it may go on the wire is `paths`' question
    found = parseaddr(text)[1]
    # Older versions of parseaddr take what stands behind the brackets for nothing.
    if not found or ("<" in text and not text.endswith(">")):
        raise ValueError(f"not an e-mail address: {text!r}")
    return found


def _check_headers(message: EmailMessage) -> None:
    for name, value in (("Subject", message.subject), *message.extra_headers.items()):
        if _CONTROL.search(str(value)) or _CONTROL.search(str(name)):
            raise ValueError(f"the header {name!r} holds a control character: {str(value)!r}")
    for name, values in (("To", message.to), ("Cc", message.cc), ("Reply-To", message.reply_to)):
        for value in values:
            if _CONTROL.search(str(value)):
                raise ValueError(f"the header {name} holds a control character: {str(value)!r}")


def _bytes(message: EmailMessage, message_id: str, *, needs_utf8: bool) -> bytes:
    if not needs_utf8:
        common = serialized(
            message, message_id=message_id, localtime=conf.uses_localtime(), charset=conf.default_charset()
        )
        if common is not None:
            return common
    prepared = copy.copy(message)
    prepared.extra_headers = dict(message.extra_headers)
    if not any(name.lower() == "message-id" for name in prepared.extra_headers):
        prepared.extra_headers["Message-ID"] = message_id
    try:
        return _by_django(prepared, needs_utf8=needs_utf8)
    except UnicodeEncodeError as error:
        raise ValueError(f"the message holds half a character (a lone surrogate): {error.reason}") from error


def _by_django(message: EmailMessage, *, needs_utf8: bool) -> bytes:
    """Django's own way: for messages of uncommon form, and for subclasses with a `message()` of their own."""
    if django.VERSION < (6, 0) or not _takes_policy(message):
        data = bytes(message.message().as_bytes())
        content = BytesContent.from_bytes(data)
        if needs_utf8 or content.is_7bit:
            return data
        # Content that is 7-bit clean goes by every route unchanged.
        downgraded = content.downgraded()
        return data if downgraded is None else downgraded.data
    policy = email.policy.SMTPUTF8 if needs_utf8 else email.policy.SMTP.clone(cte_type="7bit")
    return bytes(message.message(policy=policy).as_bytes())


def _takes_policy(message: EmailMessage) -> bool:
    """A subclass written for Django before 6.0 has a `message()` without arguments."""
    return type(message).message is EmailMessage.message and "message" not in vars(message)
