"""The permissions of the pages: seeing, acting and reading content are separate.

Content holds links that reset passwords, so that seeing that a message exists does not include reading it.
"""

import logging
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, Final

from django.db import connections, transaction
from django.db.utils import Error as DatabaseError
from django.http import HttpRequest, HttpResponse
from django.urls import NoReverseMatch, Resolver404, resolve, reverse
from django.utils.translation import gettext_lazy as _
from django.views.decorators.csrf import csrf_protect

from reliable_email import conf
from reliable_email.views.away import database_away

if TYPE_CHECKING:
    from django.utils.functional import Promise

VIEW: Final = "reliable_email.view_outboxmessage"
ACT: Final = "reliable_email.act_on_outbox"
READ_CONTENT: Final = "reliable_email.read_content"
ERASE: Final = "reliable_email.erase_person"
EXPORT: Final = "reliable_email.export_person"  # with READ_CONTENT: an export has content in it

logger = logging.getLogger("reliable_email.views")

View = Callable[..., HttpResponse]

_WORDS = {
    VIEW: _("see the outbox"),
    ACT: _("act on the outbox"),
    READ_CONTENT: _("read the content of messages"),
    ERASE: _("erase people"),
    EXPORT: _("export the data of people"),
}
_NOBODY_IS_KNOWN = _(
    "These pages are for people who are logged in, and this site does not say who asks.\n\n"
    "Add django.contrib.auth and django.contrib.sessions to INSTALLED_APPS, and SessionMiddleware and "
    "AuthenticationMiddleware to MIDDLEWARE. Until then use the commands: manage.py email_outbox status.\n"
)
_MAY_NOT = _("%(who)s may not %(act)s.\n\nAsk the site's administrator for the permission %(permission)s.\n")


def may(request: HttpRequest, permission: str) -> bool:
    """Return whether the user has the permission; False on a site without users."""
    user = getattr(request, "user", None)
    return user is not None and user.is_active and bool(user.has_perm(permission))


def actor_of(request: HttpRequest) -> str:
    """Return the user's name, for the record."""
    user = getattr(request, "user", None)
    return str(user.get_username()) if user is not None else ""


def requires(permission: str) -> Callable[[View], View]:
    """Let those with the permission in; ask the others to log in, or tell them what is missing.

    Forms are protected against other sites' also where the project left Django's middleware for it out.
    """

    def decorate(view: View) -> View:
        guarded = csrf_protect(view)

        @wraps(view)
        def answer(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            if not hasattr(request, "user"):
                return _refusal(_NOBODY_IS_KNOWN)
            try:  # who asks may stand in a table, too
                if may(request, permission):
                    response: HttpResponse = guarded(request, *args, **kwargs)
                    return response
                if not request.user.is_authenticated:
                    return _ask_to_log_in(request)
                who = actor_of(request)
            except DatabaseError as error:
                logger.exception("The outbox's database does not answer")
                return database_away(request, error)
            return _refusal(
                _MAY_NOT % {"who": who, "act": _WORDS.get(permission, permission), "permission": permission}
            )

        return outside_transactions(answer)

    return decorate


def outside_transactions(view: View) -> View:
    """Run a view outside of ATOMIC_REQUESTS' transaction, in which shared route state is neither read nor written."""
    for alias in connections:
        view = transaction.non_atomic_requests(using=alias)(view)
    return view


def _refusal(text: "str | Promise", *, status: int = 403) -> HttpResponse:
    response = HttpResponse(str(text), content_type="text/plain; charset=utf-8", status=status)
    response["Cache-Control"] = "no-store, private"
    return response


def _ask_to_log_in(request: HttpRequest) -> HttpResponse:
    # Imports the user model, which a site without django.contrib.auth does not have.
    from django.contrib.auth.views import redirect_to_login

    return redirect_to_login(request.get_full_path(), _login_url())


def _login_url() -> str | None:
    """LOGIN_URL where the project set it or has a page there, else the admin's; None for Django's choice."""
    if conf.is_set("LOGIN_URL"):
        return None
    try:
        resolve("/accounts/login/")
    except Resolver404:
        try:
            return reverse("admin:login")
        except NoReverseMatch:
            return None
    return None
