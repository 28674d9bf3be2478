"""The meaning of a failure, whatever reports it: a reply, the wire, or a foreign backend's exception."""

from dataclasses import replace
from datetime import datetime

from reliable_email.classification.answers import classify_reply
from reliable_email.classification.causes import Cause, Failure
from reliable_email.classification.foreign import classify_exception
from reliable_email.classification.meanings import BEFORE_MAIL, help_for, is_permanent, scope_for
from reliable_email.smtp.failures import FailureKind, WireFailure
from reliable_email.smtp.stages import Stage
from reliable_email.smtp.syntax.replies import Reply

_CAUSE_OF_KIND: dict[FailureKind, Cause] = {
    FailureKind.HOST_NOT_FOUND: Cause.HOST_NOT_FOUND,
    FailureKind.RESOLVER_FAILED: Cause.CONNECT_FAILED,
    FailureKind.CONNECT_FAILED: Cause.CONNECT_FAILED,
    FailureKind.TIMEOUT: Cause.TIMEOUT,
    FailureKind.BUSY: Cause.CONNECTION_LIMIT,
    FailureKind.DISCONNECTED: Cause.DISCONNECTED,
    FailureKind.PROTOCOL: Cause.PROTOCOL_ERROR,
    FailureKind.NOT_SMTP: Cause.PROTOCOL_ERROR,
    FailureKind.TLS_VERIFICATION: Cause.TLS_FAILED,
    FailureKind.TLS_HANDSHAKE: Cause.TLS_FAILED,
    FailureKind.TLS_NOT_OFFERED: Cause.TLS_FAILED,
    FailureKind.TLS_INJECTION: Cause.TLS_FAILED,
    FailureKind.TLS_PIN: Cause.TLS_FAILED,
    FailureKind.AUTH_NOT_OFFERED: Cause.AUTH_FAILED,
    FailureKind.AUTH_INSECURE: Cause.TLS_REQUIRED,
    FailureKind.TOKEN: Cause.AUTH_FAILED,
    FailureKind.TOO_MANY_RECIPIENTS: Cause.TOO_MANY_RECIPIENTS,
    FailureKind.TOO_LARGE: Cause.MESSAGE_TOO_LARGE,
    FailureKind.UNSUPPORTED: Cause.SYNTAX_OR_UNSUPPORTED,
    FailureKind.INVALID_CONTENT: Cause.INVALID_CONTENT,
    FailureKind.CANNOT_BE_BUILT: Cause.CANNOT_BE_BUILT,
    FailureKind.RAISED: Cause.CODE_RAISED,
    FailureKind.SUPPRESSED: Cause.SUPPRESSED,
    FailureKind.WITHHELD: Cause.WITHHELD,
    FailureKind.FOREIGN: Cause.OUTCOME_UNKNOWN,
}
_HELP_OF_KIND: dict[FailureKind, str] = {
    FailureKind.RESOLVER_FAILED: "The name server did not answer, so the mail server could not be found. Check DNS.",
    FailureKind.NOT_SMTP: "Whatever answers there does not speak SMTP. Check host and port.",
    FailureKind.TLS_VERIFICATION: (
        "The server's certificate was refused. Run `manage.py test_email`: it names the certificate and the defect."
    ),
    FailureKind.TLS_NOT_OFFERED: (
        "The server does not offer STARTTLS. Check the port (465 wants implicit TLS); if it should offer it, something"
        " between you and the server may be stripping it."
    ),
    FailureKind.TLS_INJECTION: (
        "Something put plaintext behind the server's answer to STARTTLS. Find out what sits between you and the server."
    ),
    FailureKind.TLS_PIN: "The server's key is not the pinned one. If the server was renewed, pin its new key.",
    FailureKind.AUTH_NOT_OFFERED: (
        "The server offers no login that is possible with these credentials. Check the port, TLS and `auth`."
    ),
    FailureKind.AUTH_INSECURE: "A password is not sent without TLS. Switch on STARTTLS or implicit TLS.",
    FailureKind.TOKEN: "No access token could be had. Check the OAuth client, its secret and its consent.",
    FailureKind.SUPPRESSED: (
        "This mailer sends only to the addresses and domains that `only_to` names. Add the address there if it should"
        " get mail."
    ),
    FailureKind.UNSUPPORTED: (
        "The message needs an extension that the server does not offer. Another route may offer it."
    ),
}


def classify(
    evidence: Reply | WireFailure,
    *,
    stage: Stage | None = None,
    provider: str | None = None,
    sender_domain: str | None = None,
    now: datetime | None = None,
) -> Failure:
    """Return the meaning of a failure.

    Args:
        evidence: a 4yz or 5yz reply, or what went wrong on the wire.
        stage: where it happened; a `WireFailure` knows its own.
        provider: whose server said it, as in OPTIONS["provider"]; a name that is not known counts as none.
        sender_domain: domain of the From address; tells a sender that is not verified from a recipient that is not.
        now: aware; turns a moment named in the text into seconds.
    """
    if isinstance(evidence, WireFailure):
        return _of_wire(evidence, provider=provider, sender_domain=sender_domain, now=now)
    return classify_reply(evidence, stage=stage, provider=provider, sender_domain=sender_domain, now=now)


def _of_wire(failure: WireFailure, *, provider: str | None, sender_domain: str | None, now: datetime | None) -> Failure:
    kind, stage = failure.kind, failure.stage
    if kind is FailureKind.REFUSED and failure.reply is not None:
        found = classify_reply(failure.reply, stage=stage, provider=provider, sender_domain=sender_domain, now=now)
        return replace(found, help=f"{found.help} {failure.advice}") if failure.advice else found
    # What raised before `authorize` was certainly not sent, whatever the exception would mean behind it.
    if failure.error is not None and kind not in (FailureKind.CANNOT_BE_BUILT, FailureKind.RAISED):
        return classify_exception(failure.error, provider=provider, sender_domain=sender_domain, now=now)
    if stage is Stage.FINAL_REPLY and kind in (FailureKind.TIMEOUT, FailureKind.DISCONNECTED, FailureKind.PROTOCOL):
        cause = Cause.OUTCOME_UNKNOWN
    elif kind is FailureKind.INVALID:
        cause = Cause.ADDRESS_INVALID if stage is Stage.RCPT else Cause.SYNTAX_OR_UNSUPPORTED
    else:
        cause = _CAUSE_OF_KIND.get(kind, Cause.UNCLASSIFIED)
    if stage in BEFORE_MAIL and cause in (Cause.SYNTAX_OR_UNSUPPORTED, Cause.UNCLASSIFIED):
        cause = Cause.SYSTEM_PERMANENT  # nothing was asked about a message yet
    permanent = is_permanent(cause)
    scope = scope_for(cause, stage)
    return Failure(
        cause=cause,
        scope=scope,
        permanent=permanent,
        certain=cause is not Cause.UNCLASSIFIED,
        help=failure.advice or _HELP_OF_KIND.get(kind) or help_for(cause),
        rule=f"wire.{kind.value}",
        stage=stage,
        reply=failure.reply,
        detail=failure.detail,
    )
