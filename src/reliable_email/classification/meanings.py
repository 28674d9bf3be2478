"""What each cause is about, whether it lasts, and what a person should do: the table of the documentation, as code."""

from dataclasses import dataclass
from functools import cache

from reliable_email.classification.causes import Cause, Scope
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
        "The recipient's mailbox exists, but is switched off.",
        "Remove the address, or reach its owner by another way.",
    ),
    Cause.MAILBOX_FULL: Meaning(
        _RECIPIENT,
        False,
        "The recipient's mailbox is full.",
    ),
    Cause.GREYLISTED: Meaning(
        _RECIPIENT,
        False,
        "The receiving server asks unknown senders to come back.",
    ),
    Cause.ADDRESS_INVALID: Meaning(
        _RECIPIENT,
        True,
        "The address breaks the rules for addresses and was not put on the wire.",
        "Correct the address.",
    ),
    Cause.SUPPRESSED: Meaning(
        _RECIPIENT,
        True,
        "The address is on this site's suppression list.",
        "Take the address off the list if it should get mail again.",
    ),
    Cause.CONTENT_REJECTED: Meaning(
        _MESSAGE,
        None,
        "The content was refused: spam, virus, attachment or policy.",
        "Look at links, attachments and wording; for a false alarm ask the provider.",
    ),
    Cause.SYNTAX_OR_UNSUPPORTED: Meaning(
        _MESSAGE,
        None,
        "The server did not accept the form of a command, an address or a header.",
        "Look at the addresses and headers that the reply names.",
    ),
    Cause.MESSAGE_TOO_LARGE: Meaning(
        _MESSAGE,
        True,
        "The message is larger than the server takes.",
        "Send a link instead of the attachment.",
    ),
    Cause.SENDER_REJECTED: Meaning(
        _MESSAGE,
        None,
        "The receiving side does not take mail from this sender: a block by the recipient, or a policy of its own.",
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
        "DNS does not vouch for the sender, and the receiver demands it: SPF, DKIM or DMARC of the domain failed.",
        "Publish SPF, DKIM and DMARC for sending by this provider; `manage.py test_email --dns` names the records.",
    ),
    Cause.TOO_MANY_RECIPIENTS: Meaning(
        Scope.ENVELOPE,
        False,
        "One transaction has more recipients than the server takes.",
    ),
    Cause.AUTH_FAILED: Meaning(
        _ROUTE,
        True,
        "The login was refused, or this account may not send.",
        "Check user name, password or token, and the account's state.",
    ),
    Cause.AUTH_THROTTLED: Meaning(
        _ROUTE,
        False,
        "Too many logins in a short time.",
        "If it persists, find what else logs in with the same account.",
    ),
    Cause.HELO_REFUSED: Meaning(
        _ROUTE,
        True,
        "The server refuses the name or address by which this host introduces itself (EHLO).",
        "Set `local_hostname` to a full host name that DNS resolves to this host's address, and back.",
    ),
    Cause.RELAY_DENIED: Meaning(
        _ROUTE,
        True,
        "The server does not pass on mail for this client: it does not know us.",
        "Set user name and password, or let the relay's administrator allow this host.",
    ),
    Cause.TLS_REQUIRED: Meaning(
        _ROUTE,
        True,
        "The server wants TLS, or a newer version of it.",
        "Switch on STARTTLS (port 587) or implicit TLS (port 465).",
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
        "Ask the provider, or have the address taken off the list that the reply names.",
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
        "The server has trouble that should pass.",
    ),
    Cause.SYSTEM_PERMANENT: Meaning(
        _MESSAGE,
        True,
        "The server failed and says that trying again is no use.",
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
        "The connection was lost when the message was complete and not yet answered: it may have been taken.",
        "Look whether it arrived, then resolve it with `manage.py email_outbox resolve`.",
    ),
    Cause.WITHHELD: Meaning(
        _MESSAGE,
        False,
        "This worker lost the right to send the message before it was complete.",
    ),
    Cause.CANNOT_BE_BUILT: Meaning(
        _ROUTE,
        False,
        "The route cannot be built as it is configured: a package, a file, a key or an option is missing or wrong.",
        "Correct what the text names; `manage.py check` tells when it is right.",
    ),
    Cause.INVALID_CONTENT: Meaning(
        _MESSAGE,
        True,
        "The message's bytes are no valid content: a bare CR or LF, a NUL, or no line end at the end.",
        "Find out what changed the stored content; queue the message anew.",
    ),
    Cause.CODE_RAISED: Meaning(
        _MESSAGE,
        False,
        "Code raised an error while the message was being handed to this route; nothing was sent.",
        "Read the error; for a backend of somebody else's, report it there.",
    ),
    Cause.ROUTE_CLOSED: Meaning(
        _ROUTE,
        False,
        "The route is closed after failures, by a quota, or by an operator.",
    ),
    Cause.UNCLASSIFIED: Meaning(
        _MESSAGE,
        None,
        "The server refused and its words are not known.",
        "Read the server's words.",
    ),
}

# What fails here is the route's matter: nothing was said of a message yet.
BEFORE_MAIL = frozenset(
    {Stage.RESOLVE, Stage.CONNECT, Stage.TLS, Stage.GREETING, Stage.EHLO, Stage.STARTTLS, Stage.AUTH}
)


def scope_for(cause: Cause, stage: Stage | None = None) -> Scope:
    """What a cause is about; an unclassified refusal is about whatever was being asked at that stage."""
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
    """Whether the same thing tried again on the same route fails again until a person acts."""
    lasting = MEANINGS[cause].lasting
    if lasting is not None:
        return lasting
    return code is None or code >= 500


@cache
def help_for(cause: Cause) -> str:
    """The meaning of a cause and what a person should do about it."""
    meaning = MEANINGS[cause]
    return f"{meaning.says} {meaning.person}".strip()
