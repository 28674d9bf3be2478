"""The verdict on the site's mail, from what is known already: settings, route state and the outbox.

Nothing is sent and no server is asked, so a probe may ask every few seconds. Neither tables nor an outbox are needed.
The dashboard, the health view, `email_outbox status` and `test_email --health-check` all show this verdict.
"""

from collections.abc import Collection, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from django.core.checks import CheckMessage
from django.core.checks.messages import ERROR

from reliable_email import conf
from reliable_email.diagnosis.configuration import configuration_messages
from reliable_email.diagnosis.route_errors import RouteError, stopping_errors
from reliable_email.diagnosis.verdict import Health, worst
from reliable_email.monitoring.findings import Finding
from reliable_email.monitoring.outbox_health import outbox_findings
from reliable_email.monitoring.route_health import route_findings
from reliable_email.monitoring.sentences import without_addresses
from reliable_email.records import dataclass, replace

__all__ = ["Finding", "SiteHealth", "examine_site"]

# Warnings of the configuration that say that mail does not go out as it should; the others are advice.
_DEGRADING = frozenset({"reliable_email.W001", "reliable_email.W003"})


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteHealth:
    """The findings about a site, the worst first; HEALTHY if there are none.

    Attributes:
        at: aware, by this machine's clock.
    """

    at: datetime
    verdict: Health
    findings: tuple[Finding, ...] = ()

    @property
    def reason(self) -> str:
        """The worst finding's text; "" where there is none."""
        return self.findings[0].text if self.findings else ""

    @property
    def remedy(self) -> str:
        """The remedy of the worst finding."""
        return self.findings[0].remedy if self.findings else ""

    @property
    def since(self) -> datetime | None:
        """The time since when that is so: that of the finding in `reason`."""
        return self.findings[0].since if self.findings else None

    def as_json(self) -> dict[str, Any]:
        """Return the verdict for programs; keys are stable, times are ISO 8601."""
        return {
            "schema": 1,
            "status": str(self.verdict),
            "reason": self.reason,
            "since": _iso(self.since),
            "at": _iso(self.at),
            "findings": [
                {
                    "status": str(one.verdict),
                    "text": one.text,
                    "remedy": one.remedy,
                    "since": _iso(one.since),
                    "topic": one.topic.value,
                    "name": one.name,
                    "runbook": one.topic.runbook,
                }
                for one in self.findings
            ],
        }


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat(timespec="seconds") if moment is not None else None


def examine_site(using: str | None = None, *, misses_workers: bool = False) -> SiteHealth:
    """Judge the site's mail.

    Args:
        using: the outbox's database; None for those that the mailers name.
        misses_workers: whether an outbox without a worker is told of also while nothing is due.
    """
    messages = configuration_messages()
    stopping = stopping_errors(messages)
    found = list(_configuration_findings(messages, stopping))
    if not stopping:
        found += route_findings(using)
    if not conf.key_problems():
        found += outbox_findings(using, misses_workers=misses_workers)
    return _judged(found)


def _configuration_findings(messages: Iterable[CheckMessage], stopping: Collection[CheckMessage]) -> Iterator[Finding]:
    for message in messages:
        if isinstance(message, RouteError) and message not in stopping:
            continue  # what is known of the routes says which one cannot be built, and what that means
        if message.level >= ERROR:
            yield Finding(verdict=Health.UNHEALTHY, text=message.msg, remedy=message.hint or "")
        elif message.id in _DEGRADING:
            yield Finding(verdict=Health.DEGRADED, text=message.msg, remedy=message.hint or "")


def _judged(found: Iterable[Finding]) -> SiteHealth:
    order = list(Health)
    findings = sorted(found, key=lambda one: -order.index(one.verdict))
    # Replies of servers name accounts and recipients.
    if conf.key_problems() or conf.get().mask_addresses:
        findings = [replace(one, text=without_addresses(one.text)) for one in findings]
    verdict = worst(one.verdict for one in findings)
    return SiteHealth(at=datetime.now(UTC), verdict=verdict, findings=tuple(findings))
