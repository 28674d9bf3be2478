"""The page of workers, with the time at which each was last seen."""

from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_safe

from reliable_email import conf
from reliable_email.monitoring.documentation import page_address
from reliable_email.store.questions.sizes import table_bytes
from reliable_email.store.questions.status import workers
from reliable_email.views.access import VIEW, requires
from reliable_email.views.page import show

_BADGES = {"running": "good", "stopping": "warn", "lost": "bad"}
_TABLES = 8  # the largest; the others are small


@require_safe
@requires(VIEW)
def workers_page(request: HttpRequest) -> HttpResponse:
    """Show the workers that were seen within a day."""
    settings = conf.get()
    found = workers(environment=settings.environment)
    return show(
        request,
        "reliable_email/workers.html",
        {
            "workers": [(one, one.state, _BADGES.get(one.state, "")) for one in found],
            "silent_seconds": settings.health_worker_seconds,
            "tables": [(name.removeprefix("reliable_email_"), size) for name, size in table_bytes().items()][:_TABLES],
            "growth": page_address("how-to/growth"),
            "now": timezone.now(),
        },
        section="workers",
    )
