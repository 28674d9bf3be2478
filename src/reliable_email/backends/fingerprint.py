"""A route's fingerprint: it changes with its configuration and tells nothing of the secrets in it."""

import secrets

from django.core.exceptions import ImproperlyConfigured
from django.utils.crypto import salted_hmac

# Where there is no SECRET_KEY there is no shared state either; what only this process knows needs its own key alone.
_own_key = secrets.token_bytes(32)


def keyed(told: str) -> str:
    """32 hexadecimal digits that only who has SECRET_KEY could have made of this."""
    try:
        made = salted_hmac("reliable_email.route", told, algorithm="sha256")
    except ImproperlyConfigured:
        made = salted_hmac("reliable_email.route", told, secret=_own_key, algorithm="sha256")
    return made.hexdigest()[:32]
