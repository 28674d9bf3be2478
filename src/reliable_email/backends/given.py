"""A server of the caller's own: `get_connection(host=…)` and `send_mail(auth_user=…)` where the default has routes.

What equals the settings' or a route's changes nothing. With anything else the message goes by exactly this server and
login, directly, and never by the site's own routes in their place: a tenant's mail is not the site's.
"""

from collections.abc import Collection, Mapping
from typing import Any

from reliable_email import conf
from reliable_email.backends.building import smtp_reading
from reliable_email.backends.reading.email_settings import email_setting_name
from reliable_email.backends.reading.route_options import SERVER_OPTIONS, SMTPOptions
from reliable_email.backends.routes import Mailer, MailerKind, named_routes
from reliable_email.backends.smtp import ReliableSMTPBackend
from reliable_email.exceptions import InvalidMailer
from reliable_email.smtp.options import TLSMode
from reliable_email.values import ValueProblem, boolean, integer, is_empty

_LOGIN = ("username", "password")
_WAY = ("port", "use_tls", "use_ssl")


def given_backend(
    arguments: Mapping[str, Any],
    own: Collection[str],
    ignored: Collection[str] | None,
    *,
    alias: str | None,
    fail_silently: bool,
) -> ReliableSMTPBackend | None:
    """The backend for what a caller gave beside OPTIONS; None where that asks for nothing else than the site has.

    Args:
        arguments: of a door's constructor.
        own: the door's own options, which say nothing of a server.
        ignored: the names that a caller gave (Django's `_ignore_unknown_kwargs`).
        alias: the door's.

    Raises:
        InvalidMailer: it cannot be used.
    """
    given = {name: arguments[name] for name in ignored or () if not (name in own or is_empty(arguments.get(name)))}
    wanted = {name: value for name, value in given.items() if name in SERVER_OPTIONS}
    if not wanted or alias is None or _equals(wanted, _settings()):
        return None
    routes = [one for one in named_routes(alias) if one.kind in (MailerKind.SMTP, MailerKind.DJANGO_SMTP)]
    if any(_equals(wanted, _server_of(one)) for one in routes):
        return None
    if "host" in wanted or "provider" in wanted:
        server = _only(wanted, ("host", "provider"))
        base = next((one.options for one in routes if _equals(server, _server_of(one))), {})
    elif routes:
        base = routes[0].options
    else:
        raise InvalidMailer(
            f"{', '.join(sorted(wanted))} was given without a host, and this mailer has no SMTP server to log in to.",
            alias=alias,
        )
    left = {name: value for name, value in base.items() if name not in _replaced_by(wanted)}
    allowed = {name: value for name, value in given.items() if name != "fail_silently"}
    return ReliableSMTPBackend(fail_silently=fail_silently, **{**left, **allowed})


def _replaced_by(wanted: Mapping[str, Any]) -> set[str]:
    """Return the names of a route's OPTIONS that the given arguments replace."""
    names = {"quota", "fail_silently"}
    if not wanted.keys().isdisjoint(_LOGIN):
        names |= {*_LOGIN, "token_provider", "auth"}
    if not wanted.keys().isdisjoint(_WAY):
        names |= {*_WAY}
    return names


def _only(values: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name in names}


def _settings() -> dict[str, Any]:
    """The project's `EMAIL_*` settings, which Django before 6.1 lets stand beside MAILERS."""
    return {name: conf.setting(email_setting_name(name)) for name in SERVER_OPTIONS}


def _server_of(route: Mailer) -> dict[str, Any]:
    """Return the options that name a route's server and login."""
    if route.kind is MailerKind.DJANGO_SMTP:
        has_tls, has_ssl = bool(route.options.get("use_tls")), bool(route.options.get("use_ssl"))
        return {"port": 465 if has_ssl else 587 if has_tls else 25, "use_tls": has_tls, "use_ssl": has_ssl} | {
            name: value for name, value in route.options.items() if name in SERVER_OPTIONS and not is_empty(value)
        }
    options = smtp_reading(route).options
    return _server(options) if options is not None else dict(route.options)


def _server(options: SMTPOptions) -> dict[str, Any]:
    link = options.connection
    return {
        "host": link.host,
        "port": link.port,
        "username": link.credentials.username if link.credentials is not None else "",
        "password": link.credentials.password if link.credentials is not None else "",
        "use_tls": link.tls.mode is TLSMode.STARTTLS,
        "use_ssl": link.tls.mode is TLSMode.IMPLICIT,
        "ssl_certfile": link.tls.certfile,
        "ssl_keyfile": link.tls.keyfile,
        "provider": options.provider.name if options.provider is not None and options.provider_is_named else None,
    }


def _equals(wanted: Mapping[str, Any], known: Mapping[str, Any]) -> bool:
    return all(
        not is_empty(known.get(name)) and _plain(name, known[name]) == _plain(name, value)
        for name, value in wanted.items()
    )


def _plain(name: str, value: Any) -> Any:
    """A value as it is compared: "587" is 587, and host names know no case."""
    try:
        match name:
            case "port":
                return integer(value)
            case "use_tls" | "use_ssl":
                return boolean(value)
            case "host" | "provider":
                return str(value).strip().rstrip(".").lower()
    except ValueProblem:
        pass
    return value
