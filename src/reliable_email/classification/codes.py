"""The meaning of the numbers alone: (code, enhanced), code, class digit (RFC 5321 §4.2.3, RFC 3463).

Numbers are trusted little: only pairs that real servers use for one thing decide with certainty.
"""

from reliable_email.classification.causes import Cause
from reliable_email.smtp.stages import Stage

# "subject.detail" of the enhanced status; the class says nothing about the cause.
_OF_STATUS: dict[str, Cause] = {
    "1.1": Cause.MAILBOX_UNKNOWN,
    "1.2": Cause.DNS_OR_ROUTING,
    "1.3": Cause.SYNTAX_OR_UNSUPPORTED,
    "1.6": Cause.MAILBOX_INACTIVE,
    "1.7": Cause.SENDER_REJECTED,
    "1.8": Cause.SENDER_NOT_AUTHENTICATED,  # the sender's domain is not in DNS
    "1.10": Cause.MAILBOX_UNKNOWN,
    "2.1": Cause.MAILBOX_INACTIVE,
    "2.2": Cause.MAILBOX_FULL,
    "2.3": Cause.MESSAGE_TOO_LARGE,
    "3.1": Cause.SYSTEM_TEMPORARY,
    "3.2": Cause.SYSTEM_TEMPORARY,
    "3.4": Cause.MESSAGE_TOO_LARGE,
    "3.5": Cause.SYSTEM_TEMPORARY,  # the server is badly configured
    "4.1": Cause.DNS_OR_ROUTING,
    "4.2": Cause.SYSTEM_TEMPORARY,
    "4.3": Cause.DNS_OR_ROUTING,
    "4.4": Cause.DNS_OR_ROUTING,
    "4.6": Cause.DNS_OR_ROUTING,
    "4.7": Cause.DNS_OR_ROUTING,
    "5.1": Cause.SYNTAX_OR_UNSUPPORTED,
    "5.2": Cause.SYNTAX_OR_UNSUPPORTED,
    "5.3": Cause.TOO_MANY_RECIPIENTS,
    "5.4": Cause.SYNTAX_OR_UNSUPPORTED,
    "6.0": Cause.CONTENT_REJECTED,
    "6.1": Cause.SYNTAX_OR_UNSUPPORTED,
    "6.2": Cause.SYNTAX_OR_UNSUPPORTED,
    "6.3": Cause.SYNTAX_OR_UNSUPPORTED,
    "6.7": Cause.SYNTAX_OR_UNSUPPORTED,
    "7.5": Cause.SENDER_NOT_AUTHENTICATED,  # DMARC could not be evaluated
    "7.8": Cause.AUTH_FAILED,
    "7.9": Cause.AUTH_FAILED,
    "7.10": Cause.TLS_REQUIRED,
    "7.11": Cause.TLS_REQUIRED,
    "7.20": Cause.SENDER_NOT_AUTHENTICATED,  # RFC 7372: DKIM
    "7.21": Cause.SENDER_NOT_AUTHENTICATED,
    "7.22": Cause.SENDER_NOT_AUTHENTICATED,
    "7.23": Cause.SENDER_NOT_AUTHENTICATED,  # SPF
    "7.24": Cause.SENDER_NOT_AUTHENTICATED,
    "7.25": Cause.REPUTATION_BLOCKED,  # reverse DNS
    "7.26": Cause.SENDER_NOT_AUTHENTICATED,  # several authentication checks
    "7.27": Cause.SENDER_NOT_AUTHENTICATED,  # null MX of the sender, RFC 7505
    "7.28": Cause.RATE_LIMITED,  # mail flood
    "7.29": Cause.SENDER_NOT_AUTHENTICATED,  # ARC; Gmail's own meaning is TLS
    "7.30": Cause.SENDER_NOT_AUTHENTICATED,  # Gmail: DKIM
    "7.31": Cause.SENDER_NOT_AUTHENTICATED,
    "7.32": Cause.SENDER_NOT_AUTHENTICATED,  # Gmail: alignment
    "7.139": Cause.AUTH_FAILED,
    "7.232": Cause.QUOTA_EXCEEDED,  # Microsoft's limits of a tenant
    "7.233": Cause.QUOTA_EXCEEDED,
    "7.234": Cause.QUOTA_EXCEEDED,
    "7.235": Cause.QUOTA_EXCEEDED,
    "7.236": Cause.QUOTA_EXCEEDED,
    "7.509": Cause.SENDER_NOT_AUTHENTICATED,  # Microsoft: DMARC
    "7.515": Cause.SENDER_NOT_AUTHENTICATED,
}
_OF_CODE: dict[int, Cause] = {
    432: Cause.CONNECTION_LIMIT,
    452: Cause.SYSTEM_TEMPORARY,
    454: Cause.SYSTEM_TEMPORARY,
    500: Cause.SYNTAX_OR_UNSUPPORTED,
    501: Cause.SYNTAX_OR_UNSUPPORTED,
    502: Cause.SYNTAX_OR_UNSUPPORTED,
    503: Cause.SYNTAX_OR_UNSUPPORTED,
    504: Cause.SYNTAX_OR_UNSUPPORTED,
    521: Cause.REPUTATION_BLOCKED,  # RFC 7504: does not accept mail, which on a submission route is about us
    523: Cause.MESSAGE_TOO_LARGE,
    530: Cause.AUTH_FAILED,
    534: Cause.AUTH_FAILED,
    535: Cause.AUTH_FAILED,
    538: Cause.TLS_REQUIRED,
    552: Cause.MESSAGE_TOO_LARGE,
    555: Cause.SYNTAX_OR_UNSUPPORTED,
    556: Cause.DNS_OR_ROUTING,  # RFC 7504
}
_RECIPIENT_ONLY = frozenset({Cause.MAILBOX_UNKNOWN, Cause.MAILBOX_INACTIVE, Cause.MAILBOX_FULL, Cause.DNS_OR_ROUTING})
# Where the recipient was the question, or where it is not known what was asked.
_MAY_BE_RECIPIENT = frozenset({Stage.RCPT, Stage.DATA, Stage.CONTENT, Stage.FINAL_REPLY, None})


def cause_of_status(code: int, enhanced: str, stage: Stage | None) -> Cause | None:
    """Return the cause of the enhanced status; None if it says nothing by itself (5.7.1, x.0.0)."""
    cause = _OF_STATUS.get(enhanced.partition(".")[2])
    if enhanced.endswith(".7.9") and code // 10 != 53:
        return None  # "mechanism too weak" in answer to AUTH; Yahoo says it of the sender's policy
    if code // 10 == 53:
        # RFC 4954 §6: about the login, whatever the status says besides.
        return cause if cause in (Cause.AUTH_FAILED, Cause.TLS_REQUIRED) else None
    if cause in _RECIPIENT_ONLY and (stage not in _MAY_BE_RECIPIENT or code == 521):
        return None
    return Cause.SYSTEM_PERMANENT if cause is Cause.SYSTEM_TEMPORARY and code >= 500 else cause


def cause_of_code(code: int, stage: Stage | None) -> tuple[Cause, str, bool]:
    """(cause, name of the rule, certain) of the reply code, at last of its first digit."""
    cause = _OF_CODE.get(code)
    if cause is not None and not (cause in _RECIPIENT_ONLY and stage not in _MAY_BE_RECIPIENT):
        return cause, f"code.{code}", True
    if code < 500:
        return Cause.SYSTEM_TEMPORARY, f"class.{code // 100}", False
    return Cause.UNCLASSIFIED, f"class.{code // 100}", False
