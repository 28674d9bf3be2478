"""The options of the doors that send through other mailers: failover, outbox and error mail."""

from collections.abc import Callable, Collection, Mapping
from datetime import timedelta
from typing import TypeVar

from django.core.exceptions import ImproperlyConfigured

from reliable_email.backends.reading.options import ERROR_MAIL_OPTIONS, FAILOVER_OPTIONS, OUTBOX_OPTIONS, Option
from reliable_email.backends.reading.reader import OptionReader, Problem, ProblemKind
from reliable_email.delivery.submission import OnUnknown, Priority
from reliable_email.records import dataclass

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class FailoverOptions:
    """A failover.

    Attributes:
        using: the aliases of its routes, the preferred one first.
        timeout: seconds for one message over all routes; None for the sum of theirs.
        fail_silently: report failures on the message alone.
    """

    using: tuple[str, ...]
    timeout: float | None = None
    fail_silently: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorMailOptions:
    """A door for error mail.

    Attributes:
        using: the alias of the mailer that sends; None for the default one.
        window: seconds in which messages that are alike go out once.
        timeout: seconds that one message may take at most.
    """

    using: str | None = None
    window: float = 300.0
    timeout: float = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxOptions:
    """An outbox.

    Attributes:
        using: the alias of the mailer that the worker delivers by.
        database: the alias of the database; None for the router's choice.
        expires_in: give up after this long; None for `RELIABLE_EMAIL["EXPIRES_DAYS"]`.
        priority: of messages that name none.
        on_unknown: of messages that name none; None for the route's.
        transactional: whether rows join the caller's transaction; False writes by a connection of its own.
        fail_silently: report failures on the message alone.
    """

    using: str
    database: str | None = None
    expires_in: timedelta | None = None
    priority: Priority = Priority.NORMAL
    on_unknown: OnUnknown | None = None
    transactional: bool = True
    fail_silently: bool = False


def failover_options(
    values: Mapping[str, object], *, alias: str | None, ignore_unknown: Collection[str] | None = None
) -> FailoverOptions:
    """Return a failover's options.

    Raises:
        InvalidMailer: naming every problem.
    """
    return _read(_failover, values, FAILOVER_OPTIONS, alias, ignore_unknown)


def outbox_options(
    values: Mapping[str, object], *, alias: str | None, ignore_unknown: Collection[str] | None = None
) -> OutboxOptions:
    """Return an outbox's options.

    Raises:
        InvalidMailer: naming every problem.
    """
    return _read(_outbox, values, OUTBOX_OPTIONS, alias, ignore_unknown)


def error_mail_options(
    values: Mapping[str, object], *, alias: str | None, ignore_unknown: Collection[str] | None = None
) -> ErrorMailOptions:
    """Return the options of a door for error mail; without MAILERS there are none.

    Raises:
        InvalidMailer: naming every problem.
    """
    return _read(_error_mail, values, ERROR_MAIL_OPTIONS, alias or "", ignore_unknown)


def error_mail_problems(values: Mapping[str, object], *, alias: str) -> tuple[Problem, ...]:
    """Return the problems in the OPTIONS of a door for error mail."""
    return _problems(_error_mail, values, ERROR_MAIL_OPTIONS, alias)


def failover_problems(values: Mapping[str, object], *, alias: str) -> tuple[Problem, ...]:
    """Return the problems in a failover's OPTIONS; `routes` checks whether its routes exist."""
    return _problems(_failover, values, FAILOVER_OPTIONS, alias)


def outbox_problems(values: Mapping[str, object], *, alias: str) -> tuple[Problem, ...]:
    """Return the problems in an outbox's OPTIONS."""
    return _problems(_outbox, values, OUTBOX_OPTIONS, alias)


def _read(
    read: Callable[[OptionReader], T],
    values: Mapping[str, object],
    known: Mapping[str, Option],
    alias: str | None,
    ignore_unknown: Collection[str] | None,
) -> T:
    reader = _reader(values, known, alias, ignore_unknown or ())
    options = read(reader)
    reader.raise_problems(alias or None)
    return options


def _problems(
    read: Callable[[OptionReader], object], values: Mapping[str, object], known: Mapping[str, Option], alias: str
) -> tuple[Problem, ...]:
    reader = _reader(values, known, alias, ())
    read(reader)
    return tuple(reader.problems)


def _reader(
    values: Mapping[str, object], known: Mapping[str, Option], alias: str | None, ignore_unknown: Collection[str]
) -> OptionReader:
    if alias is None:
        raise ImproperlyConfigured(
            "FailoverBackend and OutboxBackend send through other mailers, so they work as entries of MAILERS alone. "
            "Define MAILERS. Where a path is asked for (EMAIL_BACKEND on Django before 6.1, get_connection(), another "
            'package\'s setting), write "reliable_email.backends.DefaultMailer", which opens the entry "default".'
        )
    # send_mail() of Django 5.2 and 6.0 passes the login of the caller, as None, to every backend.
    ignored = {*ignore_unknown, *(name for name in ("username", "password") if values.get(name) is None)}
    reader = OptionReader(
        values={name: value for name, value in values.items() if name in known or name not in ignored}, options=known
    )
    reader.report_unknown()
    return reader


def _failover(reader: OptionReader) -> FailoverOptions:
    using = reader.take("using")
    if not using:
        _report_missing(reader, "a list of the aliases of its routes")
    if len(set(using)) != len(using):
        twice = next(alias for alias in using if using.count(alias) > 1)
        reader.report(
            ProblemKind.BAD_VALUE, "using", f"{reader.place('using')} names {twice!r} twice.", "Name it once."
        )
    return FailoverOptions(using=using, timeout=reader.take("timeout"), fail_silently=reader.take("fail_silently"))


def _error_mail(reader: OptionReader) -> ErrorMailOptions:
    reader.take("fail_silently")  # Django's own handler passes it; it is always so
    return ErrorMailOptions(
        using=reader.take("using") or None, window=reader.take("window"), timeout=reader.take("timeout")
    )


def _outbox(reader: OptionReader) -> OutboxOptions:
    using = reader.take("using")
    if not using:
        _report_missing(reader, "the alias of the mailer that delivers")
    return OutboxOptions(
        using=using,
        database=reader.take("database") or None,
        expires_in=reader.take("expires_in"),
        priority=reader.take("priority"),
        on_unknown=reader.take("on_unknown"),
        transactional=reader.take("transactional"),
        fail_silently=reader.take("fail_silently"),
    )


def _report_missing(reader: OptionReader, what: str) -> None:
    if not any(problem.option == "using" for problem in reader.problems):
        reader.report(ProblemKind.MISSING, "using", f"{reader.place('using')} is missing.", f"Set it to {what}.")
