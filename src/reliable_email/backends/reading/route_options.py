"""The options of one SMTP route, read from a mailer's OPTIONS or from the `EMAIL_*` settings.

Explicit options win over the provider's habits, those over the defaults. Everything that cannot work is found here,
before any connection, and named with its place and its remedy. Nothing here resolves a name or opens a socket.
"""

import ipaddress
from collections.abc import Callable, Collection, Mapping, Sequence

from reliable_email import conf, providers
from reliable_email.backends.reading.email_settings import (
    FALLBACK_PREFIX,
    FALLBACK_SWITCH,
    email_fallback_is_enabled,
    email_options,
    email_setting_name,
)
from reliable_email.backends.reading.options import SMTP_OPTIONS
from reliable_email.backends.reading.reader import OptionReader, Problem, ProblemKind, option_place
from reliable_email.delivery.submission import OnUnknown
from reliable_email.providers import Provider, Quota, UnknownProvider
from reliable_email.records import dataclass, field, replace
from reliable_email.smtp.options import ConnectionOptions, Credentials, TLSMode, TLSPolicy
from reliable_email.smtp.protocol.auth import PASSWORD_MECHANISMS, TOKEN_MECHANISMS
from reliable_email.values import ValueProblem, is_empty, keeps_no_locals

# Which server, and as whom: whoever gives one of these means a server of his own.
SERVER_OPTIONS = (
    "host",
    "port",
    "username",
    "password",
    "use_tls",
    "use_ssl",
    "ssl_certfile",
    "ssl_keyfile",
    "provider",
)
DEFAULT_PORTS = {TLSMode.NONE: 25, TLSMode.STARTTLS: 587, TLSMode.IMPLICIT: 465}


@dataclass(frozen=True, slots=True, kw_only=True)
class SMTPOptions:
    """One SMTP route, complete.

    Attributes:
        alias: the mailer's alias; None where the route comes from the `EMAIL_*` settings.
        connection: how the server is reached.
        provider: whose server it is, by name or recognised by its host; None where neither is known.
        provider_is_named: whether the provider was named; only then its limits and quotas are taken as defaults.
        max_attempts: transactions that one direct send may spend on this route.
        timeout: seconds for all attempts together.
        quotas: limits per window.
        idempotency_header: the header whose value makes a second copy harmless here.
        on_unknown: what the mailer wants where the message has no wish of its own; None where it says nothing.
        fail_silently: report failures on the message alone.
        only_to: addresses ("a@example.com") and domains ("example.com") that may get mail; empty for all.
        redirect_to: where mail for all others goes; None: they are refused.
        fallback: the second provider of the `EMAIL_FALLBACK_*` settings.
        fallback_to_console: `EMAIL_FALLBACK_ENABLED` under DEBUG without a second provider.
        main_error: why there is no route by the `EMAIL_*` settings, so that this is the one of `EMAIL_FALLBACK_*`.
        fallback_error: why there is none by the `EMAIL_FALLBACK_*` settings.
        given: the options that were given, with the place of each.
    """

    alias: str | None
    connection: ConnectionOptions
    provider: Provider | None = None
    provider_is_named: bool = False
    max_attempts: int
    timeout: float
    quotas: tuple[Quota, ...] = ()
    idempotency_header: str | None = None
    on_unknown: OnUnknown | None = None
    fail_silently: bool = False
    only_to: tuple[str, ...] = ()
    redirect_to: str | None = None
    fallback: "SMTPOptions | None" = None
    fallback_to_console: bool = False
    main_error: str = ""
    fallback_error: str = ""
    given: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)

    @property
    def route(self) -> str:
        """The route's name in reports and logs."""
        if self.alias is not None:
            return self.alias
        if self.provider is not None and self.provider_is_named and self.provider.name != "generic":
            return self.provider.name
        return "primary"

    def summary(self) -> str:
        """One line for people, without secrets: who is spoken to, how, as whom."""
        link = self.connection
        host = f"[{link.host}]" if ":" in link.host else link.host
        tls = {TLSMode.NONE: "no TLS", TLSMode.STARTTLS: "STARTTLS", TLSMode.IMPLICIT: "implicit TLS"}[link.tls.mode]
        if link.tls.mode is not TLSMode.NONE and not link.tls.verify:
            tls += ", certificate not verified"
        return f"{host}:{link.port}, {tls}, {self._login()}"

    def _login(self) -> str:
        credentials = self.connection.credentials
        if credentials is None:
            return "no login"
        if credentials.username == credentials.password:
            return "login by token"  # where one token serves as both, the user name is a secret
        return f"login as {credentials.username}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SMTPReading:
    """The result of reading options: the route's, or the problems that prevent it."""

    options: SMTPOptions | None
    problems: tuple[Problem, ...]

    @property
    def told(self) -> str:
        """Every problem, in one text."""
        return " ".join(map(str, self.problems))


@keeps_no_locals
def smtp_options(
    values: Mapping[str, object], *, alias: str | None, ignore_unknown: Collection[str] | None = None
) -> SMTPOptions:
    """The route that a mailer's OPTIONS describe; with alias None, the one of the `EMAIL_*` settings under `values`.

    Args:
        values: keyword arguments of a backend; None stands for "not given".
        alias: the mailer.
        ignore_unknown: names that may be unknown (Django's `_ignore_unknown_kwargs`).

    Raises:
        InvalidMailer: naming every problem. Of the `EMAIL_*` settings one provider is enough that has none.
    """
    reader, options, _ = _read(values, alias=alias, ignore_unknown=ignore_unknown or ())
    if options is None:
        reader.raise_problems(alias)
    assert options is not None
    return options


def read_smtp_options(values: Mapping[str, object], *, alias: str | None) -> SMTPReading:
    """Read options like `smtp_options`, with the problems as values."""
    reader, options, beside = _read(values, alias=alias, ignore_unknown=())
    return SMTPReading(options=options, problems=(*reader.problems, *beside))


def is_loopback_name(host: str) -> bool:
    """Return whether a host is loopback by its spelling; what it resolves to is judged by the connected peer."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.rstrip(".").lower() == "localhost" or host.rstrip(".").lower().endswith(".localhost")


def _read(
    values: Mapping[str, object], *, alias: str | None, ignore_unknown: Collection[str]
) -> tuple[OptionReader, SMTPOptions | None, Sequence[Problem]]:
    """The reader, the route, and the problems of a second provider."""
    wanted = {name: value for name, value in values.items() if name in SMTP_OPTIONS or name not in ignore_unknown}
    if alias is not None:
        reader = OptionReader(values=wanted, options=SMTP_OPTIONS)
        return reader, read_route(reader, alias=alias), ()
    own = email_options()
    given = _given(wanted)
    reader = OptionReader(values={**own, **given}, options=SMTP_OPTIONS, place=_settings_place(wanted))
    main = read_route(reader, alias=None)
    if any(name in SERVER_OPTIONS and str(own.get(name, "")) != str(value) for name, value in given.items()):
        return reader, main, ()  # a server of the caller's own: the site's second provider has no part in it
    try:
        is_enabled = email_fallback_is_enabled()
    except ValueProblem as problem:
        reader.report(ProblemKind.BAD_VALUE, FALLBACK_SWITCH, f"{FALLBACK_SWITCH} {problem}.")
        return reader, None, ()
    return (reader, *_with_fallback(reader, main)) if is_enabled else (reader, main, ())


def _given(values: Mapping[str, object]) -> dict[str, object]:
    """Return the options that were given; an empty user name or password is Django's way to ask for no login."""
    return {
        name: value
        for name, value in values.items()
        if not is_empty(value) or (value is not None and name in ("username", "password"))
    }


def _settings_place(arguments: Mapping[str, object]) -> Callable[[str], str]:
    def place(name: str) -> str:
        return f"The argument {name!r}" if arguments.get(name) is not None else email_setting_name(name)

    return place


def _with_fallback(reader: OptionReader, main: SMTPOptions | None) -> tuple[SMTPOptions | None, Sequence[Problem]]:
    """The route with its second provider; one of the two is enough."""
    second = email_options(FALLBACK_PREFIX)
    if not second:
        return (None if main is None else replace(main, fallback_to_console=conf.is_debug())), ()
    fallback_reader = OptionReader(
        values=second, options=SMTP_OPTIONS, place=lambda name: email_setting_name(name, FALLBACK_PREFIX)
    )
    fallback = read_route(fallback_reader, alias=None)
    if main is None:
        is_misspelt = any(problem.kind is ProblemKind.UNKNOWN_OPTION for problem in reader.problems)
        if fallback is None or is_misspelt:
            return None, fallback_reader.problems
        return replace(fallback, main_error=reader.told), ()
    if fallback is None:
        return replace(main, fallback_error=fallback_reader.told), fallback_reader.problems
    return replace(main, fallback=fallback), ()


def read_route(reader: OptionReader, *, alias: str | None) -> SMTPOptions | None:
    reader.report_unknown()
    named = _named_provider(reader)
    host = reader.take("host", named.host if named else "")
    if not host and alias is None and not reader.has("host") and named is None:
        host = "localhost"  # Django's own default for EMAIL_HOST
    if not host and not any(problem.option in ("host", "provider", "region") for problem in reader.problems):
        reader.report(ProblemKind.MISSING, "host", f"{reader.place('host')} is missing.", "Set it, or a 'provider'.")
    tls, port = _tls_and_port(reader, named)
    credentials = _credentials(reader, named)
    known = named or providers.for_host(host)
    connection = ConnectionOptions(
        host=host,
        port=port,
        tls=tls,
        credentials=credentials,
        mechanism=_mechanism(reader),
        allow_plaintext_auth=reader.take("allow_plaintext_auth"),
        local_hostname=reader.take("local_hostname"),
        final_reply_timeout=reader.take("final_reply_timeout"),
        pipelining=reader.take("pipelining"),
        dsn=reader.take("dsn"),
        chaining=reader.take("chaining"),
        connections=reader.take("connections", named.max_connections if named else None),
        messages_per_connection=reader.take(
            "messages_per_connection", named.messages_per_connection if named else None
        ),
        idle_seconds=known.idle_seconds if known else None,
        flight=reader.take("flight"),
    )
    _refuse_unverified_password(reader, connection)
    options = SMTPOptions(
        alias=alias,
        connection=connection,
        provider=known,
        provider_is_named=named is not None,
        max_attempts=reader.take("max_attempts"),
        timeout=reader.take("timeout"),
        quotas=reader.take("quota", named.quotas if named else ()),
        idempotency_header=reader.take("idempotency_header", named.idempotency_header if named else None),
        on_unknown=reader.take("on_unknown"),
        fail_silently=reader.take("fail_silently"),
        only_to=reader.take("only_to"),
        redirect_to=reader.take("redirect_to"),
        given=reader.given,
    )
    if options.redirect_to is not None and not options.only_to:
        reader.report(
            ProblemKind.MISSING,
            "only_to",
            f"{reader.place('redirect_to')} says where mail for others goes, but not who may get mail.",
            "Add 'only_to'.",
        )
    return None if reader.problems else options


def _named_provider(reader: OptionReader) -> Provider | None:
    name = reader.take("provider")
    region = reader.take("region")
    if not name:
        if region:
            reader.report(
                ProblemKind.MISSING, "provider", f"{reader.place('region')} is given, but no provider.", "Name one."
            )
        return None
    try:
        return providers.get(name, region or None)
    except UnknownProvider as error:
        reader.report(ProblemKind.UNKNOWN_PROVIDER, "provider", f"{reader.place('provider')}: {error}")
        return None


def _tls_and_port(reader: OptionReader, named: Provider | None) -> tuple[TLSPolicy, int]:
    port = reader.take("port")
    mode = _tls_mode(reader, named, port)
    if port is None:
        port = _port_of(named, mode) or DEFAULT_PORTS[mode]
    certfile = reader.take("ssl_certfile")
    keyfile = reader.take("ssl_keyfile")
    if keyfile and not certfile and not reader.has("ssl_certfile"):
        reader.report(
            ProblemKind.MISSING,
            "ssl_certfile",
            f"{reader.place('ssl_keyfile')} is given without its certificate.",
            f"Set {reader.place('ssl_certfile')} too.",
        )
    policy = TLSPolicy(
        mode=mode,
        verify=reader.take("ssl_verify"),
        strict=reader.take("ssl_strict"),
        cafile=reader.take("ssl_cafile"),
        certfile=certfile,
        keyfile=keyfile,
        pins=reader.take("ssl_pin"),
        server_hostname=reader.take("tls_server_name"),
    )
    return policy, port


def _tls_mode(reader: OptionReader, named: Provider | None, port: int | None) -> TLSMode:
    use_tls = reader.take("use_tls")
    use_ssl = reader.take("use_ssl")
    if use_tls and use_ssl:
        reader.report(
            ProblemKind.BOTH_TLS_MODES,
            "use_tls",
            f"{reader.place('use_tls')} and {reader.place('use_ssl')} are both true.",
            "Keep use_tls for STARTTLS (usually port 587), or use_ssl for implicit TLS (usually port 465).",
        )
    if use_tls:
        return TLSMode.STARTTLS
    if use_ssl:
        return TLSMode.IMPLICIT
    if named is None:
        return TLSMode.NONE
    mode = next((one.tls for one in named.alternatives if one.port == port), named.tls)
    is_declined = (mode is TLSMode.STARTTLS and use_tls is False) or (mode is TLSMode.IMPLICIT and use_ssl is False)
    return TLSMode.NONE if is_declined else mode


def _port_of(named: Provider | None, mode: TLSMode) -> int | None:
    if named is None:
        return None
    if named.tls is mode:
        return named.port
    return next((one.port for one in named.alternatives if one.tls is mode and one.host == named.host), None)


def _credentials(reader: OptionReader, named: Provider | None) -> Credentials | None:
    password = reader.take("password")
    username = reader.take("username")
    tokens = reader.take("token_provider", kind=ProblemKind.TOKEN_PROVIDER)
    if not username and named is not None and password:
        username = password if named.username_is_password else named.username or ""
    if not username or not (password or tokens):
        return None  # as Django does: half a login is none; a system check tells
    return Credentials(username=username, password=password, token_provider=tokens)


def _mechanism(reader: OptionReader) -> str:
    mechanism: str = reader.take("auth")
    has_tokens = reader.has("token_provider")
    if mechanism.upper() in TOKEN_MECHANISMS and not has_tokens:
        reader.report(
            ProblemKind.MISSING,
            "token_provider",
            f"{reader.place('auth')} {mechanism!r} needs {reader.place('token_provider')}.",
        )
    if mechanism.upper() in PASSWORD_MECHANISMS and has_tokens:
        reader.report(
            ProblemKind.BAD_VALUE,
            "auth",
            f"{reader.place('auth')} {mechanism!r} cannot use the access tokens of {reader.place('token_provider')}.",
            "Use 'xoauth2', or leave one of them out.",
        )
    return mechanism


def _refuse_unverified_password(reader: OptionReader, connection: ConnectionOptions) -> None:
    tls = connection.tls
    is_exposed = tls.mode is not TLSMode.NONE and not tls.verify and not tls.pins
    if is_exposed and connection.credentials is not None and not is_loopback_name(connection.host):
        reader.report(
            ProblemKind.UNVERIFIED_PASSWORD,
            "ssl_verify",
            f"{reader.place('ssl_verify')} is off, so the password could go to another server than {connection.host}.",
            "Name the server's CA or its own certificate with 'ssl_cafile', or its key with 'ssl_pin'.",
        )


__all__ = [
    "SMTPOptions",
    "SMTPReading",
    "is_loopback_name",
    "option_place",
    "read_smtp_options",
    "smtp_options",
]
