"""System checks' errors by which one route is lost: those of building it, and of what its class replaces."""

from collections.abc import Iterable, Iterator
from typing import Any

from django.core.checks import CheckMessage, Error
from django.core.checks.messages import ERROR

from reliable_email.backends.derived import replaced_send, replaces
from reliable_email.backends.failover import FailoverBackend
from reliable_email.backends.routes import Mailer, MailerKind, all_mailers, named_routes
from reliable_email.backends.smtp import ReliableSMTPBackend
from reliable_email.backends.unbuilt import without_remedy

# The doors that a failover or a worker goes through without their `send_messages()`.
_PASSED_BY = {MailerKind.SMTP: ReliableSMTPBackend, MailerKind.FAILOVER: FailoverBackend}


class RouteError(Error):
    """An error by which one route cannot be built; mail goes by the others of its failover.

    Attributes:
        route: its alias.
    """

    def __init__(self, *args: Any, route: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.route = route


def stopping_errors(messages: Iterable[CheckMessage]) -> tuple[CheckMessage, ...]:
    """The errors that stop the mail of some mailer: all but those of a route beside which another one can be built."""
    errors = [message for message in messages if message.level >= ERROR]
    unusable = {one.route for one in errors if isinstance(one, RouteError)}
    return tuple(one for one in errors if not isinstance(one, RouteError) or _stops_a_mailer(one.route, unusable))


def _stops_a_mailer(route: str, unusable: set[str]) -> bool:
    """Return whether it is all that some mailer has; a mailer of its own is."""
    over = [found for alias in all_mailers() if alias != route and route in (found := _route_aliases(alias))]
    return not over or any(unusable.issuperset(found) for found in over)


def _route_aliases(alias: str) -> list[str]:
    return [one.alias for one in named_routes(alias)]


def named(one: Mailer) -> str:
    """Return the place of the mailer in the settings."""
    return "EMAIL_BACKEND" if one.is_legacy else f"MAILERS[{one.alias!r}]"


def building_messages(one: Mailer, error: str) -> Iterator[CheckMessage]:
    """The error of a mailer that cannot be made; none for ""."""
    if error:
        text, hint = without_remedy(error)
        yield RouteError(text, hint=hint, id="reliable_email.E022", route=one.alias)


def replaced_messages(found: Mailer) -> Iterator[CheckMessage]:
    """A method of a project's own that is called only where the application uses this very mailer."""
    cls = found.derived_class
    base = _PASSED_BY.get(found.kind)
    if cls is not None and base is not None and replaces(cls, "send_messages", base):
        text, _, hint = replaced_send(cls).partition(". ")
        yield RouteError(f"{named(found)}: {text}.", hint=hint, id="reliable_email.E025", route=found.alias)
