"""Access tokens for XOAUTH2 logins (RFC 6749): `grants` and `assertions` are the providers, `access_tokens` the cache.

The providers that need no package of their own are imported from here, as the documentation shows.
"""

from typing import TYPE_CHECKING

from reliable_email import late_names

if TYPE_CHECKING:
    from reliable_email.smtp.oauth.grants import ClientCredentialsProvider as ClientCredentialsProvider
    from reliable_email.smtp.oauth.grants import RefreshTokenProvider as RefreshTokenProvider

# Late, since every connection imports this package and few log in with a token.
__getattr__ = late_names(__name__, {"ClientCredentialsProvider": "grants", "RefreshTokenProvider": "grants"})
