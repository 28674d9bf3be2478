"""The construction of routes, one by one: a route that cannot be built is reported and skipped, and affects no other.

Whatever a constructor raises is the route's matter. It is known to this process alone (another one may have the
package), told once at WARNING, and tried again whenever the route is built anew: with the next message, or by a worker
within the minute.
"""

from collections.abc import Iterable

from reliable_email import conf
from reliable_email.backends.reading.fingerprint import described, keyed
from reliable_email.backends.reading.route_options import SMTPReading, read_smtp_options
from reliable_email.backends.routes import Mailer, MailerKind, mailer, routes_of
from reliable_email.backends.smtp import ReliableSMTPBackend
from reliable_email.backends.unbuilt import error_text, note_built, unbuilt_route
from reliable_email.delivery.route import Route
from reliable_email.delivery.transports.foreign import ForeignTransport
from reliable_email.exceptions import InvalidMailer
from reliable_email.mailers import mailers

# What these take is shown to somebody, and has reached nobody.
_SHOW_ONLY = (MailerKind.CONSOLE, MailerKind.DUMMY)


def build_routes(found: Iterable[Mailer], *, final_reply_timeout: float | None = None) -> list[Route]:
    """A route for each mailer; those that cannot be built have a `build_error`.

    Args:
        final_reply_timeout: see `make_route`.
    """
    return [build_route(one, final_reply_timeout=final_reply_timeout) for one in found]


def build_route(one: Mailer, *, final_reply_timeout: float | None = None) -> Route:
    """The route behind a mailer; one with a `build_error` where there is none. Never raises."""
    try:
        if one.problem:
            raise InvalidMailer(one.problem, alias=one.alias)
        route = make_route(one.alias, final_reply_timeout=final_reply_timeout)
    except Exception as error:  # noqa: BLE001 - any code of anybody's may be behind a mailer
        return unbuilt_route(one.alias, error_text(one.alias, error, one.options), provider=provider_of(one.backend))
    note_built(one.alias)
    return route


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


def building_error(one: Mailer) -> str:
    """Return why a mailer's backend cannot be built; "" if it can. Its constructor opens nothing."""
    try:
        _ = mailers[one.alias]
    except Exception as error:  # noqa: BLE001 - any code of anybody's may be behind a mailer
        return error_text(one.alias, error, one.options)
    return ""


def smtp_reading(one: Mailer) -> SMTPReading:
    """Return the server's options of one of this package's mailers.

    A class that is derived from ours may have options of its own, and take its server from anywhere: it is made, and
    what it has then counts. Where it cannot be made there is nothing to read, and building tells why.
    """
    if one.derived_class is not None and not conf.is_in_tests():
        try:
            backend = mailers[one.alias]
            if isinstance(backend, ReliableSMTPBackend):
                return SMTPReading(options=backend.current_options(), problems=())
        except Exception:  # noqa: BLE001 - as in build_route
            return SMTPReading(options=None, problems=())
    return read_smtp_options(one.options, alias=None if one.is_legacy else one.alias)


def provider_of(backend: str) -> str | None:
    """The provider behind a foreign backend's dotted path, for the rules of classification; None where not known."""
    parts = backend.lower().split(".")
    if parts[0] == "anymail" and len(parts) > 2:
        return {"amazon_ses": "ses", "sendinblue": "brevo"}.get(parts[2], parts[2])
    return "ses" if parts[0] == "django_ses" else None


def built_routes_of(alias: str) -> list[Route]:
    """The routes of a mailer, each built by itself.

    Raises:
        MailerDoesNotExist, InvalidMailer: as `routes_of`.
    """
    return build_routes(routes_of(alias))
