"""The page of workers, with the time at which each was last seen."""

from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_safe

from reliable_email import conf
from reliable_email.store.questions.sizes import table_bytes
from reliable_email.store.questions.status import WorkerStatus, workers
from reliable_email.views.access import VIEW, requires
from reliable_email.views.page import show

_TABLES = 8  # the largest; the others are small


@require_safe
@requires(VIEW)
def workers_page(request: HttpRequest) -> HttpResponse:
    """Show the workers that were seen within a day."""
    silent = conf.get().health_worker_seconds
    return show(
        request,
        "reliable_email/workers.html",
        {
            "workers": [(one, *_state(one, silent)) for one in workers(environment=conf.get().environment)],
            "silent_seconds": silent,
            "tables": [(name.removeprefix("reliable_email_"), size) for name, size in table_bytes().items()][:_TABLES],
            "now": timezone.now(),
        },
        section="workers",
    )


def _state(one: WorkerStatus, silent_seconds: float) -> tuple[str, str]:
    """A word and its badge."""
    if one.state == "stopped":
        return "stopped", ""
    if one.silent_seconds > silent_seconds:
        return "silent", "bad"
    return one.state, "good" if one.state == "running" else "warn"
