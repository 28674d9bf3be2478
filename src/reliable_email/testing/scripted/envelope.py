"""MAIL and RCPT: their grammar (RFC 5321 §4.1.2), their parameters, and the envelope that they make."""

import re
from collections.abc import Collection, Mapping

from reliable_email.patterns import pattern
from reliable_email.records import dataclass, field
from reliable_email.testing.records import Digest

MAIL_PARAMETERS = frozenset({"SIZE", "BODY", "SMTPUTF8", "AUTH", "RET", "ENVID"})
RCPT_PARAMETERS = frozenset({"NOTIFY", "ORCPT"})
_KEYWORD = {"BODY": "8BITMIME", "SMTPUTF8": "SMTPUTF8", "RET": "DSN", "ENVID": "DSN", "NOTIFY": "DSN", "ORCPT": "DSN"}
_PATH = pattern(
    rb"(?P<verb>MAIL FROM|RCPT TO):[ ]?<(?P<path>(?:\"(?:[^\"\\]|\\.)*\"|[^<>\"\s])*)>(?P<rest>.*)", re.IGNORECASE
)


@dataclass(slots=True)
class Envelope:
    """A transaction that has begun; `chunks` is the content that came by BDAT so far."""

    sender: str
    parameters: dict[str, str]
    recipients: list[str] = field(default_factory=list)
    recipient_parameters: dict[str, dict[str, str]] = field(default_factory=dict)
    chunks: Digest | None = None


def parse_path(text: bytes, verb: bytes) -> tuple[str, dict[str, str]] | None:
    """The path and parameters of MAIL or RCPT; None where the grammar is broken."""
    match = _PATH.fullmatch(text)
    if match is None or match["verb"].upper() != verb:
        return None
    rest = match["rest"].decode("utf-8", "backslashreplace")
    if rest and not rest.startswith(" "):
        return None
    parameters = {}
    for word in rest.split():
        name, _, value = word.partition("=")
        parameters[name.upper()] = value
    try:
        return match["path"].decode(), parameters
    except UnicodeDecodeError:
        return None


def parameter_problem(
    path: str,
    parameters: Mapping[str, str],
    *,
    known: Collection[str],
    keywords: Collection[str],
    is_smtputf8: bool,
) -> str | None:
    """The reply to what the announced keywords do not allow; None where all is well."""
    for name, value in parameters.items():
        keyword = _KEYWORD.get(name)
        if name not in known or (keyword is not None and keyword not in keywords):
            return f"555 5.5.4 Unsupported parameter {name}"
        if name == "BODY" and value.upper() not in ("7BIT", "8BITMIME"):
            return f"501 5.5.4 Bad parameter {name}"
    return None if path.isascii() or is_smtputf8 else "553 5.6.7 Non-ASCII address without SMTPUTF8"
