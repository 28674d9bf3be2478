"""The frame that all pages share: navigation, access, and the verdict."""

from typing import Any, Final

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.translation import pgettext

from reliable_email.monitoring.health import SiteHealth, examine_site
from reliable_email.views.access import ACT, READ_CONTENT, actor_of, may
from reliable_email.views.framing import keep_private, navigation, url_of
from reliable_email.views.leading import leads_to

REFRESH_SECONDS: Final = 5


def show(
    request: HttpRequest, template: str, context: dict[str, Any] | None = None, *, section: str, status: int = 200
) -> HttpResponse:
    """A page inside the frame.

    Args:
        section: which entry of `framing.NAVIGATION` it belongs to.
        template: extends "reliable_email/base.html".
    """
    common = {
        # Of what is shown; a site may have a language for which there is no translation here.
        "language": pgettext("the code of this language", "en"),
        "navigation": list(navigation(section)),
        "section": section,
        "actor": actor_of(request),
        "may_act": may(request, ACT),
        "may_read_content": may(request, READ_CONTENT),
        "refresh_seconds": REFRESH_SECONDS,
        "now": timezone.now(),
        "site": _verdict(examine_site()),
        "messages_url": url_of("messages"),
    }
    response = render(request, template, common | (context or {}), status=status)
    keep_private(response)
    return response


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
