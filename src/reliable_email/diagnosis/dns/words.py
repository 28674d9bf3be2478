"""The examination of a domain, as lines for people and as values for programs."""

from collections.abc import Iterator
from typing import Any

from reliable_email.diagnosis.dns.examination import DomainExamination
from reliable_email.diagnosis.dns.findings import Finding, Level
from reliable_email.diagnosis.verdict import Health
from reliable_email.values import printable

SIGNS = {Level.GOOD: "✓", Level.NOTE: "–", Level.WARNING: "✗", Level.BAD: "✗", Level.UNASKED: "?"}


def headline(found: DomainExamination) -> str:
    """The first line's end: what came of it, without the sign."""
    counts = {level: sum(one.level is level for one in found.findings) for level in Level}
    wrong = counts[Level.BAD] + counts[Level.WARNING]
    if wrong:
        return f"{wrong} {'problem' if wrong == 1 else 'problems'} with {found.domain}"
    if counts[Level.UNASKED]:
        return f"{found.domain} could not be checked completely"
    return f"{found.domain} is in order"


def lines(found: DomainExamination) -> Iterator[str]:
    """Each finding with its advice and its records."""
    last_advice = ""
    for one in found.findings:
        about = f"{one.route}: " if one.route else ""
        yield f"   {SIGNS[one.level]} {_label(one):<10} {about}{printable(one.text)}"
        if one.advice and (one.records or one.advice != last_advice):
            yield f"     {'To do:' if one.level.health is not Health.HEALTHY else 'Advice:':<8} {printable(one.advice)}"
        last_advice = one.advice
        for record in one.records:
            yield f"              {printable(str(record))}"


def as_json(found: DomainExamination | None) -> dict[str, Any] | None:
    """Return the examination for programs; keys are stable."""
    if found is None:
        return None
    return {
        "domain": found.domain,
        "status": str(found.verdict),
        "findings": [
            {
                "topic": str(one.topic),
                "level": str(one.level),
                "route": one.route or None,
                "text": one.text,
                "advice": one.advice,
                "records": [{"name": each.name, "type": each.type, "value": each.value} for each in one.records],
                "replaces": one.replaces,
            }
            for one in found.findings
        ],
        "routes": [
            {
                "route": one.route,
                "provider": one.provider or None,
                "spf": str(one.spf),
                "dkim": str(one.dkim),
                "aligned": str(one.is_aligned),
            }
            for one in found.alignments
        ],
    }


def _label(one: Finding) -> str:
    return {"alignment": "Alignment", "domain": "Domain", "senders": "Receivers"}.get(one.topic, one.topic.upper())
