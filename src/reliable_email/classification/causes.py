"""The words of classification: cause, scope, and `Failure`, which holds them together."""

from datetime import datetime
from enum import StrEnum

from reliable_email.records import dataclass
from reliable_email.smtp.stages import Stage
from reliable_email.smtp.syntax.replies import Reply


class Scope(StrEnum):
    """The subject of a failure, and so what it may close or spend."""

    RECIPIENT = "recipient"
    MESSAGE = "message"
    ENVELOPE = "envelope"
    SENDER_ON_ROUTE = "sender_on_route"
    ROUTE = "route"


class Cause(StrEnum):
    """The meaning of a failure."""

    MAILBOX_UNKNOWN = "mailbox_unknown"
    MAILBOX_INACTIVE = "mailbox_inactive"
    MAILBOX_FULL = "mailbox_full"
    GREYLISTED = "greylisted"
    ADDRESS_INVALID = "address_invalid"  # refused by ourselves: it may not go on the wire
    SUPPRESSED = "suppressed"  # on the site's own suppression list
    CONTENT_REJECTED = "content_rejected"
    SYNTAX_OR_UNSUPPORTED = "syntax_or_unsupported"
    MESSAGE_TOO_LARGE = "message_too_large"
    SENDER_REJECTED = "sender_rejected"
    SENDER_NOT_VERIFIED = "sender_not_verified"
    SENDER_NOT_AUTHENTICATED = "sender_not_authenticated"  # SPF, DKIM or DMARC of the From domain
    TOO_MANY_RECIPIENTS = "too_many_recipients"
    AUTH_FAILED = "auth_failed"
    AUTH_THROTTLED = "auth_throttled"
    HELO_REFUSED = "helo_refused"
    RELAY_DENIED = "relay_denied"
    TLS_REQUIRED = "tls_required"
    TLS_FAILED = "tls_failed"
    CONNECTION_LIMIT = "connection_limit"
    RATE_LIMITED = "rate_limited"
    QUOTA_EXCEEDED = "quota_exceeded"
    REPUTATION_BLOCKED = "reputation_blocked"
    DNS_OR_ROUTING = "dns_or_routing"
    SYSTEM_TEMPORARY = "system_temporary"
    SYSTEM_PERMANENT = "system_permanent"
    HOST_NOT_FOUND = "host_not_found"  # the route's own name does not exist
    CONNECT_FAILED = "connect_failed"
    TIMEOUT = "timeout"
    DISCONNECTED = "disconnected"
    PROTOCOL_ERROR = "protocol_error"
    OUTCOME_UNKNOWN = "outcome_unknown"  # the connection died in the window of RFC 1047
    WITHHELD = "withheld"  # our own journal did not allow the terminator
    CANNOT_BE_BUILT = "cannot_be_built"  # the route's backend raised while it was made or opened; nothing was sent
    INVALID_CONTENT = "invalid_content"  # stored bytes that are no content
    CODE_RAISED = "code_raised"  # an exception before `authorize`, about this message on this route
    ROUTE_CLOSED = "route_closed"  # breaker, quota or an operator; nothing was tried
    UNCLASSIFIED = "unclassified"


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One failure with its meaning.

    Attributes:
        cause: see `Cause`.
        scope: what it is about.
        permanent: whether the same thing tried again on the same route fails again until a person acts.
        certain: whether a rule decided, rather than the class digit alone.
        retry_after: seconds that the server asked for, or that its words imply; None where it said nothing.
        retry_at: the moment that the server named ("try again after Mon, 25 Aug 2025 07:00:31 UTC"), aware.
        help: one or two sentences: what it means and what a person should do.
        rule: the id of the rule that decided.
        stage: where it happened, where known.
        reply: the server's words, where there are any.
        detail: our own words for an I/O failure.
        is_about_conversation: whether the reply speaks of the commands and their order rather than of this message: the
            server may not have taken a command as ours, so it is worth asking again alone, and final for nobody.
    """

    cause: Cause
    scope: Scope
    permanent: bool
    certain: bool
    retry_after: float | None = None
    retry_at: datetime | None = None
    help: str = ""
    rule: str = ""
    stage: Stage | None = None
    reply: Reply | None = None
    detail: str = ""
    is_about_conversation: bool = False

    @property
    def said(self) -> str:
        """The server's words, or, where it said nothing, ours."""
        return str(self.reply) if self.reply is not None else self.detail
