"""`ReliableSMTPBackend`: Django's SMTP backend in shape, and one that knows what became of every recipient."""

import secrets
from collections.abc import Collection, Mapping, Sequence
from contextlib import nullcontext
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any

import django
from django.core.mail import EmailMessage
from django.core.signals import setting_changed
from django.dispatch import receiver

from reliable_email import classification
from reliable_email.backends.base import Door, OpenConnection
from reliable_email.backends.direct import send_directly
from reliable_email.backends.reading.fingerprint import described, keyed
from reliable_email.backends.reading.route_options import SMTPOptions, smtp_options
from reliable_email.backends.unbuilt import unbuilt_route
from reliable_email.delivery.report import DeliveryReport, Outcome, RecipientOutcome, Recipients
from reliable_email.delivery.route import Route
from reliable_email.delivery.transports.filters import restricted
from reliable_email.exceptions import InvalidMailer, error_for
from reliable_email.process_state import remember
from reliable_email.records import dataclass, replace
from reliable_email.smtp.deadline import Deadline
from reliable_email.smtp.driver.pool import pool
from reliable_email.smtp.driver.transport import SMTPTransport
from reliable_email.smtp.failures import WireError
from reliable_email.smtp.options import ConnectionOptions, TLSMode
from reliable_email.values import forget_locals, is_empty, seconds

_ATTRIBUTES = ("host", "port", "username", "password", "use_tls", "use_ssl", "ssl_certfile", "ssl_keyfile")
# Their files may be changed, and their objects know more than they were made with.
_READ_ANEW = frozenset({"ssl_certfile", "ssl_keyfile", "ssl_cafile", "token_provider"})
_PLAIN = frozenset({str, int, float, bool, type(None)})
_REPLACED = {
    "_send": "Override send_messages(), and call super().send_messages() with the messages that shall go.",
    "prep_address": "Change the addresses of the message in send_messages().",
    "connection_class": "Set use_tls or use_ssl.",
    "ssl_context": "Use the options ssl_cafile, ssl_certfile, ssl_keyfile, ssl_verify or ssl_pin.",
}


class ReliableSMTPBackend(Door):
    """Sends by SMTP at once: several attempts within one time budget, and a report on each message.

    Options are those of `backends.reading.route_options`. Live connections are kept by the process, not by the
    instance, so that `open()` and `close()` only say that one is wanted.

    Classes that were derived from Django's backend may be derived from this one. What they set after
    `super().__init__()` (`host`, `port`, `username`, `password`, `use_tls`, `use_ssl`, `timeout`, `ssl_certfile`,
    `ssl_keyfile`, `fail_silently`) counts, and an `open()` and `close()` of their own are called. What reaches into
    smtplib (`_send`, `connection_class`, `ssl_context`, `prep_address`) is refused when the backend is made, and a
    `send_messages()` of its own where the backend is a route of another mailer (`backends.derived`).
    """

    def __init__(
        self,
        host: Any = None,
        port: Any = None,
        username: Any = None,
        password: Any = None,
        use_tls: Any = None,
        fail_silently: Any = False,
        use_ssl: Any = None,
        timeout: Any = None,
        ssl_keyfile: Any = None,
        ssl_certfile: Any = None,
        *,
        alias: str | None = None,
        _ignore_unknown_kwargs: Sequence[str] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(alias=alias)
        try:
            _refuse_replaced_methods(type(self), alias)
            named = {
                "host": host,
                "port": port,
                "username": username,
                "password": password,
                "use_tls": use_tls,
                "use_ssl": use_ssl,
                "timeout": timeout,
                "ssl_keyfile": ssl_keyfile,
                "ssl_certfile": ssl_certfile,
            }
            self._arguments = _Arguments({name: value for name, value in named.items() if value is not None} | options)
            self._ignored = _ignore_unknown_kwargs
            self._configured = _configured(self._arguments, alias, self._ignored)
        except Exception as error:
            # Error pages and error trackers show the variables of every frame.
            host = username = password = ssl_keyfile = ssl_certfile = named = None
            options.clear()
            forget_locals(error)
            raise
        self.options: SMTPOptions = self._configured.options
        self.fail_silently = bool(fail_silently) or self.options.fail_silently
        self.timeout = self.options.timeout
        self.final_reply_timeout = self.options.connection.final_reply_timeout
        self.connection: Any = None
        self._show(self.options)

    def _show(self, options: SMTPOptions) -> None:
        """Set the attributes that Django's backend has."""
        link = options.connection
        self.host, self.port = link.host, link.port
        login = link.credentials
        # An entry of MAILERS has nothing where Django's settings have an empty text.
        nothing = None if self.alias is not None and django.VERSION >= (6, 1) else ""
        self.username: Any = nothing
        self.password: Any = nothing
        if login is not None:
            # Where one token serves as both, the user name is a secret, too.
            self.username = _Secret(login.username) if login.username == login.password else login.username
            self.password = _Secret(login.password)
        self.use_tls = link.tls.mode is TLSMode.STARTTLS
        self.use_ssl = link.tls.mode is TLSMode.IMPLICIT
        self.ssl_certfile, self.ssl_keyfile = link.tls.certfile, link.tls.keyfile
        self._shown = _Arguments({name: getattr(self, name) for name in _ATTRIBUTES})

    def _take_attributes(self) -> None:
        """Make the options of attributes that were set since, as Django's backend reads its own when it connects."""
        for name in _REPLACED.keys() & vars(self):
            raise _cannot_replace(type(self), name, self.alias)
        changed = {name: value for name in _ATTRIBUTES if (value := getattr(self, name)) != self._shown[name]}
        if not changed:
            return
        # None is "as the settings have it" in an argument, and nothing at all in an attribute.
        changed |= {name: "" for name in ("username", "password") if name in changed and changed[name] is None}
        changed |= {name: False for name in ("use_tls", "use_ssl") if name in changed and changed[name] is None}
        if changed.get("use_ssl") and "use_tls" not in changed:
            changed["use_tls"] = False  # smtplib begins with TLS, and Django asks no further
        arguments = {**self._arguments, **changed}
        if changed.get("host") and self.options.provider_is_named and self.alias is not None:
            arguments = {name: value for name, value in arguments.items() if name not in ("provider", "region")}
            arguments = {**self._shown, **arguments}  # of the provider, what was not set
        self._arguments = _Arguments(arguments)
        timeout, patience, silent = self.timeout, self.final_reply_timeout, self.fail_silently
        self.options = smtp_options(arguments, alias=self.alias, ignore_unknown=self._ignored)
        self.timeout, self.final_reply_timeout, self.fail_silently = timeout, patience, silent
        self._show(self.options)

    def open(self) -> bool | None:
        """Make sure that a connection can be had; True where a new one had to be made.

        Raises:
            DeliveryError: it cannot, unless `fail_silently`; then the answer is None.
        """
        self._take_attributes()
        if self.connection is not None and not isinstance(self.connection, OpenConnection):
            self._refuse_own_connection()
        try:
            connection, was_used = pool.acquire(self._connection_options(), deadline=Deadline(self._seconds))
        except WireError as error:
            if self.fail_silently:
                return None
            raise _open_error(error, self.options) from error
        pool.release(connection)
        self.connection = OpenConnection(self.options.summary())
        return not was_used

    def close(self) -> None:
        """Do nothing but forget `connection`: the process keeps its connections for the next message."""
        self.connection = None

    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        """Send each message; how many of them some recipient took.

        Raises:
            ValueError: a message is invalid; the others were tried first.
            InvalidMailer: no route can be built, or the attributes cannot be used.
            DeliveryError: no recipient of some message took it, unless `fail_silently`.
        """
        messages = list(email_messages or ())
        if not messages:
            return 0
        has_opened = self._open_as_derived()
        try:
            return send_directly(
                messages,
                self.routes(),
                mailer=self.alias,
                sender_class=type(self),
                fail_silently=self.fail_silently,
                on_unknown=self.options.on_unknown,
            )
        finally:
            if has_opened:
                self.close()

    # What Django's own `send_messages()` uses, since classes that were derived from it hold a copy of that.
    _lock = nullcontext()

    def _send(self, email_message: EmailMessage) -> bool:
        return bool(ReliableSMTPBackend.send_messages(self, [email_message]))

    def _open_as_derived(self) -> bool:
        """Call an `open()` of a derived class, which may set attributes; our own would only cost a round trip."""
        if type(self).open is ReliableSMTPBackend.open:
            return False
        has_opened = bool(self.open())
        if self.connection is not None and not isinstance(self.connection, OpenConnection):
            self._refuse_own_connection()
        return has_opened

    def _refuse_own_connection(self) -> None:
        raise InvalidMailer(
            f"{type(self).__qualname__} has set a connection of its own ({type(self.connection).__name__}), by which "
            f"{ReliableSMTPBackend.__name__} cannot send. Set host, port, username and the like instead; or derive the "
            f"class from Django's SMTP backend again, and name it as a route of a FailoverBackend.",
            alias=self.alias,
        )

    def routes(self) -> list[Route]:
        """Return the backend's route, and the fallback of the `EMAIL_FALLBACK_*` settings if there is one."""
        self._take_attributes()
        if self.options.main_error:
            return [unbuilt_route("primary", self.options.main_error), replace(self._own_route(), alias="fallback")]
        routes = [self._own_route()]
        if self.options.fallback is not None:
            routes.append(route_of(self._bounded(self.options.fallback), alias="fallback"))
        elif self.options.fallback_error:
            routes.append(unbuilt_route("fallback", self.options.fallback_error))
        elif self.options.fallback_to_console:
            routes.append(_console_route())
        return routes

    def route(self) -> Route:
        """This backend as a route of another mailer.

        Raises:
            InvalidMailer: its class has a `send_messages()` of its own, which nobody would call there.
        """
        if type(self) is ReliableSMTPBackend:
            return self._own_route()
        from reliable_email.backends.derived import OpenedTransport, refuse_replaced_send, replaces  # few sites derive

        refuse_replaced_send(type(self), ReliableSMTPBackend, self.alias)
        route = self._own_route()
        if not any(replaces(type(self), name, ReliableSMTPBackend) for name in ("open", "close")):
            return route
        transport = OpenedTransport(
            route.alias,
            open_backend=self._open_as_derived,
            close_backend=self.close,
            transport=lambda: self._own_route().transport,
        )
        return replace(route, transport=transport)

    def _own_route(self) -> Route:
        self._take_attributes()
        options = self.options
        if options is self._configured.options and self.timeout == options.timeout and self._is_patient:
            return self._configured.route
        return route_of(replace(self._bounded(options), timeout=self._seconds), alias=options.route)

    def current_options(self) -> SMTPOptions:
        """The options, with the attributes that were set since."""
        self._take_attributes()
        return self.options

    @property
    def _seconds(self) -> float:
        """The time of one message: a derived class may have set Django's None, for which there is no such thing."""
        return self.options.timeout if is_empty(self.timeout) else seconds(self.timeout)

    @property
    def _is_patient(self) -> bool:
        return self.final_reply_timeout >= self.options.connection.final_reply_timeout

    def _bounded(self, options: SMTPOptions) -> SMTPOptions:
        """Return the options with this instance's own limit for the final reply, if it was shortened."""
        if self.final_reply_timeout >= options.connection.final_reply_timeout:
            return options
        return replace(options, connection=replace(options.connection, final_reply_timeout=self.final_reply_timeout))

    def _connection_options(self) -> ConnectionOptions:
        return self.options.connection


class _Arguments(dict[str, Any]):
    """Arguments, of which some are secret."""

    def __repr__(self) -> str:
        return f"<arguments: {', '.join(self)}>"


@dataclass(frozen=True, slots=True)
class _Configured:
    """The result of reading arguments; `given` is their snapshot."""

    given: tuple[object, ...] | None
    options: SMTPOptions
    route: Route


# By alias, the last one. Django makes a backend anew at every use, and its options seldom change.
_known: dict[str, _Configured] = {}
_MOST_KNOWN = 256
_own_key = secrets.token_bytes(32)  # what is kept of a password to compare it with tells nobody what it is


def _configured(arguments: Mapping[str, Any], alias: str | None, ignored: Collection[str] | None) -> _Configured:
    """The options and the route that arguments make: those of the last time, where they are the same."""
    given = None if alias is None or ignored else _snapshot(arguments)
    if alias is None or given is None:
        return _made(arguments, alias, ignored, None)
    known = _known.get(alias)
    if known is None or known.given != given:
        known = _made(arguments, alias, ignored, given)
        if len(_known) >= _MOST_KNOWN:
            _known.clear()
        _known[alias] = known
    return known


def _made(
    arguments: Mapping[str, Any], alias: str | None, ignored: Collection[str] | None, given: tuple[object, ...] | None
) -> _Configured:
    options = smtp_options(arguments, alias=alias, ignore_unknown=ignored)
    return _Configured(given, options, route_of(options, alias=options.route))


def _snapshot(arguments: Mapping[str, Any]) -> tuple[object, ...] | None:
    """Return a value to compare arguments by; None if their values alone don't decide, as with files."""
    found: list[object] = []
    for name, value in arguments.items():
        kind = type(value)
        if kind in (list, tuple):
            parts = tuple(value)
        elif kind is dict:
            parts = (*value.keys(), *value.values())
        else:
            parts = (value,)
        if name in _READ_ANEW or not all(type(part) in _PLAIN for part in parts):
            return None
        if name in ("username", "password"):
            parts = (blake2b(repr(value).encode("utf-8", "surrogatepass"), key=_own_key).digest(),)
        found += (name, kind, *((type(part), part) for part in parts))
    return tuple(found)


def reset() -> None:
    """Forget what was made of options."""
    _known.clear()


@receiver(setting_changed, dispatch_uid="reliable_email.backends.smtp")
def _forget(**kwargs: Any) -> None:
    """Fingerprints have SECRET_KEY in them."""
    reset()


class _Secret(str):
    """A password as Django's backend has it in an attribute; not to be seen in anybody's `vars()`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'…'"


def _refuse_replaced_methods(cls: type, alias: str | None) -> None:
    """Fail at once for a derived class whose methods would silently not be called."""
    if cls is ReliableSMTPBackend:
        return
    below = cls.__mro__[: cls.__mro__.index(ReliableSMTPBackend)]
    for name in _REPLACED:
        if any(name in vars(base) for base in below):
            raise _cannot_replace(cls, name, alias)


def _cannot_replace(cls: type, name: str, alias: str | None) -> InvalidMailer:
    return InvalidMailer(
        f"{cls.__module__}.{cls.__qualname__} defines {name}, which Django's SMTP backend uses and "
        f"{ReliableSMTPBackend.__name__} does not. {_REPLACED[name]} Or derive it from Django's SMTP backend again, "
        f"and name it as a route of a FailoverBackend.",
        alias=alias,
    )


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
    from django.core.mail.backends.console import EmailBackend as ConsoleBackend

    from reliable_email.delivery.transports.foreign import ForeignTransport  # for the console alone

    return Route(
        alias="console",
        transport=ForeignTransport(ConsoleBackend, alias="console"),
        max_attempts=1,
        delivers=False,
        is_foreign=True,
    )


def fingerprint(options: ConnectionOptions) -> str:
    """Changes with whatever could make a failed login or connection work; tells nothing of the secrets.

    A user name that is an address is the account's, whatever the password; others (`apikey`) may be every account's.
    """
    credentials = options.credentials
    login = (
        ""
        if credentials is None
        else f"{credentials.username}\0{credentials.password}\0{described(credentials.token_provider)}"
    )
    told = f"{options.host}\0{options.port}\0{options.tls.mode}\0{login}"
    if options.tls.server_hostname:
        told += f"\0{options.tls.server_hostname}"
    user = credentials.username if credentials is not None else ""
    return keyed(told, account=f"{options.host}\0{user}" if "@" in user else None)


def _open_error(error: WireError, options: SMTPOptions) -> Exception:
    provider = options.provider.name if options.provider else None
    failure = classification.classify(error.failure, provider=provider, now=datetime.now(UTC))
    outcome = RecipientOutcome(
        outcome=Outcome.DEFERRED, cause=failure.cause, reply=failure.reply, route=options.route, failure=failure
    )
    return error_for([DeliveryReport(recipients=Recipients({"(connection)": outcome}))])


remember(__name__, reset=reset)
