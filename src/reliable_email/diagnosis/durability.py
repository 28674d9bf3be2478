"""Checks of the outbox's database: does it keep committed data after a crash, on which the promises depend?

Asked of the database itself, so it runs where Django runs checks of databases: `migrate`, and `check --database`.
"""

from collections.abc import Collection, Iterator
from typing import Any

from django.core.checks import CheckMessage, Warning  # noqa: A004 - Django's name for it
from django.db import DatabaseError, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from reliable_email.backends.routes import MailerKind, all_mailers
from reliable_email.store.questions.filters import outbox_database

_FULL = 2  # PRAGMA synchronous


def check_durability(*, databases: Collection[str] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """The outbox's databases among those that are asked about."""
    asked = outbox_databases().intersection(databases or ())
    return [message for alias in sorted(asked) for message in _examine(alias)]


def outbox_databases() -> set[str]:
    """Return the databases of the outboxes in MAILERS; wrongly configured ones are another check's."""
    found = set()
    for one in all_mailers().values():
        if one.kind is MailerKind.OUTBOX:
            named = one.options.get("database")
            alias = outbox_database(named if isinstance(named, str) and named else None)
            found.update({alias}.intersection(connections))
    return found


def _examine(alias: str) -> Iterator[CheckMessage]:
    connection = connections[alias]
    try:
        match connection.vendor:
            case "sqlite":
                yield from _examine_sqlite(connection)
            case "postgresql":
                if _told(connection, "SHOW synchronous_commit") == "off":
                    hint = "Set synchronous_commit = on for this database or role. A worker's own writes force it."
                    yield _may_lose(connection, "synchronous_commit is off", hint)
            case "mysql":
                level = _told(connection, "SELECT @@innodb_flush_log_at_trx_commit")
                if str(level) != "1":
                    hint = "Set innodb_flush_log_at_trx_commit = 1."
                    yield _may_lose(connection, f"innodb_flush_log_at_trx_commit is {level}", hint)
    except DatabaseError:
        return  # what is away is told by whoever asked for it


def _examine_sqlite(connection: BaseDatabaseWrapper) -> Iterator[CheckMessage]:
    if int(_told(connection, "PRAGMA synchronous")) < _FULL:
        hint = 'Put "PRAGMA synchronous=FULL;" into OPTIONS["init_command"].'
        yield _may_lose(connection, "synchronous is below FULL", hint)
    wishes = []
    if getattr(connection, "transaction_mode", None) not in ("IMMEDIATE", "EXCLUSIVE"):
        wishes.append('"transaction_mode": "IMMEDIATE"')
    if str(_told(connection, "PRAGMA journal_mode")).lower() not in ("wal", "memory"):
        wishes.append('"init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"')
    if wishes:
        yield Warning(
            f"The outbox is in the SQLite database {connection.alias!r}, where a request and a worker can get in each "
            f"other's way (“database is locked”).",
            hint=f"Add to its OPTIONS: {', '.join(wishes)}.",
            id="reliable_email.W007",
        )


def _may_lose(connection: BaseDatabaseWrapper, why: str, hint: str) -> CheckMessage:
    return Warning(
        f"The outbox is in the database {connection.alias!r}, where {why}: what was committed shortly before its "
        f"machine crashes may be gone, and so a message may be lost, or sent twice.",
        hint=hint,
        id="reliable_email.W008",
    )


def _told(connection: BaseDatabaseWrapper, sql: str) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchone()[0]
