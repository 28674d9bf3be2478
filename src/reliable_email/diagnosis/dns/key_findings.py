"""Findings about a route's DKIM keys."""

from collections.abc import Sequence

from reliable_email.diagnosis.dns.dkim import GOOD_BITS, Key
from reliable_email.diagnosis.dns.findings import Finding, Level, Topic
from reliable_email.diagnosis.dns.routes import RouteMail


def key_findings(route: RouteMail, key: Key, domain: str) -> list[Finding]:
    """Return the findings about a key."""
    name = f"{key.selector}._domainkey.{key.domain}"
    records = tuple(one for one in route.records("dkim", domain) if one.name == name)

    def finding(level: Level, text: str, advice: str = "") -> Finding:
        return Finding(
            topic=Topic.DKIM,
            level=level,
            route=route.alias,
            text=text,
            advice=advice,
            records=records if advice.endswith(":") else (),
            replaces=True,
        )

    if key.is_revoked:
        advice = f"What {route.title} signs with it counts for nothing. Publish the key that its console shows:"
        return [finding(Level.WARNING, f"the DKIM key {name} is revoked (p= is empty)", advice)]
    if key.problem:
        return [finding(Level.WARNING, f"the DKIM key {name} cannot be used: {key.problem}", "Publish it anew:")]
    findings = []
    if key.kind == "rsa" and key.bits < GOOD_BITS:
        advice = f"It works. Let {route.title} make a key of {GOOD_BITS} bits when you can."
        findings.append(finding(Level.NOTE, f"DKIM key {key.words}: weak", advice))
    else:
        findings.append(finding(Level.GOOD, f"DKIM key {key.words}"))
    if key.is_testing:
        advice = "Take t=y out of the record when everything works."
        findings.append(finding(Level.NOTE, f"the DKIM key {name} says that it is only being tested (t=y)", advice))
    return findings


def no_key(route: RouteMail, selectors: Sequence[str], at: str) -> Finding:
    """Return the finding that no key was found, or that none could be looked up."""
    records = route.records("dkim", at)
    if not selectors:
        return Finding(
            topic=Topic.DKIM,
            level=Level.NOTE,
            route=route.alias,
            text=f"which DKIM selectors {route.title} uses for {at} is not known here",
            advice=f"Name one with --selector {route.alias}=NAME to have it looked at."
            + (" They look like:" if records else ""),
            records=records,
        )
    return Finding(
        topic=Topic.DKIM,
        level=Level.WARNING,
        route=route.alias,
        text=f"no DKIM key of {route.title} at {at} (looked for {', '.join(selectors)})",
        advice=f"Add what its console shows, or name another selector with --selector {route.alias}=NAME."
        + (" It looks like:" if records else ""),
        records=records,
    )
