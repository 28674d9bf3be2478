"""Two digests: the one that makes a key unique, and the one that tells whether a repeated message is the same."""

import hashlib
import json
from typing import Any

from django.core.mail import EmailMessage

from reliable_email.delivery.submission import Submission

# New at each building of the same message.
_FRESH_HEADERS = frozenset({"message-id", "date"})


def idempotency_digest(mailer: str, key: str) -> str:
    """Of mailer and key together: two mailers may use the same keys."""
    return hashlib.sha256(json.dumps([mailer, key]).encode()).hexdigest()


def content_digest(submission: Submission) -> str:
    """Of the fields as the caller set them. The built bytes would not do: Date, Message-ID and boundaries are new."""
    message = submission.message
    if message is None:
        digest = hashlib.sha256()
        for chunk in submission.content.chunks():
            digest.update(chunk)
        return digest.hexdigest()
    fields = [submission.sender, list(submission.recipients), *_fields(message)]
    return hashlib.sha256(json.dumps(fields, default=_plain, sort_keys=True).encode()).hexdigest()


def _fields(message: EmailMessage) -> list[Any]:
    headers = {
        name.lower(): str(value) for name, value in message.extra_headers.items() if name.lower() not in _FRESH_HEADERS
    }
    alternatives = [list(one) for one in getattr(message, "alternatives", None) or ()]
    attachments = [list(one) if isinstance(one, tuple) else one for one in message.attachments]
    return [
        str(message.subject),
        str(message.body),
        message.content_subtype,
        str(message.from_email),
        [str(address) for address in [*message.to, *message.cc, *message.bcc, *message.reply_to]],
        headers,
        alternatives,
        attachments,
    ]


def _plain(value: Any) -> str:
    if isinstance(value, bytes):
        return hashlib.sha256(value).hexdigest()
    as_bytes = getattr(value, "as_bytes", None)  # a MIME part
    return hashlib.sha256(as_bytes()).hexdigest() if as_bytes is not None else str(value)
