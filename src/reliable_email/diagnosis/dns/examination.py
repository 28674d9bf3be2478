"""The examination of a sender's domain in the DNS, and of the alignment of each route's mail with it.

The question that matters is alignment: DMARC passes where SPF or DKIM has proven a domain that counts for the one in
From. It is asked of every route, since a fallback whose mail is not aligned lands in spam on the very day on which it
is needed.
"""

from collections.abc import Mapping, Sequence

from reliable_email.diagnosis.dns.alignment import (
    Alignment,
    alignment_findings,
    policy_findings,
    reports_not_taken,
)
from reliable_email.diagnosis.dns.dmarc import Policy, find_policy, unwilling_receivers
from reliable_email.diagnosis.dns.evidence import Evidence
from reliable_email.diagnosis.dns.findings import Finding, Level
from reliable_email.diagnosis.dns.lookup import Ask
from reliable_email.diagnosis.dns.mx import examine_mx
from reliable_email.diagnosis.dns.routes import RouteMail, free_owner
from reliable_email.diagnosis.dns.senders import sender_findings
from reliable_email.diagnosis.verdict import Health, worst
from reliable_email.records import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainExamination:
    """Everything that was found about one domain."""

    domain: str
    findings: tuple[Finding, ...]
    alignments: tuple[Alignment, ...] = ()

    @property
    def verdict(self) -> Health:
        """The worst of the findings'."""
        return worst(finding.level.health for finding in self.findings)

    @property
    def reason(self) -> str:
        """The reason why the verdict is not HEALTHY; "" if it is."""
        verdict = self.verdict
        if verdict is Health.HEALTHY:
            return ""
        first = next(finding for finding in self.findings if finding.level.health is verdict)
        return f"DNS of {self.domain}: {f'{first.route}: ' if first.route else ''}{first.text}"


def examine_domain(
    domain: str,
    routes: Sequence[RouteMail],
    ask: Ask,
    *,
    selectors: Mapping[str, Sequence[str]] | None = None,
) -> DomainExamination:
    """Look at a domain.

    Args:
        domain: of From.
        routes: the preferred one first.
        selectors: further DKIM selectors, by route; those at "" are tried for every route.
    """
    domain = domain.rstrip(".").lower()
    mx = examine_mx(ask, domain)
    if any(finding.level is Level.BAD for finding in mx):
        return DomainExamination(domain=domain, findings=mx)
    look = Evidence(domain, ask, selectors or {})
    findings = [*mx, *look.spf(routes)]
    proofs: list[Alignment] = []
    policy = find_policy(ask, domain)
    for route in routes:
        found, proof = look.route(route, policy if isinstance(policy, Policy) else None)
        findings += found
        proofs.append(proof)
    findings += policy_findings(domain, policy)
    if isinstance(policy, Policy) and not policy.problem and free_owner(domain) is None:
        findings += [reports_not_taken(policy, one) for one in unwilling_receivers(ask, policy, domain)]
    findings += alignment_findings(domain, routes, proofs, policy if isinstance(policy, Policy) else None)
    findings += sender_findings(domain, routes, proofs, policy)
    return DomainExamination(domain=domain, findings=tuple(findings), alignments=tuple(proofs))
