"""DMARC: which policy is there for a domain, and what does it count as the same domain?

The record of the domain itself counts, else that of the nearest domain above it that has one. That walk takes the place
of a list of public suffixes, which a site would have to keep fresh.
"""

from dataclasses import dataclass

from reliable_email.diagnosis.dns_lookup import Answer, Ask

_LEVELS = 8
POLICIES = ("none", "quarantine", "reject")


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What a domain asks receivers to do with mail that is not aligned.

    Attributes:
        domain: where the record stands.
        policy: for the domain that was asked about: `p`, or `sp` where it is below `domain`.
        is_dkim_strict, is_spf_strict: whether the very domain is wanted, not one above or below.
        percent: of how much mail.
        reports_to: who gets reports (`rua`).
        problem: why receivers take it for none.
        is_one_of_several: that problem is that there are others beside it.
        oddities: what receivers ignore in it.
    """

    domain: str
    record: str
    policy: str = "none"
    is_dkim_strict: bool = False
    is_spf_strict: bool = False
    percent: int = 100
    reports_to: tuple[str, ...] = ()
    problem: str = ""
    is_one_of_several: bool = False
    oddities: tuple[str, ...] = ()

    @property
    def is_enforced(self) -> bool:
        """Whether receivers are asked to act."""
        return self.policy in ("quarantine", "reject") and not self.problem


def find_policy(ask: Ask, domain: str) -> Policy | Answer | None:
    """The policy for a domain; None where there is none, the answer where it could not be asked."""
    labels = domain.split(".")
    for n in range(min(len(labels) - 1, _LEVELS) or 1):
        at = ".".join(labels[n:])
        answer = ask(f"_dmarc.{at}", "TXT")
        if answer.is_unasked:
            return answer
        records = [text for text in answer.values if _is_dmarc(text)]
        if len(records) > 1:
            # The first that could stand alone.
            whole = [one for one in records if not read_policy(one, at=at, domain=domain).problem]
            problem = "there is more than one, so that receivers see none"
            return Policy(domain=at, record=(whole or records)[0], problem=problem, is_one_of_several=bool(whole))
        if records:
            return read_policy(records[0], at=at, domain=domain)
        if n == 0 and (near := [text for text in answer.values if "dmarc" in text.lower()]):
            return Policy(domain=at, record=near[0], problem="it does not begin with “v=DMARC1;”")
    return None


def read_policy(record: str, *, at: str, domain: str) -> Policy:
    """The policy that a record, which stands at `at`, makes for `domain`."""
    tags: dict[str, str] = {}
    for part in record.split(";"):
        name, equals, value = part.partition("=")
        if equals:
            tags.setdefault(name.strip().lower(), value.strip())
        elif part.strip():
            problem = f"“{part.strip()[:40]}” is no tag, and some receivers then ignore the whole"
            return Policy(domain=at, record=record, problem=problem)
    own = tags.get("p", "").lower()
    below = tags.get("sp", own).lower()
    for name, value in (("p", own), ("sp", below)):
        if value not in POLICIES:
            words = f"“{name}={value[:20]}” is not one of {', '.join(POLICIES)}"
            return Policy(domain=at, record=record, problem=words if value else "it names no policy (p=)")
    oddities = [
        f"“{name}={tags[name][:20]}” is neither r nor s, and ignored"
        for name in ("adkim", "aspf")
        if tags.get(name, "r").lower() not in ("r", "s")
    ]
    percent = tags.get("pct", "100")
    return Policy(
        domain=at,
        record=record,
        policy=own if at == domain else below,
        is_dkim_strict=tags.get("adkim", "r").lower() == "s",
        is_spf_strict=tags.get("aspf", "r").lower() == "s",
        percent=int(percent) if percent.isdecimal() and int(percent) <= 100 else 100,
        reports_to=tuple(one.strip() for one in tags.get("rua", "").split(",") if one.strip()),
        oddities=tuple(oddities),
    )


def unwilling_receivers(ask: Ask, policy: Policy, domain: str) -> list[str]:
    """Domains that are to get reports and do not say that they take them for this one: they get none."""
    domains = [address.removeprefix("mailto:").partition("!")[0].rpartition("@")[2] for address in policy.reports_to]
    foreign = [one.lower() for one in domains if one and not is_aligned(one, domain, policy.domain, is_strict=False)]
    found = []
    for one in dict.fromkeys(foreign):
        answer = ask(f"{policy.domain}._report._dmarc.{one}", "TXT")
        if not answer.is_unasked and not any(_is_dmarc(text) for text in answer.values):
            found.append(one)
    return found


def is_aligned(identifier: str, domain: str, organisation: str, *, is_strict: bool) -> bool:
    """Whether a domain that SPF or DKIM has proven counts for the domain in From."""
    identifier, domain = identifier.lower(), domain.lower()
    if is_strict:
        return identifier == domain
    return all(one == organisation or one.endswith(f".{organisation}") for one in (identifier, domain))


def _is_dmarc(text: str) -> bool:
    name, _, value = text.partition(";")[0].partition("=")
    return name.strip() == "v" and value.strip() == "DMARC1"
