"""Check the configuration, for Django's system checks. No connection is opened.

Each route of a failover or an outbox is built once, to find out whether that works.

| id | what is wrong |
|---|---|
| reliable_email.E001 | `use_tls` and `use_ssl` are both true |
| reliable_email.E002 | an option is unknown |
| reliable_email.E003 | a provider or its region is unknown |
| reliable_email.E004 | an option has an invalid value |
| reliable_email.E005 | an option is missing |
| reliable_email.E006 | a password would go to a server whose certificate is not verified |
| reliable_email.E007 | port and TLS mode contradict each other |
| reliable_email.E008 | a user name without a password, or a password without a user name |
| reliable_email.E009 | a route delivers nothing (console, file, memory, dummy) while DEBUG is off |
| reliable_email.E010 | `using` names a mailer that does not exist |
| reliable_email.E011 | `using` leads back to the mailer itself |
| reliable_email.E012 | an outbox or a failover sends through another outbox |
| reliable_email.E013 | a route of another package has `fail_silently`, which would hide its failures |
| reliable_email.E014 | an outbox is used, but the app with its tables is not installed |
| reliable_email.E015 | a key of RELIABLE_EMAIL is unknown |
| reliable_email.E016 | a key of RELIABLE_EMAIL has an invalid value |
| reliable_email.E017 | `EMAIL_*` settings have no effect, because MAILERS is set |
| reliable_email.E018 | this version of Django does not read MAILERS, and EMAIL_BACKEND is not DefaultMailer |
| reliable_email.E019 | a backend cannot be imported |
| reliable_email.E020 | DefaultMailer is used in a place where it cannot work |
| reliable_email.E021 | a `token_provider` cannot be imported or used |
| reliable_email.E022 | a route's backend raises when it is built: a key, a package or a file is missing |
| reliable_email.E023 | an entry of DEFAULT_FROM_EMAIL, SERVER_EMAIL, ADMINS or MANAGERS is not one address |
| reliable_email.E024 | an outbox's database has `AUTOCOMMIT = False` |
| reliable_email.E025 | a failover's or an outbox's route overrides `send_messages()`, which is not called there |
| reliable_email.E026 | an entry of MAILERS is not a dictionary, or its BACKEND or OPTIONS has the wrong type |
| reliable_email.W001 | a server's certificate is not verified (deploy) |
| reliable_email.W002 | credentials may travel in clear text |
| reliable_email.W003 | a login without TLS: the credentials will not be sent |
| reliable_email.W004 | Django's SMTP backend without a timeout waits for ever (deploy) |
| reliable_email.W005 | the default mailer delivers nothing (deploy) |
| reliable_email.W006 | a provider without a login |
| reliable_email.W007 | an outbox on SQLite whose settings let writers lock each other out (with `--database`) |
| reliable_email.W008 | the outbox's database may lose committed data (with `--database`) |
| reliable_email.W009 | DEFAULT_FROM_EMAIL is Django's default, `webmaster@localhost`, or has no domain (deploy) |
| reliable_email.W010 | the task queue that RELIABLE_EMAIL['ANNOUNCE'] names cannot be used |
| reliable_email.I001 | `EMAIL_FALLBACK_ENABLED` without a second provider |
| reliable_email.I002 | a decision that was made for you when the environment was read |
| reliable_email.I003 | an outbox's database has a pool; names the connections that a worker opens in addition |
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import django
from django.apps import AppConfig, apps
from django.core.checks import CheckMessage, Error, Info, Warning  # noqa: A004 - Django's name

from reliable_email import conf
from reliable_email.backends.building import build_route, building_error, smtp_reading
from reliable_email.backends.reading.doors import error_mail_problems, failover_problems, outbox_problems
from reliable_email.backends.reading.email_settings import email_fallback_is_enabled, email_names_beside_mailers
from reliable_email.backends.reading.options import (
    ERROR_MAIL_OPTIONS,
    FAILOVER_OPTIONS,
    OUTBOX_OPTIONS,
    SMTP_OPTIONS,
)
from reliable_email.backends.reading.reader import Problem, ProblemKind
from reliable_email.backends.reading.route_options import SMTPOptions, is_loopback_name
from reliable_email.backends.routes import DEFAULT_ALIAS, DEFAULT_MAILER, Mailer, MailerKind, all_mailers
from reliable_email.diagnosis.addresses import address_problems, default_sender_messages
from reliable_email.diagnosis.databases import database_messages
from reliable_email.diagnosis.route_errors import RouteError, building_messages, named, replaced_messages
from reliable_email.smtp.options import TLSMode

_PROBLEM_IDS = {
    ProblemKind.BOTH_TLS_MODES: "E001",
    ProblemKind.UNKNOWN_OPTION: "E002",
    ProblemKind.UNKNOWN_PROVIDER: "E003",
    ProblemKind.BAD_VALUE: "E004",
    ProblemKind.TOKEN_PROVIDER: "E021",
    ProblemKind.MISSING: "E005",
    ProblemKind.UNVERIFIED_PASSWORD: "E006",
}


def check_configuration(app_configs: Sequence[AppConfig] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Run the checks of `manage.py check`."""
    return [
        *_check_keys(),
        *_check_settings(),
        *(message for one in all_mailers().values() for message in _check_mailer(one)),
        *(Error(one.text, hint=one.remedy, id="reliable_email.E023") for one in address_problems()),
        *database_messages(),
        *_check_notes(),
    ]


def check_deployment(app_configs: Sequence[AppConfig] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Run the checks of `manage.py check --deploy`."""
    return [*_deployment_messages(), *default_sender_messages()]


def _deployment_messages() -> list[CheckMessage]:
    entries = all_mailers()
    messages: list[CheckMessage] = []
    if not _is_replaced_by_tests():
        default = entries.get(DEFAULT_ALIAS)
        if default is not None and default.kind.delivers_nothing:
            messages.append(
                Warning(
                    f"{named(default)} has the backend {default.backend}, which delivers nothing.",
                    hint="Use a mailer that delivers, or ignore this if the site should deliver nothing.",
                    id="reliable_email.W005",
                )
            )
    for one in entries.values():
        if one.kind is MailerKind.DJANGO_SMTP and not _django_timeout(one):
            messages.append(
                Warning(
                    f"{named(one)} has Django's SMTP backend without a timeout: it can wait forever.",
                    hint="Set a timeout, or use reliable_email.backends.ReliableSMTPBackend, which has one.",
                    id="reliable_email.W004",
                )
            )
        if one.kind is MailerKind.SMTP:
            messages += [message for options in _smtp_routes(one) for message in _check_verification(one, options)]
    return messages


def configuration_messages() -> list[CheckMessage]:
    """Run every check of mailers and keys, without needing INSTALLED_APPS; the worst messages first."""
    messages = [*check_configuration(), *_deployment_messages()]
    return sorted(messages, key=lambda message: -message.level)


def _check_keys() -> Iterator[CheckMessage]:
    for problem in conf.key_problems():
        number = "E015" if problem.is_unknown else "E016"
        yield Error(problem.text, hint=problem.hint, id=f"reliable_email.{number}")


def _check_settings() -> Iterator[CheckMessage]:
    """MAILERS and EMAIL_* as a whole: which of them this version of Django listens to."""
    if _is_replaced_by_tests():
        return
    has_mailers = conf.mailers() is not None
    opens_by_itself = django.VERSION >= (6, 1)
    backend = all_mailers()[DEFAULT_ALIAS] if not has_mailers else Mailer(alias="", backend=conf.email_backend())
    is_default_mailer = backend.kind is MailerKind.DEFAULT_MAILER
    useless = [name for name in email_names_beside_mailers() if name != "EMAIL_BACKEND" or opens_by_itself]
    if useless:
        yield Error(
            f"Settings without effect beside MAILERS: {', '.join(useless)}.",
            hint="Move their values into OPTIONS of a mailer, or read them from the environment with "
            "MAILERS = reliable_email.env.mailers().",
            id="reliable_email.E017",
        )
    if has_mailers and not opens_by_itself and not is_default_mailer:
        yield Error(
            f"Django {django.get_version()} does not open MAILERS by itself, so that send_mail() uses EMAIL_BACKEND, "
            f"{conf.email_backend()}.",
            hint=f'Set EMAIL_BACKEND = "{DEFAULT_MAILER}".',
            id="reliable_email.E018",
        )
    if is_default_mailer and not has_mailers:
        yield Error(
            "EMAIL_BACKEND is DefaultMailer, but there is no setting MAILERS.",
            hint='Define MAILERS with an entry "default".',
            id="reliable_email.E020",
        )


def _check_mailer(one: Mailer) -> Iterator[CheckMessage]:
    match one.kind:
        case MailerKind.MISSING if one.problem:
            yield RouteError(
                f"{named(one)}: {one.problem}",
                hint='Write {"BACKEND": "path.of.a.Backend", "OPTIONS": {...}}.',
                id="reliable_email.E026",
                route=one.alias,
            )
        case MailerKind.MISSING:
            yield RouteError(
                f"{named(one)}: the backend {one.backend!r} cannot be imported.",
                hint="Correct the path, or install the package of the backend.",
                id="reliable_email.E019",
                route=one.alias,
            )
        case MailerKind.SMTP:
            yield from _check_smtp(one)
        case MailerKind.FAILOVER:
            yield from _check_door(one, failover_problems(one.options, alias=one.alias))
            yield from _check_using(one)
        case MailerKind.OUTBOX:
            yield from _check_door(one, outbox_problems(one.options, alias=one.alias))
            yield from _check_using(one)
            yield from _check_outbox(one)
        case MailerKind.ERROR_MAIL:
            yield from _check_door(one, error_mail_problems(one.options, alias=one.alias))
        case MailerKind.DEFAULT_MAILER if not one.is_legacy:
            yield Error(
                f"{named(one)} has the backend DefaultMailer, which opens this very mailer.",
                hint="Use DefaultMailer only as EMAIL_BACKEND, on Django before 6.1. Name the backend that sends.",
                id="reliable_email.E020",
            )


def _check_building(one: Mailer) -> Iterator[CheckMessage]:
    """Return whether a route's backend can be made; its constructor opens nothing, as Django wants it."""
    if _is_replaced_by_tests() or one.is_legacy:
        return
    yield from building_messages(one, build_route(one).build_error)


def _check_door(one: Mailer, problems: Iterable[Problem]) -> Iterator[CheckMessage]:
    """A door's own options. A derived class may have others, which its constructor alone knows."""
    if one.derived_class is None or _is_replaced_by_tests():
        yield from _problem_messages(one, problems)
        return
    told = [problem for problem in problems if problem.kind is not ProblemKind.UNKNOWN_OPTION]
    yield from _problem_messages(one, told)
    if not told:
        yield from building_messages(one, building_error(one))


def _check_smtp(one: Mailer) -> Iterator[CheckMessage]:
    reading = smtp_reading(one)
    yield from _problem_messages(one, reading.problems)
    if not reading.problems and one.derived_class is not None and not _is_replaced_by_tests():
        yield from building_messages(one, building_error(one))
    for options in _smtp_routes(one):
        yield from _check_port(one, options)
        yield from _check_login(one, options)
    if one.is_legacy and reading.options is not None and _lacks_second_provider(reading.options):
        yield _no_second_provider()


def _check_port(one: Mailer, options: SMTPOptions) -> Iterator[CheckMessage]:
    port, mode = options.connection.port, options.connection.tls.mode
    if port == 465 and mode is not TLSMode.IMPLICIT:
        wrong, right = f"port 465 with {_mode_words(mode)}", "port 465 speaks TLS from the first byte: use use_ssl"
    elif port == 587 and mode is TLSMode.IMPLICIT:
        wrong, right = "port 587 with implicit TLS", "port 587 begins without TLS: use use_tls"
    else:
        return
    yield Error(
        f"{named(one)} has {wrong}, which ends in a timeout or a protocol error.",
        hint=f"Usually {right}.",
        id="reliable_email.E007",
    )


def _check_login(one: Mailer, options: SMTPOptions) -> Iterator[CheckMessage]:
    link, given = options.connection, options.given
    if link.credentials is None:
        if "username" in given:
            yield Error(
                f"{named(one)} has a user name but no password, so it does not log in.",
                hint="Set the password (is its environment variable empty?), or a 'token_provider', "
                "or remove the user name.",
                id="reliable_email.E008",
            )
        elif "password" in given or "token_provider" in given:
            yield Error(
                f"{named(one)} has a password or token but no user name, so it does not log in.",
                hint="Set the user name, or remove the password.",
                id="reliable_email.E008",
            )
        elif _expects_login(options):
            yield Warning(
                f"{named(one)} names a provider that wants a login, but has none.",
                hint="Set 'password' (and 'username', if the provider has no fixed one).",
                id="reliable_email.W006",
            )
        return
    if link.allow_plaintext_auth:
        yield Warning(
            f"{named(one)} has allow_plaintext_auth: the password may travel in clear text.",
            hint="Use TLS, with 'ssl_cafile' or 'ssl_pin' if the server has a self-signed certificate.",
            id="reliable_email.W002",
        )
    elif link.tls.mode is TLSMode.NONE and not is_loopback_name(link.host):
        yield Warning(
            f"{named(one)} has a login but no TLS: unless {link.host} is this machine, the password is not sent and "
            "every message fails.",
            hint="Set use_tls (usually port 587) or use_ssl (usually port 465).",
            id="reliable_email.W003",
        )


def _expects_login(options: SMTPOptions) -> bool:
    provider = options.provider
    return options.provider_is_named and provider is not None and provider.name != "generic" and bool(provider.auth)


def _check_verification(one: Mailer, options: SMTPOptions) -> Iterator[CheckMessage]:
    tls = options.connection.tls
    if tls.mode is TLSMode.NONE or tls.verify or tls.pins:
        return
    yield Warning(
        f"{named(one)} does not verify the certificate of {options.connection.host}: anyone on the way can read and "
        "change its mail.",
        hint="Remove ssl_verify=False; for a self-signed certificate, name it with 'ssl_cafile' or pin its "
        "key with 'ssl_pin'.",
        id="reliable_email.W001",
    )


def _check_using(one: Mailer) -> Iterator[CheckMessage]:
    """Check the relations between mailers."""
    entries = all_mailers()
    for below in one.using:
        found = entries.get(below)
        if found is None:
            yield RouteError(
                f"{named(one)}: 'using' names {below!r}, which is not a mailer.",
                hint=f"Known are: {', '.join(sorted(entries))}.",
                id="reliable_email.E010",
                route=below,
            )
            continue
        if _leads_to(below, one.alias, entries):
            yield Error(
                f"{named(one)}: 'using' leads back to itself through {below!r}.",
                hint="A message would go round forever. Name routes that send to a provider.",
                id="reliable_email.E011",
            )
        elif found.kind is MailerKind.OUTBOX:
            yield Error(
                f"{named(one)}: 'using' names {below!r}, which is an outbox.",
                hint="Name the mailer that the outbox sends by, and keep the outbox on top.",
                id="reliable_email.E012",
            )
        yield from replaced_messages(found)
        yield from _check_route(one, found)


def _check_route(above: Mailer, found: Mailer) -> Iterator[CheckMessage]:
    if not found.using and found.kind not in (MailerKind.SMTP, MailerKind.MISSING):
        yield from _check_building(found)
    if found.kind.delivers_nothing and not conf.is_debug() and not _is_replaced_by_tests():
        yield Error(
            f"{named(above)} has the route {found.alias!r}, which delivers nothing ({found.backend}); DEBUG is off.",
            hint="Remove it from 'using', because a message that is printed or stored is not delivered.",
            id="reliable_email.E009",
        )
    if not found.kind.is_ours and found.options.get("fail_silently"):
        yield Error(
            f"{named(above)} has the route {found.alias!r} with fail_silently: a failure would look like a delivery.",
            hint=f"Remove fail_silently from MAILERS[{found.alias!r}]; set it on the mailer above if none may raise.",
            id="reliable_email.E013",
        )


def _check_outbox(one: Mailer) -> Iterator[CheckMessage]:
    if not (apps.ready and apps.is_installed("reliable_email")):
        yield Error(
            f"{named(one)} is an outbox, but the app with its tables is not installed.",
            hint='Add "reliable_email" to INSTALLED_APPS and run manage.py migrate.',
            id="reliable_email.E014",
        )
    from django.db import connections

    database = one.options.get("database")
    if isinstance(database, str) and database and database not in connections:
        yield Error(
            f"{named(one)}: OPTIONS 'database' names {database!r}, which is not in DATABASES.",
            hint=f"Known are: {', '.join(connections)}.",
            id="reliable_email.E004",
        )


def _check_notes() -> Iterator[CheckMessage]:
    """Report the decisions of `env.mailers()`, which are not visible otherwise."""
    for note in getattr(conf.mailers(), "notes", ()):
        if note.is_missing_fallback:
            yield _no_second_provider()
        else:
            yield Info(note.text, hint=note.hint, id="reliable_email.I002")


def _no_second_provider() -> CheckMessage:
    return Info(
        "EMAIL_FALLBACK_ENABLED is true, but there is no second provider, so nothing takes over when the first fails.",
        hint="Set EMAIL_FALLBACK_HOST (and _HOST_USER, _HOST_PASSWORD …) or EMAIL_FALLBACK_PROVIDER. "
        "The console is a fallback in development only.",
        id="reliable_email.I001",
    )


def _lacks_second_provider(options: SMTPOptions) -> bool:
    return email_fallback_is_enabled() and options.fallback is None and not options.fallback_to_console


def _problem_messages(one: Mailer, problems: Iterable[Problem]) -> Iterator[CheckMessage]:
    for problem in problems:
        yield RouteError(
            f"{named(one)}: {problem.text}" if not one.is_legacy else problem.text,
            hint=problem.hint or _help(one, problem.option),
            id=f"reliable_email.{_PROBLEM_IDS[problem.kind]}",
            route=one.alias,
        )


def _help(one: Mailer, option: str) -> str:
    """Return the help text of an option."""
    table = {
        MailerKind.FAILOVER: FAILOVER_OPTIONS,
        MailerKind.OUTBOX: OUTBOX_OPTIONS,
        MailerKind.ERROR_MAIL: ERROR_MAIL_OPTIONS,
    }.get(one.kind, SMTP_OPTIONS)
    return table[option].help if option in table else ""


def _smtp_routes(one: Mailer) -> list[SMTPOptions]:
    """The route of a mailer, and its fallback where `EMAIL_FALLBACK_*` settings make one."""
    options = smtp_reading(one).options
    return [] if options is None else [route for route in (options, options.fallback) if route is not None]


def _leads_to(alias: str, wanted: str, entries: Mapping[str, Mailer]) -> bool:
    seen: set[str] = set()
    waiting = [alias]
    while waiting:
        current = waiting.pop()
        if current == wanted:
            return True
        if current not in seen and current in entries:
            seen.add(current)
            waiting += entries[current].using
    return False


def _django_timeout(one: Mailer) -> object:
    return conf.setting("EMAIL_TIMEOUT") if one.is_legacy else one.options.get("timeout")


def _is_replaced_by_tests() -> bool:
    """Django's test environment has made every mailer locmem; that says nothing of the project."""
    return conf.is_in_tests()


def _mode_words(mode: TLSMode) -> str:
    return "STARTTLS" if mode is TLSMode.STARTTLS else "no TLS"
