"""Access tokens for XOAUTH2 logins (RFC 6749): `grants` and `assertions` are the providers, `access_tokens` the cache.

The providers that need no package of their own are imported from here, as the documentation shows.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reliable_email.smtp.oauth.grants import ClientCredentialsProvider as ClientCredentialsProvider
    from reliable_email.smtp.oauth.grants import RefreshTokenProvider as RefreshTokenProvider


def __getattr__(name: str) -> Any:
    # Late, since every connection imports this package and few log in with a token.
    if name not in ("ClientCredentialsProvider", "RefreshTokenProvider"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("reliable_email.smtp.oauth.grants"), name)
