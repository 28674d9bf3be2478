"""Several statements in one round trip to PostgreSQL, as one transaction, while others have the thread.

By libpq's asynchronous calls, which psycopg exposes. On a connection of the worker's own the statements are prepared:
those that come again are few, and planning them anew for each commit would cost the server much of the time.
Behind a pooler that lends a server to one transaction at a time a prepared statement may be gone; nothing is written
then, and from there on none is used.
"""

import hashlib
from collections.abc import Generator, Sequence
from functools import lru_cache
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from reliable_email.records import dataclass, record

_MAX_PREPARED = 64
_MAX_SEEN = 256
# Left to itself the server plans anew each time: it takes every array for ten rows, and those plans for dear ones.
# A plan that is kept may be from a time when the table was small enough to be read as a whole; rows in hand are always
# found by their primary keys.
_KEEP_PLANS = b"SET LOCAL plan_cache_mode = force_generic_plan; SET LOCAL enable_seqscan = off"


@dataclass(slots=True, eq=False)
class Reading:
    """The database works: go on when this file descriptor has something to read, or room where there is more to say."""

    handle: int
    for_write: bool = False


@record(frozen=True, slots=True)
class Step:
    """One statement among several; `returns_ids` where it says by RETURNING which rows it has changed."""

    sql: str
    parameters: Sequence[Any] = ()
    returns_ids: bool = False


class Batches:
    """The batches of statements on one connection.

    Args:
        prepares: whether statements are prepared.
    """

    def __init__(self, connection: BaseDatabaseWrapper, *, prepares: bool) -> None:
        self._connection = connection
        self._prepares = prepares
        self._raw: Any = None
        self._names: dict[str, str] = {}  # of what is prepared, by its text
        self._seen: set[str] = set()  # once; a text that never comes again is not worth preparing

    def send(self, first: str, steps: Sequence[Step]) -> Generator[Reading, None, list[Any]]:
        """Execute the statement `first` and the steps; libpq's results of the steps.

        Raises:
            django.db.Error: nothing of it is written, unless the connection was lost with the answer.
        """
        from psycopg.errors import DuplicatePreparedStatement, InvalidSqlStatementName

        connection = self._connection
        connection.ensure_connection()
        with connection.wrap_database_errors:
            raw = connection.connection.pgconn
            if raw is not self._raw:
                connection.cursor().close()  # django-tenants chooses the schema when it makes a cursor
                self._raw = raw
                self._names.clear()
            if self._prepares:
                try:
                    for step in steps:
                        yield from self._prepare(raw, step)
                    return (yield from self._sent(raw, first, steps))
                except (InvalidSqlStatementName, DuplicatePreparedStatement):
                    self._prepares = False
            return (yield from self._sent(raw, first, steps))

    def _prepare(self, raw: Any, step: Step) -> Generator[Reading, None, None]:
        """Prepare a statement in a message of its own, so that it exists whatever becomes of the transaction."""
        sql = step.sql
        if not step.parameters or sql in self._names or len(self._names) >= _MAX_PREPARED:
            return
        if sql not in self._seen:
            if len(self._seen) >= _MAX_SEEN:
                self._seen.clear()
            self._seen.add(sql)
            return
        parts = _parts(sql)
        text = parts[0] + "".join(f"${number}{part}" for number, part in enumerate(parts[1:], 1))
        name = f"reliable_email_{hashlib.sha256(text.encode()).hexdigest()[:16]}"
        yield from _answered(raw, f"PREPARE {name} AS {text}".encode())
        self._names[sql] = name

    def _sent(self, raw: Any, first: str, steps: Sequence[Step]) -> Generator[Reading, None, list[Any]]:
        from psycopg.pq import Escaping

        escape = Escaping(raw).escape_literal
        words = [first.encode(), *([_KEEP_PLANS] if self._prepares else [])]
        for step in steps:
            literals = [_literal(value, escape) for value in step.parameters]
            name = self._names.get(step.sql) if self._prepares else None
            if name is not None:
                words.append(f"EXECUTE {name}(".encode() + b", ".join(literals) + b")")
            else:
                parts = _parts(step.sql)
                pairs = zip(literals, parts[1:], strict=True)
                words.append(parts[0].encode() + b"".join(literal + part.encode() for literal, part in pairs))
        answers = yield from _answered(raw, b"; ".join(words))
        return answers[len(answers) - len(steps) :]


@lru_cache(256)  # texts of single rows differ
def _parts(sql: str) -> list[str]:
    """Return the SQL between the parameters."""
    return [part.replace("\0", "%") for part in sql.replace("%%", "\0").split("%s")]  # SQL has no NUL


def _answered(raw: Any, sql: bytes) -> Generator[Reading, None, list[Any]]:
    raw.send_query(sql)
    return (yield from _answers(raw))


def _answers(raw: Any) -> Generator[Reading, None, list[Any]]:
    """The results of what was sent; raises psycopg's errors."""
    from psycopg.errors import error_from_result
    from psycopg.pq import ExecStatus

    reading = Reading(raw.socket)
    while raw.flush():
        reading.for_write = True
        yield reading
        raw.consume_input()  # the server may have something to say before it reads on
    reading.for_write = False
    answers = []
    failed = None
    while True:
        while raw.is_busy():
            yield reading
            raw.consume_input()
        answer = raw.get_result()
        if answer is None:
            break
        answers.append(answer)
        if answer.status == ExecStatus.FATAL_ERROR:
            failed = answer
    if failed is not None:
        raise error_from_result(failed)
    return answers


def _literal(value: Any, escape: Any) -> bytes:
    """A value as SQL. What it is, PostgreSQL sees from where it stands."""
    if value is None:
        return b"NULL"
    if type(value) is int:
        return b"%d" % value if value >= 0 else b"(%d)" % value  # `1 -%s` with a bare -1 would begin a comment
    text = _text(value)
    if "\0" in text:
        from psycopg.errors import DataError

        raise DataError("PostgreSQL text fields cannot contain NUL (0x00) bytes")
    return bytes(escape(text.encode()))


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bytes | bytearray | memoryview):
        return f"\\x{bytes(value).hex()}"
    if isinstance(value, list | tuple):
        return _array(value)
    return repr(value) if isinstance(value, float) else str(value)


def _array(values: Sequence[Any]) -> str:
    kinds = set(map(type, values))
    if kinds == {str}:
        joined = '","'.join(values)
        if "\\" not in joined and joined.count('"') == 2 * (len(values) - 1):  # as almost always
            return f'{{"{joined}"}}'
    words = map(str if kinds == {int} else _element, values)
    return f"{{{','.join(words)}}}"


def _element(value: Any) -> str:
    """One of an array."""
    if value is None:
        return "NULL"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, bytes | bytearray | memoryview):
        return _element(_text(value))
    return _text(value)
