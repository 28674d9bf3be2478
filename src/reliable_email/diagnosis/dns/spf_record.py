"""The SPF record as text (RFC 7208 sections 4 to 6): read, judged for itself, and written anew."""

import ipaddress
import re
from collections.abc import Iterable

from reliable_email.diagnosis.dns.lookup import Answer
from reliable_email.patterns import pattern
from reliable_email.records import dataclass

_VERSION = pattern(r"v=spf1(?: |\Z)", re.IGNORECASE)
_MODIFIER = pattern(r"([A-Za-z][A-Za-z0-9_.-]*)=(.*)\Z")
_MECHANISM = pattern(r"([+?~-]?)([A-Za-z0-9]+)(?:([:/])(.*))?\Z")
_CIDR = pattern(r"(?P<domain>[^/]*)(?:/(?P<four>\d{1,2}))?(?://(?P<six>\d{1,3}))?\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """One mechanism or modifier; `argument` is its domain, where it names one."""

    text: str
    name: str
    qualifier: str = "+"
    argument: str = ""


class TermError(ValueError):
    """A term that makes the whole record a permanent error."""


def spf_records(answer: Answer) -> tuple[str, ...]:
    """Return the SPF records of a TXT answer."""
    return tuple(text for text in answer.values if _VERSION.match(text))


def parse(record: str) -> tuple[Term, ...]:
    """The terms of a record.

    Raises:
        TermError: naming the term that cannot be read.
    """
    return tuple(_term(word) for word in record.split(" ")[1:] if word)


def with_includes(terms: Iterable[Term], includes: Iterable[str]) -> str:
    """The record with these includes in it, before what ends it."""
    words = [term.text for term in terms]
    end = next((n for n, term in enumerate(terms) if term.name in ("all", "redirect")), len(words))
    new = [f"include:{domain}" for domain in dict.fromkeys(includes) if f"include:{domain}" not in words]
    ended = words[end:] or ["~all"]
    return " ".join(["v=spf1", *words[:end], *new, *ended])


def merged(records: Iterable[str]) -> str:
    """One record that says what several say; what cannot be read is left out."""
    words: list[str] = []
    ends: list[str] = []
    for record in records:
        for word in record.split(" ")[1:]:
            bare = word.lower().lstrip("+?~-")
            if bare == "all":
                ends.append(word)
            elif word and word not in words:
                words.append(word)
    # The most careful of them: what one of the records did not know of is then not refused.
    end = next((one for one in ("?all", "~all", "-all") if one in ends), "~all")
    return " ".join(["v=spf1", *words, end])


def _term(word: str) -> Term:
    modifier = _MODIFIER.match(word)
    if modifier:
        name, value = modifier[1].lower(), modifier[2]
        if name in ("redirect", "exp") and not value:
            raise TermError(f"“{word}” names no domain")
        return Term(text=word, name=name, argument=value.rstrip("."))
    match = _MECHANISM.match(word)
    if match is None:
        raise TermError(f"“{word}” cannot be read")
    qualifier, name, separator, rest = match[1] or "+", match[2].lower(), match[3] or "", match[4] or ""
    value = rest if separator == ":" else f"/{rest}" if separator else ""
    match name:
        case "all":
            if separator:
                raise TermError(f"“{word}”: “all” takes no value")
            domain = ""
        case "include" | "exists":
            if not value or separator != ":" or "/" in value:
                raise TermError(f"“{word}” must name one domain")
            domain = value
        case "a" | "mx" | "ptr":
            sizes = _CIDR.match(value)
            if sizes is None or (separator == ":" and not sizes["domain"]):
                raise TermError(f"“{word}” cannot be read")
            if int(sizes["four"] or 0) > 32 or int(sizes["six"] or 0) > 128 or (name == "ptr" and "/" in value):
                raise TermError(f"“{word}” has a prefix that is too long")
            domain = sizes["domain"]
        case "ip4" | "ip6":
            _check_network(word, name, value)
            domain = ""
        case _:
            raise TermError(f"“{word}”: there is no mechanism “{name}”")
    return Term(text=word, name=name, qualifier=qualifier, argument=domain.rstrip("."))


def _check_network(word: str, name: str, value: str) -> None:
    try:
        network = ipaddress.ip_network(value, strict=False)
    except ValueError:
        raise TermError(f"“{word}” is not an IP network") from None
    if network.version != int(name[2]):
        raise TermError(f"“{word}” is a network of the other IP version")


def oddities(terms: tuple[Term, ...]) -> list[str]:
    """Return notes about terms that work but should be changed."""
    notes = []
    names = [term.name for term in terms]
    if "all" in names:
        end = terms[names.index("all")]
        behind = [term.text for term in terms[names.index("all") + 1 :] if term.name != "exp"]
        if end.qualifier == "+":
            notes.append("“+all” lets anyone send in your name; end with “~all” or “-all”")
        if behind:
            notes.append(f"receivers ignore the terms after “{end.text}”: {' '.join(behind)}")
    elif "redirect" not in names:
        notes.append("it does not end with “all”, so it says nothing about other servers")
    if "ptr" in names:
        notes.append("“ptr” should not be used any more, and some receivers ignore it")
    return notes
