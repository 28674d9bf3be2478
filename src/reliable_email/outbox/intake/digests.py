"""Two digests: the one that makes a key unique, and the one that tells whether a repeated message is the same.

Both are made with a secret: without one, a message that holds a code of six digits, or a key that holds an address, is
found by trying. The first of `ENCRYPTION_KEYS` is written with, else SECRET_KEY. What was written with another of the
site's secrets, or by a version that had none, is still known.
"""

import hashlib
import hmac
import json
from collections.abc import Sequence

from reliable_email.delivery.report import letter_digest
from reliable_email.delivery.submission import Submission

_PURPOSE = b"reliable_email.digests"


def idempotency_digest(mailer: str, key: str, environment: str = "") -> str:
    """Return the digest of mailer, key and environment: each mailer and environment has its own keys."""
    told = [mailer, key, environment] if environment else [mailer, key]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()


def idempotency_digests(mailer: str, key: str, environment: str, secrets: Sequence[str]) -> tuple[str, ...]:
    """Return each digest that this key may have in the table; the first one is to be written."""
    told = json.dumps([mailer, key, environment]).encode()
    older = (idempotency_digest(mailer, key, environment), idempotency_digest(mailer, key))
    return tuple(dict.fromkeys([*_keyed(told, secrets), *older]))


def content_digests(submission: Submission, secrets: Sequence[str]) -> tuple[str, ...]:
    """Return each digest that this content may have in the table; the first one is to be written."""
    plain = content_digest(submission)
    return (*_keyed(plain.encode(), secrets), plain)


def configured_secrets() -> tuple[str, ...]:
    """Return the site's secrets, the one to write with first."""
    from reliable_email import conf

    return (*conf.get().encryption_keys, *conf.secret_keys())


def _keyed(data: bytes, secrets: Sequence[str]) -> list[str]:
    keys = (hmac.digest(secret.encode(), _PURPOSE, "sha256") for secret in secrets)  # for this purpose alone
    return [hmac.digest(key, data, "sha256").hex() for key in keys]


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
