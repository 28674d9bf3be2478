"""A reply as people paste it: from a log, a bounce, or a Python traceback with its `(550, b'5.1.1 …')`."""

import ast
import re

from reliable_email.patterns import pattern
from reliable_email.smtp.syntax.charsets import decoded
from reliable_email.smtp.syntax.replies import Reply, ReplyError, parse_reply

_TUPLE = pattern(r"\((?P<code>[2-5]\d\d), ?(?P<text>b?'(?:[^'\\]|\\.)*'|b?\"(?:[^\"\\]|\\.)*\")")
_STATUS_ONLY = pattern(r"\s*[#(]{0,2}(?P<enhanced>[45]\.\d{1,3}\.\d{1,3})\b\)?\s*(?P<text>.*)\Z", re.DOTALL)
_CODE = pattern(r"(?<![\d.])[2-5]\d\d[ -]")
MAX_PASTED = 64 * 1024


def read_reply(text: str) -> Reply:
    """The refusal in a pasted text.

    Raises:
        ReplyError: there is none, in words for whoever pasted it.
    """
    text = text[:MAX_PASTED].strip()
    if not text:
        raise ReplyError("there is no reply to explain")
    reply = _read(text)
    if not reply.is_refusal:
        raise ReplyError(f"{reply.code} is no refusal: the server was content")
    return reply


def _read(text: str) -> Reply:
    match = _TUPLE.search(text)
    if match is not None:
        lines = _unquoted(match["text"]).splitlines() or [""]
        return parse_reply("\n".join(f"{match['code']} {line}" for line in lines))
    try:
        return parse_reply(text)
    except ReplyError:
        pass
    match = _STATUS_ONLY.match(text)
    if match is not None:
        # Some servers, Zoho among them, send the enhanced status without a reply code.
        code = 450 if match["enhanced"].startswith("4") else 550
        return Reply(code, tuple(match["text"].splitlines()) or ("",), match["enhanced"])
    match = _CODE.search(text)
    if match is not None:
        return parse_reply(" ".join(text[match.start() :].split()))
    raise ReplyError("that is no SMTP reply: it should begin with a three-digit code, like '550 5.1.1 User unknown'")


def _unquoted(literal: str) -> str:
    try:
        value = ast.literal_eval(literal)
    except (ValueError, SyntaxError):
        return literal
    return decoded(value) if isinstance(value, bytes) else str(value)
