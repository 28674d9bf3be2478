"""The database's clock, the only one that the outbox reads: the clocks of its workers may be minutes apart.

Offsets are in seconds and may be negative. On PostgreSQL the time of the statement is meant, not the one at which the
caller's transaction began; `clock_timestamp()` would be no better and keeps the planner from using an index.

Instants are stored in UTC. MySQL and SQLite keep no time zone, and Django writes local time there where `USE_TZ` is off
or the database has a `TIME_ZONE` of its own: an hour would come twice in autumn, and leases would end early in spring.
`InstantField` translates, and everything above it sees what Django's own field would give.
"""

from datetime import UTC, datetime, tzinfo
from typing import Any

from django.db import connections, models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.sql.compiler import SQLCompiler


class InstantField(models.DateTimeField):  # type: ignore[type-arg]  # none at run time
    """A `DateTimeField` that is stored in UTC, also where Django stores local time; see the module."""

    def deconstruct(self) -> Any:
        """Describe the field as Django's own, so that there is nothing to migrate between the two."""
        name, _, arguments, keywords = super().deconstruct()
        return name, "django.db.models.DateTimeField", arguments, keywords

    def get_db_prep_value(self, value: Any, connection: BaseDatabaseWrapper, prepared: bool = False) -> Any:
        """Return the value for the database, in UTC."""
        if not prepared:
            value = self.get_prep_value(value)
        return connection.ops.adapt_datetimefield_value(in_utc(connection, value))

    def from_db_value(self, value: Any, expression: Any, connection: BaseDatabaseWrapper) -> Any:
        """Return the database's value as an aware time, or a naive one without USE_TZ."""
        return from_utc(connection, value) if isinstance(value, datetime) else value


def stores_local_time(connection: BaseDatabaseWrapper) -> bool:
    """Return whether Django stores local time in this database, without saying so."""
    return _stored_zone(connection) is not None


def in_utc(connection: BaseDatabaseWrapper, value: Any) -> Any:
    """An instant such that what Django stores of it is UTC."""
    if not isinstance(value, datetime):
        return value
    if value.tzinfo is not None and connection.vendor != "postgresql" and connection.timezone is None:
        return value.astimezone(UTC).replace(tzinfo=None)  # Django refuses an aware one where USE_TZ is off
    zone = _stored_zone(connection)
    if zone is None:
        return value
    if value.tzinfo is None:
        return value.replace(tzinfo=zone).astimezone(UTC).replace(tzinfo=None)
    # Django takes the time zone away, after it has gone over to the one of the connection.
    return value.astimezone(UTC).replace(tzinfo=zone)


def from_utc(connection: BaseDatabaseWrapper, value: datetime) -> datetime:
    """Return the time that `in_utc` stored and Django has read as local time."""
    zone = _stored_zone(connection)
    if zone is None:
        return value
    moment = value.replace(tzinfo=UTC).astimezone(zone)
    return moment if value.tzinfo is not None else moment.replace(tzinfo=None)


def _stored_zone(connection: BaseDatabaseWrapper) -> tzinfo | None:
    """The zone in which Django stores instants here without saying so; None where it is UTC, or said."""
    if connection.vendor == "postgresql":
        return None
    zone: tzinfo | None = connection.timezone
    if zone is None:
        from django.utils import timezone

        zone = timezone.get_default_timezone()
    return None if str(zone) == "UTC" else zone


class DatabaseNow(models.Func):
    """The current instant of the database, plus `offset_seconds`, as an expression for the ORM."""

    output_field = InstantField()

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
            microseconds = round(offset_seconds * 1_000_000)
            base = "UTC_TIMESTAMP(6)"
            return base if not microseconds else f"({base} + INTERVAL {microseconds} MICROSECOND)"
        case "sqlite":
            # SQLite has milliseconds; three digits are added so that text compares as Django's own six digits do.
            return f"(strftime('%%Y-%%m-%%d %%H:%%M:%%f', 'now', '{offset_seconds:+.3f} seconds') || '000')"
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
    return from_utc(connection, value)
