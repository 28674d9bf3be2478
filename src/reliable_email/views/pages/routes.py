"""The page of the routes, and what a person does to one: pause, resume, probe now."""

from typing import Any

from django.db.utils import Error as DatabaseError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode
from django.utils.translation import gettext
from django.views.decorators.http import require_POST, require_safe

from reliable_email.store.questions.acts import ActionStory, action
from reliable_email.values import printable
from reliable_email.views.access import ACT, VIEW, actor_of, requires
from reliable_email.views.page import show
from reliable_email.views.parts.route_lines import RouteLine, find_route, route_lines
from reliable_email.views.route_acts import Verb, do

_REASON_CHARACTERS = 500


@require_safe
@requires(VIEW)
def routes(request: HttpRequest) -> HttpResponse:
    """Each route with its evidence; and what the act before has done."""
    return _page(request)


@require_POST
@requires(VIEW)  # a form that is refused shows the page again
@requires(ACT)
def act_on_route(request: HttpRequest) -> HttpResponse:
    """Do it, write down who did it and why, and go back to the page."""
    try:
        route, verb = find_route(request.POST.get("route", "")), Verb(request.POST.get("verb", ""))
    except ValueError:
        return _page(request, trouble=gettext("That cannot be done to a route."))
    if route is None:
        return _page(request, trouble=gettext("There is no such route any more."))
    reason = " ".join(request.POST.get("reason", "").split())[:_REASON_CHARACTERS]
    if verb is Verb.PAUSE and not reason:
        return _page(
            request,
            trouble=gettext("Give a reason why %(route)s is paused, for the operator who resumes it.")
            % {"route": route.alias},
        )
    record = do(verb, route, actor=actor_of(request), reason=reason).action
    place = "#probe" if verb is Verb.PROBE else ""
    return HttpResponseRedirect(f"{reverse('reliable_email:routes')}?{urlencode({'done': record})}{place}")


def _page(request: HttpRequest, *, trouble: str = "") -> HttpResponse:
    lines: list[RouteLine] = []
    misfit = ""
    try:
        lines = route_lines()
    except DatabaseError:
        raise
    except Exception as error:  # noqa: BLE001 - any code of anybody's may be behind a mailer
        words = f"{type(error).__name__}: {printable(str(error))}"
        misfit = gettext("A mailer cannot be built: %(error)s") % {"error": words}
    done = _done(request)
    return show(
        request,
        "reliable_email/routes.html",
        {
            "routes": lines,
            "trouble": trouble or misfit,
            "notices": [_told(done)] if done is not None else [],
            "probe": _probed(done) if done is not None and done.verb == Verb.PROBE else None,
            "now": timezone.now(),
        },
        section="routes",
        status=400 if trouble else 200,
    )


def _done(request: HttpRequest) -> ActionStory | None:
    name = request.GET.get("done", "")
    found = action(int(name)) if name.isdecimal() and len(name) < 19 else None
    return found if found is not None and found.verb in set(Verb) and found.actor == actor_of(request) else None


def _probed(done: ActionStory) -> dict[str, Any]:
    return done.detail | {"route": done.target, "took": float(done.detail.get("seconds") or 0.0)}


def _told(done: ActionStory) -> str:
    route = {"route": done.target}
    match Verb(done.verb):
        case Verb.PAUSE:
            return (
                gettext("%(route)s is paused: no message uses it until it is resumed. The record has the pause.")
                % route
            )
        case Verb.RESUME:
            return (
                gettext("%(route)s is in use again, and its earlier failures are forgotten. The act is in the record.")
                % route
            )
        case Verb.PROBE:
            return gettext("%(route)s was tried up to its login; no message was sent.") % route
