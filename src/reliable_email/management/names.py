"""Names that a person gives to a command: one that means nothing is refused, with what was probably meant."""

from collections.abc import Iterable, Sequence

from django.core.management.base import CommandError
from django.db.models import Q, QuerySet

from reliable_email import conf
from reliable_email.backends.routes import MailerKind, all_mailers
from reliable_email.classification import Cause
from reliable_email.delivery.words import Priority
from reliable_email.diagnosis.verdict import ExitCode
from reliable_email.monitoring.route_health import site_routes
from reliable_email.store.questions.filters import Filter, outbox_database, recipients
from reliable_email.store.tables.messages import OutboxMessage
from reliable_email.store.tables.states import OWN_CAUSES, State
from reliable_email.values import closest, printable

_MOST_READ = 100_000


def refuse(kind: str, name: str, known: Iterable[str]) -> CommandError:
    """The error for a name that is not known."""
    names = sorted(known)
    meant = closest(name, names)
    hint = f"Did you mean {meant!r}?" if meant else f"There are: {', '.join(names) or 'none'}."
    return CommandError(f"There is no {kind} {printable(name)!r}. {hint}", returncode=ExitCode.USAGE)


def refuse_elsewhere(name: str, using: str) -> None:
    """Refuse an outbox whose messages are in another database: what is asked for it here would be for nothing.

    Raises:
        CommandError: exit code 2.
    """
    found = all_mailers().get(name)
    if found is None or found.kind is not MailerKind.OUTBOX:
        return
    database = outbox_database(str(found.options.get("database") or "") or None)
    if database != using:
        words = f"The outbox {name!r} is in the database {database!r}: add --database {database} before the rest."
        raise CommandError(words, returncode=ExitCode.USAGE)


def route_names() -> set[str]:
    """Every route that the settings have, also those that cannot be built."""
    found = {alias for alias, one in all_mailers().items() if not one.using}
    return found | {route.alias for routes in site_routes().values() for route in routes}


def check_filter(chosen: Filter, using: str, *, is_for_what_comes: bool = False) -> None:
    """Refuse what no recipient can match.

    The settings may have lost a mailer or a route whose messages are still here: what the table has is known, too. Of
    very many messages a name that only they have is not looked for: the answer is then that nothing matches.

    Args:
        is_for_what_comes: an account or a stream may be one that has sent nothing yet.

    Raises:
        CommandError: exit code 2.
    """
    _check("state", chosen.states, {one.value for one in State})
    for name in chosen.mailers:
        if name not in all_mailers():
            if not _messages_of(name, using).exists():
                raise refuse("mailer", name, all_mailers())
        elif not _are_many(using) and not _messages_of(name, using).exists():
            refuse_elsewhere(name, using)
    for name in chosen.routes:
        if name not in route_names() and not recipients(Filter(routes=(name,)), using).exists():
            raise refuse("route", name, route_names())
    causes = {*(one.value for one in Cause), *OWN_CAUSES}
    for name in chosen.causes:
        if name not in causes and not recipients(Filter(causes=(name,)), using).exists():
            raise refuse("cause", name, causes)

    for kind, names in (("environment", chosen.environments), ("account", chosen.accounts), ("stream", chosen.streams)):
        for name in () if is_for_what_comes else names:
            if name == conf.get().environment or _are_many(using):
                continue
            if not _messages_with(using, **{kind: name}).exists():
                known = _messages_with(using).values_list(kind, flat=True).distinct()
                raise refuse(kind, name, {one for one in known if one})


def _are_many(using: str) -> bool:
    """Return whether the messages are too many to be read for a name that no index has."""
    ids = OutboxMessage._base_manager.using(using).values_list("pk", flat=True)
    oldest, newest = ids.order_by("pk").first(), ids.order_by("-pk").first()
    return oldest is not None and newest is not None and newest - oldest > _MOST_READ


def _messages_with(using: str, **values: str) -> "QuerySet[OutboxMessage]":
    return OutboxMessage._base_manager.using(using).filter(**values).order_by()


def _messages_of(mailer: str, using: str) -> "QuerySet[OutboxMessage]":
    named = Q(mailer=mailer) | Q(entry_mailer=mailer)
    return OutboxMessage._base_manager.using(using).filter(named)


def check_priorities(names: Sequence[str]) -> None:
    """Refuse a priority that is none."""
    _check("priority", names, {one.value for one in Priority})


def _check(kind: str, names: Sequence[str], known: Iterable[str]) -> None:
    known = set(known)
    for name in names:
        if name not in known:
            raise refuse(kind, name, known)
