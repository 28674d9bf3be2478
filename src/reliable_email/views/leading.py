"""The links of findings: the list or the route that a finding is about, and the name of the act that resolves it."""

from urllib.parse import quote

from django.urls import NoReverseMatch, reverse
from django.utils.translation import gettext_lazy as _

from reliable_email.monitoring.findings import Finding, Topic

_PLACES = {
    Topic.ROUTE: ("routes", "", _("See the route")),
    Topic.PAUSED: ("routes", "", _("Resume it")),
    Topic.QUOTA: ("routes", "", _("See its quota")),
    Topic.QUEUE: ("messages", "?state=queued", _("See what waits")),
    Topic.WORKERS: ("workers", "", _("See the workers")),
    Topic.UNKNOWN: ("messages", "?state=unknown", _("Resolve them")),
    Topic.PARKED: ("messages", "?state=parked", _("Requeue or cancel them")),
    Topic.HELD: ("messages", "?state=parked&cause=held", _("See what is held")),
}


def leads_to(finding: Finding) -> tuple[str, str]:
    """The address of the page and the words on the link; empty where there is nothing to see."""
    if finding.topic not in _PLACES:
        return "", ""
    name, query, words = _PLACES[finding.topic]
    try:
        url = reverse(f"reliable_email:{name}")
    except NoReverseMatch:
        return "", ""
    part = f"#via-{quote(finding.name)}" if name == "routes" and finding.name else ""
    return f"{url}{query}{part}", str(words)
