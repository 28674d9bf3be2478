"""The metrics for a scraper of Prometheus, by the same rule as health."""

from django.http import HttpRequest, HttpResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from reliable_email.views.monitors import for_monitors


@never_cache
@require_safe
@for_monitors
def metrics(request: HttpRequest) -> HttpResponse:
    """Every process answers the same; 501 where the extra `[prometheus]` is not installed."""
    try:
        from reliable_email.monitoring.metrics import exposition
    except ImportError as error:
        return HttpResponse(f"{error}\n", status=501, content_type="text/plain; charset=utf-8")
    content, content_type = exposition(request.headers.get("Accept", ""))
    return HttpResponse(content, content_type=content_type)
