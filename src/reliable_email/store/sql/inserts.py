"""INSERTs of many rows in one statement, in the vendors' own words, since the ORM's way costs more than the database.

Values are given as Python values, or as `Raw` for SQL such as the database's clock.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import islice
from typing import Any, TypeVar

from django.db import connections, models
from django.db.backends.base.base import BaseDatabaseWrapper

from reliable_email.records import record
from reliable_email.store.sql.clock import in_utc
from reliable_email.store.sql.texts import storable

T = TypeVar("T")

# SQLite allows 32,766 variables in a statement; the other limits are on bytes, hence so few rows.
MAX_ROWS = 500
MAX_VARIABLES = 30_000
FEW = 20  # rows for which one VALUES list is as quick
# Types that every driver takes.
AS_THEY_ARE = frozenset({bytes, int, float, bool, type(None)})
_column_types: dict[tuple[str, type[models.Model]], dict[str, str]] = {}
_heads: dict[tuple[str, type[models.Model], tuple[str, ...]], str] = {}


@record(frozen=True, slots=True)
class Raw:
    """SQL instead of a value; never anything that comes from outside."""

    sql: str


Value = str | bytes | int | float | bool | datetime | None | Raw | dict[str, Any] | list[Any]


def insert(
    using: str, model: type[models.Model], columns: Sequence[str], rows: Sequence[Sequence[Value]], *, ids: bool = False
) -> list[int]:
    """Insert rows in order, by as few statements as the database allows.

    Args:
        columns: names of columns; those left out get the database's NULL.
        ids: whether the new primary keys are wanted, in the rows' order.
    """
    found: list[int] = []
    size = max(1, min(MAX_ROWS, MAX_VARIABLES // max(len(columns), 1)))
    for chunk in batched(rows, size):
        found += _insert_chunk(connections[using], model, columns, chunk, ids=ids)
    return found


def _insert_chunk(
    connection: BaseDatabaseWrapper,
    model: type[models.Model],
    columns: Sequence[str],
    rows: Sequence[Sequence[Value]],
    *,
    ids: bool,
) -> list[int]:
    sql, parameters = insert_sql(connection, model, columns, rows)
    returns = ids and connection.features.can_return_rows_from_bulk_insert
    with connection.cursor() as cursor:
        if returns:
            cursor.execute(f"{sql} RETURNING {connection.ops.quote_name('id')}", parameters)
            return [row[0] for row in cursor.fetchall()]
        cursor.execute(sql, parameters)
        if not ids:
            return []
        # MySQL: one INSERT with a known number of rows gets consecutive numbers, of which this is the first
        # (InnoDB, "simple inserts", under every innodb_autoinc_lock_mode).
        first = cursor.lastrowid
        step = 1
        if len(rows) > 1:
            cursor.execute("SELECT @@auto_increment_increment", [])
            step = int(cursor.fetchone()[0])
        return [first + step * n for n in range(len(rows))]


def insert_sql(
    connection: BaseDatabaseWrapper,
    model: type[models.Model],
    columns: Sequence[str],
    rows: Sequence[Sequence[Value]],
    *,
    few: int = FEW,
) -> tuple[str, list[Any]]:
    """The statement and its parameters; by arrays from `few` rows on, where the database takes them."""
    if connection.vendor == "postgresql" and len(rows) >= few:
        arrays = _by_arrays(connection, model, columns, rows)
        if arrays is not None:
            return arrays
    parameters: list[Any] = []
    groups = []
    for row in rows:
        words = []
        for value in row:
            if type(value) is Raw:
                words.append(value.sql)
            elif value == "":  # of which there are many, and each parameter costs the driver something
                words.append("''")
            else:
                words.append("%s")
                parameters.append(value if type(value) in AS_THEY_ARE else adapted(connection, value))
        groups.append(", ".join(words))
    return f"{_head(connection, model, tuple(columns))} VALUES ({'), ('.join(groups)})", parameters


def _head(connection: BaseDatabaseWrapper, model: type[models.Model], columns: tuple[str, ...]) -> str:
    key = connection.vendor, model, columns
    found = _heads.get(key)
    if found is None:
        quote = connection.ops.quote_name
        names = ", ".join(quote(column) for column in columns)
        found = _heads[key] = f"INSERT INTO {quote(model._meta.db_table)} ({names})"
    return found


def _by_arrays(
    connection: BaseDatabaseWrapper, model: type[models.Model], columns: Sequence[str], rows: Sequence[Sequence[Value]]
) -> tuple[str, list[Any]] | None:
    """One array for each column that differs: PostgreSQL parses a few parameters instead of thousands.

    None where a column is SQL in some rows only.
    """
    quote = connection.ops.quote_name
    parameters: list[Any] = []
    words, arrays, names = [], [], []
    scalars: list[Any] = []
    for n, (column, values) in enumerate(zip(columns, zip(*rows, strict=True), strict=True)):
        first = values[0]
        # Most columns of new rows are alike. Dicts that Python calls equal ({"a": 1}, {"a": True}) are not, as JSON.
        if values.count(first) == len(values) and not isinstance(first, dict | list):
            if isinstance(first, Raw):
                words.append(first.sql)
            else:
                words.append(f"%s::{column_types(connection, model)[column]}")
                scalars.append(adapted(connection, first))
            continue
        if Raw in map(type, values):
            return None
        words.append(f"given.c{n}")
        names.append(f"c{n}")
        arrays.append(f"%s::{column_types(connection, model)[column]}[]")
        parameters.append(_array(connection, values))
    table, into = quote(model._meta.db_table), ", ".join(quote(column) for column in columns)
    given = f"UNNEST({', '.join(arrays)}) WITH ORDINALITY AS given({', '.join(names)}, place)"
    if not arrays:
        given = f"generate_series(1, {len(rows)}) AS given(place)"
    sql = f"INSERT INTO {table} ({into}) SELECT {', '.join(words)} FROM {given} ORDER BY place"  # noqa: S608 - names
    return sql, [*scalars, *parameters]


def _array(connection: BaseDatabaseWrapper, values: Sequence[Value]) -> Any:
    """The parameter for a column; integers as the text of an array, which the driver need not look into."""
    kinds = set(map(type, values))
    if kinds == {int}:
        return f"{{{','.join(map(str, values))}}}"
    return list(values) if kinds <= AS_THEY_ARE else [adapted(connection, value) for value in values]


def column_types(connection: BaseDatabaseWrapper, model: type[models.Model]) -> dict[str, str]:
    """The database's types of a table's columns, for casts; without a length, to which a cast would cut a value."""
    key = connection.vendor, model
    found = _column_types.get(key)
    if found is None:
        fields = model._meta.concrete_fields
        types = {str(field.column): str(field.db_type(connection)).partition("(")[0] for field in fields}
        found = _column_types[key] = types
    return found


def adapted(connection: BaseDatabaseWrapper, value: Any) -> Any:
    """A value as the driver wants it, and text as the database can hold it; dicts and lists are JSON."""
    if type(value) is str:
        return value if value.isascii() and "\0" not in value else storable(connection, value)
    if type(value) in AS_THEY_ARE:
        return value
    if isinstance(value, dict | list):
        return json.dumps(value)
    if isinstance(value, datetime):
        return connection.ops.adapt_datetimefield_value(in_utc(connection, value))
    return value


def batched(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of at most `size`."""
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk
