"""DMARC (RFC 9989): which policy is there for a domain, and which domains does it count as the same?

Both questions are answered by a walk up the DNS tree, which has taken the place of a list of public suffixes: the
record of the domain itself counts, else that of its organizational domain, else that of the public suffix above.
"""

from collections.abc import Iterator

from reliable_email.diagnosis.dns.lookup import Answer, AnswerKind, Ask
from reliable_email.records import dataclass

# A name of more labels than these is cut to seven after the first question (section 4.10).
_LABELS = 8
POLICIES = ("none", "quarantine", "reject")
_WEAKER = {"reject": "quarantine", "quarantine": "none", "none": "none"}
_REMOVED = ("pct", "rf", "ri")


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A domain's DMARC policy: its wishes for mail that is not aligned.

    Attributes:
        domain: where the record stands.
        organisation: domains below it count as the same for relaxed alignment.
        policy: for the domain that was asked about: `p`, or `sp` or `np` where it is below `domain`.
        by: the tag that said so.
        is_test: receivers are asked to apply the policy one step weaker (t=y).
        is_dkim_strict, is_spf_strict: whether the very domain is wanted, not one above or below.
        reports_to: who gets reports (`rua`).
        problem: why receivers take it for none.
        mistake: why they read p=none out of it.
        is_one_of_several: the problem is that there are others beside it.
        oddities: what receivers ignore in it.
        removed: tags in it that RFC 9989 has removed, with their values.
    """

    domain: str
    record: str
    organisation: str = ""
    policy: str = "none"
    by: str = "p"
    is_test: bool = False
    is_dkim_strict: bool = False
    is_spf_strict: bool = False
    reports_to: tuple[str, ...] = ()
    problem: str = ""
    mistake: str = ""
    is_one_of_several: bool = False
    oddities: tuple[str, ...] = ()
    removed: tuple[tuple[str, str], ...] = ()

    @property
    def applied(self) -> str:
        """The policy that receivers apply; with t=y, the next weaker one."""
        return _WEAKER[self.policy] if self.is_test else self.policy

    @property
    def is_enforced(self) -> bool:
        """True if receivers are asked to act."""
        return self.applied != "none" and not self.problem


def names_to_ask(domain: str) -> Iterator[str]:
    """The names of a tree walk: at most eight, the last has one label."""
    labels = domain.split(".")
    yield domain
    first = len(labels) - _LABELS + 1 if len(labels) > _LABELS else 1
    for n in range(first, len(labels)):
        yield ".".join(labels[n:])


def find_policy(ask: Ask, domain: str) -> Policy | Answer | None:
    """The policy for a domain; None where there is none, the answer where it could not be asked."""
    own, silent = _records_at(ask, domain)
    if silent is not None:
        return silent
    # The first that could stand alone.
    whole = [one for one in own if not read_policy(one, at=domain, domain=domain).problem]
    if len(own) > 1:
        problem = "there is more than one"
        return Policy(
            domain=domain, organisation=domain, record=(whole or own)[0], problem=problem, is_one_of_several=bool(whole)
        )
    found, organisation, silent = _walk(ask, domain)
    if own:
        return read_policy(own[0], at=domain, domain=domain, organisation=organisation)
    near = [text for text in ask(f"_dmarc.{domain}", "TXT").values if "dmarc" in text.lower()]
    if near:
        problem = "it does not begin with “v=DMARC1;”"
        return Policy(domain=domain, organisation=organisation, record=near[0], problem=problem)
    if silent is not None:
        return silent
    # The organizational domain's, else the public suffix's (section 4.10.1).
    for at in (organisation, *reversed(found)):
        if at in found:
            exists = "np" not in _tags(found[at])[0] or _exists(ask, domain)
            return read_policy(found[at], at=at, domain=domain, organisation=organisation, exists=exists)
    return None


def organisation_of(ask: Ask, domain: str) -> str:
    """The organizational domain of a domain (section 4.10.2), "" where it could not be asked.

    A domain without a record on the way up is its own.
    """
    _, organisation, silent = _walk(ask, domain)
    return organisation if silent is None else ""


def _walk(ask: Ask, domain: str) -> tuple[dict[str, str], str, Answer | None]:
    """The records on the way up, the organizational domain, and the answer that ended the walk too early."""
    found: dict[str, str] = {}
    for at in names_to_ask(domain):
        records, silent = _records_at(ask, at)
        if silent is not None:
            return found, next(reversed(found), domain), silent
        if len(records) != 1:
            continue  # several are discarded (section 4.10)
        found[at] = records[0]
        match _tags(records[0])[0].get("psd", "").lower():
            case "n":
                return found, at, None
            case "y" if at != domain:
                labels = domain.split(".")
                return found, ".".join(labels[len(labels) - at.count(".") - 2 :]), None
            case "y":
                return found, domain, None
    return found, next(reversed(found), domain), None


def _records_at(ask: Ask, at: str) -> tuple[list[str], Answer | None]:
    answer = ask(f"_dmarc.{at}", "TXT")
    if answer.is_unasked:
        return [], answer
    return [text for text in answer.values if _is_dmarc(text)], None


def _exists(ask: Ask, domain: str) -> bool:
    """Return whether a domain has an MX or an address; True if that cannot be looked up (section 3.2.14)."""
    answers = (ask(domain, kind) for kind in ("MX", "A", "AAAA"))
    return any(one.kind in (AnswerKind.FOUND, AnswerKind.UNASKED) for one in answers)


def _tags(record: str) -> tuple[dict[str, str], str]:
    """The tags by their names, and the first part that is none."""
    tags: dict[str, str] = {}
    for part in record.split(";"):
        name, equals, value = part.partition("=")
        if equals:
            tags.setdefault(name.strip().lower(), value.strip())
        elif part.strip():
            return tags, part.strip()
    return tags, ""


def read_policy(record: str, *, at: str, domain: str, organisation: str = "", exists: bool = True) -> Policy:
    """Return the policy that a record, which stands at `at`, makes for `domain`."""
    organisation = organisation or at
    tags, stray = _tags(record)
    if stray:
        problem = f"“{stray[:40]}” is not a tag, and some receivers then ignore the whole record"
        return Policy(domain=at, organisation=organisation, record=record, problem=problem)
    reports_to = tuple(one.strip() for one in tags.get("rua", "").split(",") if one.strip())
    asked: dict[str, str] = {name: tags[name].lower() for name in ("p", "sp", "np") if name in tags}
    wrong = [(name, value) for name, value in asked.items() if value not in POLICIES]
    mistake = ""
    if wrong:
        name, value = wrong[0]
        mistake = f"“{name}={value[:20]}” is not one of {', '.join(POLICIES)}"
        if not any(":" in one for one in reports_to):
            return Policy(domain=at, organisation=organisation, record=record, problem=mistake)
        asked = {"p": "none"}
    by = "p" if at == domain else next((one for one in (("sp",) if exists else ("np", "sp")) if one in asked), "p")
    oddities = [
        f"“{name}={tags[name][:20]}” is not one of {' and '.join(known)}, and ignored"
        for name, known in (("adkim", "rs"), ("aspf", "rs"), ("t", "yn"), ("psd", "ynu"))
        if name in tags and tags[name].lower() not in tuple(known)
    ]
    if not asked:
        oddities.append("there is no p=; RFC 9989 treats that as p=none, older receivers as no record")
    return Policy(
        domain=at,
        organisation=organisation,
        record=record,
        policy=asked.get(by, "none"),
        by=by,
        is_test=tags.get("t", "n").lower() == "y",
        is_dkim_strict=tags.get("adkim", "r").lower() == "s",
        is_spf_strict=tags.get("aspf", "r").lower() == "s",
        reports_to=reports_to,
        mistake=mistake,
        oddities=tuple(oddities),
        removed=tuple((name, tags[name]) for name in _REMOVED if name in tags),
    )


def unwilling_receivers(ask: Ask, policy: Policy, domain: str) -> list[str]:
    """Domains that are to get reports and do not say that they take them for this one: they get none (RFC 9990)."""
    domains = [address.removeprefix("mailto:").partition("!")[0].rpartition("@")[2] for address in policy.reports_to]
    foreign = [
        one.lower() for one in domains if one and not is_aligned(one, domain, policy.organisation, is_strict=False)
    ]
    found = []
    for one in dict.fromkeys(foreign):
        answer = ask(f"{policy.domain}._report._dmarc.{one}", "TXT")
        if not answer.is_unasked and not any(_is_dmarc(text) for text in answer.values):
            found.append(one)
    return found


def is_aligned(identifier: str, domain: str, organisation: str, *, is_strict: bool) -> bool:
    """Return whether a domain that SPF or DKIM has proven counts for the domain in From."""
    identifier, domain = identifier.lower(), domain.lower()
    if is_strict:
        return identifier == domain
    return all(one == organisation or one.endswith(f".{organisation}") for one in (identifier, domain))


def _is_dmarc(text: str) -> bool:
    name, _, value = text.partition(";")[0].partition("=")
    return name.strip() == "v" and value.strip() == "DMARC1"
