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
        advice = f"Receivers ignore signatures made with it. Publish the key that the console of {route.title} shows:"
        return [finding(Level.WARNING, f"the DKIM key {name} is revoked (p= is empty)", advice)]
    if key.problem:
        return [finding(Level.WARNING, f"the DKIM key {name} cannot be used: {key.problem}", "Publish it again:")]
    findings = []
    if key.kind == "rsa" and key.bits < GOOD_BITS:
        advice = f"It works. Create a key of {GOOD_BITS} bits at {route.title} when you can."
        findings.append(finding(Level.NOTE, f"DKIM key {key.words}: weak", advice))
    else:
        findings.append(finding(Level.GOOD, f"DKIM key {key.words}"))
    if key.is_testing:
        advice = "Remove t=y from the record when everything works."
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
            text=f"the DKIM selectors that {route.title} uses for {at} are not known",
            advice=f"Give one with --selector {route.alias}=NAME to check its key."
            + (" They look like:" if records else ""),
            records=records,
        )
    return Finding(
        topic=Topic.DKIM,
        level=Level.WARNING,
        route=route.alias,
        text=f"no DKIM key of {route.title} at {at} (looked for {', '.join(selectors)})",
        advice=f"Add the record that its console shows, or give another selector with --selector {route.alias}=NAME."
        + (" It looks like:" if records else ""),
        records=records,
    )
