"""Acts on recipients: asked for on one page, confirmed with a reason on this one, done once.

The first POST changes nothing: it counts, says what the act means and asks why. The second one does it. What came into
the outbox between the two is left alone.
"""

from datetime import timedelta
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest, HttpResponseRedirect, QueryDict
from django.urls import reverse
from django.utils.translation import gettext, ngettext

from reliable_email import conf
from reliable_email.backends.routes import all_mailers, mailers_over
from reliable_email.outbox.operations.incoming import can_be_held
from reliable_email.outbox.operations.operate import Act, affected, perform, undoing, without_content
from reliable_email.records import dataclass, replace
from reliable_email.store.questions.acts import action
from reliable_email.store.questions.filters import Filter
from reliable_email.store.questions.search import newest_recipient, understood
from reliable_email.store.sql.bounded import MOST
from reliable_email.templatetags.words import ACTS, SAY_WHY
from reliable_email.values import printable
from reliable_email.views.access import ACT, VIEW, actor_of, requires
from reliable_email.views.done import link
from reliable_email.views.holding import LIFETIMES, hold_what_comes
from reliable_email.views.narrowing import of_misread, read, told
from reliable_email.views.page import show

_MOST_SELECTED = 1_000
_MOST_COUNTED = 100_000
_ACTS = {act.value: act for act in Act}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """The recipients of an act.

    Attributes:
        words: for the heading.
        narrowed: by which fields of the search form, in words.
        fields: what the second form has to send again.
        back: where to go afterwards.
        arriving: the same of what has not come yet; None where that cannot be told.
        because: a reason to begin with.
    """

    chosen: Filter
    words: str
    fields: tuple[tuple[str, str], ...]
    back: str
    narrowed: tuple[tuple[str, str], ...] = ()
    arriving: Filter | None = None
    because: str = ""


@requires(VIEW)  # a form that is refused shows the page again
@requires(ACT)
def act(request: HttpRequest) -> HttpResponse:
    """Ask for confirmation, or do it."""
    if request.method != "POST":  # whoever had to log in again comes back by a link
        return HttpResponseRedirect(reverse("reliable_email:messages"))
    chosen_act = _ACTS.get(request.POST.get("act", ""))
    if chosen_act is None:
        return HttpResponseBadRequest(gettext("There is no such act."), content_type="text/plain")
    wanted = _wanted(request.POST, chosen_act)
    if wanted is None:
        trouble = gettext("Nothing was selected: go back and tick some recipients.")
        if request.POST.get("scope") == "filter":
            trouble = " ".join([gettext("Nothing was changed."), of_misread(read(request.POST))])
        return _page(request, chosen_act, None, trouble=trouble)
    if not request.POST.get("confirmed"):
        return _page(request, chosen_act, wanted)
    reason = request.POST.get("reason", "").strip()
    if not reason:
        return _page(request, chosen_act, wanted, trouble=str(SAY_WHY))
    route = request.POST.get("by_route", "") if chosen_act is Act.REQUEUE else ""
    if route and route not in dict(_routes()):
        return _page(
            request,
            chosen_act,
            wanted,
            trouble=gettext("There is no route “%(route)s” any more.") % {"route": printable(route)},
        )
    chosen = wanted.chosen
    if route:
        # What another mailer sends would wait for this route for ever.
        chosen = replace(chosen, delivering=mailers_over(route) or ("",))
    if chosen_act is Act.HOLD and wanted.arriving is not None and request.POST.get("incoming"):
        hold_what_comes(request, wanted.arriving, reason)  # before what is there, so that nothing slips through
    done = perform(
        chosen_act,
        chosen,
        actor=actor_of(request),
        reason=reason,
        route=route,
        gives_up_after=timedelta(days=conf.get().expires_days),
        undoes=bool(chosen.detail),
    )
    return HttpResponseRedirect(link(wanted.back, done.action))


def _page(request: HttpRequest, chosen_act: Act, wanted: _Wanted | None, *, trouble: str = "") -> HttpResponse:
    words = ACTS[chosen_act]
    context: dict[str, Any] = {
        "act": chosen_act.value,
        "words": words,
        "trouble": trouble,
        "wanted": wanted,
        "refresh_seconds": 0,  # it answers a form, and has no address of its own
    }
    if wanted is not None:
        context |= {
            "count": affected(chosen_act, wanted.chosen, most=_most_counted(chosen_act)),
            "gone": without_content(chosen_act, wanted.chosen),
            "states": chosen_act.states,
            "routes": _routes() if chosen_act is Act.REQUEUE else [],
            "reason": request.POST.get("reason", wanted.because),
            "offers_incoming": chosen_act is Act.HOLD and wanted.arriving is not None,
            "incoming": bool(request.POST.get("incoming")),
            "lifetimes": LIFETIMES,
            "lifetime": request.POST.get("lifetime", ""),
            "by_route": request.POST.get("by_route", ""),
        }
    return show(request, "reliable_email/act.html", context, section="messages", status=400 if trouble else 200)


def _most_counted(act: Act) -> int:
    """Return the maximum to count: resending needs the content, which is looked up message by message."""
    return MOST if act in (Act.REQUEUE, Act.RESOLVE_RESEND) else _MOST_COUNTED


def _routes() -> list[tuple[str, str]]:
    return [(alias, alias) for alias, one in all_mailers().items() if not one.using]


def _wanted(sent: QueryDict, chosen_act: Act) -> _Wanted | None:
    up_to = sent.get("up_to", "")
    newest = int(up_to) if up_to.isdecimal() and len(up_to) < 19 else newest_recipient()
    match sent.get("scope"):
        case "filter":
            return _matching(sent, newest)
        case "undo":
            return _undone(sent, chosen_act)
        case "message":
            ids = _numbers(sent, "message")
            if not ids:
                return None
            back = reverse("reliable_email:message", args=[ids[0]])
            fields = (("scope", "message"), ("message", str(ids[0])))
            return _Wanted(
                chosen=Filter(ids=ids[:1]),
                words=gettext("all recipients of message %(number)s") % {"number": ids[0]},
                fields=fields,
                back=back,
            )
        case _:
            return _selected(sent)


def _selected(sent: QueryDict) -> _Wanted | None:
    ids = _numbers(sent, "recipient")[:_MOST_SELECTED]
    if not ids:
        return None
    message = _numbers(sent, "message")
    narrowing = read(sent)
    back = (
        reverse("reliable_email:message", args=[message[0]])
        if message
        else f"{reverse('reliable_email:messages')}?{narrowing.query}"
    )
    fields = (
        *(("recipient", str(one)) for one in ids),
        *(("message", str(one)) for one in message[:1]),
        *narrowing.pairs,
    )
    words = ngettext("%(count)s selected recipient", "%(count)s selected recipients", len(ids)) % {"count": len(ids)}
    return _Wanted(chosen=Filter(ids=message[:1], recipient_ids=ids), words=words, fields=fields, back=back)


def _undone(sent: QueryDict, chosen_act: Act) -> _Wanted | None:
    """Return the recipients that an act has changed, as long as nothing else was done to them."""
    numbers = _numbers(sent, "done")
    found = action(numbers[0]) if numbers else None
    undo = undoing(found) if found is not None else None
    if found is None or undo is None or undo[0] is not chosen_act:
        return None
    state = undo[1].states[0]
    return _Wanted(
        chosen=undo[1],
        words=gettext("the recipients that act %(number)s changed") % {"number": found.id},
        fields=(("scope", "undo"), ("done", str(found.id))),
        back=f"{reverse('reliable_email:messages')}?state={state}",
        because=gettext("takes back act %(number)s") % {"number": found.id},
    )


def _matching(sent: QueryDict, newest: int) -> _Wanted | None:
    narrowing = read(sent)
    if narrowing.misread:
        return None  # without that condition it would be an act on more
    chosen = understood(narrowing.search)
    words = gettext("all recipients in the outbox")
    if narrowing.pairs:
        words = gettext("all recipients that match the search")
    if chosen.recipient_part:  # nobody has named an address
        words = gettext("all recipients with “%(text)s” in the address") % {"text": printable(chosen.recipient_part)}
    arriving = chosen if can_be_held(chosen) else None
    environment = conf.get().environment  # the list shows what others have queued, too
    if environment:
        words = gettext("%(whom)s of the environment “%(name)s”") % {"whom": words, "name": environment}
    return _Wanted(
        chosen=replace(chosen, up_to=newest, environments=(environment,)),
        words=words,
        fields=(("scope", "filter"), ("up_to", str(newest)), *narrowing.pairs),
        back=f"{reverse('reliable_email:messages')}?{narrowing.query}",
        narrowed=told(narrowing),
        arriving=arriving,
    )


def _numbers(sent: QueryDict, name: str) -> tuple[int, ...]:
    return tuple(int(value) for value in sent.getlist(name) if value.isdecimal() and len(value) < 19)
