"""`FailoverBackend`: sends at once by the first route that can, and goes on to the next where the message can pass."""

from collections.abc import Sequence
from typing import Any

from django.core.mail import EmailMessage

from reliable_email import conf
from reliable_email.backends.base import Door
from reliable_email.backends.direct import send_directly
from reliable_email.backends.doors import FailoverOptions, failover_options
from reliable_email.backends.fingerprint import described, keyed
from reliable_email.backends.routes import MailerKind, delivering_alias, mailer, routes_of
from reliable_email.backends.smtp import ReliableSMTPBackend
from reliable_email.delivery.foreign import ForeignTransport
from reliable_email.delivery.route import Route
from reliable_email.exceptions import InvalidMailer
from reliable_email.mailers import mailers

# What these take is shown to somebody, and has reached nobody.
_SHOW_ONLY = (MailerKind.CONSOLE, MailerKind.DUMMY)


class FailoverBackend(Door):
    """See the module. OPTIONS: `using` (aliases, the preferred route first), `timeout`, `fail_silently`."""

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
        self.timeout = self.options.timeout
        self.final_reply_timeout: float | None = None  # the routes' own

    def open(self) -> bool:
        """Make sure that one route can be reached; True where a new connection had to be made for that.

        Raises:
            DeliveryError: none can, unless `fail_silently`. It is the first route's, and of whatever class somebody
                else's backend raises.
        """
        first_error: Exception | None = None
        for one in routes_of(self._own_alias):
            backend = mailers[one.alias]
            try:
                return bool(backend.open())
            except Exception as error:  # noqa: BLE001 - any code of anybody's may be behind this
                first_error = first_error or error
        if first_error is not None and not self.fail_silently:
            raise first_error
        return False

    def close(self) -> None:
        """Nothing of this instance is open; the process keeps its connections."""

    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        """Send each message; how many of them some recipient took.

        Raises:
            ValueError: a message is invalid; the others were tried first.
            DeliveryError: no recipient of some message took it by any route, unless `fail_silently`.
        """
        messages = list(email_messages or ())
        if not messages:
            return 0
        return send_directly(
            messages,
            self.routes(),
            mailer=self.alias,
            sender_class=type(self),
            timeout=self.timeout,
            fail_silently=self.fail_silently,
        )

    def routes(self) -> list[Route]:
        """Its routes, in order of preference; a failover among them counts as its own routes."""
        return [
            make_route(one.alias, final_reply_timeout=self.final_reply_timeout) for one in routes_of(self._own_alias)
        ]

    @property
    def _own_alias(self) -> str:
        if self.alias is None:
            raise InvalidMailer("A FailoverBackend works as an entry of MAILERS alone.")
        return self.alias


def make_route(alias: str, *, final_reply_timeout: float | None = None) -> Route:
    """The route behind a mailer's alias.

    Args:
        final_reply_timeout: seconds that the final reply may take at most; None for the mailer's own.

    Raises:
        InvalidMailer: it is an outbox or a failover, or cannot be built.
        MailerDoesNotExist: there is no such alias.
    """
    backend = mailers[alias]
    if isinstance(backend, ReliableSMTPBackend):
        if final_reply_timeout is not None:
            backend.final_reply_timeout = final_reply_timeout
        return backend.route()
    entry = mailer(alias)
    if entry.kind in (MailerKind.OUTBOX, MailerKind.FAILOVER, MailerKind.ERROR_MAIL):
        raise InvalidMailer("It sends through other mailers, so it is no route.", alias=alias)
    return Route(
        alias=alias,
        transport=ForeignTransport(lambda: mailers[alias], alias=alias),
        provider=provider_of(entry.backend),
        fingerprint=keyed(f"{alias}\0{entry.backend}\0{described([entry.options, conf.settings_of(entry.backend)])}"),
        max_attempts=1,
        delivers=entry.kind not in _SHOW_ONLY,
        is_foreign=True,
    )


def provider_of(backend: str) -> str | None:
    """The provider behind a foreign backend's dotted path, for the rules of classification; None where not known."""
    parts = backend.lower().split(".")
    if parts[0] == "anymail" and len(parts) > 2:
        return {"amazon_ses": "ses", "sendinblue": "brevo"}.get(parts[2], parts[2])
    return "ses" if parts[0] == "django_ses" else None


def routes_for(alias: str) -> list[Route]:
    """The routes by which a mailer's messages leave; for an outbox those of the mailer that it is over."""
    return [make_route(one.alias) for one in routes_of(delivering_alias(alias))]
