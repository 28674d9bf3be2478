"""Access for monitors: staff who are logged in, and requests with one of the HEALTH_TOKENS."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils.crypto import constant_time_compare

from reliable_email import conf
from reliable_email.views.access import outside_transactions

_SCHEME = "bearer "


def for_monitors(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Answer 401 or 403 to everybody else. Never inside a transaction of the request: route state is not read there."""

    @wraps(view)
    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        user = getattr(request, "user", None)  # there may be no authentication at all
        if has_token(request) or (user is not None and user.is_active and user.is_staff):
            return view(request, *args, **kwargs)
        if user is not None and user.is_authenticated:
            return HttpResponse("This is for staff.\n", status=403, content_type="text/plain")
        return HttpResponse(
            "Log in as staff, or send “Authorization: Bearer” with one of RELIABLE_EMAIL['HEALTH_TOKENS'].\n",
            status=401,
            content_type="text/plain; charset=utf-8",
            headers={"WWW-Authenticate": 'Bearer realm="reliable_email"'},
        )

    return outside_transactions(guarded)


def has_token(request: HttpRequest) -> bool:
    """Return whether the request brings a token that the settings name; one of another kind is never looked at."""
    given = request.headers.get("Authorization", "")
    if not given.lower().startswith(_SCHEME) or conf.key_problems():
        return False
    token = given[len(_SCHEME) :].strip()
    return any(constant_time_compare(token, known) for known in conf.get().health_tokens)
