"""The requirements of large receivers for senders, with their dates, compared with a domain and its routes.

A new rule begins with a few delayed messages and ends with refused ones; these findings come before either. The words
with which the receivers refuse stand in `classification/rules/senders.toml`.
"""

from collections.abc import Sequence

from reliable_email.diagnosis.dns.alignment import Alignment, Proof
from reliable_email.diagnosis.dns.dmarc import Policy
from reliable_email.diagnosis.dns.findings import Finding, Level, Topic
from reliable_email.diagnosis.dns.lookup import Answer
from reliable_email.diagnosis.dns.routes import RouteMail, free_owner
from reliable_email.records import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """The requirement of one receiver for senders of many messages.

    Attributes:
        since: the first day of enforcement.
        messages: a day to this receiver, from which SPF, DKIM and an aligned DMARC record are demanded; of everybody
            else SPF or DKIM is.
        says: the enhanced status codes of a refusal.
    """

    receiver: str
    since: str
    messages: int
    says: str


DEMANDS = (
    Demand(receiver="Gmail", since="2024-02-01", messages=5000, says="5.7.26, 5.7.27, 5.7.30"),
    Demand(receiver="Yahoo", since="2024-02-01", messages=5000, says="5.7.9"),
    Demand(receiver="Outlook.com", since="2025-05-05", messages=5000, says="5.7.515"),
)


def sender_findings(
    domain: str, routes: Sequence[RouteMail], proofs: Sequence[Alignment], policy: Policy | Answer | None
) -> list[Finding]:
    """Return what the receivers' rules make of each route's mail."""
    if free_owner(domain) is not None or isinstance(policy, Answer) or not routes:
        return []
    has_policy = policy is not None and not policy.problem
    found = []
    is_known = True
    for route, proof in zip(routes, proofs, strict=True):
        lacks = [] if has_policy else ["a DMARC record"]
        if proof.dkim is Proof.NO:
            lacks.append(f"a DKIM signature aligned with {domain}")
        if proof.is_aligned is Proof.NO:
            lacks.append("alignment")
        is_known = is_known and Proof.UNKNOWN is not proof.dkim
        if lacks:
            found.append(_will_be_refused(route, lacks))
    if found:
        return found
    if not is_known:
        return []
    who = ", ".join(f"{one.receiver} (since {one.since})" for one in DEMANDS)
    text = f"SPF, DKIM and DMARC meet the requirements of {who} for senders of {DEMANDS[0].messages:,} messages a day"
    return [Finding(topic=Topic.SENDERS, level=Level.GOOD, text=text)]


def _will_be_refused(route: RouteMail, lacks: Sequence[str]) -> Finding:
    what = " and ".join((", ".join(lacks[:-1]), lacks[-1])) if len(lacks) > 1 else lacks[0]
    who = "; ".join(f"{one.receiver} since {one.since}, with {one.says}" for one in DEMANDS)
    return Finding(
        topic=Topic.SENDERS,
        level=Level.WARNING,
        route=route.alias,
        text=f"mail by {route.title} lacks {what}: refused from {DEMANDS[0].messages:,} messages a day on ({who})",
        advice="Add the records above before you send that many; newsletters also need List-Unsubscribe (RFC 8058).",
    )
