"""The meaning of each cause: its scope, whether it lasts, and what you should do. The documentation's table of "
"causes."""

from functools import cache

from reliable_email.classification.causes import Cause, Scope
from reliable_email.records import dataclass
from reliable_email.smtp.stages import Stage


@dataclass(frozen=True, slots=True)
class Meaning:
    """One cause.

    Attributes:
        scope: what it is about unless a rule knows better.
        lasting: True and False whatever the reply's class; None where a 5yz lasts and a 4yz does not.
        says: what it means, one sentence.
        person: what a person should do, "" where there is nothing to do.
    """

    scope: Scope
    lasting: bool | None
    says: str
    person: str = ""


_RECIPIENT, _MESSAGE, _ROUTE = Scope.RECIPIENT, Scope.MESSAGE, Scope.ROUTE

MEANINGS: dict[Cause, Meaning] = {
    Cause.MAILBOX_UNKNOWN: Meaning(
        _RECIPIENT,
        None,
        "The recipient's address does not exist.",
        "Correct the address, or remove it.",
    ),
    Cause.MAILBOX_INACTIVE: Meaning(
        _RECIPIENT,
        None,
        "The recipient's mailbox exists, but is disabled.",
        "Remove the address, or reach its owner in another way.",
    ),
    Cause.MAILBOX_FULL: Meaning(
        _RECIPIENT,
        False,
        "The recipient's mailbox is full.",
    ),
    Cause.GREYLISTED: Meaning(
        _RECIPIENT,
        False,
        "The receiving server asks unknown senders to try again later (greylisting).",
    ),
    Cause.ADDRESS_INVALID: Meaning(
        _RECIPIENT,
        True,
        "The address is invalid and was not sent to the server.",
        "Correct the address.",
    ),
    Cause.SUPPRESSED: Meaning(
        _RECIPIENT,
        True,
        "The address is on this site's suppression list.",
        "Remove the address from the list if it should receive mail again.",
    ),
    Cause.CONTENT_REJECTED: Meaning(
        _MESSAGE,
        None,
        "The content was refused, as spam, for a virus or an attachment, or by policy.",
        "Check links, attachments and wording; ask the provider if the refusal is wrong.",
    ),
    Cause.SYNTAX_OR_UNSUPPORTED: Meaning(
        _MESSAGE,
        None,
        "The server did not accept the syntax of a command, an address or a header.",
        "Check the addresses and headers that the reply names.",
    ),
    Cause.MESSAGE_TOO_LARGE: Meaning(
        _MESSAGE,
        True,
        "The message is larger than the server accepts.",
        "Send a link instead of the attachment.",
    ),
    Cause.SENDER_REJECTED: Meaning(
        _MESSAGE,
        None,
        "The receiving side does not accept mail from this sender: the recipient blocked it, or a policy does.",
        "Ask the recipient to allow the sender; check SPF, DKIM and DMARC of the From domain.",
    ),
    Cause.SENDER_NOT_VERIFIED: Meaning(
        Scope.SENDER_ON_ROUTE,
        True,
        "The provider does not let this account send from this address.",
        "Verify the sender address or domain with the provider, or send from a verified one.",
    ),
    Cause.SENDER_NOT_AUTHENTICATED: Meaning(
        Scope.SENDER_ON_ROUTE,
        None,
        "The receiver requires authentication, and SPF, DKIM or DMARC of the sender's domain failed.",
        "Publish SPF, DKIM and DMARC for sending by this provider; `manage.py test_email --dns` names the records.",
    ),
    Cause.TOO_MANY_RECIPIENTS: Meaning(
        Scope.ENVELOPE,
        False,
        "One transaction has more recipients than the server accepts.",
    ),
    Cause.AUTH_FAILED: Meaning(
        _ROUTE,
        True,
        "The login was refused, or the account is not allowed to send.",
        "Check user name, password or token, and the account's state.",
    ),
    Cause.AUTH_THROTTLED: Meaning(
        _ROUTE,
        False,
        "Too many logins in a short time.",
        "If it persists, find out what else logs in with the same account.",
    ),
    Cause.HELO_REFUSED: Meaning(
        _ROUTE,
        True,
        "The server refuses the name or address that this host sends in EHLO.",
        "Set `local_hostname` to a full host name that DNS resolves to this host's address, and back.",
    ),
    Cause.RELAY_DENIED: Meaning(
        _ROUTE,
        True,
        "The server does not relay mail for this client, because it does not know it.",
        "Set user name and password, or let the relay's administrator allow this host.",
    ),
    Cause.TLS_REQUIRED: Meaning(
        _ROUTE,
        True,
        "The server requires TLS, or a newer version of it.",
        "Turn on STARTTLS (port 587) or implicit TLS (port 465).",
    ),
    Cause.TLS_FAILED: Meaning(
        _ROUTE,
        True,
        "TLS with the server could not be established.",
        "Run `manage.py test_email`: it names the certificate and the defect.",
    ),
    Cause.CONNECTION_LIMIT: Meaning(
        _ROUTE,
        False,
        "Too many connections or sessions at once.",
    ),
    Cause.RATE_LIMITED: Meaning(
        _ROUTE,
        False,
        "Too many messages in a short time.",
    ),
    Cause.QUOTA_EXCEEDED: Meaning(
        _ROUTE,
        False,
        "The account's allowance for the day, the month or the plan is used up.",
        "Raise the plan or the limit if this happens often.",
    ),
    Cause.REPUTATION_BLOCKED: Meaning(
        _ROUTE,
        None,
        "The receiving side refuses the sending IP address, host or account: block list, reputation, reverse DNS.",
        "Ask the provider, or request removal from the block list that the reply names.",
    ),
    Cause.DNS_OR_ROUTING: Meaning(
        _RECIPIENT,
        None,
        "The provider cannot find or reach the recipient's domain.",
        "Check the domain in the address.",
    ),
    Cause.SYSTEM_TEMPORARY: Meaning(
        _ROUTE,
        False,
        "The server has a temporary problem.",
    ),
    Cause.SYSTEM_PERMANENT: Meaning(
        _MESSAGE,
        True,
        "The server failed and says that another attempt will fail too.",
        "Show the server's words to the provider.",
    ),
    Cause.HOST_NOT_FOUND: Meaning(
        _ROUTE,
        True,
        "The mail server's name does not exist.",
        "Correct the host name.",
    ),
    Cause.CONNECT_FAILED: Meaning(
        _ROUTE,
        False,
        "No connection to the mail server could be made.",
        "Check host and port, and whether the network blocks the port.",
    ),
    Cause.TIMEOUT: Meaning(
        _ROUTE,
        False,
        "The mail server did not answer in time.",
    ),
    Cause.DISCONNECTED: Meaning(
        _ROUTE,
        False,
        "The mail server closed the connection before the message was complete.",
    ),
    Cause.PROTOCOL_ERROR: Meaning(
        _ROUTE,
        False,
        "The mail server broke the protocol, or it is no mail server.",
        "Check host and port.",
    ),
    Cause.OUTCOME_UNKNOWN: Meaning(
        _MESSAGE,
        False,
        "No reply was read after the message was complete: the server may have taken it.",
        "Find out whether it arrived, then run `manage.py email_outbox resolve`.",
    ),
    Cause.WITHHELD: Meaning(
        _MESSAGE,
        False,
        "The worker lost its claim on the message before the message was complete.",
    ),
    Cause.CANNOT_BE_BUILT: Meaning(
        _ROUTE,
        False,
        "The route's backend cannot be built: a package, a file, a key or an option is missing or wrong.",
        "Correct what the text names; `manage.py check` reports when it is right.",
    ),
    Cause.INVALID_CONTENT: Meaning(
        _MESSAGE,
        True,
        "The message's bytes are invalid: a bare CR or LF, a NUL, or no line end at the end.",
        "Find out what changed the stored content, and queue the message again.",
    ),
    Cause.CODE_RAISED: Meaning(
        _MESSAGE,
        False,
        "Code raised an exception before the message was handed to this route; nothing was sent.",
        "Read the exception; report it to the maintainers of the backend that raised it.",
    ),
    Cause.ROUTE_CLOSED: Meaning(
        _ROUTE,
        False,
        "The route is closed after failures, by a quota, or by an operator.",
    ),
    Cause.UNCLASSIFIED: Meaning(
        _MESSAGE,
        None,
        "The server refused, and the package does not know its reply.",
        "Read the server's reply.",
    ),
}

# What fails here is the route's matter: nothing was said of a message yet.
BEFORE_MAIL = frozenset(
    {Stage.RESOLVE, Stage.CONNECT, Stage.TLS, Stage.GREETING, Stage.EHLO, Stage.STARTTLS, Stage.AUTH}
)


def scope_for(cause: Cause, stage: Stage | None = None) -> Scope:
    """Return the scope of a cause; an unclassified refusal is about the subject of that stage."""
    if cause is Cause.UNCLASSIFIED:
        if stage is Stage.RCPT:
            return Scope.RECIPIENT
        if stage in BEFORE_MAIL:
            return Scope.ROUTE
    if cause is Cause.SYSTEM_PERMANENT and stage in BEFORE_MAIL:
        return Scope.ROUTE
    if cause is Cause.SYNTAX_OR_UNSUPPORTED and stage is Stage.RCPT:
        return Scope.RECIPIENT
    if cause is Cause.GREYLISTED and (stage in BEFORE_MAIL or stage is Stage.MAIL):
        return Scope.MESSAGE
    return MEANINGS[cause].scope


def is_permanent(cause: Cause, code: int | None = None) -> bool:
    """Return whether the same thing tried again on the same route fails again until a person acts."""
    lasting = MEANINGS[cause].lasting
    if lasting is not None:
        return lasting
    return code is None or code >= 500


@cache
def help_for(cause: Cause) -> str:
    """The meaning of a cause and what a person should do about it."""
    meaning = MEANINGS[cause]
    return f"{meaning.says} {meaning.person}".strip()
