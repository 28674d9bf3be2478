"""Decides what a failure means: `classify` for replies and I/O failures.

For a reply, in this order: rules for the stage, the named provider's rules, the other providers' rules, generic rules
on the text, enhanced status, words that go together, code, class digit. Text beats codes because servers share codes
and not words (RFC 5321 §4.2, RFC 3463, read against real replies): the first digit alone is right in three of five.
What may never happen is that a dead route is taken for a dead mailbox, so nothing that was said before RCPT is about a
recipient.
"""

from datetime import datetime
from functools import cache, lru_cache

from reliable_email.classification.causes import Action, Cause, Failure, Scope
from reliable_email.classification.codes import cause_of_code, cause_of_status
from reliable_email.classification.hints import retry_hint, window_hint
from reliable_email.classification.meanings import MEANINGS, action_for, is_permanent, scope_for
from reliable_email.classification.rulebook import Rule, RuleBook, loose_rulebook, rulebook
from reliable_email.classification.words import MAX_CHARACTERS, embedded_status, told_stage, with_marks, words
from reliable_email.providers import canonical_name
from reliable_email.smtp.failures import FailureKind, WireFailure
from reliable_email.smtp.replies import Reply
from reliable_email.smtp.stages import Stage

_BEFORE_RCPT = frozenset(
    {
        Stage.RESOLVE,
        Stage.CONNECT,
        Stage.TLS,
        Stage.GREETING,
        Stage.EHLO,
        Stage.STARTTLS,
        Stage.AUTH,
        Stage.MAIL,
    }
)
_ABOUT_RECIPIENT = frozenset({Cause.MAILBOX_UNKNOWN, Cause.MAILBOX_INACTIVE, Cause.MAILBOX_FULL, Cause.DNS_OR_ROUTING})
_HAS_WINDOW = frozenset({Cause.RATE_LIMITED, Cause.QUOTA_EXCEEDED})
_COMES_BACK = _HAS_WINDOW | {
    Cause.GREYLISTED,
    Cause.AUTH_THROTTLED,
    Cause.CONNECTION_LIMIT,
    Cause.SYSTEM_TEMPORARY,
    Cause.REPUTATION_BLOCKED,
    Cause.MAILBOX_FULL,
    Cause.DNS_OR_ROUTING,
    Cause.UNCLASSIFIED,
}


def classify(
    evidence: Reply | WireFailure,
    *,
    stage: Stage | None = None,
    provider: str | None = None,
    sender_domain: str | None = None,
    now: datetime | None = None,
) -> Failure:
    """What a failure means.

    Args:
        evidence: a 4yz or 5yz reply, or what went wrong on the wire.
        stage: where it happened; a `WireFailure` knows its own.
        provider: whose server said it, as in OPTIONS["provider"]; a name that is not known counts as none.
        sender_domain: domain of the From address; tells a sender that is not verified from a recipient that is not.
        now: aware; turns a moment named in the text into seconds.
    """
    if isinstance(evidence, WireFailure):
        return _of_wire(evidence, provider=provider, sender_domain=sender_domain, now=now)
    return _of_reply(evidence, stage=stage, provider=provider, sender_domain=sender_domain, now=now)


def _of_reply(
    reply: Reply, *, stage: Stage | None, provider: str | None, sender_domain: str | None, now: datetime | None
) -> Failure:
    text = reply.text
    known_provider = (canonical_name(provider) or "") if provider else ""
    rule, cause, name, certain = _decision(reply.code, text[:MAX_CHARACTERS], reply.enhanced, stage, known_provider)
    help_text = ""
    retry_after: float | None = None
    if rule is None:
        permanent, scope, action = _consequences(cause, reply.code >= 500, stage)
    else:
        permanent, scope, action = _consequences(cause, reply.code >= 500, stage, rule.permanent, rule.scope)
        help_text = rule.help
        retry_after = rule.retry_after
    if cause is Cause.SENDER_NOT_VERIFIED and sender_domain and _names_only_others(text, sender_domain):
        # Amazon SES in its sandbox: the identity that failed is the recipient.
        scope = Scope.RECIPIENT
        action = action_for(cause, permanent=permanent, scope=scope)
    retry_at: datetime | None = None
    if cause in _COMES_BACK:
        seconds, retry_at = retry_hint(text, now=now)
        if seconds is None and retry_at is None and retry_after is None and cause in _HAS_WINDOW:
            seconds = window_hint(text)
        retry_after = retry_after if seconds is None else seconds
    return Failure(
        cause=cause,
        scope=scope,
        permanent=permanent,
        certain=certain,
        action=action,
        retry_after=retry_after,
        retry_at=retry_at,
        help=help_text or help_for(cause),
        rule=name,
        stage=stage,
        reply=reply,
    )


@cache
def _consequences(
    cause: Cause, is_5yz: bool, stage: Stage | None, permanent: bool | None = None, scope: Scope | None = None
) -> tuple[bool, Scope, Action]:
    """(permanent, scope, action) of a cause; what a rule says of the first two comes before what the cause says."""
    permanent = is_permanent(cause, 550 if is_5yz else 450) if permanent is None else permanent
    scope = scope or scope_for(cause, stage)
    return permanent, scope, action_for(cause, permanent=permanent, scope=scope)


# Servers repeat themselves: a list with dead addresses or an open block brings the same words again and again.
@lru_cache(maxsize=1024)
def _decision(
    code: int, text: str, enhanced: str, stage: Stage | None, provider: str
) -> tuple[Rule | None, Cause, str, bool]:
    """(rule or None, cause, name of what decided, certain)."""
    read = words(text)
    enhanced = enhanced or embedded_status(text)
    if " in reply to " in read:
        read, told = told_stage(read)
        stage = stage or told
    rule = _first_rule(rulebook(), code, read, enhanced, stage, provider)
    if rule is not None:
        return rule, rule.cause, rule.id, True
    cause = cause_of_status(code, enhanced, stage)
    if cause is not None:
        return None, cause, f"status.{enhanced}", True
    rule = _first_rule(loose_rulebook(), code, with_marks(read, text), enhanced, stage, provider)
    if rule is not None:
        return rule, rule.cause, rule.id, True
    return None, *cause_of_code(code, stage)


def _first_rule(book: RuleBook, code: int, read: str, enhanced: str, stage: Stage | None, provider: str) -> Rule | None:
    # 53z is about the login at any stage (RFC 4954 §6).
    is_before_rcpt = stage in _BEFORE_RCPT or code // 10 == 53
    for rule in book.matches(read, str(code), enhanced, stage, provider):
        if is_before_rcpt and (rule.cause in _ABOUT_RECIPIENT or rule.scope is Scope.RECIPIENT):
            continue
        return rule
    return None


@cache
def help_for(cause: Cause) -> str:
    """The meaning of a cause and what a person should do about it."""
    meaning = MEANINGS[cause]
    return f"{meaning.says} {meaning.person}".strip()


def _names_only_others(text: str, sender_domain: str) -> bool:
    domains = {word.rpartition("@")[2].strip("<>()[],;:.'\"").lower() for word in text[:2048].split() if "@" in word}
    return bool(domains) and sender_domain.lower() not in domains


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
    FailureKind.TOO_LARGE: Cause.MESSAGE_TOO_LARGE,
    FailureKind.UNSUPPORTED: Cause.SYNTAX_OR_UNSUPPORTED,
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


def _of_wire(failure: WireFailure, *, provider: str | None, sender_domain: str | None, now: datetime | None) -> Failure:
    kind, stage = failure.kind, failure.stage
    if kind is FailureKind.REFUSED and failure.reply is not None:
        return _of_reply(failure.reply, stage=stage, provider=provider, sender_domain=sender_domain, now=now)
    if failure.error is not None:
        # Not at the top: what foreign exceptions mean is decided with the help of this module.
        from reliable_email.classification.foreign import classify_exception

        return classify_exception(failure.error, provider=provider, sender_domain=sender_domain, now=now)
    if stage is Stage.FINAL_REPLY and kind in (FailureKind.TIMEOUT, FailureKind.DISCONNECTED, FailureKind.PROTOCOL):
        cause = Cause.OUTCOME_UNKNOWN
    elif kind is FailureKind.INVALID:
        cause = Cause.ADDRESS_INVALID if stage is Stage.RCPT else Cause.SYNTAX_OR_UNSUPPORTED
    else:
        cause = _CAUSE_OF_KIND.get(kind, Cause.UNCLASSIFIED)
    permanent = is_permanent(cause)
    scope = scope_for(cause, stage)
    return Failure(
        cause=cause,
        scope=scope,
        permanent=permanent,
        certain=cause is not Cause.UNCLASSIFIED,
        action=action_for(cause, permanent=permanent, scope=scope),
        help=_HELP_OF_KIND.get(kind) or help_for(cause),
        rule=f"wire.{kind.value}",
        stage=stage,
        reply=failure.reply,
        detail=failure.detail,
    )
