"""The page of the routes, and what a person does to one: pause, resume, probe now."""

from enum import StrEnum
from typing import assert_never

from django.db.utils import Error as DatabaseError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode
from django.views.decorators.http import require_POST, require_safe

from reliable_email.backends.routes import DEFAULT_ALIAS, all_mailers
from reliable_email.delivery.route import Route
from reliable_email.diagnosis.examination import RouteExamination, examine_route
from reliable_email.monitoring.outbox_health import outbox_databases
from reliable_email.outbox.operate import note
from reliable_email.store.queries import ActionStory, action
from reliable_email.store.route_state import DatabaseRouteStateStore, database_store
from reliable_email.values import printable
from reliable_email.views.access import ACT, VIEW, actor_of, requires
from reliable_email.views.page import show
from reliable_email.views.route_lines import RouteLine, find_route, route_lines

_REASON_CHARACTERS = 500


class Verb(StrEnum):
    """What can be done to a route, as the record calls it."""

    PAUSE = "pause_route"
    RESUME = "resume_route"
    PROBE = "probe_route"


@require_safe
@requires(VIEW)
def routes(request: HttpRequest) -> HttpResponse:
    """Each route with its evidence; and what the act before has done."""
    return _page(request)


@require_POST
@requires(ACT)
def act_on_route(request: HttpRequest) -> HttpResponse:
    """Do it, write down who did it and why, and go back to the page."""
    try:
        route, verb = find_route(request.POST.get("route", "")), Verb(request.POST.get("verb", ""))
    except ValueError:
        return _page(request, trouble="That cannot be done to a route.")
    if route is None:
        return _page(request, trouble="There is no such route any more.")
    reason = " ".join(request.POST.get("reason", "").split())[:_REASON_CHARACTERS]
    if verb is Verb.PAUSE and not reason:
        return _page(request, trouble=f"Say why {route.alias} is paused: whoever resumes it has to know.")
    record = _do(verb, route, actor_of(request), reason)
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
        misfit = f"A mailer cannot be built: {type(error).__name__}: {printable(str(error))}"
    done = _done(request)
    return show(
        request,
        "reliable_email/routes.html",
        {
            "routes": lines,
            "trouble": trouble or misfit,
            "notices": [_told(done)] if done is not None else [],
            "probe": done.detail | {"route": done.target} if done is not None and done.verb == Verb.PROBE else None,
            "now": timezone.now(),
        },
        section="routes",
        status=400 if trouble else 200,
    )


def _do(verb: Verb, route: Route, actor: str, reason: str) -> int:
    detail: dict[str, str] = {}
    match verb:
        case Verb.PAUSE:
            _state().pause(route, by=f"{actor}: {reason}")
        case Verb.RESUME:
            _state().resume(route)
        case Verb.PROBE:
            detail = _probe(route)
        case _:
            assert_never(verb)
    return note(verb, actor=actor, target=route.alias, reason=reason, detail=detail)


def _state() -> DatabaseRouteStateStore:
    """Where the workers look."""
    shared = database_store()
    alias = next(iter(outbox_databases()), shared.using)
    return shared if alias == shared.using else DatabaseRouteStateStore(alias)


def _probe(route: Route) -> dict[str, str]:
    """Up to the login, over a connection of its own; no message is sent, and the route's state stays as it is."""
    entries = all_mailers()
    found = examine_route(entries.get(route.alias) or entries[DEFAULT_ALIAS])
    return _outcome(next((one for one in found if one.alias == route.alias), found[0]))


def _outcome(found: RouteExamination) -> dict[str, str]:
    told = {
        "verdict": str(found.verdict or "not known"),
        "seconds": f"{found.seconds:.2f}",
        "summary": found.summary,
        "note": found.note,
    }
    if found.climb is not None:
        told["stages"] = ", ".join(f"{rung.stage} {'ok' if rung.is_ok else 'failed'}" for rung in found.climb.rungs)
    if found.explanation is not None:
        told |= {
            "said": found.explanation.said,
            "meaning": found.explanation.meaning,
            "remedy": " ".join(found.explanation.remedies),
        }
    return told


def _done(request: HttpRequest) -> ActionStory | None:
    name = request.GET.get("done", "")
    found = action(int(name)) if name.isdecimal() and len(name) < 19 else None
    return found if found is not None and found.verb in set(Verb) and found.actor == actor_of(request) else None


def _told(done: ActionStory) -> str:
    match Verb(done.verb):
        case Verb.PAUSE:
            return f"{done.target} is paused: nothing goes by it until somebody resumes it. It is in the record."
        case Verb.RESUME:
            return f"{done.target} was put back into use, with a clean record. It is in the record of acts."
        case Verb.PROBE:
            return f"{done.target} was tried up to its login; no message was sent."
