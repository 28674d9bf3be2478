"""What a server announced in its reply to EHLO (RFC 5321 §4.1.1.1)."""

from dataclasses import dataclass

from reliable_email.smtp.replies import Reply


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """The extensions that matter for submission. All off after HELO.

    Attributes:
        size: the largest message in bytes (RFC 1870), None where none or no usable number was announced.
        auth: mechanism names in upper case, in the server's order, without duplicates.
        keywords: every keyword with its parameters, for people.
    """

    pipelining: bool = False
    chunking: bool = False
    eight_bit_mime: bool = False
    smtputf8: bool = False
    starttls: bool = False
    announces_size: bool = False
    size: int | None = None
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
    limit = int(size[0]) if size and size[0].isascii() and size[0].isdigit() else 0
    return Capabilities(
        pipelining="PIPELINING" in parameters,
        chunking="CHUNKING" in parameters,
        eight_bit_mime="8BITMIME" in parameters,
        smtputf8="SMTPUTF8" in parameters,
        starttls="STARTTLS" in parameters,
        announces_size="SIZE" in parameters,
        size=limit or None,  # RFC 1870: 0 means that there is no fixed maximum
        auth=tuple(dict.fromkeys(name.upper() for name in parameters.get("AUTH", []))),
        keywords=tuple(line for line in reply.lines[1:] if line),
    )
