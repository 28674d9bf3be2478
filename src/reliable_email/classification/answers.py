"""The meaning of a reply.

In this order: rules for the stage, the named provider's rules, the other providers' rules, generic rules on the text,
enhanced status, words that go together, code, class digit. Text beats codes because servers share codes and not words
(RFC 5321 §4.2, RFC 3463, read against real replies): the first digit alone is right in three of five.

The stage is a floor that no rule passes: what is refused before MAIL is the route's matter, whatever its words, and
nothing that is said before RCPT is about a recipient. So a dead route is never taken for a bad message or mailbox.
"""

from datetime import datetime
from functools import cache, lru_cache

from reliable_email.classification.causes import Cause, Failure, Scope
from reliable_email.classification.codes import cause_of_code, cause_of_status
from reliable_email.classification.hints import retry_hint, window_hint
from reliable_email.classification.meanings import BEFORE_MAIL, MEANINGS, help_for, is_permanent, scope_for
from reliable_email.classification.rulebook import Rule, RuleBook, loose_rulebook, rulebook
from reliable_email.classification.words import MAX_CHARACTERS, embedded_status, told_stage, with_marks, words
from reliable_email.providers import canonical_name
from reliable_email.smtp.stages import Stage
from reliable_email.smtp.syntax.replies import Reply

_BEFORE_RCPT = BEFORE_MAIL | {Stage.MAIL}
_ABOUT_RECIPIENT = frozenset({Cause.MAILBOX_UNKNOWN, Cause.MAILBOX_INACTIVE, Cause.MAILBOX_FULL, Cause.DNS_OR_ROUTING})
# Causes that name neither recipient nor sender, content, login or policy.
_SAYS_LITTLE = frozenset(
    {Cause.SYNTAX_OR_UNSUPPORTED, Cause.SYSTEM_TEMPORARY, Cause.SYSTEM_PERMANENT, Cause.UNCLASSIFIED}
)
_CONVERSATION_CODES = frozenset({500, 502, 503, 504, 555})
_CONVERSATION_STATUSES = frozenset({".5.0", ".5.1", ".5.2", ".5.4"})
_CONVERSATION_WORDS = (" protocol ", " synchronization ", " synchronisation ")
_CONVERSATION = (
    "The server speaks of the commands and their order, not of this message. If it happens "
    "again, show the reply to the server's owner; `manage.py test_email --verbose` shows the whole conversation."
)
_NOT_WELCOME = (
    "The server does not talk to this host at all. Check whether its IP address is on a block list or whether the "
    "server expects known clients."
)
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


def classify_reply(
    reply: Reply,
    *,
    stage: Stage | None = None,
    provider: str | None = None,
    sender_domain: str | None = None,
    now: datetime | None = None,
) -> Failure:
    """Return the meaning of a 4yz or 5yz reply; the arguments are those of `classify`."""
    reply = _cut(reply)
    text = reply.text
    known_provider = (canonical_name(provider) or "") if provider else ""
    rule, cause, name, certain = _decision(reply.code, text, reply.enhanced, stage, known_provider)
    help_text = ""
    retry_after: float | None = None
    if stage in BEFORE_MAIL and MEANINGS[cause].scope is not Scope.ROUTE:
        rule, cause, name = None, _route_cause(stage, reply.code), f"stage.{stage}"
        if stage is Stage.GREETING and cause is Cause.REPUTATION_BLOCKED:
            help_text = _NOT_WELCOME
    conversation = stage not in BEFORE_MAIL and _is_about_conversation(reply, rule, cause, name, stage)
    if conversation:
        permanent, scope = _consequences(cause, reply.code >= 500, stage, scope=Scope.MESSAGE)
        help_text = _CONVERSATION
    elif rule is None:
        permanent, scope = _consequences(cause, reply.code >= 500, stage)
    else:
        permanent, scope = _consequences(cause, reply.code >= 500, stage, rule.permanent, rule.scope)
        help_text = rule.help
        retry_after = rule.retry_after
    if cause is Cause.SENDER_NOT_VERIFIED and sender_domain and _names_only_others(text, sender_domain):
        # Amazon SES in its sandbox: the identity that failed is the recipient.
        scope = Scope.RECIPIENT
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
        retry_after=retry_after,
        retry_at=retry_at,
        help=help_text or help_for(cause),
        rule=name,
        stage=stage,
        reply=reply,
        is_about_conversation=conversation,
    )


def _cut(reply: Reply) -> Reply:
    """The reply with as much of its text as is read and kept."""
    if sum(map(len, reply.lines)) + len(reply.lines) <= MAX_CHARACTERS:
        return reply
    return Reply(reply.code, (reply.text[:MAX_CHARACTERS],), reply.enhanced)


def _route_cause(stage: Stage | None, code: int) -> Cause:
    """Return the cause of a refusal before MAIL that no rule explains."""
    if code < 500:
        return Cause.SYSTEM_TEMPORARY
    match stage:
        case Stage.AUTH:
            return Cause.AUTH_FAILED
        case Stage.EHLO:
            return Cause.HELO_REFUSED
        case Stage.GREETING:
            return Cause.REPUTATION_BLOCKED
        case _:
            return Cause.SYSTEM_PERMANENT


def _is_about_conversation(reply: Reply, rule: Rule | None, cause: Cause, name: str, stage: Stage | None) -> bool:
    """Return whether a reply speaks of commands and their order; words about anything else decide first."""
    if rule is not None and (rule.conversation or cause is Cause.SYNTAX_OR_UNSUPPORTED):
        return rule.conversation
    if cause not in _SAYS_LITTLE:
        return False
    if reply.code in _CONVERSATION_CODES or reply.enhanced[1:] in _CONVERSATION_STATUSES:
        return True
    if cause is Cause.SYNTAX_OR_UNSUPPORTED and name.startswith("code.") and stage is not Stage.RCPT:
        return True
    read = words(reply.text)
    return any(word in read for word in _CONVERSATION_WORDS)


@cache
def _consequences(
    cause: Cause, is_5yz: bool, stage: Stage | None, permanent: bool | None = None, scope: Scope | None = None
) -> tuple[bool, Scope]:
    """(permanent, scope) of a cause; what a rule says of the first two comes before what the cause says."""
    if stage in BEFORE_MAIL:
        scope = Scope.ROUTE
    permanent = is_permanent(cause, 550 if is_5yz else 450) if permanent is None else permanent
    return permanent, scope or scope_for(cause, stage)


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


def _names_only_others(text: str, sender_domain: str) -> bool:
    domains = {word.rpartition("@")[2].strip("<>()[],;:.'\"").lower() for word in text[:2048].split() if "@" in word}
    return bool(domains) and sender_domain.lower() not in domains
