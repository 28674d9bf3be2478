"""`mailers`: Django's own handler of the setting MAILERS, and the same behaviour on versions that have none.

Django 5.2 and 6.0 ignore MAILERS, so one settings file serves all three versions:
`EMAIL_BACKEND = "reliable_email.backends.DefaultMailer"` opens its "default" there, and `mailers[alias]` the others.
"""

import inspect
from collections.abc import Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

import django
from django.core import mail
from django.core.mail.backends.base import BaseEmailBackend
from django.utils.module_loading import import_string

from reliable_email import conf
from reliable_email.exceptions import InvalidMailer, MailerDoesNotExist
from reliable_email.values import keeps_no_locals

__all__ = ["DEFAULT_MAILER_ALIAS", "MailersHandler", "mailers"]

DEFAULT_MAILER_ALIAS = "default"
_OURS = "reliable_email."
_DJANGO_SMTP_OPTIONS = frozenset(
    {
        "fail_silently",
        "host",
        "password",
        "port",
        "ssl_certfile",
        "ssl_keyfile",
        "timeout",
        "use_ssl",
        "use_tls",
        "username",
    }
)
_DJANGO_SMTP = "django.core.mail.backends.smtp.EmailBackend"


class MailersHandler:
    """Builds a new backend at every access, as Django 6.1's does; used below 6.1 only."""

    def __getitem__(self, alias: str, /) -> BaseEmailBackend:
        return self.create_connection(alias)

    def __contains__(self, alias: object, /) -> bool:
        return alias in self.settings

    def __iter__(self) -> Iterator[str]:
        return iter(self.settings)

    def get(self, alias: str, /, default: Any = None) -> Any:
        """The mailer, or the default where there is no such alias."""
        try:
            return self[alias]
        except MailerDoesNotExist:
            return default

    @property
    def default(self) -> BaseEmailBackend:
        """The mailer "default"."""
        return self[DEFAULT_MAILER_ALIAS]

    @property
    def settings(self) -> Mapping[str, Mapping[str, Any]]:
        """MAILERS as it holds now; empty where there is none."""
        return conf.mailers() or {}

    @keeps_no_locals
    def create_connection(self, alias: str, /, *, overrides: Mapping[str, Any] | None = None) -> BaseEmailBackend:
        """Build a mailer's backend.

        Args:
            alias: the mailer; "default" opens EMAIL_BACKEND where there is no MAILERS.
            overrides: options that win over the mailer's; a backend that does not know one may ignore it.

        Raises:
            MailerDoesNotExist: there is no such alias.
            InvalidMailer: its entry cannot work.
        """
        entries = conf.mailers()
        if entries is None and alias == DEFAULT_MAILER_ALIAS:
            return mail.get_connection(**(overrides or {}))
        try:
            config = (entries or {})[alias]
        except KeyError:
            raise MailerDoesNotExist(alias=alias) from None
        if not isinstance(config, Mapping):
            raise InvalidMailer(f"The entry must be a dictionary, not a {type(config).__name__}.", alias=alias)
        if not isinstance(config.get("OPTIONS") or {}, Mapping):
            raise InvalidMailer("OPTIONS must be a dictionary.", alias=alias)
        options = dict(config.get("OPTIONS") or {})
        if "alias" in options:
            raise InvalidMailer("OPTIONS must not define 'alias'.", alias=alias)
        path = config.get("BACKEND", conf.DEFAULT_BACKEND)
        try:
            backend_class = import_string(path)
        except (ImportError, AttributeError, ValueError) as error:  # no text, or one that names no module
            raise InvalidMailer(f"Could not find BACKEND {path!r}: {error}", alias=alias) from error
        if _is_djangos(backend_class):
            options = _django_smtp_options(options, alias)
        return _build(backend_class, alias, options, overrides or {})


def _django_smtp_options(options: dict[str, Any], alias: str) -> dict[str, Any]:
    """Return OPTIONS as Django 6.1's SMTP backend reads them; before, `EMAIL_*` settings count, also for None."""
    options = {name: value for name, value in options.items() if value is not None}
    if not options.get("host"):
        raise InvalidMailer("OPTIONS must define 'host'.", alias=alias)
    # Below 6.1 Django's backend takes any keyword and ignores it: a misspelt option would do so, too.
    unknown = sorted(options.keys() - _DJANGO_SMTP_OPTIONS)
    if unknown:
        raise InvalidMailer(f"Unknown options {', '.join(map(repr, unknown))}.", alias=alias)
    use_tls, use_ssl = bool(options.get("use_tls")), bool(options.get("use_ssl"))
    if use_tls and use_ssl:
        raise InvalidMailer(
            "The 'use_ssl' and 'use_tls' OPTIONS are incompatible. Set at most one of them to True.", alias=alias
        )
    return {
        "username": "",
        "password": "",
        "ssl_certfile": "",
        "ssl_keyfile": "",
        **options,
        "port": options.get("port") or (465 if use_ssl else 587 if use_tls else 25),
        "use_tls": use_tls,
        "use_ssl": use_ssl,
    }


@cache
def _without_settings(backend_class: type) -> type:
    """Return a class derived from Django's SMTP backend, for which `EMAIL_*` settings are no options, as on 6.1.

    Its own constructor may give the rest of the options, so they are completed behind it: between the two classes.
    """
    from django.core.mail.backends.smtp import EmailBackend

    class OfOptions(EmailBackend):
        def __init__(self, *args: Any, **options: Any) -> None:
            given = inspect.signature(EmailBackend.__init__).bind(self, *args, **options).arguments
            unknown = given.pop("kwargs", {})
            alias = unknown.pop("alias", None)
            ignored = unknown.pop("_ignore_unknown_kwargs", None) or ()
            del given["self"]
            misspelt = {name: value for name, value in unknown.items() if name not in ignored}
            completed = _django_smtp_options(given | misspelt, alias)
            super().__init__(**completed, **({"alias": alias} if django.VERSION >= (6, 1) else {}))

    names = {"__module__": backend_class.__module__, "__qualname__": backend_class.__qualname__}
    return type(backend_class.__name__, (backend_class, OfOptions), names)


def _build(
    backend_class: Any, alias: str, options: Mapping[str, Any], overrides: Mapping[str, Any]
) -> BaseEmailBackend:
    arguments = {**options, **overrides}
    backend: BaseEmailBackend
    is_ours = _is_ours(backend_class)
    if not is_ours and _is_derived_from_djangos(backend_class):
        backend_class = _without_settings(backend_class)
        ignored = {"_ignore_unknown_kwargs": set(overrides)}
        arguments |= ignored if overrides and _accepts(backend_class, ignored) else {}
    if is_ours:
        backend = backend_class(alias=alias, **arguments, _ignore_unknown_kwargs=set(overrides))
    elif _accepts(backend_class, {**arguments, "alias": alias}):
        backend = backend_class(alias=alias, **arguments)
    else:
        # Backends written before there was an alias may take exactly the arguments of their day.
        unknown = [name for name in options if not _accepts(backend_class, {name: None})]
        if unknown:
            raise InvalidMailer(f"Unknown options {', '.join(map(repr, unknown))}.", alias=alias)
        backend = backend_class(
            **{name: value for name, value in arguments.items() if _accepts(backend_class, {name: None})}
        )
    if getattr(backend, "alias", None) is None:
        backend.alias = alias  # type: ignore[attr-defined]
    return backend


def _is_ours(backend_class: Any) -> bool:
    bases = backend_class.__mro__ if isinstance(backend_class, type) else (backend_class,)
    return any(getattr(base, "__module__", "").startswith(_OURS) for base in bases)


def _is_derived_from_djangos(backend_class: Any) -> bool:
    return isinstance(backend_class, type) and any(map(_is_djangos, backend_class.__mro__[1:]))


def _is_djangos(backend_class: Any) -> bool:
    is_class = isinstance(backend_class, type)
    return is_class and f"{backend_class.__module__}.{backend_class.__qualname__}" == _DJANGO_SMTP


def _accepts(backend_class: Any, arguments: Mapping[str, Any]) -> bool:
    """Return whether the class accepts these keywords, without calling it, which could hide a TypeError of its own."""
    try:
        inspect.signature(backend_class).bind_partial(**arguments)
    except TypeError:
        return False
    except ValueError:  # no signature to look at
        return True
    return True


if TYPE_CHECKING:
    mailers: MailersHandler
elif django.VERSION >= (6, 1):
    from django.core.mail import mailers
else:
    mailers = MailersHandler()
