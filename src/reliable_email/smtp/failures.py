"""The failures of the wire: as a value (`WireFailure`), and as the one exception that carries it.

Foreign errors (`OSError`, `ssl.SSLError`, `socket.gaierror`) are translated here and nowhere above:
whoever catches a `WireError` needs to know nothing of sockets.
"""

from enum import StrEnum

from reliable_email.records import dataclass, field
from reliable_email.smtp.stages import Stage
from reliable_email.smtp.syntax.replies import Reply


class FailureKind(StrEnum):
    """The closed set of troubles; `classification` turns kind and stage into a cause."""

    REFUSED = "refused"  # an orderly 4yz or 5yz reply, in `reply`
    HOST_NOT_FOUND = "host_not_found"  # the name does not exist (EAI_NONAME)
    RESOLVER_FAILED = "resolver_failed"  # the resolver did not answer in time, or EAI_AGAIN
    CONNECT_FAILED = "connect_failed"  # no address took the connection
    TIMEOUT = "timeout"  # the stage's time was used up
    BUSY = "busy"  # every connection that may be open at once stayed in use
    DISCONNECTED = "disconnected"  # closed or reset by the peer
    PROTOCOL = "protocol"  # bytes that RFC 5321 does not allow here; nothing on this connection can be trusted
    NOT_SMTP = "not_smtp"  # the peer speaks something else (HTTP, SSH, TLS)
    TLS_VERIFICATION = "tls_verification"  # the certificate was refused, `verify_code` says why
    TLS_HANDSHAKE = "tls_handshake"  # versions, ciphers, client certificate
    TLS_NOT_OFFERED = "tls_not_offered"  # STARTTLS is asked for and not announced
    TLS_INJECTION = "tls_injection"  # plaintext behind the 220 of STARTTLS
    TLS_PIN = "tls_pin"  # the peer's key is not a pinned one
    AUTH_NOT_OFFERED = "auth_not_offered"  # no shared mechanism, or none announced
    AUTH_INSECURE = "auth_insecure"  # credentials without TLS to a peer that is not loopback
    TOKEN = "token"  # the token provider could not give an access token
    TOO_MANY_RECIPIENTS = "too_many_recipients"  # over the announced LIMITS; this one was not asked for
    TOO_LARGE = "too_large"  # over the announced SIZE; nothing was sent
    UNSUPPORTED = "unsupported"  # needs SMTPUTF8 (or another extension) that is not offered
    INVALID = "invalid"  # an address or content that may not go on the wire at all
    INVALID_CONTENT = "invalid_content"  # stored bytes that no message may have: bare CR or LF, NUL, no final CRLF
    CANNOT_BE_BUILT = "cannot_be_built"  # a foreign backend raised while it was made or opened; nothing was sent
    RAISED = "raised"  # code raised before `authorize` about this one message; nothing was sent
    SUPPRESSED = "suppressed"  # this site sends nothing to the address
    WITHHELD = "withheld"  # `authorize` did not allow the terminator
    FOREIGN = "foreign"  # a backend of somebody else's raised; `error` is what


@dataclass(frozen=True, slots=True, kw_only=True)
class WireFailure:
    """One failure: where, of what kind, in whose words.

    Attributes:
        stage: where it happened.
        kind: what it was.
        detail: one sentence for a person, without secrets.
        reply: what the server said, where it said something.
        verify_code: OpenSSL's X509_V_ERR number of a refused certificate.
        peer: "address:port" that was talked to, where there was one.
        error: the exception of a foreign backend.
        advice: what to do, where more is known than kind and reply tell; no secrets.
    """

    stage: Stage
    kind: FailureKind
    detail: str
    reply: Reply | None = None
    verify_code: int | None = None
    peer: str | None = None
    error: Exception | None = field(default=None, compare=False, repr=False)
    advice: str = ""


class WireError(Exception):
    """Raised where no transaction is under way (open, probe); inside one the failure is in the `Transaction`.

    `dialogue` is what was said before it, without secrets.
    """

    dialogue = ""

    def __init__(self, failure: WireFailure) -> None:
        super().__init__(f"{failure.stage}: {failure.detail}")
        self.failure = failure
