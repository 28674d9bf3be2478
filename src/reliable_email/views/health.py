"""Pages for probes: `live` says that the process answers, `health` whether the site's mail works.

Liveness asks nothing: a restart mends no mail server. Readiness is the verdict that every surface shows; DEGRADED is
200, since mail goes out.
"""

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from reliable_email.diagnosis.verdict import Health
from reliable_email.monitoring.health import SiteHealth, examine_site
from reliable_email.views.monitors import for_monitors

_TEXT, _JSON = "text/plain", "application/json"
_STATUS = {Health.HEALTHY: 200, Health.DEGRADED: 200, Health.UNHEALTHY: 503}


@never_cache
@require_safe
def live(request: HttpRequest) -> HttpResponse:
    """The process answers; for anybody."""
    return HttpResponse("alive\n", content_type=_TEXT)


@never_cache
@require_safe
@for_monitors
def health(request: HttpRequest) -> HttpResponse:
    """200 for HEALTHY and DEGRADED, 503 for UNHEALTHY; JSON where `Accept` or `?format=json` asks for it, else text."""
    found = examine_site()
    status = _STATUS[found.verdict]
    if _wants_json(request):
        response: HttpResponse = JsonResponse(found.as_json(), status=status)
    else:
        response = HttpResponse(as_text(found), status=status, content_type=f"{_TEXT}; charset=utf-8")
    response["Vary"] = "Accept"
    return response


def as_text(found: SiteHealth) -> str:
    """The verdict, then each finding with its remedy."""
    lines = [found.verdict.upper()]
    for one in found.findings:
        since = f", since {one.since:%Y-%m-%d %H:%M} UTC" if one.since is not None else ""
        lines.append(f"{one.verdict}: {one.text}{since}")
        if one.remedy:
            lines.append(f"  {one.remedy}")
    return "\n".join(lines) + "\n"


def _wants_json(request: HttpRequest) -> bool:
    asked = request.GET.get("format")
    if asked is not None:
        return asked == "json"
    return request.get_preferred_type([_TEXT, _JSON]) == _JSON
