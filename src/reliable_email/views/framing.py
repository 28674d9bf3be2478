"""The frame around each page, and the headers that keep it private. It asks no database."""

from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import urlsplit

from django.http.response import HttpResponseBase
from django.templatetags.static import static
from django.urls import NoReverseMatch, reverse
from django.utils.translation import gettext_lazy as _

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


def navigation(section: str) -> Iterator[dict[str, Any]]:
    """Yield the entries that the site has, each with its address and whether it is the current one."""
    for name, label in NAVIGATION:
        url = url_of(name)
        if url:
            yield {"name": name, "label": label, "url": url, "is_current": name == section}


def url_of(name: str) -> str:
    """Return the URL of a page; "" if there is no such page."""
    try:
        return reverse(f"reliable_email:{name}")
    except NoReverseMatch:
        return ""
