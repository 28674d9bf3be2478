"""The routes that each mailer leads to, read from settings only: no mailer is built, nothing is opened.

A route is a mailer that hands messages to somebody else than another mailer: an SMTP server, an HTTP API, the console.
"""

import contextlib
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any

from django.utils.module_loading import import_string

from reliable_email import conf
from reliable_email.exceptions import InvalidMailer, MailerDoesNotExist
from reliable_email.records import dataclass, field
from reliable_email.values import ValueProblem, strings

DEFAULT_ALIAS = "default"
DEFAULT_MAILER = "reliable_email.backends.DefaultMailer"
_LOOP = "'using' leads back to itself"


class MailerKind(StrEnum):
    """The kind of a mailer's backend, by its class and the classes it derives from."""

    SMTP = "smtp"  # ours
    FAILOVER = "failover"
    OUTBOX = "outbox"
    ERROR_MAIL = "error_mail"
    DEFAULT_MAILER = "default_mailer"
    DJANGO_SMTP = "django_smtp"
    CONSOLE = "console"
    FILE = "file"
    MEMORY = "memory"
    DUMMY = "dummy"
    FOREIGN = "foreign"
    MISSING = "missing"  # the backend cannot be imported

    @property
    def is_ours(self) -> bool:
        """True if this package's options apply."""
        return self in (MailerKind.SMTP, MailerKind.FAILOVER, MailerKind.OUTBOX)

    @property
    def delivers_nothing(self) -> bool:
        """True if a message that it takes reaches no recipient."""
        return self in (MailerKind.CONSOLE, MailerKind.FILE, MailerKind.MEMORY, MailerKind.DUMMY)


# By the name of the class, so that asking for a mailer's kind imports neither our doors nor Django's backends.
_KINDS = {
    "reliable_email.backends.smtp.ReliableSMTPBackend": MailerKind.SMTP,
    "reliable_email.backends.failover.FailoverBackend": MailerKind.FAILOVER,
    "reliable_email.backends.outbox.OutboxBackend": MailerKind.OUTBOX,
    "reliable_email.backends.error_mail.ErrorMailBackend": MailerKind.ERROR_MAIL,
    "reliable_email.backends.default.DefaultMailer": MailerKind.DEFAULT_MAILER,
    "django.core.mail.backends.smtp.EmailBackend": MailerKind.DJANGO_SMTP,
    "django.core.mail.backends.console.EmailBackend": MailerKind.CONSOLE,
    "django.core.mail.backends.filebased.EmailBackend": MailerKind.FILE,
    "django.core.mail.backends.locmem.EmailBackend": MailerKind.MEMORY,
    "django.core.mail.backends.dummy.EmailBackend": MailerKind.DUMMY,
}
_KINDS |= {
    f"reliable_email.backends.{path.rpartition('.')[2]}": kind
    for path, kind in _KINDS.items()
    if path.startswith("reliable_email.")
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Mailer:
    """One entry of MAILERS; without MAILERS, the one mailer that the `EMAIL_*` settings make.

    Attributes:
        alias: its name; "default" for that of the `EMAIL_*` settings.
        backend: the dotted path.
        options: OPTIONS; empty for that of the `EMAIL_*` settings.
        is_legacy: whether it comes from the `EMAIL_*` settings.
        problem: why nothing can be sent by this name: its entry is of the wrong shape, or the `using` of a mailer above
            leads nowhere by it; "" for an entry that can be used.
    """

    alias: str
    backend: str
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    is_legacy: bool = False
    problem: str = ""

    @property
    def kind(self) -> MailerKind:
        """The kind of the mailer. Imports the backend's module if its path is not a known one."""
        if self.problem:
            return MailerKind.MISSING
        known = _KINDS.get(self.backend)
        if known is not None:
            return known
        try:
            found = import_string(self.backend)
        except Exception:  # noqa: BLE001 - a module that is being imported may raise anything
            return MailerKind.MISSING
        bases = found.__mro__ if isinstance(found, type) else ()
        names = (f"{base.__module__}.{base.__qualname__}" for base in bases)
        return next((_KINDS[name] for name in names if name in _KINDS), MailerKind.FOREIGN)

    @property
    def derived_class(self) -> type | None:
        """The class, where a project has derived it from one of our doors."""
        if self.backend in _KINDS or not (self.kind.is_ours or self.kind is MailerKind.ERROR_MAIL):
            return None
        found: type = import_string(self.backend)
        return found

    @property
    def using(self) -> tuple[str, ...]:
        """The aliases that it sends through; empty for a route. Unusable values count as none."""
        if self.kind not in (MailerKind.FAILOVER, MailerKind.OUTBOX, MailerKind.ERROR_MAIL):
            return ()
        try:
            return strings(self.options.get("using") or ())
        except ValueProblem:
            return ()


def all_mailers() -> dict[str, Mailer]:
    """Every mailer by its alias."""
    entries = conf.mailers()
    if entries is None:
        return {DEFAULT_ALIAS: Mailer(alias=DEFAULT_ALIAS, backend=conf.email_backend(), is_legacy=True)}
    return {alias: _mailer_of(alias, entry) for alias, entry in entries.items()}


def _mailer_of(alias: str, entry: object) -> Mailer:
    """An entry of MAILERS; one of another shape than Django's is a mailer with a `problem`.

    The text names the type alone: the value may hold a password.
    """
    if not isinstance(entry, Mapping):
        return Mailer(alias=alias, backend="", problem=f"The entry must be a dictionary, not a {type(entry).__name__}.")
    backend, options = entry.get("BACKEND", conf.DEFAULT_BACKEND), entry.get("OPTIONS") or {}
    if not isinstance(backend, str):
        problem = f"BACKEND must be the dotted path of a class, as text, not a {type(backend).__name__}."
        return Mailer(alias=alias, backend="", problem=problem)
    if not isinstance(options, Mapping):
        problem = f"OPTIONS must be a dictionary, not a {type(options).__name__}."
        return Mailer(alias=alias, backend=backend, problem=problem)
    return Mailer(alias=alias, backend=backend, options=options)


def mailer(alias: str) -> Mailer:
    """One mailer.

    Raises:
        MailerDoesNotExist: there is no such alias.
    """
    return _one_of(all_mailers(), alias)


def _one_of(entries: Mapping[str, Mailer], alias: str) -> Mailer:
    try:
        return entries[alias]
    except KeyError:
        raise MailerDoesNotExist(alias=alias) from None


def routes_of(alias: str = DEFAULT_ALIAS) -> tuple[Mailer, ...]:
    """The routes by which a mailer's messages leave, in order of preference, each once.

    A name that leads nowhere is a route with a `problem`: it must not keep the others from working.

    Raises:
        MailerDoesNotExist: it, or the only mailer that it names, does not exist.
        InvalidMailer: every way from it leads back to itself.
    """
    return _routes_among(all_mailers(), alias)


def _routes_among(entries: Mapping[str, Mailer], alias: str) -> tuple[Mailer, ...]:
    found = _named_among(entries, alias)
    if all(one.problem for one in found):
        missing = next((one.alias for one in found if not one.problem.startswith(_LOOP)), None)
        if missing is not None:
            raise MailerDoesNotExist(alias=missing)
        raise InvalidMailer(found[0].problem, alias=alias)
    return found


def named_routes(alias: str = DEFAULT_ALIAS) -> tuple[Mailer, ...]:
    """Return routes like `routes_of`, without raising: a name that leads nowhere is a route with a `problem`."""
    return _named_among(all_mailers(), alias)


def _named_among(entries: Mapping[str, Mailer], alias: str) -> tuple[Mailer, ...]:
    found: dict[str, Mailer] = {}
    for one in _leaves(alias, entries, ()):
        if found.get(one.alias) is None or found[one.alias].problem:
            found[one.alias] = one
    return tuple(found.values())


def mailers_over(route: str) -> tuple[str, ...]:
    """The mailers whose messages may leave by a route, itself among them; empty where there is no such route."""
    found = []
    for alias in all_mailers():
        try:
            if any(one.alias == route for one in routes_of(alias)):
                found.append(alias)
        except InvalidMailer:  # a check says what is wrong with it
            continue
    return tuple(found)


def _leaves(alias: str, entries: Mapping[str, Mailer], above: tuple[str, ...]) -> Iterator[Mailer]:
    """The end of each way from a mailer down to a route, or to nowhere."""
    if alias in above:
        problem = f"{_LOOP}: {' -> '.join((*above, alias))}."
        yield Mailer(alias=alias, backend="", problem=problem)
    elif alias not in entries:
        named = f"'using' of {above[-1]!r} names it, and there" if above else "There"
        yield Mailer(alias=alias, backend="", problem=f"{named} is no such entry.")
    else:
        below = entries[alias].using
        if not below:
            yield entries[alias]
        for one in below:
            yield from _leaves(one, entries, (*above, alias))


def delivering_alias(alias: str = DEFAULT_ALIAS) -> str:
    """The mailer that delivers what is handed to `alias`: itself, or for an outbox the one that it is over.

    Raises:
        MailerDoesNotExist, InvalidMailer: as `routes_of`.
    """
    return _delivering_among(all_mailers(), alias)


def delivering_routes(alias: str) -> tuple[Mailer, ...]:
    """The routes of the mailer that delivers what is handed to `alias`.

    Raises:
        MailerDoesNotExist, InvalidMailer: as `routes_of`.
    """
    entries = all_mailers()  # once: each message that is queued asks
    return _routes_among(entries, _delivering_among(entries, alias))


def _delivering_among(entries: Mapping[str, Mailer], alias: str) -> str:
    _routes_among(entries, alias)
    found = _one_of(entries, alias)
    while found.kind in (MailerKind.OUTBOX, MailerKind.ERROR_MAIL) and found.using:
        found = _one_of(entries, found.using[0])
    return found.alias


def outbox_mailers() -> tuple[str, ...]:
    """The mailers that deliver what outboxes hold, each once; those that lead nowhere are left to the checks."""
    found: dict[str, None] = {}
    for one in all_mailers().values():
        if one.kind is MailerKind.OUTBOX:
            with contextlib.suppress(MailerDoesNotExist, InvalidMailer):
                found[delivering_alias(one.alias)] = None
    return tuple(found)
