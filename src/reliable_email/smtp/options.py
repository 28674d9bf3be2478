"""The options of a connection to one submission server: immutable values, which can key pools and caches."""

from collections.abc import Callable
from enum import StrEnum
from typing import Literal, Protocol

from reliable_email.records import dataclass, field
from reliable_email.smtp.dsn import DSN


class TLSMode(StrEnum):
    """The start of TLS: never, after STARTTLS, or with the first byte."""

    NONE = "none"
    STARTTLS = "starttls"  # RFC 3207, usually port 587
    IMPLICIT = "implicit"  # RFC 8314 §3.3, usually port 465


@dataclass(frozen=True, slots=True, kw_only=True)
class TLSPolicy:
    """The requirements on the server's certificate.

    Attributes:
        mode: when TLS starts.
        verify: whether chain and host name are verified at all.
        strict: True demands the form rules of RFC 5280 too, False does not, "auto" relaxes them where only they fail.
        cafile: a PEM file trusted *in addition* to the system's CAs; may be the server's own certificate.
        certfile, keyfile: the client's certificate.
        pins: SHA-256 fingerprints of acceptable public keys (SPKI), base64 or hex; checked before any credential.
        server_hostname: the name that the certificate must carry, where it is not the host connected to.
    """

    mode: TLSMode = TLSMode.STARTTLS
    verify: bool = True
    strict: bool | Literal["auto"] = "auto"
    cafile: str | None = None
    certfile: str | None = None
    keyfile: str | None = None
    pins: tuple[str, ...] = ()
    server_hostname: str | None = None


class TokenProvider(Protocol):
    """Gives OAuth 2.0 access tokens for XOAUTH2; must be hashable and equal for equal accounts."""

    def access_token(self, *, renew: bool, timeout: float) -> str:
        """A valid access token.

        Args:
            renew: the last one was refused: do not answer from a cache.
            timeout: seconds this may take.

        Raises:
            WireError: with kind TOKEN, in words a person can act on, without secrets.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """A login: a user name, with a password or a source of access tokens.

    Nothing of it is in its repr: some providers take one token as user name and as password.
    """

    username: str = field(repr=False)
    password: str = field(default="", repr=False)
    token_provider: TokenProvider | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionOptions:
    """Everything that decides whether two messages may share a connection.

    Attributes:
        mechanism: "auto", or one of "plain", "login", "cram-md5", "xoauth2", "oauthbearer".
        allow_plaintext_auth: credentials may go without TLS to a peer that is not loopback.
        local_hostname: what EHLO says; None for the machine's full name, or the connection's own address.
        final_reply_timeout: seconds to wait after the terminator (RFC 5321 §4.5.3.2.6 wants ten minutes).
        pipelining: False is the off switch for servers that announce it and mishandle it.
        chaining: whether the next message's envelope goes out behind a terminator: "auto" where nothing speaks against
            it, True even where something was learned to, False never.
        connections: how many may be open at once in this process; None for no limit.
        messages_per_connection: after so many messages a fresh connection is used; None for no limit.
        idle_seconds: how long a connection may wait for its next message; None for the pool's own word.
        flight: messages in flight at once by BDAT; 0 for none.
        dsn: what notices are asked for, where the server announces DSN; a job's own wishes come before it.
    """

    host: str
    port: int
    tls: TLSPolicy = TLSPolicy()
    credentials: Credentials | None = None
    mechanism: str = "auto"
    allow_plaintext_auth: bool = False
    local_hostname: str | None = None
    final_reply_timeout: float = 60.0
    pipelining: bool = True
    chaining: bool | Literal["auto"] = "auto"
    connections: int | None = None
    messages_per_connection: int | None = None
    idle_seconds: float | None = None
    flight: int = 0
    dsn: DSN | None = None


# Called with (direction, text) for `test_email --verbose`; direction is "C", "S" or "-". Secrets are redacted before.
Transcript = Callable[[str, str], None]
