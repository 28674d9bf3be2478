"""The site's mail as a check of django-health-check:

    from health_check.views import HealthCheckView
    path("health/", HealthCheckView.as_view(checks=["reliable_email.integrations.health_check.EmailCheck", ...]))

It gives the verdict that every surface of this package shows. UNHEALTHY is its `ServiceUnavailable`, DEGRADED its
`ServiceWarning`; its view answers 500 for both, so a load balancer's should set `tolerates_degraded`:

    checks=[("reliable_email.integrations.health_check.EmailCheck", {"tolerates_degraded": True})]
"""

import dataclasses

try:
    from health_check.base import HealthCheck
    from health_check.exceptions import ServiceUnavailable, ServiceWarning
except ImportError as error:  # pragma: no cover - the tests have it
    raise ImportError(
        "The health check needs django-health-check: pip install 'django-reliable-email[health]'"
    ) from error

from django.db import connections

from reliable_email.diagnosis.verdict import Health
from reliable_email.monitoring.health import examine_site


@dataclasses.dataclass
class EmailCheck(HealthCheck):  # type: ignore[misc]
    """A check for django-health-check that reports the site's verdict.

    Attributes:
        database: alias of the outbox's database; None for those that the mailers name.
        tolerates_degraded: whether DEGRADED is well enough, since mail goes out.
    """

    database: str | None = None
    tolerates_degraded: bool = False

    def run(self) -> None:
        """Raise what is wrong."""
        try:
            found = examine_site(self.database)
        finally:
            # It runs in a thread of a pool, where no request ends.
            for one in connections.all(initialized_only=True):
                one.close_if_unusable_or_obsolete()
        words = f"{found.reason}. {found.remedy}".strip()
        if found.verdict is Health.UNHEALTHY:
            raise ServiceUnavailable(words)
        if found.verdict is Health.DEGRADED and not self.tolerates_degraded:
            raise ServiceWarning(words)
