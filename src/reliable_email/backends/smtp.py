"""`ReliableSMTPBackend`: Django's SMTP backend in shape, and one that knows what became of every recipient."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from django.core.mail import EmailMessage
from django.core.mail.backends.console import EmailBackend as ConsoleBackend

from reliable_email.backends.base import Door
from reliable_email.backends.direct import send_directly
from reliable_email.backends.fingerprint import described, keyed
from reliable_email.backends.options import SMTPOptions, smtp_options
from reliable_email.classification import classify
from reliable_email.delivery.filters import restricted
from reliable_email.delivery.foreign import ForeignTransport
from reliable_email.delivery.report import DeliveryReport, Outcome, RecipientOutcome, Recipients
from reliable_email.delivery.route import Route
from reliable_email.exceptions import error_for
from reliable_email.smtp.deadline import Deadline
from reliable_email.smtp.failures import WireError
from reliable_email.smtp.options import ConnectionOptions
from reliable_email.smtp.pool import pool
from reliable_email.smtp.transport import SMTPTransport


class ReliableSMTPBackend(Door):
    """Sends by SMTP at once: several attempts within one time budget, and a report on each message.

    Options are those of `reliable_email.backends.options`. Live connections are kept by the process, not by the
    instance, so that `open()` and `close()` only say that one is wanted.
    """

    def __init__(
        self,
        *,
        fail_silently: bool = False,
        alias: str | None = None,
        _ignore_unknown_kwargs: Sequence[str] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(alias=alias)
        self.options: SMTPOptions = smtp_options(options, alias=alias, ignore_unknown=_ignore_unknown_kwargs)
        self.fail_silently = fail_silently or self.options.fail_silently
        self.timeout = self.options.timeout
        self.final_reply_timeout = self.options.connection.final_reply_timeout

    def open(self) -> bool:
        """Make sure that a connection can be had; True where a new one had to be made.

        Raises:
            DeliveryError: it cannot, unless `fail_silently`.
        """
        try:
            connection, was_used = pool.acquire(self._connection_options(), deadline=Deadline(self.timeout))
        except WireError as error:
            if self.fail_silently:
                return False
            raise _open_error(error, self.options) from error
        pool.release(connection)
        return not was_used

    def close(self) -> None:
        """Nothing of this instance is open; the process keeps its connections for the next message."""

    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        """Send each message; how many of them some recipient took.

        Raises:
            ValueError: a message is invalid; the others were tried first.
            DeliveryError: no recipient of some message took it, unless `fail_silently`.
        """
        messages = list(email_messages or ())
        if not messages:
            return 0
        return send_directly(
            messages,
            self.routes(),
            mailer=self.alias,
            sender_class=type(self),
            fail_silently=self.fail_silently,
            on_unknown=self.options.on_unknown,
        )

    def routes(self) -> list[Route]:
        """Its route, and the fallback of the `EMAIL_FALLBACK_*` settings where there is one."""
        routes = [self.route()]
        if self.options.fallback is not None:
            routes.append(route_of(self._bounded(self.options.fallback), alias="fallback"))
        elif self.options.fallback_to_console:
            routes.append(_console_route())
        return routes

    def route(self) -> Route:
        """This backend as a route, for itself and for a failover."""
        return route_of(replace(self._bounded(self.options), timeout=self.timeout), alias=self.options.route)

    def _bounded(self, options: SMTPOptions) -> SMTPOptions:
        """With this instance's own patience for the final reply, where somebody has shortened it."""
        if self.final_reply_timeout >= options.connection.final_reply_timeout:
            return options
        return replace(options, connection=replace(options.connection, final_reply_timeout=self.final_reply_timeout))

    def _connection_options(self) -> ConnectionOptions:
        return self.options.connection


def route_of(options: SMTPOptions, *, alias: str) -> Route:
    """The route that options describe."""
    provider = options.provider
    limits = provider if options.provider_is_named else None
    transport = SMTPTransport(options.connection)
    return Route(
        alias=alias,
        transport=restricted(transport, only_to=options.only_to, redirect_to=options.redirect_to),
        provider=provider.name if provider is not None else None,
        fingerprint=fingerprint(options.connection),
        max_attempts=options.max_attempts,
        timeout=options.timeout,
        max_message_bytes=limits.max_message_bytes if limits is not None else None,
        max_recipients=limits.max_recipients_per_message if limits is not None else None,
        quotas=options.quotas,
        idempotency_header=options.idempotency_header,
        on_unknown=options.on_unknown,
        is_full=transport.is_full,
        probe=transport.probe,
    )


def _console_route() -> Route:
    """Shows a developer what could not be sent."""
    return Route(
        alias="console",
        transport=ForeignTransport(ConsoleBackend, alias="console"),
        max_attempts=1,
        delivers=False,
        is_foreign=True,
    )


def fingerprint(options: ConnectionOptions) -> str:
    """Changes with whatever could make a failed login or connection work; tells nothing of the secrets."""
    credentials = options.credentials
    login = (
        ""
        if credentials is None
        else f"{credentials.username}\0{credentials.password}\0{described(credentials.token_provider)}"
    )
    told = f"{options.host}\0{options.port}\0{options.tls.mode}\0{login}"
    return keyed(told)


def _open_error(error: WireError, options: SMTPOptions) -> Exception:
    failure = classify(error.failure, provider=options.provider.name if options.provider else None)
    outcome = RecipientOutcome(
        outcome=Outcome.DEFERRED, cause=failure.cause, reply=failure.reply, route=options.route, failure=failure
    )
    return error_for([DeliveryReport(recipients=Recipients({"(connection)": outcome}))])
