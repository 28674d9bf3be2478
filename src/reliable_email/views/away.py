"""The page that is shown while the database does not answer: one sentence, and what to do. It asks no database."""

from typing import Final

from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.translation import gettext_noop as _
from django.utils.translation import pgettext

from reliable_email.diagnosis.verdict import Health
from reliable_email.monitoring.sentences import Sentence
from reliable_email.views.framing import keep_private, navigation

_REASON: Final = _("the database does not answer, or has no such tables (%(error)s)")
_REMEDY: Final = _(
    "See to the database; the log has more. Where the tables were never made or are of an older version, run "
    "“manage.py migrate reliable_email”. Messages that are queued already are not lost."
)


def database_away(request: HttpRequest, error: Exception) -> HttpResponse:
    """Return the page, with the class of what was raised; its words may hold secrets."""
    now = timezone.now()
    site = {
        "verdict": str(Health.UNHEALTHY),
        "reason": Sentence(_REASON, error=type(error).__name__),
        "remedy": _REMEDY,
        "at": now,
    }
    context = {
        "language": pgettext("the code of this language", "en"),
        "navigation": list(navigation("")),
        "refresh_seconds": 0,
        "now": now,
        "site": site,
    }
    # Without the request: a site's context processors may ask the database.
    response = HttpResponse(render_to_string("reliable_email/away.html", context), status=503)
    keep_private(response)
    return response
