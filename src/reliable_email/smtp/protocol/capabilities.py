"""The extensions that a server announced in its reply to EHLO (RFC 5321 §4.1.1.1)."""

from reliable_email.records import dataclass
from reliable_email.smtp.syntax.replies import Reply

_SIZE_DIGITS = 20  # RFC 1870 §3
_LIMIT_DIGITS = 6  # RFC 9422


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """The extensions that matter for submission. All off after HELO.

    Attributes:
        size: the largest message in bytes (RFC 1870), None where none or no usable number was announced.
        mail_max: MAIL commands of one session (RFC 9422), None where none was announced.
        rcpt_max: RCPT commands of one transaction.
        rcpt_domain_max: domains in the RCPT commands of one session.
        auth: mechanism names in upper case, in the server's order, without duplicates.
        keywords: every keyword with its parameters, for people.
    """

    pipelining: bool = False
    chunking: bool = False
    eight_bit_mime: bool = False
    smtputf8: bool = False
    starttls: bool = False
    dsn: bool = False
    announces_size: bool = False
    size: int | None = None
    mail_max: int | None = None
    rcpt_max: int | None = None
    rcpt_domain_max: int | None = None
    auth: tuple[str, ...] = ()
    keywords: tuple[str, ...] = ()


def parse_capabilities(reply: Reply) -> Capabilities:
    """Read the keywords behind the greeting line. Odd ones are kept for people and otherwise ignored."""
    parameters: dict[str, list[str]] = {}
    for line in reply.lines[1:]:
        # Servers of the nineties announce "AUTH=LOGIN"; some send both forms.
        words = line.replace("=", " ", 1).split() if line.upper().startswith("AUTH=") else line.split()
        if words:
            parameters.setdefault(words[0].upper(), []).extend(words[1:])
    size = parameters.get("SIZE", [])
    limits = _limits(parameters.get("LIMITS", []))
    return Capabilities(
        pipelining="PIPELINING" in parameters,
        chunking="CHUNKING" in parameters,
        eight_bit_mime="8BITMIME" in parameters,
        smtputf8="SMTPUTF8" in parameters,
        starttls="STARTTLS" in parameters,
        dsn="DSN" in parameters,
        announces_size="SIZE" in parameters,
        size=_number(size[0], _SIZE_DIGITS) if size else None,  # RFC 1870: 0 means that there is no fixed maximum
        mail_max=limits.get("MAILMAX"),
        rcpt_max=limits.get("RCPTMAX"),
        rcpt_domain_max=limits.get("RCPTDOMAINMAX"),
        auth=tuple(dict.fromkeys(name.upper() for name in parameters.get("AUTH", []))),
        keywords=tuple(line for line in reply.lines[1:] if line),
    )


def _limits(words: list[str]) -> dict[str, int]:
    """Parse the values of LIMITS; the first one of each name counts."""
    limits: dict[str, int] = {}
    for word in words:
        name, _, value = word.partition("=")
        number = _number(value, _LIMIT_DIGITS)
        if number is not None:
            limits.setdefault(name.upper(), number)
    return limits


def _number(word: str, digits: int) -> int | None:
    """A positive number of so many digits at most; None for anything else, which is ignored."""
    return int(word) or None if word.isascii() and word.isdigit() and len(word) <= digits else None
