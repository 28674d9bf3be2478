"""SPF (RFC 7208): is there one record, can it be read, and does evaluating it stay within the limits?

Counted is the worst case, in which no mechanism matches before the last. Macros are not expanded: what depends on the
single message is not followed. Nothing is evaluated for an IP address.
"""

from reliable_email.diagnosis.dns.lookup import Answer, Ask
from reliable_email.diagnosis.dns.spf_record import Term, TermError, oddities, parse, spf_records
from reliable_email.records import dataclass, field

MAX_LOOKUPS = 10  # section 4.6.4
MAX_VOIDS = 2
_MAX_MX = 10
# A record that needs more is not followed to its end: what it needs is too much anyway.
_ENOUGH = 40
_ASKING = frozenset({"include", "a", "mx", "ptr", "exists"})


@dataclass(slots=True, kw_only=True)
class SPF:
    """The result of evaluating one domain's SPF.

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
        """True if receivers can evaluate it."""
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
        found.errors.append(f"{found.voids} of its lookups find nothing, and receivers stop after {MAX_VOIDS}")
    found.notes += oddities(found.terms)
    return found


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
