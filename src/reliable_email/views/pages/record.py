"""The record: who did what, to how many, and why."""

from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_safe

from reliable_email.store.questions.acts import record
from reliable_email.views.access import VIEW, requires
from reliable_email.views.page import show


@require_safe
@requires(VIEW)
def record_page(request: HttpRequest) -> HttpResponse:
    """A page of acts, the newest first."""
    name = request.GET.get("before", "")
    before = int(name) if name.isdecimal() and len(name) < 19 else None
    return show(
        request,
        "reliable_email/record.html",
        {"page": record(before=before), "is_first": before is None, "now": timezone.now()},
        section="record",
    )
