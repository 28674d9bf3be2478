"""The latest failures in groups, each with its meaning and remedy."""

from dataclasses import replace
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from reliable_email.outbox.keyring import configured_keyring
from reliable_email.outbox.operations.letters import open_or_say, open_reply
from reliable_email.store.questions.recent import LOOKED_AT, MOST_FAILURES, RecentAttempt, failures
from reliable_email.store.questions.traffic import CauseCount, causes
from reliable_email.views.access import VIEW, requires
from reliable_email.views.page import show
from reliable_email.views.parts.evidence import explained
from reliable_email.views.parts.failure_groups import FailureGroup, domain_lines, failure_groups
from reliable_email.views.parts.route_lines import providers_by_route

_GROUPS_SHOWN = 40
_DOMAINS_SHOWN = 15


@require_safe
@requires(VIEW)
def failures_page(request: HttpRequest) -> HttpResponse:
    """Show the failures by cause, by reply, and by the recipients' domains."""
    found = failures()
    attempts = _opened(found.attempts)
    groups = failure_groups(attempts)
    domains = domain_lines(attempts)
    providers = providers_by_route()
    return show(
        request,
        "reliable_email/failures.html",
        {
            "causes": _by_cause(causes()),
            "groups": [_shown(group, providers.get(group.route)) for group in groups[:_GROUPS_SHOWN]],
            "more_groups": max(0, len(groups) - _GROUPS_SHOWN),
            "domains": domains[:_DOMAINS_SHOWN],
            "more_domains": max(0, len(domains) - _DOMAINS_SHOWN),
            "since": found.since,
            "is_cut": found.is_cut,
            "looked_at": LOOKED_AT,
            "most": MOST_FAILURES,
            "at": found.at,
        },
        section="failures",
    )


def _opened(attempts: tuple[RecentAttempt, ...]) -> list[RecentAttempt]:
    """Return the attempts decrypted, if the key is here."""
    keyring = configured_keyring()
    return [
        replace(
            one,
            text=open_or_say(one.text, one.encryption_key, keyring),
            reply=open_reply(one.reply, one.encryption_key, keyring),
        )
        if one.encryption_key and one.text
        else one
        for one in attempts
    ]


def _by_cause(counts: tuple[CauseCount, ...]) -> list[dict[str, Any]]:
    """One line a cause, the most frequent first."""
    lines: dict[str, dict[str, Any]] = {}
    for one in counts:
        line = lines.setdefault(
            one.cause,
            {"cause": one.cause, "explained": explained(one.cause), "count": 0, "routes": [], "outcomes": {}},
        )
        line["count"] += one.count
        line["outcomes"][one.outcome] = line["outcomes"].get(one.outcome, 0) + one.count
        if one.route not in line["routes"]:
            line["routes"].append(one.route)
    return sorted(lines.values(), key=lambda line: -line["count"])


def _shown(group: FailureGroup, provider: str | None) -> dict[str, Any]:
    return {"group": group, "explained": explained(group.cause, group.stage, group.reply, provider=provider)}
