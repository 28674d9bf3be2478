"""`FailoverBackend`: sends at once by the first route that can, and goes on to the next where the message can pass."""

from collections.abc import Sequence
from typing import Any

from django.core.mail import EmailMessage

from reliable_email.backends.base import Door
from reliable_email.backends.building import build_routes, built_routes_of, make_route, provider_of
from reliable_email.backends.direct import send_directly
from reliable_email.backends.given import given_backend
from reliable_email.backends.reading.doors import FailoverOptions, failover_options
from reliable_email.backends.reading.options import FAILOVER_OPTIONS
from reliable_email.backends.routes import MailerKind, delivering_alias, named_routes
from reliable_email.backends.smtp import ReliableSMTPBackend
from reliable_email.backends.unbuilt import none_can_be_built
from reliable_email.delivery.report import API_ATTRIBUTES
from reliable_email.delivery.route import Route
from reliable_email.exceptions import InvalidMailer
from reliable_email.mailers import mailers
from reliable_email.values import keeps_no_locals

__all__ = ["FailoverBackend", "make_route", "provider_of", "routes_for"]


class FailoverBackend(Door):
    """A backend that sends by the first healthy route. OPTIONS: `using` (in order), `timeout`, `fail_silently`."""

    @keeps_no_locals
    def __init__(
        self,
        *,
        fail_silently: bool = False,
        alias: str | None = None,
        _ignore_unknown_kwargs: Sequence[str] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(alias=alias)
        self.options: FailoverOptions = failover_options(options, alias=alias, ignore_unknown=_ignore_unknown_kwargs)
        self.fail_silently = fail_silently or self.options.fail_silently
        self._given: ReliableSMTPBackend | None = None
        if _ignore_unknown_kwargs:  # by get_connection() alone
            self._given = given_backend(
                options, FAILOVER_OPTIONS, _ignore_unknown_kwargs, alias=alias, fail_silently=self.fail_silently
            )
        self.timeout = self.options.timeout
        self.final_reply_timeout: float | None = None  # the routes' own

    def open(self) -> bool | None:
        """Make sure that one route can be reached; True where a new connection had to be made for that.

        Raises:
            DeliveryError: none can, unless `fail_silently`. It is the first route's, and of whatever class somebody
                else's backend raises.
        """
        if self._given is not None:
            return self._given.open()
        first_error: Exception | None = None
        for one in named_routes(self._own_alias):
            try:
                return bool(mailers[one.alias].open())
            except Exception as error:  # noqa: BLE001 - any code of anybody's may be behind this
                first_error = first_error or error
        if first_error is not None and not self.fail_silently:
            raise first_error
        return False

    def close(self) -> None:
        """Do nothing: no connection belongs to the instance."""

    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        """Send each message; how many of them some recipient took.

        Raises:
            ValueError: a message is invalid; the others were tried first.
            InvalidMailer: none of its routes can be built, unless `fail_silently`.
            DeliveryError: no recipient of some message took it by any route, unless `fail_silently`.
        """
        messages = list(email_messages or ())
        if not messages:
            return 0
        if self._given is not None:
            return self._given.send_messages(messages)
        routes = self.routes()
        apis = self._apis(routes) if any(map(_is_made_by_an_api, messages)) else []
        return send_directly(
            messages,
            routes,
            mailer=self.alias,
            sender_class=type(self),
            timeout=self.timeout,
            fail_silently=self.fail_silently,
            routes_of=(lambda one: apis if _is_made_by_an_api(one.message) else routes) if apis else None,
        )

    def _apis(self, routes: Sequence[Route]) -> list[Route]:
        """Return the routes that may be APIs; a server would send a template as it is, to all at once."""
        named = named_routes(self._own_alias)
        aliases = {one.alias for one in named if one.kind in (MailerKind.FOREIGN, MailerKind.MISSING)}
        return [one for one in routes if one.alias in aliases]

    def routes(self) -> list[Route]:
        """Return the routes in order of preference; a failover among them counts as its own routes.

        One that cannot be built has a `build_error`, and the others are used.
        """
        return build_routes(named_routes(self._own_alias), final_reply_timeout=self.final_reply_timeout)

    @property
    def _own_alias(self) -> str:
        if self.alias is None:
            raise InvalidMailer("A FailoverBackend works as an entry of MAILERS alone.")
        return self.alias


def _is_made_by_an_api(message: EmailMessage | None) -> bool:
    """Return whether only a provider's API can send it as it is meant: with a template, merged, or at its time."""
    try:
        if not any(hasattr(message, name) for name in API_ATTRIBUTES):
            return False
        from reliable_email.outbox.intake.foreign_fields import has_own_time, template_attributes  # few have any

        return bool(template_attributes(message)) or has_own_time(message)
    except Exception:  # noqa: BLE001 - messages run anybody's code; sending it tells what it raises
        return False


def routes_for(alias: str) -> list[Route]:
    """The routes by which a mailer's messages leave; for an outbox those of the mailer that it is over.

    One that cannot be built has a `build_error`.

    Raises:
        MailerDoesNotExist: there is no such mailer.
        InvalidMailer: none of its routes can be built; the text names each.
    """
    routes = built_routes_of(delivering_alias(alias))
    trouble = none_can_be_built(routes)
    if trouble:
        raise InvalidMailer(trouble, alias=alias)
    return routes
