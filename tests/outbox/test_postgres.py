"""Several statements in one round trip to PostgreSQL: all of it is written, exactly as it was given, or nothing is."""

import selectors
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from django.db import DataError, IntegrityError, ProgrammingError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reliable_email.outbox.intake.enqueue import QueueOptions, enqueue
from reliable_email.outbox.rows.journal import events
from reliable_email.outbox.rows.pipeline import Batches, Reading, Step
from reliable_email.outbox.rows.sql import Tables
from reliable_email.outbox.upkeep.reconnect import drop
from reliable_email.store.tables.messages import OutboxMessage
from tests.outbox.desk import submission

FIRST = "SET LOCAL synchronous_commit = on"
PLACE = "INSERT INTO sent (place) VALUES (%s)"
WORD = "INSERT INTO sent (word) VALUES (%s)"
MANY = 70  # more statements than are kept prepared


@pytest.fixture
def connection(using: str) -> Iterator[BaseDatabaseWrapper]:
    """A connection of the test's own, and a table of every type that is sent."""
    if not Tables(using).takes_arrays:
        pytest.skip("only PostgreSQL, by psycopg 3, takes several statements at once")
    own = connections.create_connection(using)
    try:
        execute(
            own,
            "CREATE TABLE sent (place bigint UNIQUE, word text, number bigint, ratio double precision, "
            "raw bytea, words text[], numbers bigint[], ratios double precision[], raws bytea[])",
        )
        yield own
        execute(own, "DROP TABLE sent")
    finally:
        own.close()


def execute(connection: BaseDatabaseWrapper, sql: str) -> None:
    """By the connection itself."""
    with connection.cursor() as cursor:
        cursor.execute(sql)


def found(connection: BaseDatabaseWrapper, sql: str) -> list[tuple[Any, ...]]:
    """What a query says."""
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return list(cursor.fetchall())


def places(connection: BaseDatabaseWrapper) -> list[int]:
    """What is in the table."""
    return [place for (place,) in found(connection, "SELECT place FROM sent WHERE place IS NOT NULL ORDER BY place")]


def prepared(connection: BaseDatabaseWrapper) -> list[str]:
    """The statements that the server keeps for the connection."""
    return [text for (text,) in found(connection, "SELECT statement FROM pg_prepared_statements ORDER BY prepare_time")]


def send(batches: Batches, *steps: Step, readings: list[bool] | None = None) -> list[Any]:
    """Send, and wait; `readings` gets for each wait whether it was for room to write, too."""
    sending = batches.send(FIRST, steps)
    while True:
        try:
            reading: Reading = next(sending)
        except StopIteration as end:
            return list(end.value)
        if readings is not None:
            readings.append(reading.for_write)
        with selectors.DefaultSelector() as selector:
            selector.register(reading.handle, events(reading))
            selector.select()


def _plain(value: Any) -> Any:
    """Bytes for memoryviews."""
    if isinstance(value, list | tuple):
        return type(value)(map(_plain, value))
    return bytes(value) if isinstance(value, memoryview) else value


both_ways = pytest.mark.parametrize("prepares", [True, False], ids=["prepared", "plain"])


# Values.

_TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])) | st.text(
    st.sampled_from("'\"\\{},%;$ \n\té😀NUL1")
)
_NUMBERS = st.integers(-(2**63), 2**63 - 1)
_RATIOS = st.floats()
_BYTES = st.binary(max_size=20)


def _or_none(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | values


@both_ways
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    row=st.tuples(
        *(_or_none(values) for values in (_TEXTS, _NUMBERS, _RATIOS, _BYTES)),
        *(_or_none(st.lists(_or_none(values), max_size=5)) for values in (_TEXTS, _NUMBERS, _RATIOS, _BYTES)),
    )
)
def test_values_arrive_as_they_were_sent(
    connection: BaseDatabaseWrapper, prepares: bool, row: tuple[object, ...]
) -> None:
    """Text, whole numbers, fractions, bytes, nothing, and lists of them."""
    execute(connection, "DELETE FROM sent")
    columns = "word, number, ratio, raw, words, numbers, ratios, raws"
    batches = Batches(connection, prepares=prepares)
    insert = Step(f"INSERT INTO sent ({columns}) VALUES (%s, %s, %s, %s, %s, %s, %s, %s)", row)
    send(batches, insert)
    [stored] = found(connection, f"SELECT {columns} FROM sent")
    assert repr(_plain(stored)) == repr(row)  # NaN is not equal to itself
    execute(connection, "DEALLOCATE ALL")


@both_ways
@pytest.mark.parametrize("value", ["a\0b", ["a", "b\0"]])
def test_a_nul_is_refused_and_nothing_is_written(
    connection: BaseDatabaseWrapper, prepares: bool, value: str | list[str]
) -> None:
    """PostgreSQL has no text with it; cut off there, what is written would not be what was given."""
    batches = Batches(connection, prepares=prepares)
    column = "word" if isinstance(value, str) else "words"
    with pytest.raises(DataError, match="NUL"):
        send(batches, Step(PLACE, [1]), Step(f"INSERT INTO sent ({column}) VALUES (%s)", [value]))
    assert places(connection) == []
    send(batches, Step(PLACE, [2]))
    assert places(connection) == [2]


@both_ways
def test_a_minus_before_a_negative_number_begins_no_comment(connection: BaseDatabaseWrapper, prepares: bool) -> None:
    """Whatever text a number stands in."""
    batches = Batches(connection, prepares=prepares)
    for _ in range(3):
        execute(connection, "DELETE FROM sent")
        send(batches, Step("INSERT INTO sent (place) VALUES (3 -%s)", [-1]))
        assert places(connection) == [4]


@both_ways
def test_a_percent_sign_is_written_twice(connection: BaseDatabaseWrapper, prepares: bool) -> None:
    """As for every driver; what stands behind it is no parameter, and those in values are left alone."""
    batches = Batches(connection, prepares=prepares)
    send(
        batches,
        Step("INSERT INTO sent (word) SELECT '1%%' || %s WHERE 'one' LIKE '%%n%%'", ["%%s"]),
        Step("INSERT INTO sent (word) VALUES ('2%%')"),
    )
    assert found(connection, "SELECT word FROM sent ORDER BY word") == [("1%%%s",), ("2%",)]


@both_ways
def test_a_percent_sign_before_an_s_is_no_parameter(connection: BaseDatabaseWrapper, prepares: bool) -> None:
    """It was written twice, and so it is one that is meant; a third one begins a parameter."""
    send(Batches(connection, prepares=prepares), Step("INSERT INTO sent (word) SELECT '%%s' || 7 %%%s", [4]))
    assert found(connection, "SELECT word FROM sent") == [("%s3",)]


@both_ways
def test_a_very_large_batch_gets_through(connection: BaseDatabaseWrapper, prepares: bool) -> None:
    """More than the kernel takes at once: the sender waits for room."""
    batches = Batches(connection, prepares=prepares)
    readings: list[bool] = []
    words = [letter * 4_000_000 for letter in "abcd"]
    for _ in range(20):  # a server that reads as fast as this writes leaves nothing to wait for
        send(batches, *(Step(WORD, [word]) for word in words), readings=readings)
        if any(readings):
            break
    assert any(readings)
    assert [word for (word,) in found(connection, "SELECT DISTINCT word FROM sent ORDER BY word")] == words


@both_ways
def test_each_step_says_what_it_did(connection: BaseDatabaseWrapper, prepares: bool) -> None:
    """The results are those of the steps, in their order."""
    many = Step("INSERT INTO sent (place) SELECT UNNEST(%s::bigint[]) RETURNING place", [[1, 2, 3]], returns_ids=True)
    batches = Batches(connection, prepares=prepares)
    one, other, none = send(batches, many, Step(PLACE, [4]), Step("DELETE FROM sent WHERE place = %s", [9]))
    assert [one.get_value(row, 0) for row in range(one.ntuples)] == [b"1", b"2", b"3"]
    assert [one.command_tuples, other.command_tuples, none.command_tuples] == [3, 1, 0]


# Failures.


@both_ways
@pytest.mark.parametrize(
    ("step", "error"),
    [
        (Step(PLACE, [1]), IntegrityError),
        (Step("INSERT INTO sent (number) VALUES (1 / %s)", [0]), DataError),
        (Step("INSERT INTO nowhere (place) VALUES (%s)", [1]), ProgrammingError),
    ],
    ids=["a row that is there", "a division by zero", "no such table"],
)
def test_a_failing_statement_leaves_nothing_written(
    connection: BaseDatabaseWrapper, prepares: bool, step: Step, error: type[Exception]
) -> None:
    """Neither what stands before it nor what stands behind it; and the connection goes on."""
    batches = Batches(connection, prepares=prepares)
    with pytest.raises(error):
        send(batches, Step(PLACE, [1]), step, Step(PLACE, [2]))
    assert places(connection) == []
    send(batches, Step(PLACE, [1]), Step(PLACE, [2]))
    assert places(connection) == [1, 2]


# What is prepared.


def test_a_statement_is_prepared_once(connection: BaseDatabaseWrapper) -> None:
    """However often it is sent; and it is used each time."""
    batches = Batches(connection, prepares=True)
    for place in range(4):
        send(batches, Step(PLACE, [2 * place]), Step(PLACE, [2 * place + 1]))
    assert places(connection) == list(range(8))
    assert prepared(connection) == [f"PREPARE {_name(connection)} AS INSERT INTO sent (place) VALUES ($1)"]
    assert found(connection, "SELECT generic_plans + custom_plans FROM pg_prepared_statements") == [(8,)]


def test_nothing_is_prepared_on_a_connection_that_others_use(connection: BaseDatabaseWrapper) -> None:
    """Nor where it is said not to."""
    send(Batches(connection, prepares=False), Step(PLACE, [1]))
    assert places(connection) == [1]
    assert prepared(connection) == []


def _name(connection: BaseDatabaseWrapper, text: str = "%") -> str:
    [(name,)] = found(connection, f"SELECT name FROM pg_prepared_statements WHERE statement LIKE '{text}'")
    return str(name)


def assert_none_is_prepared_from_now_on(connection: BaseDatabaseWrapper, batches: Batches) -> None:
    """Neither what was before, nor what is new."""
    execute(connection, "DEALLOCATE ALL")
    send(batches, Step(PLACE, [101]), Step("INSERT INTO sent (place) VALUES (%s + 1)", [101]))
    assert places(connection)[-2:] == [101, 102]
    assert prepared(connection) == []


@pytest.mark.parametrize("behind", ["DEALLOCATE ALL", "DISCARD ALL"])
def test_behind_a_pooler_what_was_prepared_may_be_gone(connection: BaseDatabaseWrapper, behind: str) -> None:
    """Everything is written once all the same, and from there on nothing is prepared."""
    batches = Batches(connection, prepares=True)
    for place in (0, 1):
        send(batches, Step(PLACE, [place]))
    assert len(prepared(connection)) == 1
    execute(connection, behind)
    send(batches, Step(PLACE, [2]), Step(PLACE, [3]))
    assert places(connection) == [0, 1, 2, 3]
    assert_none_is_prepared_from_now_on(connection, batches)


def test_behind_a_pooler_a_part_of_what_was_prepared_may_be_gone(connection: BaseDatabaseWrapper) -> None:
    """What stood before it in the batch is not written twice."""
    batches = Batches(connection, prepares=True)
    for place, word in enumerate(("none", "one")):
        send(batches, Step(PLACE, [place]), Step(WORD, [word]))
    execute(connection, f"DEALLOCATE {_name(connection, '%word%')}")
    send(batches, Step("INSERT INTO sent (number) VALUES (%s)", [2]), Step(WORD, ["two"]))
    rows = found(connection, "SELECT place, word, number FROM sent ORDER BY place, word, number")
    words = [(None, word, None) for word in ("none", "one", "two")]
    assert rows == [(0, None, None), (1, None, None), *words, (None, None, 2)]
    assert_none_is_prepared_from_now_on(connection, batches)


def test_behind_a_pooler_somebody_else_may_have_prepared_the_same(connection: BaseDatabaseWrapper) -> None:
    """Another worker has the same statements, and perhaps had the same server before."""
    before, batches = Batches(connection, prepares=True), Batches(connection, prepares=True)
    for place in (1, 2):
        send(before, Step(PLACE, [place]))
    for place in (3, 4):
        send(batches, Step(WORD, ["one"]), Step(PLACE, [place]))
    rows = found(connection, "SELECT place, word FROM sent ORDER BY place")
    assert rows == [(1, None), (2, None), (3, None), (4, None), (None, "one"), (None, "one")]
    assert_none_is_prepared_from_now_on(connection, batches)


def test_behind_a_pooler_what_is_to_be_given_up_may_be_gone(connection: BaseDatabaseWrapper) -> None:
    """There is too much of it, and nothing of it is there any more."""
    batches = Batches(connection, prepares=True)
    send_many(batches, MANY - 10)
    execute(connection, "DEALLOCATE ALL")
    for number in range(MANY - 10, MANY):
        send(batches, _different(number))
    assert places(connection) == list(range(MANY))


def test_a_new_connection_prepares_anew(connection: BaseDatabaseWrapper) -> None:
    """It knows nothing of what the old one had prepared."""
    batches = Batches(connection, prepares=True)
    for place in (1, 2):
        send(batches, Step(PLACE, [place]))
    drop(connection)
    send(batches, Step(PLACE, [3]))
    assert places(connection) == [1, 2, 3]
    assert len(prepared(connection)) == 1


def _different(number: int) -> Step:
    return Step(f"INSERT INTO sent (place) VALUES (%s + {number})", [0])


def send_many(batches: Batches, count: int, *others: Step) -> None:
    """So many statements that are all different, each behind the others."""
    for number in range(count):
        send(batches, *others, _different(number))


def test_more_statements_are_sent_than_are_kept_prepared(connection: BaseDatabaseWrapper) -> None:
    """Statements of single rows differ in their columns: there may be any number."""
    batches = Batches(connection, prepares=True)
    send_many(batches, MANY)
    assert prepared(connection) == []  # what comes once is not worth it
    execute(connection, "DELETE FROM sent")
    send_many(batches, MANY)
    assert places(connection) == list(range(MANY))
    assert 0 < len(prepared(connection)) < MANY


@pytest.mark.parametrize("common", [1, 2])
def test_what_a_batch_needs_is_kept_prepared_for_it(connection: BaseDatabaseWrapper, common: int) -> None:
    """Old statements give way in the middle of a batch, of which some are old themselves."""
    batches = Batches(connection, prepares=True)
    others = [Step(WORD, ["one"]), Step("INSERT INTO sent (number) VALUES (%s)", [1])][:common]
    send_many(batches, MANY, *others)
    assert found(connection, "SELECT count(place), count(word) + count(number) FROM sent") == [(MANY, MANY * common)]
    assert len(prepared(connection)) < MANY


def test_a_batch_may_have_more_statements_than_are_kept_prepared(connection: BaseDatabaseWrapper) -> None:
    """All of them are different."""
    batches = Batches(connection, prepares=True)
    for _ in range(2):
        execute(connection, "DELETE FROM sent")
        steps: Sequence[Step] = [_different(number) for number in range(MANY)]
        send(batches, *steps)
        assert places(connection) == list(range(MANY))


@pytest.fixture
def queue_of(using: str) -> Iterator[BaseDatabaseWrapper]:
    """The connection that queues; nothing is prepared on it, before or after."""
    connection = connections[using]
    connection.ensure_connection()
    if not hasattr(connection.connection, "prepare_threshold"):
        pytest.skip("only psycopg 3 prepares by itself")
    execute(connection, "DEALLOCATE ALL")
    yield connection
    connection.close()


def prepared_for(connection: BaseDatabaseWrapper, threshold: int | None) -> list[str]:
    """What the server keeps prepared after eight messages, whose words and lengths differ."""
    raw: Any = connection.connection
    raw.prepare_threshold = threshold
    for n in range(8):
        enqueue([submission("y" * (n + 1), to=[f"b{n}@example.net"])], QueueOptions(mailer="a", using=connection.alias))
    assert OutboxMessage.objects.using(connection.alias).count() == 8
    return [text for text in prepared(connection) if text.startswith("WITH message")]


def test_one_text_queues_every_message_so_that_the_driver_may_prepare_it(queue_of: BaseDatabaseWrapper) -> None:
    """Where `OPTIONS["prepare_threshold"]` allows it; Django's own cursors would make eight texts of eight messages."""
    (text,) = prepared_for(queue_of, 3)
    assert "@example.net" not in text


def test_nothing_is_prepared_where_nobody_asked_for_it(queue_of: BaseDatabaseWrapper) -> None:
    """A pooler in transaction mode would lose it."""
    assert prepared_for(queue_of, None) == []
