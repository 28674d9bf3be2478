"""Replies that speak of the conversation itself, and not of a message or an address.

These are wide nets on purpose: what they catch is asked once more in another way, never believed and never lost.
"""

import re

from reliable_email.patterns import pattern
from reliable_email.smtp.syntax.replies import Reply

# RFC 5321 §4.2.2: syntax, sequence, not implemented, parameters.
_CODES = frozenset({500, 502, 503, 504, 555})
_STATUS = pattern(r"[245]\.5\.[0124]\Z")  # RFC 3463 §3.6: protocol status
_WORDS = pattern(
    r"protocol|synchroni[sz]|pipelin|out of (?:sync|order|sequence)|bad sequence|sequence of commands"
    r"|unexpected (?:command|data|input)|unrecogni[sz]ed command|too (?:early|fast to speak)",
    re.IGNORECASE,
)


# Said of what one session may carry; see `is_session_limit`.
_TOO_MANY = pattern(r"too (?:many|much)|max|limit|exceed|reached|no more|more than|zu viele", re.IGNORECASE)
_WHERE = pattern(
    r"(?:session|connection|conversation|verbindung|sitzung)(?!s? (?:from|attempt|rate|time))", re.IGNORECASE
)
_OF_WHAT = pattern(
    r"\b(?:messages|e-?mails|mails|recipients|transactions|envelopes|deliveries|nachrichten)\b|message per",
    re.IGNORECASE,
)
_OF_WHOM = pattern(
    r"\b(?:from|sender|user|account|client|host|ip|address|mailbox|inbox|domain|you|your|you've)\b", re.IGNORECASE
)
_BY_TIME = pattern(
    r"\b(?:hour|hourly|day|daily|today|minute|second|seconds|minutes|hours|24h?|rate|frequen\w+)\b", re.IGNORECASE
)
_AT_ONCE = pattern(r"concurren|simultan|parallel|connections|sessions|at (?:once|a time|the same time)", re.IGNORECASE)
_FOR_NOW = frozenset({421, 450, 451, 452, 454})


def is_session_limit(reply: Reply, *, at_mail: bool) -> bool:
    """Return whether a refusal may mean that this session has carried enough, and a new one may continue.

    Limits by time, of connections at once, or of a sender or mailbox are others: a new connection is no help.
    """
    text = reply.text
    if not reply.is_refusal or _BY_TIME.search(text) or _AT_ONCE.search(text):
        return False
    if _TOO_MANY.search(text) and _WHERE.search(text):
        return True
    if reply.code not in _FOR_NOW:
        return False
    if reply.enhanced == "4.5.3":
        return True
    wanted = _OF_WHAT.search(text)
    is_told = _TOO_MANY.search(text) is not None and wanted is not None and not _OF_WHOM.search(text)
    return is_told and (at_mail or (wanted is not None and wanted[0].lower() == "recipients"))


def is_about_conversation(reply: Reply) -> bool:
    """Return whether a refusal may be about the form or order of commands rather than their subject."""
    if not reply.is_refusal:
        return False
    return reply.code in _CODES or _STATUS.match(reply.enhanced) is not None or _WORDS.search(reply.text) is not None
