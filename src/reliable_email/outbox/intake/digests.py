"""Two digests: the one that makes a key unique, and the one that tells whether a repeated message is the same."""

import hashlib
import json

from reliable_email.delivery.report import letter_digest
from reliable_email.delivery.submission import Submission


def idempotency_digest(mailer: str, key: str, environment: str = "") -> str:
    """Return the digest of mailer, key and environment: each mailer and environment has its own keys."""
    told = [mailer, key, environment] if environment else [mailer, key]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()


def content_digest(submission: Submission) -> str:
    """Return the digest of the fields as the caller set them, since the bytes have a new Date each time."""
    message = submission.message
    if message is None:
        digest = hashlib.sha256()
        for chunk in submission.content.chunks():
            digest.update(chunk)
        return digest.hexdigest()
    fields = [
        submission.sender,
        list(submission.recipients),
        # Who is shown to whom; what the letter says is its own digest.
        [[str(address) for address in addresses] for addresses in (message.to, message.cc, message.bcc)],
        letter_digest(message),
    ]
    return hashlib.sha256(json.dumps(fields).encode()).hexdigest()
