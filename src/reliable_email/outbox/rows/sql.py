"""The words that the outbox's SQL is made of: one connection's table names, clock and small differences."""

from collections.abc import Collection, Generator, Iterable, Sequence
from functools import cache
from typing import Any

from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper

from reliable_email.outbox.faultpoints import point
from reliable_email.outbox.rows.pipeline import Batches, Reading, Step
from reliable_email.records import dataclass
from reliable_email.store.sql.clock import age_sql, now_sql
from reliable_email.store.sql.inserts import column_types
from reliable_email.store.tables.messages import OutboxMessage
from reliable_email.store.tables.recipients import OutboxRecipient
from reliable_email.store.tables.shared import RouteState, Suppression
from reliable_email.store.tables.states import State

# The permission to send must survive the machine, whatever the session's setting is.
_DURABLE = "SET LOCAL synchronous_commit = on"
_NO_IDS: frozenset[int] = frozenset()


class Tables:
    """The outbox's tables as one connection to a database sees them; for use in this thread alone.

    Args:
        connection: for these tables alone; this thread's own where none is given.
    """

    __slots__ = ("_batches", "_prepares", "connection", "takes_arrays", "using")

    def __init__(self, using: str, connection: BaseDatabaseWrapper | None = None) -> None:
        self.using = using
        # Django gives each thread its own, and takes a while to find it.
        self.connection: BaseDatabaseWrapper = connection or connections[using]
        self._prepares = connection is not None
        self._batches: Batches | None = None
        # Whether one statement can change many rows, each in its own way, and say which ones it has changed.
        self.takes_arrays: bool = _takes_arrays(self.connection)

    @property
    def vendor(self) -> str:
        """`postgresql`, `mysql` (MariaDB too) or `sqlite`."""
        return self.connection.vendor

    @property
    def recipient(self) -> str:
        """The quoted name of the recipients' table."""
        return self.connection.ops.quote_name(OutboxRecipient._meta.db_table)

    @property
    def message(self) -> str:
        """The quoted name of the messages' table."""
        return self.connection.ops.quote_name(OutboxMessage._meta.db_table)

    @property
    def suppression(self) -> str:
        """The quoted name of the suppression list's table."""
        return self.connection.ops.quote_name(Suppression._meta.db_table)

    @property
    def route_state(self) -> str:
        """The quoted name of the table of routes."""
        return self.connection.ops.quote_name(RouteState._meta.db_table)

    @property
    def skips_locked(self) -> bool:
        """True if rows that another worker holds can be passed over; SQLite has one writer and no need."""
        return self.vendor != "sqlite"

    def now(self, offset_seconds: float = 0.0) -> str:
        """SQL for the database's clock."""
        return now_sql(self.connection, offset_seconds)

    def age(self, column: str) -> str:
        """SQL for the seconds since an instant."""
        return age_sql(self.connection, column)

    def earlier(self, first: str, second: str) -> str:
        """SQL for the earlier of two instants."""
        return f"{'MIN' if self.vendor == 'sqlite' else 'LEAST'}({first}, {second})"

    def text_of_fields(self, key: str) -> str:
        """SQL for one text in a message's `fields`; NULL where there is none."""
        column = self.connection.ops.quote_name("fields")
        match self.vendor:
            case "postgresql":
                return f"{column} ->> '{key}'"
            case "mysql":
                return f"JSON_UNQUOTE(JSON_EXTRACT({column}, '$.{key}'))"
            case _:
                return f"JSON_EXTRACT({column}, '$.{key}')"

    def type_of(self, column: str) -> str:
        """The type of a column of the recipients' table."""
        return column_types(self.connection, OutboxRecipient)[column]

    def among(self, column: str, values: Collection[object]) -> tuple[str, list[Any]]:
        """The condition that a column has one of these values, and its parameters; one, where that can be an array."""
        if self.vendor == "postgresql":
            return f"{column} = ANY(%s)", [list(values)]
        return (f"{column} IN ({marks(values)})", list(values)) if values else ("1 = 0", [])

    def run(self, name: str, sql: str, parameters: Sequence[Any] = ()) -> int:
        """Execute; the number of rows that it changed."""
        with self._executed(name, sql, parameters) as cursor:
            return int(cursor.rowcount)

    def rows(self, name: str, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Execute; what it returns."""
        with self._executed(name, sql, parameters) as cursor:
            return list(cursor.fetchall())

    def run_together(self, name: str, steps: Sequence[Step]) -> Generator[Reading, None, list["Changed"]]:
        """Execute all in one durable transaction; what each has changed.

        On PostgreSQL that is one round trip: statements sent together are one transaction, without BEGIN and COMMIT.
        While the server works, others may have the thread, though not this connection.
        """
        point(f"{name}:begin")
        if self.takes_arrays:
            changed = yield from self._sent_together(name, steps)
        else:
            with transaction.atomic(self.using, durable=True):
                if self.vendor == "postgresql":
                    self.run(name, _DURABLE)
                changed = [Changed(self.run(name, step.sql, step.parameters)) for step in steps]
                point(f"{name}:commit")
        point(f"{name}:end")
        return changed

    def _sent_together(self, name: str, steps: Sequence[Step]) -> Generator[Reading, None, list["Changed"]]:
        connection = self.connection
        if connection.in_atomic_block:
            raise RuntimeError("the outbox commits by itself; it cannot run inside a transaction")
        if connection.execute_wrappers or connection.queries_logged:
            return self._executed_together(name, steps)
        point(f"{name}:commit")
        if self._batches is None:
            self._batches = Batches(self.connection, prepares=self._prepares)
        answers = yield from self._batches.send(_DURABLE, steps)
        changed = []
        for step, answer in zip(steps, answers, strict=True):
            rows = range(answer.ntuples) if step.returns_ids else ()
            ids = frozenset(int(answer.get_value(row, 0)) for row in rows)
            changed.append(Changed(answer.command_tuples or 0, ids))
        return changed

    def _executed_together(self, name: str, steps: Sequence[Step]) -> list["Changed"]:
        """The same, in sight of those who watch what is executed."""
        sql = "; ".join([_DURABLE, *(step.sql for step in steps)])
        parameters = [value for step in steps for value in step.parameters]
        changed = []
        with self.connection.cursor() as cursor:
            point(f"{name}:commit")
            cursor.execute(sql, parameters)
            for step in steps:
                cursor.nextset()
                ids = frozenset(row[0] for row in cursor.fetchall()) if step.returns_ids else _NO_IDS
                changed.append(Changed(cursor.rowcount, ids))
        return changed

    def _executed(self, name: str, sql: str, parameters: Sequence[Any]) -> CursorWrapper:
        point(name)
        cursor = self.connection.cursor()
        try:
            cursor.execute(sql, list(parameters))
        except BaseException:
            cursor.close()
            raise
        return cursor


def _takes_arrays(connection: BaseDatabaseWrapper) -> bool:
    if connection.vendor != "postgresql":
        return False
    from django.db.backends.postgresql.psycopg_any import is_psycopg3

    return bool(is_psycopg3) and not connection.settings_dict["OPTIONS"].get("server_side_binding")


@dataclass(frozen=True, slots=True)
class Changed:
    """The number of rows that a step changed, with their ids if the step returns them."""

    count: int
    ids: frozenset[int] = _NO_IDS


def marks(values: Iterable[object]) -> str:
    """Return one parameter mark for each value."""
    return ", ".join("%s" for _ in values)


@cache
def is_one_of(states: tuple[str, ...], column: str = "state") -> str:
    """The condition that rows which are named by primary key are in one of these states.

    The states are this package's own words, so that no parameter is needed for them. IS TRUE keeps planners from the
    index on states: of rows in hand they expect none, and then read all of them, dead versions too, to find the one.
    """
    words = ", ".join(f"'{State(state).value}'" for state in states)
    return f"({column} IN ({words})) IS TRUE"
