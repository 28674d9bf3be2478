"""The frame that all pages share: navigation, access, and the headers that keep them private."""

from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import urlsplit

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.templatetags.static import static
from django.urls import NoReverseMatch, reverse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext

from reliable_email.monitoring.health import SiteHealth, examine_site
from reliable_email.views.access import ACT, READ_CONTENT, actor_of, may
from reliable_email.views.leading import leads_to

# Names of URLs, and what the links to them say.
NAVIGATION: Final = (
    ("overview", _("Overview")),
    ("messages", _("Messages")),
    ("routes", _("Routes")),
    ("failures", _("Failures")),
    ("workers", _("Workers")),
    ("suppressions", _("Suppressions")),
    ("people", _("People")),
    ("record", _("Record")),
)
REFRESH_SECONDS: Final = 5


def show(
    request: HttpRequest, template: str, context: dict[str, Any] | None = None, *, section: str, status: int = 200
) -> HttpResponse:
    """A page inside the frame.

    Args:
        section: which entry of `NAVIGATION` it belongs to.
        template: extends "reliable_email/base.html".
    """
    common = {
        # Of what is shown; a site may have a language for which there is no translation here.
        "language": pgettext("the code of this language", "en"),
        "navigation": list(_navigation(section)),
        "section": section,
        "actor": actor_of(request),
        "may_act": may(request, ACT),
        "may_read_content": may(request, READ_CONTENT),
        "refresh_seconds": REFRESH_SECONDS,
        "now": timezone.now(),
        "site": _verdict(examine_site()),
        "messages_url": _url("messages"),
    }
    response = render(request, template, common | (context or {}), status=status)
    keep_private(response)
    return response


def keep_private(response: HttpResponseBase) -> None:
    """Set headers that forbid storing and framing the answer, and running other sites' code in it."""
    # Static files may live on a host of their own.
    found = urlsplit(static("reliable_email/dashboard.css"))
    own = f"'self' {found.scheme or 'https'}://{found.netloc}" if found.netloc else "'self'"
    response["Content-Security-Policy"] = (
        f"default-src 'none'; style-src {own}; script-src {own}; img-src {own}; connect-src 'self'; frame-src 'self'; "
        "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    )
    response["Cache-Control"] = "no-store, private"
    response["Referrer-Policy"] = "same-origin"
    response["X-Content-Type-Options"] = "nosniff"
    response["X-Frame-Options"] = "DENY"


def _verdict(found: SiteHealth) -> dict[str, Any]:
    return {
        "verdict": str(found.verdict),
        "reason": _open_ended(found.reason),
        "remedy": found.remedy,
        "since": found.since,
        "at": found.at,
        "link": leads_to(found.findings[0]) if found.findings else ("", ""),
        "runbook": found.findings[0].topic.runbook if found.findings else "",
        "others": [(one, *leads_to(one)) for one in found.findings[1:]],
    }


def _open_ended(text: str) -> str:
    """Texts of checks end with a full stop; the page goes on after it."""
    return text.removesuffix(".") if text.endswith(".") and type(text) is str else text


def _navigation(section: str) -> Iterator[dict[str, Any]]:
    for name, label in NAVIGATION:
        url = _url(name)
        if url:
            yield {"name": name, "label": label, "url": url, "is_current": name == section}


def _url(name: str) -> str:
    """Return the URL of a page; "" if there is no such page."""
    try:
        return reverse(f"reliable_email:{name}")
    except NoReverseMatch:
        return ""
