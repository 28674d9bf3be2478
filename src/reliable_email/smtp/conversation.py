"""Replies that speak of the conversation itself, and not of a message or an address.

These are wide nets on purpose: what they catch is asked once more in another way, never believed and never lost.
"""

import re

from reliable_email.smtp.replies import Reply

# RFC 5321 §4.2.2: syntax, sequence, not implemented, parameters.
_CODES = frozenset({500, 502, 503, 504, 555})
_STATUS = re.compile(r"[245]\.5\.[0124]\Z")  # RFC 3463 §3.6: protocol status
_WORDS = re.compile(
    r"protocol|synchroni[sz]|pipelin|out of (?:sync|order|sequence)|bad sequence|sequence of commands"
    r"|unexpected (?:command|data|input)|unrecogni[sz]ed command|too (?:early|fast to speak)",
    re.IGNORECASE,
)


def is_about_conversation(reply: Reply) -> bool:
    """Whether a refusal may be about how or when the command came, whatever it was about."""
    if not reply.is_refusal:
        return False
    return reply.code in _CODES or _STATUS.match(reply.enhanced) is not None or _WORDS.search(reply.text) is not None
