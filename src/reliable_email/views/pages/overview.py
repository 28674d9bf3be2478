"""The first page: is mail working, what waits, and what went in and out."""

from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_safe

from reliable_email import conf
from reliable_email.store.questions.status import STANDING, queue
from reliable_email.store.questions.traffic import traffic
from reliable_email.views.access import VIEW, requires
from reliable_email.views.holding import holds
from reliable_email.views.page import show
from reliable_email.views.parts.chart import chart
from reliable_email.views.parts.evidence import STATE_WORDS


@require_safe
@requires(VIEW)
def overview(request: HttpRequest) -> HttpResponse:
    """The queue, and a day's traffic."""
    waiting, day = queue(environment=conf.get().environment), traffic()
    oldest = waiting.oldest
    outcomes = day.outcomes
    return show(
        request,
        "reliable_email/overview.html",
        {
            "queue": waiting,
            "oldest": oldest,
            "oldest_url": reverse("reliable_email:message", args=[oldest.oldest_message]) if oldest else "",
            "states": [(state.value, waiting.states[state], STATE_WORDS[state]) for state in STANDING],
            "outcomes": [(name, outcomes.get(name, 0)) for name in ("accepted", "rejected", "deferred", "unknown")],
            "chart": chart(day),
            "at": waiting.at,
            "holds": holds(),
        },
        section="overview",
    )
