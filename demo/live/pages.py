"""The page of the live demo: send a mail, break a provider, mend it, and see what becomes of what was sent."""

from dataclasses import dataclass
from typing import Any

from django import forms
from django.contrib import messages
from django.core.mail import EmailMessage
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest
from django.shortcuts import redirect, render
from django.urls import NoReverseMatch, reverse
from django.views.decorators.http import require_GET, require_POST

from demo.live import stage
from demo.live.troubles import NEWS, NOBODY, POSSIBLE, SHOP, WORDS, Trouble
from reliable_email.models import OutboxRecipient

_LATEST = 12
_SENDERS = (f"orders@{SHOP}", f"news@{NEWS}")


class LetterForm(forms.Form):
    """A mail of one's own."""

    sender = forms.ChoiceField(label="From", choices=[(one, one) for one in _SENDERS])
    recipient = forms.EmailField(
        label="To",
        initial="you@customer.example",
        help_text=f"It stays on this machine. {NOBODY[0]} does not exist.",
    )
    subject = forms.CharField(label="Subject", initial="Hello", max_length=200)
    text = forms.CharField(label="Text", initial="Does it arrive?", widget=forms.Textarea(attrs={"rows": 3}))

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("label_suffix", "")
        super().__init__(*args, **kwargs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Switch:
    """One trouble of a provider on the page."""

    trouble: Trouble
    is_on: bool
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One provider on the page."""

    route: str
    troubles: tuple[str, ...]
    taken: int
    switches: tuple[Switch, ...]


@require_GET
def home(request: HttpRequest) -> HttpResponse:
    """Everything on one page."""
    return _home(request, LetterForm())


@require_POST
def send(request: HttpRequest) -> HttpResponse:
    """Queue a mail, as any view of a project does."""
    form = LetterForm(request.POST)
    if not form.is_valid():
        return _home(request, form, status=400)
    letter = form.cleaned_data
    EmailMessage(letter["subject"], letter["text"], letter["sender"], [letter["recipient"]]).send()
    messages.success(request, f"The mail to {letter['recipient']} is in the outbox.")
    return redirect("home")


@require_POST
def trouble(request: HttpRequest) -> HttpResponse:
    """Break a provider, or mend it."""
    route = request.POST.get("route", "")
    name = request.POST.get("trouble", "")
    if route not in POSSIBLE or name not in POSSIBLE[route]:
        return HttpResponseBadRequest("There is no such trouble.", content_type="text/plain")
    chosen = Trouble(name)
    if request.POST.get("is_on") == "1":
        stage.current().begin(route, chosen)
        messages.warning(request, f"{route} {WORDS[chosen].says}.")
    else:
        stage.current().end(route, chosen)
        messages.success(request, f"{route} is mended.")
    return redirect("home")


def _home(request: HttpRequest, form: LetterForm, *, status: int = 200) -> HttpResponse:
    latest = OutboxRecipient._base_manager.select_related("message").defer("message__content", "message__fields")
    context = {
        "form": form,
        "panels": [_panel(route) for route in POSSIBLE],
        "latest": latest.order_by("-id")[:_LATEST],
        "dashboard": _address("reliable_email:overview"),
        "admin": _address("admin:index"),
    }
    return render(request, "demo/live.html", context, status=status)


def _panel(route: str) -> Panel:
    on = stage.current()
    now = on.troubles[route].now
    switches = tuple(
        Switch(trouble=one, is_on=one in now, label="Mend it" if one in now else WORDS[one].button)
        for one in POSSIBLE[route]
    )
    return Panel(
        route=route,
        troubles=tuple(WORDS[one].says for one in now),
        taken=len(on.servers[route].messages),
        switches=switches,
    )


def _address(name: str) -> str:
    try:
        return reverse(name)
    except NoReverseMatch:
        return ""
