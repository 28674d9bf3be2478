"""Holds on what comes: shown wherever mail is looked for in vain, and released by a button."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST

from reliable_email import conf
from reliable_email.outbox.operations.holds import Hold, standing_holds
from reliable_email.outbox.operations.incoming import hold_incoming, release_one
from reliable_email.outbox.operations.operate import Act, affected, perform
from reliable_email.store.questions.filters import Filter, outbox_database
from reliable_email.store.tables.states import State
from reliable_email.templatetags.words import SAY_WHY
from reliable_email.views.access import ACT, VIEW, actor_of, requires
from reliable_email.views.done import link
from reliable_email.views.page import show

LIFETIMES = (
    ("", gettext_lazy("until it is released")),
    ("1", gettext_lazy("for an hour")),
    ("4", gettext_lazy("for 4 hours")),
    ("24", gettext_lazy("for a day")),
)


def holds() -> Sequence[Hold]:
    """Return the holds in force."""
    return standing_holds(outbox_database())


def hold_what_comes(request: HttpRequest, chosen: Filter, reason: str) -> None:
    """Hold incoming messages as the form says; a duration that is not offered is the longest."""
    hours = request.POST.get("lifetime", "")
    lifetime = timedelta(hours=int(hours)) if hours in {value for value, _ in LIFETIMES if value} else None
    hold_incoming(chosen, actor=actor_of(request), reason=reason, lifetime=lifetime)


@require_POST
@requires(VIEW)
@requires(ACT)
def release_hold(request: HttpRequest) -> HttpResponse:
    """Ask why, or let go what comes, and what was held meanwhile where that is wanted."""
    name = request.POST.get("hold", "")
    hold = next((one for one in holds() if str(one.id) == name), None)
    back = reverse("reliable_email:messages")
    if hold is None:  # somebody else was quicker
        return HttpResponseRedirect(back)
    reason = request.POST.get("reason", "").strip()
    if not request.POST.get("confirmed") or not reason:
        return _page(request, hold, is_refused=bool(request.POST.get("confirmed")))
    record = release_one(hold, actor=actor_of(request), reason=reason)
    if request.POST.get("kept"):
        gives_up_after = timedelta(days=conf.get().expires_days)
        done = perform(
            Act.REQUEUE, _kept_by(hold), actor=actor_of(request), reason=reason, gives_up_after=gives_up_after
        )
        record = done.action if done.count else record
    return HttpResponseRedirect(link(back, record))


def _kept_by(hold: Hold) -> Filter:
    """Return the filter for the recipients that a hold parked."""
    return Filter(
        states=(State.PARKED.value,),
        causes=("held",),
        held_by=hold.actor,  # what another person held stays held
        mailers=(hold.mailer,) if hold.mailer else (),
        accounts=(hold.account,) if hold.account else (),
        streams=(hold.stream,) if hold.stream else (),
        priorities=(hold.priority,) if hold.priority is not None else (),
        environments=(conf.get().environment,),
    )


def _page(request: HttpRequest, hold: Hold, *, is_refused: bool) -> HttpResponse:
    context: dict[str, Any] = {
        "hold": hold,
        "kept": affected(Act.REQUEUE, _kept_by(hold)),
        "is_refused": is_refused,
        "say_why": SAY_WHY,
        "refresh_seconds": 0,
    }
    return show(request, "reliable_email/release.html", context, section="messages", status=400 if is_refused else 200)
