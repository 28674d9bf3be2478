"""What each cause is about, whether it lasts, and what is done: the table of the documentation, as code."""

from dataclasses import dataclass
from functools import cache
from typing import assert_never

from reliable_email.classification.causes import Action, Cause, Scope
from reliable_email.smtp.stages import Stage


@dataclass(frozen=True, slots=True)
class Meaning:
    """One cause.

    Attributes:
        scope: what it is about unless a rule knows better.
        action: what is done; `action_for` knows the exceptions.
        lasting: True and False whatever the reply's class; None where a 5yz lasts and a 4yz does not.
        says: what it means, one sentence.
        package: what the package does.
        person: what a person should do, "" where there is nothing to do.
    """

    scope: Scope
    action: Action
    lasting: bool | None
    says: str
    package: str
    person: str = ""


_RECIPIENT, _MESSAGE, _ROUTE = Scope.RECIPIENT, Scope.MESSAGE, Scope.ROUTE

MEANINGS: dict[Cause, Meaning] = {
    Cause.MAILBOX_UNKNOWN: Meaning(
        _RECIPIENT,
        Action.FAIL_RECIPIENT,
        None,
        "The recipient's address does not exist.",
        "Rejects this recipient, and never tries it by another route.",
        "Correct the address, or remove it.",
    ),
    Cause.MAILBOX_INACTIVE: Meaning(
        _RECIPIENT,
        Action.FAIL_RECIPIENT,
        None,
        "The recipient's mailbox exists, but is switched off.",
        "Rejects this recipient, and never tries it by another route.",
        "Remove the address, or reach its owner by another way.",
    ),
    Cause.MAILBOX_FULL: Meaning(
        _RECIPIENT,
        Action.RETRY_LATER,
        False,
        "The recipient's mailbox is full.",
        "Tries this recipient again later by the same route.",
    ),
    Cause.GREYLISTED: Meaning(
        _RECIPIENT,
        Action.RETRY_LATER,
        False,
        "The receiving server asks unknown senders to come back.",
        "Tries this recipient again later by the same route, since another one would start the wait anew.",
    ),
    Cause.ADDRESS_INVALID: Meaning(
        _RECIPIENT,
        Action.FAIL_RECIPIENT,
        True,
        "The address breaks the rules for addresses and was not put on the wire.",
        "Rejects this recipient; no server was asked.",
        "Correct the address.",
    ),
    Cause.SUPPRESSED: Meaning(
        _RECIPIENT,
        Action.FAIL_RECIPIENT,
        True,
        "The address is on this site's suppression list.",
        "Rejects this recipient without a connection.",
        "Take the address off the list if it should get mail again.",
    ),
    Cause.CONTENT_REJECTED: Meaning(
        _MESSAGE,
        Action.FAIL_MESSAGE,
        None,
        "The content was refused: spam, virus, attachment or policy.",
        "Rejects the message; the same content by another route would burn that one too.",
        "Look at links, attachments and wording; for a false alarm ask the provider.",
    ),
    Cause.SYNTAX_OR_UNSUPPORTED: Meaning(
        _MESSAGE,
        Action.FAIL_MESSAGE,
        None,
        "The server did not accept the form of a command, an address or a header.",
        "Rejects the message; the same bytes would fail again.",
        "Look at the addresses and headers that the reply names.",
    ),
    Cause.MESSAGE_TOO_LARGE: Meaning(
        _MESSAGE,
        Action.FAIL_MESSAGE,
        True,
        "The message is larger than the server takes.",
        "Tries a route that takes larger messages, else rejects; remembers the limit.",
        "Send a link instead of the attachment.",
    ),
    Cause.SENDER_REJECTED: Meaning(
        _MESSAGE,
        Action.FAIL_MESSAGE,
        None,
        "The receiving side does not trust the sender: SPF, DKIM, DMARC, or a block by the recipient.",
        "Tries one other route, then rejects.",
        "Check SPF, DKIM and DMARC of the From domain.",
    ),
    Cause.SENDER_NOT_VERIFIED: Meaning(
        Scope.SENDER_ON_ROUTE,
        Action.LEAVE_ROUTE,
        True,
        "The provider does not let this account send from this address.",
        "Closes the route for this sender's domain and takes the next one; parks the message if none is left.",
        "Verify the sender address or domain with the provider, or send from a verified one.",
    ),
    Cause.TOO_MANY_RECIPIENTS: Meaning(
        Scope.ENVELOPE,
        Action.THROTTLE_ROUTE,
        False,
        "One transaction has more recipients than the server takes.",
        "Sends the rest in a new transaction at once, and remembers the limit.",
    ),
    Cause.AUTH_FAILED: Meaning(
        _ROUTE,
        Action.LEAVE_ROUTE,
        True,
        "The login was refused, or this account may not send.",
        "Closes the route at once and takes the next one; the message loses no attempt.",
        "Check user name, password or token, and the account's state.",
    ),
    Cause.AUTH_THROTTLED: Meaning(
        _ROUTE,
        Action.THROTTLE_ROUTE,
        False,
        "Too many logins in a short time.",
        "Keeps open connections, makes no new ones for a while.",
        "If it persists, find what else logs in with the same account.",
    ),
    Cause.RELAY_DENIED: Meaning(
        _ROUTE,
        Action.LEAVE_ROUTE,
        True,
        "The server does not pass on mail for this client: it does not know us.",
        "Closes the route and takes the next one.",
        "Set user name and password, or let the relay's administrator allow this host.",
    ),
    Cause.TLS_REQUIRED: Meaning(
        _ROUTE,
        Action.LEAVE_ROUTE,
        True,
        "The server wants TLS, or a newer version of it.",
        "Closes the route and takes the next one; never goes on without TLS.",
        "Switch on STARTTLS (port 587) or implicit TLS (port 465).",
    ),
    Cause.TLS_FAILED: Meaning(
        _ROUTE,
        Action.LEAVE_ROUTE,
        True,
        "TLS with the server could not be established.",
        "Closes the route and takes the next one; never goes on without TLS.",
        "Run `manage.py test_email`: it names the certificate and the defect.",
    ),
    Cause.CONNECTION_LIMIT: Meaning(
        _ROUTE,
        Action.THROTTLE_ROUTE,
        False,
        "Too many connections or sessions at once.",
        "Goes on with fewer connections.",
    ),
    Cause.RATE_LIMITED: Meaning(
        _ROUTE,
        Action.THROTTLE_ROUTE,
        False,
        "Too many messages in a short time.",
        "Slows down, then recovers; takes the next route where the message's time is short.",
    ),
    Cause.QUOTA_EXCEEDED: Meaning(
        _ROUTE,
        Action.LEAVE_ROUTE,
        False,
        "The account's allowance for the day, the month or the plan is used up.",
        "Closes the route until the allowance is renewed and takes the next one; the message loses no attempt.",
        "Raise the plan or the limit if this happens often.",
    ),
    Cause.REPUTATION_BLOCKED: Meaning(
        _ROUTE,
        Action.LEAVE_ROUTE,
        None,
        "The receiving side refuses the sending IP address, host or account: block list, reputation, reverse DNS.",
        "Closes the route for hours and takes the next one.",
        "Ask the provider, or have the address taken off the list that the reply names.",
    ),
    Cause.DNS_OR_ROUTING: Meaning(
        _RECIPIENT,
        Action.RETRY_LATER,
        None,
        "The provider cannot find or reach the recipient's domain.",
        "Tries again later after a 4yz, rejects this recipient after a 5yz.",
        "Check the domain in the address.",
    ),
    Cause.SYSTEM_TEMPORARY: Meaning(
        _ROUTE,
        Action.RETRY_LATER,
        False,
        "The server has trouble that should pass.",
        "Takes the next route, or tries again later.",
    ),
    Cause.SYSTEM_PERMANENT: Meaning(
        _MESSAGE,
        Action.FAIL_MESSAGE,
        True,
        "The server failed and says that trying again is no use.",
        "Tries one other route, then rejects and keeps the server's words.",
        "Show the server's words to the provider.",
    ),
    Cause.HOST_NOT_FOUND: Meaning(
        _ROUTE,
        Action.LEAVE_ROUTE,
        True,
        "The mail server's name does not exist.",
        "Closes the route and takes the next one.",
        "Correct the host name.",
    ),
    Cause.CONNECT_FAILED: Meaning(
        _ROUTE,
        Action.LEAVE_ROUTE,
        False,
        "No connection to the mail server could be made.",
        "Takes the next route at once.",
        "Check host and port, and whether the network blocks the port.",
    ),
    Cause.TIMEOUT: Meaning(
        _ROUTE,
        Action.LEAVE_ROUTE,
        False,
        "The mail server did not answer in time.",
        "Takes the next route at once; nothing was sent.",
    ),
    Cause.DISCONNECTED: Meaning(
        _ROUTE,
        Action.LEAVE_ROUTE,
        False,
        "The mail server closed the connection before the message was complete.",
        "Takes the next route at once; nothing was sent.",
    ),
    Cause.PROTOCOL_ERROR: Meaning(
        _ROUTE,
        Action.LEAVE_ROUTE,
        False,
        "The mail server broke the protocol, or it is no mail server.",
        "Closes the connection and takes the next route.",
        "Check host and port.",
    ),
    Cause.OUTCOME_UNKNOWN: Meaning(
        _MESSAGE,
        Action.FAIL_MESSAGE,
        False,
        "The connection was lost when the message was complete and not yet answered: it may have been taken.",
        "Sends no second copy by itself, except as the message's own policy says.",
        "Look whether it arrived, then resolve it with `manage.py email_outbox resolve`.",
    ),
    Cause.WITHHELD: Meaning(
        _MESSAGE,
        Action.RETRY_LATER,
        False,
        "This worker lost the right to send the message before it was complete.",
        "Nothing was sent; whoever has the message now sends it.",
    ),
    Cause.CANNOT_BE_BUILT: Meaning(
        _ROUTE,
        Action.LEAVE_ROUTE,
        False,
        "The route cannot be built as it is configured: a package, a file, a key or an option is missing or wrong.",
        "Takes the next route at once; the message loses no attempt, and the route is tried anew at the next send.",
        "Correct what the text names; `manage.py check` tells when it is right.",
    ),
    Cause.INVALID_CONTENT: Meaning(
        _MESSAGE,
        Action.FAIL_MESSAGE,
        True,
        "The message's bytes are no valid content: a bare CR or LF, a NUL, or no line end at the end.",
        "Puts nothing of it on the wire; the queue parks the message.",
        "Find out what changed the stored content; queue the message anew.",
    ),
    Cause.CODE_RAISED: Meaning(
        _MESSAGE,
        Action.LEAVE_ROUTE,
        False,
        "Code raised an error while the message was being handed to this route; nothing was sent.",
        "Takes the next route; the queue parks the message where all routes raised.",
        "Read the error; for a backend of somebody else's, report it there.",
    ),
    Cause.ROUTE_CLOSED: Meaning(
        _ROUTE,
        Action.LEAVE_ROUTE,
        False,
        "The route is closed after failures, by a quota, or by an operator.",
        "Takes the next route, or waits until this one opens.",
    ),
    Cause.UNCLASSIFIED: Meaning(
        _MESSAGE,
        Action.FAIL_MESSAGE,
        None,
        "The server refused and its words are not known.",
        "After a 4yz tries again later; after a 5yz tries one other route, then rejects and keeps the server's words.",
        "Read the server's words.",
    ),
}

_BEFORE_ENVELOPE = frozenset(
    {Stage.RESOLVE, Stage.CONNECT, Stage.TLS, Stage.GREETING, Stage.EHLO, Stage.STARTTLS, Stage.AUTH}
)


def scope_for(cause: Cause, stage: Stage | None = None) -> Scope:
    """What a cause is about; an unclassified refusal is about whatever was being asked at that stage."""
    if cause is Cause.UNCLASSIFIED:
        if stage is Stage.RCPT:
            return Scope.RECIPIENT
        if stage in _BEFORE_ENVELOPE:
            return Scope.ROUTE
    if cause is Cause.SYNTAX_OR_UNSUPPORTED and stage is Stage.RCPT:
        return Scope.RECIPIENT
    if cause is Cause.GREYLISTED and (stage in _BEFORE_ENVELOPE or stage is Stage.MAIL):
        return Scope.MESSAGE
    return MEANINGS[cause].scope


def is_permanent(cause: Cause, code: int | None = None) -> bool:
    """Whether the same thing tried again on the same route fails again until a person acts."""
    lasting = MEANINGS[cause].lasting
    if lasting is not None:
        return lasting
    return code is None or code >= 500


def action_for(cause: Cause, *, permanent: bool, scope: Scope | None = None) -> Action:
    """What is done about a failure."""
    action = MEANINGS[cause].action
    match cause:
        case Cause.DNS_OR_ROUTING:
            return Action.FAIL_RECIPIENT if permanent else Action.RETRY_LATER
        case Cause.MAILBOX_UNKNOWN | Cause.MAILBOX_INACTIVE if not permanent:
            # A 4yz may be a user database that is down; a later try costs nothing, a lost message does.
            return Action.RETRY_LATER
        case Cause.RATE_LIMITED | Cause.SYSTEM_TEMPORARY if scope is Scope.RECIPIENT:
            return Action.RETRY_LATER
        case Cause.SENDER_NOT_VERIFIED | Cause.SYNTAX_OR_UNSUPPORTED if scope is Scope.RECIPIENT:
            return Action.FAIL_RECIPIENT if permanent else Action.RETRY_LATER
        case Cause.UNCLASSIFIED:
            if not permanent:
                return Action.RETRY_LATER
            if scope is Scope.RECIPIENT:
                return Action.FAIL_RECIPIENT
            return Action.LEAVE_ROUTE if scope is Scope.ROUTE else Action.FAIL_MESSAGE
        case _:
            return action


# Said by 4yz, these are tried again, as `delivery.policy` has it.
_MAY_CHANGE_ITS_MIND = frozenset(
    {Cause.CONTENT_REJECTED, Cause.SYNTAX_OR_UNSUPPORTED, Cause.SENDER_REJECTED, Cause.MESSAGE_TOO_LARGE}
)


def package_does(cause: Cause, *, permanent: bool, scope: Scope) -> str:
    """What the package does about a failure: the table's sentence, or that of the exceptions in `action_for`."""
    action = action_for(cause, permanent=permanent, scope=scope)
    if not permanent and action is Action.FAIL_MESSAGE and cause in _MAY_CHANGE_ITS_MIND:
        return "Asks again, also by the next route, before it rejects: a 4yz reply leaves the door open."
    if action is MEANINGS[cause].action and cause is not Cause.UNCLASSIFIED:
        return MEANINGS[cause].package
    match action:
        case Action.FAIL_RECIPIENT:
            return "Rejects this recipient; others are not affected."
        case Action.FAIL_MESSAGE:
            return "Tries one other route, then rejects and keeps the server's words."
        case Action.RETRY_LATER if scope is Scope.RECIPIENT:
            return "Tries this recipient again later by the same route; others are not affected."
        case Action.RETRY_LATER:
            return "Tries again later, or by the next route."
        case Action.THROTTLE_ROUTE:
            return "Slows down."
        case Action.LEAVE_ROUTE:
            return "Takes the next route."
        case _:
            assert_never(action)


@cache
def help_for(cause: Cause) -> str:
    """The meaning of a cause and what a person should do about it."""
    meaning = MEANINGS[cause]
    return f"{meaning.says} {meaning.person}".strip()
