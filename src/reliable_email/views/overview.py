"""The first page: is mail working, and if not, why."""

from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from reliable_email.views.access import VIEW, requires
from reliable_email.views.page import show


@require_safe
@requires(VIEW)
def overview(request: HttpRequest) -> HttpResponse:
    """The verdict, the queue, and what went in and out."""
    return show(request, "reliable_email/overview.html", section="overview")
