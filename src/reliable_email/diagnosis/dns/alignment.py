"""DMARC's policy, and whether each route's mail will be aligned with the domain."""

from collections.abc import Collection, Sequence
from enum import StrEnum

from reliable_email.diagnosis.dns.dmarc import Policy
from reliable_email.diagnosis.dns.findings import Finding, Level, Record, Topic, unasked
from reliable_email.diagnosis.dns.lookup import Answer
from reliable_email.diagnosis.dns.routes import RouteMail, free_owner
from reliable_email.records import dataclass


class Proof(StrEnum):
    """The answer whether SPF or DKIM proves an aligned domain on a route."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alignment:
    """The expected alignment of one route's mail.

    Attributes:
        is_only_strictness: it would be aligned if the domain's policy were relaxed about it.
    """

    route: str
    provider: str
    spf: Proof
    dkim: Proof
    is_only_strictness: bool = False

    @property
    def is_aligned(self) -> Proof:
        """The proof by SPF or DKIM, of which one is enough."""
        if Proof.YES in (self.spf, self.dkim):
            return Proof.YES
        return Proof.UNKNOWN if Proof.UNKNOWN in (self.spf, self.dkim) else Proof.NO


def policy_findings(domain: str, policy: Policy | Answer | None) -> list[Finding]:
    """Return the findings about the domain's DMARC policy."""
    if isinstance(policy, Answer):
        return [unasked(Topic.DMARC, policy)]
    wanted = Record(name=f"_dmarc.{domain}", type="TXT", value=f"v=DMARC1; p=none; rua=mailto:postmaster@{domain}")
    if policy is None:
        text = f"{domain} has no DMARC record; Gmail, Yahoo and Microsoft require one from large senders"
        advice = "Begin with p=none, which only asks for reports, and make it stricter when they are clean. Add:"
        return [Finding(topic=Topic.DMARC, level=Level.WARNING, text=text, advice=advice, records=(wanted,))]
    if policy.problem:
        text = f"the DMARC record at _dmarc.{policy.domain} is ignored by receivers: {policy.problem}"
        at = Record(name=f"_dmarc.{policy.domain}", type="TXT", value=wanted.value)
        if policy.is_one_of_several:
            at = Record(name=at.name, type="TXT", value=policy.record)
        return [
            Finding(
                topic=Topic.DMARC,
                level=Level.WARNING,
                text=text,
                advice="Publish only this one:",
                records=(at,),
                replaces=True,
            )
        ]
    where = "" if policy.domain == domain else f", by the record of {policy.domain}"
    strict = [name for name, is_strict in (("DKIM", policy.is_dkim_strict), ("SPF", policy.is_spf_strict)) if is_strict]
    how = f", strict about {' and '.join(strict)}" if strict else ""
    if policy.mistake:
        text = f"receivers treat the DMARC record{where} as p=none, because {policy.mistake}"
        right = _without(policy.record, ("p", "sp", "np")).replace("v=DMARC1", "v=DMARC1; p=none", 1)
        record = Record(name=f"_dmarc.{policy.domain}", type="TXT", value=right)
        advice = "Correct the policy; with p=none receivers only send reports:"
        found = Finding(
            topic=Topic.DMARC, level=Level.WARNING, text=text, advice=advice, records=(record,), replaces=True
        )
        return [found, *_notes(policy)]
    text = f"DMARC asks for p={policy.policy}{where}{how}"
    findings = [Finding(topic=Topic.DMARC, level=Level.GOOD, text=text)]
    if free_owner(domain) is not None:
        return findings  # not for us to change
    if policy.is_test and policy.policy != "none":
        text = f"{text}, as a test (t=y): receivers apply p={policy.applied}"
        advice = "When the reports are clean, remove t=y."
        findings = [Finding(topic=Topic.DMARC, level=Level.NOTE, text=text, advice=advice)]
    elif policy.policy == "none":
        findings = [
            Finding(
                topic=Topic.DMARC,
                level=Level.NOTE,
                text=f"{text}: receivers only send reports",
                advice="When the reports are clean, ask for p=quarantine, later for p=reject.",
            )
        ]
    return [*findings, *_notes(policy)]


def _notes(policy: Policy) -> list[Finding]:
    findings = [
        Finding(topic=Topic.DMARC, level=Level.NOTE, text=f"in the DMARC record of {policy.domain}, {one}")
        for one in policy.oddities
    ]
    if policy.removed:
        names = " and ".join(f"{name}=" for name, _ in policy.removed)
        # Who asked for a part of the mail alone was testing; t=y is how that is said now.
        is_partial = any(name == "pct" and value != "100" for name, value in policy.removed)
        right = _without(policy.record, [name for name, _ in policy.removed])
        if is_partial and not policy.is_test:
            right = f"{right.rstrip().rstrip(';')}; t=y"
        findings.append(
            Finding(
                topic=Topic.DMARC,
                level=Level.NOTE,
                text=f"{names} is no longer part of DMARC (RFC 9989): the policy applies to all mail",
                advice="To continue testing, use t=y instead:" if is_partial else "Remove it:",
                records=(Record(name=f"_dmarc.{policy.domain}", type="TXT", value=right),),
                replaces=True,
            )
        )
    if not policy.reports_to:
        text = "DMARC's reports have no recipient (rua), so you would not learn which mail fails"
        findings.append(Finding(topic=Topic.DMARC, level=Level.NOTE, text=text))
    return findings


def _without(record: str, tags: Collection[str]) -> str:
    """A record without these tags."""
    parts = [part for part in record.split(";") if part.partition("=")[0].strip().lower() not in tags]
    return ";".join(parts)


def reports_not_taken(policy: Policy, receiver: str) -> Finding:
    """Another domain has to agree before it gets reports (RFC 9990)."""
    record = Record(name=f"{policy.domain}._report._dmarc.{receiver}", type="TXT", value="v=DMARC1;")
    return Finding(
        topic=Topic.DMARC,
        level=Level.NOTE,
        text=f"{receiver} has no record that accepts reports about {policy.domain}, so it gets none",
        advice="Ask its owner to add:",
        records=(record,),
    )


def alignment_findings(
    domain: str, routes: Sequence[RouteMail], proofs: Sequence[Alignment], policy: Policy | None
) -> list[Finding]:
    """Return the findings about each route's alignment."""
    findings = []
    is_hopeless = bool(proofs) and all(one.is_aligned is Proof.NO for one in proofs)
    for n, (route, proof) in enumerate(zip(routes, proofs, strict=True)):
        match proof.is_aligned:
            case Proof.YES:
                by = " and ".join(name for name, one in (("SPF", proof.spf), ("DKIM", proof.dkim)) if one is Proof.YES)
                text = f"mail by {route.title} is aligned with {domain}, by {by}"
                findings.append(Finding(topic=Topic.ALIGNMENT, level=Level.GOOD, route=route.alias, text=text))
            case Proof.UNKNOWN:
                text = f"whether mail by {route.title} is aligned with {domain} cannot be determined here"
                findings.append(
                    Finding(
                        topic=Topic.ALIGNMENT,
                        level=Level.NOTE,
                        route=route.alias,
                        text=text,
                        advice="Send a test message, and look for “dmarc=pass” in its headers.",
                    )
                )
            case Proof.NO:
                findings.append(_not_aligned(domain, route, proof, policy, is_fallback=n > 0, is_hopeless=is_hopeless))
    return findings


def _not_aligned(
    domain: str, route: RouteMail, proof: Alignment, policy: Policy | None, *, is_fallback: bool, is_hopeless: bool
) -> Finding:
    enforced = policy is not None and policy.is_enforced
    asked = policy.applied if policy is not None and enforced else ""
    fate = {
        "reject": "receivers refuse it, as your DMARC policy asks",
        "quarantine": "it goes to spam, as your DMARC policy asks",
    }.get(asked, "it is more likely to go to spam")
    text = f"mail by {route.title} is not aligned with {domain}: {fate}"
    if is_fallback:
        text += "; you would notice only when this fallback is needed"
    records: tuple[Record, ...] = ()
    owner = free_owner(domain)
    if owner is not None:
        advice = f"{domain} is {owner.title}'s: no other provider can sign for it. Send from a domain of your own."
    elif not route.signs_for(domain):
        advice = (
            f"An account at {route.account_domain} cannot sign for {domain}. Send from an address of that account, or "
            f"by a provider at which {domain} can be set up."
        )
    elif proof.is_only_strictness and policy is not None:
        advice = (
            f"SPF or DKIM passes for a related domain, but the policy requires exactly {domain} (adkim=s, aspf=s). "
            f"Relaxed alignment is usual:"
        )
        relaxed = _without(policy.record, ("adkim", "aspf"))
        records = (Record(name=f"_dmarc.{policy.domain}", type="TXT", value=relaxed),)
    else:
        which = "the DKIM records above are" if route.records("dkim", domain) else "a DKIM key below it is"
        advice = f"Set {domain} up at {route.title}; {which} enough."
    return Finding(
        topic=Topic.ALIGNMENT,
        level=Level.BAD if is_hopeless and asked == "reject" else Level.WARNING,
        route=route.alias,
        text=text,
        advice=advice,
        records=records,
        replaces=bool(records),
    )
