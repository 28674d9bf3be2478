"""A person of whom the outbox knows something: what there is, an export of it, and its erasure.

Both acts have permissions of their own: whoever runs the queue at night need not be able to undo its memory.
"""

from urllib.parse import quote

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, StreamingHttpResponse
from django.urls import reverse
from django.utils.http import urlencode
from django.utils.translation import gettext, ngettext
from django.views.decorators.http import require_POST, require_safe

from reliable_email.delivery.report import bare_address
from reliable_email.outbox.keyring import KeyMissing
from reliable_email.outbox.operations.erasure import erase, is_known, preview
from reliable_email.outbox.operations.exporting import export
from reliable_email.store.questions.acts import action
from reliable_email.templatetags.numbers import thousands
from reliable_email.values import printable
from reliable_email.views.access import ERASE, EXPORT, READ_CONTENT, VIEW, actor_of, may, requires
from reliable_email.views.framing import keep_private
from reliable_email.views.page import show

_LONGEST = 320


@require_safe
@requires(VIEW)
def people(request: HttpRequest) -> HttpResponse:
    """Ask for an address; say what is stored of it."""
    return _page(request, request.GET.get("q", ""))


@require_POST
@requires(VIEW)
@requires(READ_CONTENT)
@requires(EXPORT)
def export_person(request: HttpRequest) -> HttpResponse:
    """All that is stored of the person, as a file; it is recorded."""
    address = _address(request.POST.get("address", ""))
    if not address or not is_known(address):
        return _page(request, request.POST.get("address", ""), status=400)
    pieces = export(address, actor=actor_of(request))
    response = StreamingHttpResponse(pieces, content_type="application/json")
    response["Content-Disposition"] = f"attachment; filename*=UTF-8''{quote(address, safe='')}.json"
    keep_private(response)
    return response  # type: ignore[return-value]  # Django has two kinds of response, and a view may give either


@require_POST
@requires(VIEW)
@requires(ERASE)
def erase_person(request: HttpRequest) -> HttpResponse:
    """Ask why, or do it."""
    text = request.POST.get("address", "")
    address = _address(text)
    if not address or not is_known(address):
        return _page(request, text, status=400)
    reason = " ".join(request.POST.get("reason", "").split())
    if not request.POST.get("confirmed"):
        return _page(request, text, asks=True)
    if not reason:
        trouble = gettext("Give a reason: the record keeps it, without the address.")
        return _page(request, text, asks=True, trouble=trouble, status=400)
    try:
        done = erase(
            address,
            actor=actor_of(request),
            reason=reason[:2000],
            as_sender=bool(request.POST.get("as_sender")),
        )
    except KeyMissing as error:
        return _page(request, text, asks=True, trouble=str(error), status=409)
    return HttpResponseRedirect(f"{reverse('reliable_email:people')}?{urlencode({'erased': done.action})}")


def _page(request: HttpRequest, text: str, *, asks: bool = False, trouble: str = "", status: int = 200) -> HttpResponse:
    text = text.strip()[:_LONGEST]
    address = _address(text)
    found = preview(address) if address else None
    if found is not None and not (found.messages or found.sent or is_known(address)):
        found = None
    if text and not address:
        trouble = gettext("“%(text)s” is not an address: write it as name@example.com.") % {"text": printable(text)}
    elif text and found is None:
        trouble = gettext("There is no data about %(address)s.") % {"address": printable(address)}
    return show(
        request,
        "reliable_email/people.html",
        {
            "text": text,
            "address": address,
            "shown": printable(address),
            "found": found,
            "asks": asks and found is not None,
            "trouble": trouble,
            "notices": _notices(request),
            "may_erase": may(request, ERASE),
            "may_export": may(request, EXPORT) and may(request, READ_CONTENT),
            "refresh_seconds": 0,
        },
        section="people",
        status=status,
    )


def _address(text: str) -> str:
    """The plain address; "" for what is none."""
    address = bare_address(text.strip())
    local, _, domain = address.rpartition("@")
    is_one = local and domain and len(address) <= _LONGEST and address.isprintable()
    return address if is_one and not any(one.isspace() for one in address) else ""


def _notices(request: HttpRequest) -> list[str]:
    name = request.GET.get("erased", "")
    found = action(int(name)) if name.isdecimal() and len(name) < 19 else None
    if found is None or found.verb != "erase" or found.actor != actor_of(request):
        return []
    many = ngettext(
        "%(count)s delivery was erased, and nothing is sent to the address any more.",
        "%(count)s deliveries were erased, and nothing is sent to the address any more.",
        found.count,
    ) % {"count": thousands(found.count)}
    later = gettext(
        "What is under way or shared with recipients who wait is erased by a worker when it is settled. "
        "It is in the record."
    )
    return [f"{many} {later}"]
