"""What a database's error means, in the words that a log and a command have of it."""

import pytest
from django.db import DatabaseError, DataError, IntegrityError, InternalError, NotSupportedError, OperationalError

from reliable_email.store.sql.outages import is_of_a_table, is_outage, sentence


def stated(state: str, kind: type[DatabaseError] = OperationalError) -> DatabaseError:
    """An error of PostgreSQL's, as Django passes it on."""
    error, cause = kind("boom"), Exception()
    cause.sqlstate = state  # type: ignore[attr-defined]
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (stated("57P01"), "is away"),
        (stated("53300"), "locked or busy"),
        (stated("57014"), "locked or busy"),
        (stated("53100"), "no space left"),
        (stated("25006", InternalError), "is read-only"),
        (stated("26000"), "cannot be used now"),
        (stated("54001"), "cannot be used now"),
        (stated("0A000", NotSupportedError), "cannot be used now"),
        (OperationalError(1020, "Record has changed since last read"), "locked or busy"),
        (OperationalError(1226, "User has exceeded the 'max_user_connections' resource"), "locked or busy"),
        (OperationalError(1317, "Query execution was interrupted"), "locked or busy"),
        (OperationalError(1969, "Query execution was interrupted (max_statement_time exceeded)"), "locked or busy"),
        (OperationalError(3024, "maximum statement execution time exceeded"), "locked or busy"),
        (OperationalError(1030, "Got error 168 from storage engine"), "cannot be used now"),
        (OperationalError(1047, "WSREP has not yet prepared node for application use"), "is away"),
        (OperationalError("disk I/O error"), "cannot be used now"),
        (DatabaseError("file is not a database"), "cannot be used now"),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_the_sentence_says_what_is_wrong(error: DatabaseError, words: str) -> None:
    """And it is an outage: the same may succeed later."""
    assert words in sentence("default", error)
    assert is_outage(error)
    assert not is_of_a_table(error)


@pytest.mark.parametrize(
    ("error", "others_may_be_there"),
    [
        (OperationalError(1142, "SELECT command denied"), True),
        (stated("42501"), True),
        (stated("42P01"), True),
        (OperationalError(1045, "Access denied for user"), False),
        (OperationalError(1698, "Access denied for user"), False),
        (OperationalError(1044, "Access denied for user to database"), False),
        (stated("28P01"), False),
    ],
    ids=str,
)
def test_a_login_that_is_refused_is_no_matter_of_one_table(error: DatabaseError, others_may_be_there: bool) -> None:
    """It is told each time that it begins, and its end is told."""
    assert is_of_a_table(error) is others_may_be_there
    assert is_outage(error)


@pytest.mark.parametrize("error", [DataError("too long"), IntegrityError("a key"), OperationalError(1366, "a value")])
def test_a_value_or_a_row_is_no_outage(error: DatabaseError) -> None:
    """The same write would fail again."""
    assert not is_outage(error)


def test_what_a_database_says_is_one_line() -> None:
    """PostgreSQL shows the statement below its words; a log has one line for each record."""
    error = OperationalError('relation "a" does not exist\nLINE 1: SELECT\n  ^')
    assert "\n" not in sentence("default", error)
