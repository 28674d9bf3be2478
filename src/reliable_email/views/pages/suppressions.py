"""The suppression list: search it, add to it, take from it."""

from datetime import timedelta

from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode
from django.utils.translation import gettext
from django.views.decorators.http import require_POST, require_safe

from reliable_email.delivery.report import bare_address
from reliable_email.outbox.operations.erased import configured_marker
from reliable_email.outbox.operations.operate import note
from reliable_email.outbox.operations.suppressed import allow, is_suppressible, suppress
from reliable_email.store.questions.acts import action
from reliable_email.store.questions.filters import outbox_database
from reliable_email.store.questions.suppressions import suppressed_address, suppression_page
from reliable_email.templatetags.numbers import thousands
from reliable_email.values import printable
from reliable_email.views.access import ACT, VIEW, actor_of, requires
from reliable_email.views.page import show
from reliable_email.views.parts.evidence import shown_address

ADD, REMOVE = "suppress", "unsuppress"
_MOST_DAYS = 3650
_REASON_CHARACTERS = 100  # as long as the list keeps


@require_safe
@requires(VIEW)
def suppressions_page(request: HttpRequest) -> HttpResponse:
    """The newest entries, or what a search finds."""
    return _page(request)


@require_POST
@requires(VIEW)  # a form that is refused shows the page again
@requires(ACT)
def suppress_address(request: HttpRequest) -> HttpResponse:
    """Send nothing to an address any more."""
    address = bare_address(request.POST.get("address", "")).lower()
    days = request.POST.get("days", "").strip()
    reason = " ".join(request.POST.get("reason", "").split())
    if not is_suppressible(address) or len(address) > 320 or not address.isprintable():
        return _page(
            request,
            trouble=gettext("“%(text)s” is not an address: write it as name@example.com.")
            % {"text": printable(address)},
        )
    if days and not (days.isdecimal() and len(days) < 5 and 0 < int(days) <= _MOST_DAYS):
        return _page(
            request,
            trouble=gettext("Days are a whole number up to %(most)s, or nothing for ever.")
            % {"most": thousands(_MOST_DAYS)},
        )
    if not reason:
        return _page(request, trouble=gettext("Give a reason, for anyone who looks for a missing message."))
    with transaction.atomic(outbox_database()):
        suppress(
            [address],
            reason=reason[:_REASON_CHARACTERS],
            source=f"by hand: {actor_of(request)}",
            lifetime=timedelta(days=int(days)) if days else None,
        )
        return _done(request, ADD, address, reason)


@require_POST
@requires(VIEW)  # a form that is refused shows the page again
@requires(ACT)
def allow_address(request: HttpRequest) -> HttpResponse:
    """Send to an address again."""
    name = request.POST.get("entry", "")
    address = suppressed_address(int(name)) if name.isdecimal() and len(name) < 19 else None
    if address is None:
        return _page(request, trouble=gettext("That address is not on the list any more."))
    with transaction.atomic(outbox_database()):
        allow([address])
        return _done(request, REMOVE, address, " ".join(request.POST.get("reason", "").split()))


def _done(request: HttpRequest, verb: str, address: str, reason: str) -> HttpResponse:
    number = note(verb, actor=actor_of(request), target=address, reason=reason)
    kept = {"q": request.POST["q"]} if request.POST.get("q") else {}
    return HttpResponseRedirect(f"{reverse('reliable_email:suppressions')}?{urlencode(kept | {'done': number})}")


def _page(request: HttpRequest, *, trouble: str = "") -> HttpResponse:
    text = request.GET.get("q", "").replace("\0", "").strip()[:320]
    name = request.GET.get("before", "")
    before = int(name) if name.isdecimal() and len(name) < 19 else None
    digests = configured_marker().by_digest([bare_address(text)])
    page = suppression_page(text=text, digests=digests, before=before)
    return show(
        request,
        "reliable_email/suppressions.html",
        {
            "entries": [(one, shown_address(one.address)) for one in page.addresses],
            "before": page.before,
            "text": text,
            "given": request.POST if trouble else {},
            "trouble": trouble,
            "notices": _notices(request),
            "now": timezone.now(),
        },
        section="suppressions",
        status=400 if trouble else 200,
    )


def _notices(request: HttpRequest) -> list[str]:
    name = request.GET.get("done", "")
    found = action(int(name)) if name.isdecimal() and len(name) < 19 else None
    if found is None or found.actor != actor_of(request):
        return []
    address = shown_address(found.target)
    match found.verb:
        case "suppress":
            return [gettext("Nothing is sent to %(address)s any more. It is in the record.") % {"address": address}]
        case "unsuppress":
            return [gettext("Mail is sent to %(address)s again. It is in the record.") % {"address": address}]
    return []
