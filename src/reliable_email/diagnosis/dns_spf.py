"""SPF (RFC 7208): is there one record, can it be read, and does evaluating it stay within the limits?

Counted is the worst case, in which no mechanism matches before the last. Macros are not expanded: what depends on the
single message is not followed. Nothing is evaluated for an IP address.
"""

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from reliable_email.diagnosis.dns_lookup import Answer, Ask

MAX_LOOKUPS = 10  # section 4.6.4
MAX_VOIDS = 2
_MAX_MX = 10
# A record that needs more is not followed to its end: what it needs is too much anyway.
_ENOUGH = 40

_VERSION = re.compile(r"v=spf1(?: |\Z)", re.IGNORECASE)
_MODIFIER = re.compile(r"([A-Za-z][A-Za-z0-9_.-]*)=(.*)\Z")
_MECHANISM = re.compile(r"([+?~-]?)([A-Za-z0-9]+)(?:([:/])(.*))?\Z")
_CIDR = re.compile(r"(?P<domain>[^/]*)(?:/(?P<four>\d{1,2}))?(?://(?P<six>\d{1,3}))?\Z")
_ASKING = frozenset({"include", "a", "mx", "ptr", "exists"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """One mechanism or modifier; `argument` is its domain, where it names one."""

    text: str
    name: str
    qualifier: str = "+"
    argument: str = ""


class TermError(ValueError):
    """A term that makes the whole record a permanent error."""


@dataclass(slots=True, kw_only=True)
class SPF:
    """What came of one domain's SPF.

    Attributes:
        domain: whose.
        records: the SPF records at it; there should be one.
        terms: of the only record.
        lookups, voids: of evaluating it, in the worst case.
        includes: every domain that is included or redirected to, at whatever depth.
        costs: lookups by term of the record itself.
        errors: what makes receivers take it for a permanent error.
        notes: what is odd, and works.
        unasked: what could not be asked.
    """

    domain: str
    records: tuple[str, ...] = ()
    terms: tuple[Term, ...] = ()
    lookups: int = 0
    voids: int = 0
    includes: set[str] = field(default_factory=set)
    costs: dict[str, int] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    unasked: list[Answer] = field(default_factory=list)

    @property
    def is_usable(self) -> bool:
        """Whether receivers can evaluate it."""
        return len(self.records) == 1 and not self.errors


def examine_spf(ask: Ask, domain: str) -> SPF:
    """Read a domain's record and count what it costs."""
    found = SPF(domain=domain)
    answer = ask(domain, "TXT")
    if answer.is_unasked:
        found.unasked.append(answer)
        return found
    found.records = spf_records(answer)
    if len(found.records) != 1:
        return found
    try:
        found.terms = parse(found.records[0])
    except TermError as error:
        found.errors.append(str(error))
        return found
    _follow(ask, found, found.terms, domain, path=(domain,))
    if found.lookups > MAX_LOOKUPS:
        more = "more than " if found.lookups >= _ENOUGH else ""
        found.errors.append(f"it needs {more}{found.lookups} lookups, and receivers stop after {MAX_LOOKUPS}")
    if found.voids > MAX_VOIDS:
        found.errors.append(f"{found.voids} of its lookups lead nowhere, and receivers stop after {MAX_VOIDS}")
    found.notes += _oddities(found.terms)
    return found


def spf_records(answer: Answer) -> tuple[str, ...]:
    """Those of a TXT answer that are SPF's."""
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
                raise TermError(f"“{word}”: “all” takes nothing behind it")
            domain = ""
        case "include" | "exists":
            if not value or separator != ":" or "/" in value:
                raise TermError(f"“{word}” has to name one domain")
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
        raise TermError(f"“{word}” is no IP network") from None
    if network.version != int(name[2]):
        raise TermError(f"“{word}” is a network of the other IP version")


def _follow(ask: Ask, found: SPF, terms: tuple[Term, ...], domain: str, *, path: tuple[str, ...]) -> None:
    has_all = any(term.name == "all" for term in terms)
    for term in terms:
        if found.lookups >= _ENOUGH:
            return
        if term.name == "all":
            return
        before = found.lookups
        if term.name in _ASKING:
            found.lookups += 1
            _ask_for(ask, found, term, term.argument or domain, path)
        if len(path) == 1 and found.lookups > before:
            found.costs[term.text] = found.lookups - before
    for term in terms:
        if term.name == "redirect" and not has_all:
            before = found.lookups
            found.lookups += 1
            _enter(ask, found, term, path)
            if len(path) == 1:
                found.costs[term.text] = found.lookups - before


def _ask_for(ask: Ask, found: SPF, term: Term, target: str, path: tuple[str, ...]) -> None:
    if "%" in target:
        found.notes.append(f"“{term.text}” depends on each message and was not followed")
        return
    match term.name:
        case "include":
            _enter(ask, found, term, path)
        case "a" | "exists":
            four = ask(target, "A")
            six = ask(target, "AAAA") if four.is_void and term.name == "a" else four
            _note_void(found, term, four if not four.is_void else six)
        case "mx":
            answer = ask(target, "MX")
            _note_void(found, term, answer)
            if len(answer.values) > _MAX_MX:
                found.errors.append(f"“{term.text}”: {target} has more than {_MAX_MX} mail exchangers")
        case "ptr":
            pass


def _enter(ask: Ask, found: SPF, term: Term, path: tuple[str, ...]) -> None:
    """Into an included record, or the one that is redirected to."""
    target = term.argument.lower()
    if "%" in target:
        found.notes.append(f"“{term.text}” depends on each message and was not followed")
        return
    if target in path:
        found.errors.append(f"“{term.text}” leads back to itself")
        return
    found.includes.add(target)
    answer = ask(target, "TXT")
    if answer.is_unasked:
        found.unasked.append(answer)
        return
    found.voids += answer.is_void
    records = spf_records(answer)
    if len(records) != 1:
        what = "no SPF record" if not records else "more than one SPF record"
        found.errors.append(f"“{term.text}”: {target} has {what}")
        return
    try:
        terms = parse(records[0])
    except TermError as error:
        found.errors.append(f"in {target}, {error}")
        return
    _follow(ask, found, terms, target, path=(*path, target))


def _note_void(found: SPF, term: Term, answer: Answer) -> None:
    if answer.is_unasked:
        found.unasked.append(answer)
    elif answer.is_void:
        found.voids += 1
        found.notes.append(f"“{term.text}” finds nothing at {answer.name}")


def _oddities(terms: tuple[Term, ...]) -> list[str]:
    notes = []
    names = [term.name for term in terms]
    if "all" in names:
        end = terms[names.index("all")]
        behind = [term.text for term in terms[names.index("all") + 1 :] if term.name != "exp"]
        if end.qualifier == "+":
            notes.append("“+all” lets everybody send in your name; end with “~all” or “-all”")
        if behind:
            notes.append(f"what stands behind “{end.text}” is never looked at: {' '.join(behind)}")
    elif "redirect" not in names:
        notes.append("it has no “all” at its end, so that it says nothing of other servers")
    if "ptr" in names:
        notes.append("“ptr” should not be used any more, and some receivers ignore it")
    return notes
