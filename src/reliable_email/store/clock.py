"""The database's clock, the only one that the outbox reads: the clocks of its workers may be minutes apart.

Offsets are in seconds and may be negative. On PostgreSQL the time of the statement is meant, not the one at which the
caller's transaction began; `clock_timestamp()` would be no better and keeps the planner from using an index. MySQL and
SQLite store what Django stores there: naive UTC, or naive local time where `USE_TZ` is off or the database has a
`TIME_ZONE` of its own.
"""

from datetime import datetime, timedelta, tzinfo
from typing import Any

from django.db import connections, models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.sql.compiler import SQLCompiler


class DatabaseNow(models.Func):
    """The current instant of the database, plus `offset_seconds`, as an expression for the ORM."""

    output_field = models.DateTimeField()

    def __init__(self, offset_seconds: float = 0.0) -> None:
        super().__init__()
        self.offset_seconds = offset_seconds

    def as_sql(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, *args: Any, **kwargs: Any
    ) -> tuple[str, tuple[str | int, ...]]:
        """The vendor's words for it."""
        return now_sql(connection, self.offset_seconds), ()


def now_sql(connection: BaseDatabaseWrapper, offset_seconds: float = 0.0) -> str:
    """SQL for the current instant plus an offset; free of parameters and of percent signs that a driver would read."""
    match connection.vendor:
        case "postgresql":
            base = "statement_timestamp()"
            return base if not offset_seconds else f"({base} + INTERVAL '{offset_seconds:.6f} seconds')"
        case "mysql":
            microseconds = round((offset_seconds + _local_offset_seconds(connection)) * 1_000_000)
            base = "UTC_TIMESTAMP(6)"
            return base if not microseconds else f"({base} + INTERVAL {microseconds} MICROSECOND)"
        case "sqlite":
            # SQLite has milliseconds; three digits are added so that text compares as Django's own six digits do.
            seconds = offset_seconds + _local_offset_seconds(connection)
            return f"(strftime('%%Y-%%m-%%d %%H:%%M:%%f', 'now', '{seconds:+.3f} seconds') || '000')"
        case vendor:
            raise NotImplementedError(f"the outbox does not support the database {vendor!r}")


def age_sql(connection: BaseDatabaseWrapper, column: str) -> str:
    """SQL for the seconds since `column`, as a float."""
    match connection.vendor:
        case "postgresql":
            return f"EXTRACT(EPOCH FROM ({now_sql(connection)} - {column}))"
        case "mysql":
            return f"(TIMESTAMPDIFF(MICROSECOND, {column}, {now_sql(connection)}) / 1000000)"
        case _:
            return f"((julianday({now_sql(connection)}) - julianday({column})) * 86400.0)"


def database_now(using: str) -> datetime:
    """The database's clock, as Django would read a column of it."""
    connection = connections[using]
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {now_sql(connection)}", [])
        value = cursor.fetchone()[0]
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    if value.tzinfo is None and connection.timezone is not None:
        value = value.replace(tzinfo=connection.timezone)
    return value  # type: ignore[no-any-return]


def _local_offset_seconds(connection: BaseDatabaseWrapper) -> float:
    """How far the stored naive time is from UTC now; the process's clock only decides about daylight saving."""
    zone: tzinfo | None = connection.timezone
    if zone is None:
        from django.utils import timezone

        zone = timezone.get_default_timezone()
    return (datetime.now(zone).utcoffset() or timedelta()).total_seconds()
