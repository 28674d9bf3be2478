"""Many rows at once on PostgreSQL, by COPY: it parses no statement and escapes no value, where INSERT does both."""

from collections.abc import Sequence
from typing import Any

from django.db import connections, models
from django.db.backends.base.base import BaseDatabaseWrapper

from reliable_email.store.sql.inserts import AS_THEY_ARE, Raw, Value, adapted

ENOUGH = 20  # rows from which on its three statements are quicker than one INSERT


def can_copy(connection: BaseDatabaseWrapper) -> bool:
    """Return whether this connection's driver has it in the form that is used here."""
    if connection.vendor != "postgresql":
        return False
    from django.db.backends.postgresql.psycopg_any import is_psycopg3

    return bool(is_psycopg3)


def reserve_ids(using: str, model: type[models.Model], count: int) -> list[int]:
    """Return `count` new primary keys from the table's sequence."""
    connection = connections[using]
    sequence = f"pg_get_serial_sequence('{connection.ops.quote_name(model._meta.db_table)}', 'id')"
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT nextval({sequence}) FROM generate_series(1, %s)", [count])  # noqa: S608 - a name
        return [row[0] for row in cursor.fetchall()]


def copy(using: str, model: type[models.Model], columns: Sequence[str], rows: Sequence[Sequence[Value]]) -> None:
    """Append rows; call it inside a transaction. What is `Raw` is computed once, by the database, for all of them."""
    connection = connections[using]
    quote = connection.ops.quote_name
    known = _computed(connection, rows)
    into = f"{quote(model._meta.db_table)} ({', '.join(quote(column) for column in columns)})"
    with (
        connection.cursor() as cursor,
        connection.wrap_database_errors,
        cursor.copy(f"COPY {into} FROM STDIN") as into_it,
    ):
        for row in rows:
            into_it.write_row(
                [
                    one
                    if type(one) in AS_THEY_ARE
                    else known[one.sql]
                    if type(one) is Raw
                    else adapted(connection, one)
                    for one in row
                ]
            )


def _value(connection: BaseDatabaseWrapper, value: Value, known: dict[str, Any]) -> Any:
    if type(value) in AS_THEY_ARE:
        return value
    return known[value.sql] if isinstance(value, Raw) else adapted(connection, value)


def _computed(connection: BaseDatabaseWrapper, rows: Sequence[Sequence[Value]]) -> dict[str, Any]:
    words = sorted({value.sql for row in rows for value in row if type(value) is Raw})
    if not words:
        return {}
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {', '.join(words)}")
        return dict(zip(words, cursor.fetchone(), strict=True))
