"""The words that the outbox's SQL is made of: one connection's table names, clock and small differences."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper

from reliable_email.outbox.faultpoints import point
from reliable_email.store.clock import age_sql, now_sql
from reliable_email.store.inserts import column_types
from reliable_email.store.messages import OutboxMessage
from reliable_email.store.recipients import OutboxRecipient
from reliable_email.store.states import State

# The permission to send must survive the machine, whatever the session's setting is.
_DURABLE = "SET LOCAL synchronous_commit = on"
_NO_IDS: frozenset[int] = frozenset()


class Tables:
    """The outbox's tables as this thread's connection to one database sees them; for use in this thread alone."""

    __slots__ = ("connection", "using")

    def __init__(self, using: str) -> None:
        self.using = using
        # Django gives each thread its own, and takes a while to find it.
        self.connection: BaseDatabaseWrapper = connections[using]

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
    def skips_locked(self) -> bool:
        """Whether rows that another worker holds can be passed over; SQLite has one writer and no need."""
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

    def type_of(self, column: str) -> str:
        """The type of a column of the recipients' table."""
        return column_types(self.connection, OutboxRecipient)[column]

    def run(self, name: str, sql: str, parameters: Sequence[Any] = ()) -> int:
        """Execute; the number of rows that it changed."""
        with self._executed(name, sql, parameters) as cursor:
            return int(cursor.rowcount)

    def rows(self, name: str, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Execute; what it returns."""
        with self._executed(name, sql, parameters) as cursor:
            return list(cursor.fetchall())

    def run_together(self, name: str, steps: Sequence["Step"]) -> list["Changed"]:
        """Execute all in one durable transaction; what each has changed.

        On PostgreSQL that is one round trip: statements sent together are one transaction, without BEGIN and COMMIT.
        """
        point(f"{name}:begin")
        if self._sends_together:
            changed = self._sent_together(name, steps)
        else:
            with transaction.atomic(self.using, durable=True):
                if self.vendor == "postgresql":
                    self.run(name, _DURABLE)
                changed = [Changed(self.run(name, step.sql, step.parameters)) for step in steps]
                point(f"{name}:commit")
        point(f"{name}:end")
        return changed

    @property
    def takes_arrays(self) -> bool:
        """Whether one statement can change many rows, each in its own way, and say which ones it has changed."""
        return self._sends_together

    @property
    def _sends_together(self) -> bool:
        if self.vendor != "postgresql":
            return False
        from django.db.backends.postgresql.psycopg_any import is_psycopg3

        return bool(is_psycopg3) and not self.connection.settings_dict["OPTIONS"].get("server_side_binding")

    def _sent_together(self, name: str, steps: Sequence["Step"]) -> list["Changed"]:
        connection = self.connection
        if connection.in_atomic_block:
            raise RuntimeError("the outbox commits by itself; it cannot run inside a transaction")
        parameters = [value for step in steps for value in step.parameters]
        changed = []
        with connection.cursor() as cursor:
            point(f"{name}:commit")
            cursor.execute("; ".join([_DURABLE, *(step.sql for step in steps)]), parameters)
            # All answers are here: what reads them needs none of Django's wrapping.
            answers = cursor.cursor
            for step in steps:
                answers.nextset()
                ids = frozenset(row[0] for row in answers.fetchall()) if step.returns_ids else _NO_IDS
                changed.append(Changed(answers.rowcount, ids))
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


@dataclass(frozen=True, slots=True)
class Step:
    """One statement among several; `returns_ids` where it says by RETURNING which rows it has changed."""

    sql: str
    parameters: Sequence[Any] = ()
    returns_ids: bool = False


@dataclass(frozen=True, slots=True)
class Changed:
    """How many rows a step has changed, and which ones where it says that."""

    count: int
    ids: frozenset[int] = _NO_IDS


def marks(values: Iterable[object]) -> str:
    """As many parameter marks as there are values."""
    return ", ".join("%s" for _ in values)


@cache
def is_one_of(states: tuple[str, ...], column: str = "state") -> str:
    """The condition that rows which are named by primary key are in one of these states.

    The states are this package's own words, so that no parameter is needed for them. IS TRUE keeps planners from the
    index on states: of rows in hand they expect none, and then read all of them, dead versions too, to find the one.
    """
    words = ", ".join(f"'{State(state).value}'" for state in states)
    return f"({column} IN ({words})) IS TRUE"
