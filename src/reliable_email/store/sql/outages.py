"""The meaning of a database's error: the database cannot be used now, or one row is to blame."""

from enum import Enum

from django.db.utils import DataError, IntegrityError, InterfaceError, OperationalError
from django.db.utils import Error as DatabaseError


class Trouble(Enum):
    """The reason why a database cannot be used now; the value is a sentence for people."""

    AWAY = "The database {using!r} is away"
    READ_ONLY = "The database {using!r} is read-only"
    BUSY = "The database {using!r} is locked or busy"
    NOT_MIGRATED = "The database {using!r} has no such table or column; run `manage.py migrate`"
    NOT_ALLOWED = "The database {using!r} denies its user the access that the outbox needs"
    FULL = "The database {using!r} has no space left"
    BROKEN = "The database {using!r} cannot be used now"


# By SQLSTATE, the longest prefix first.
_BY_STATE = {
    "25006": Trouble.READ_ONLY,
    "26": Trouble.BROKEN,
    "28": Trouble.NOT_ALLOWED,
    "3D000": Trouble.AWAY,
    "3F000": Trouble.NOT_MIGRATED,
    "40": Trouble.BUSY,
    "42501": Trouble.NOT_ALLOWED,
    "42P01": Trouble.NOT_MIGRATED,
    "42703": Trouble.NOT_MIGRATED,
    "53100": Trouble.FULL,
    "53": Trouble.BUSY,
    "54": Trouble.BROKEN,
    "55": Trouble.BUSY,
    "57014": Trouble.BUSY,
    "57": Trouble.AWAY,
    "58": Trouble.BROKEN,
    "08": Trouble.AWAY,
    "XX": Trouble.BROKEN,
}
# MySQL and MariaDB, by number.
_BY_NUMBER = {
    **dict.fromkeys((1290, 1792, 1836, 3989), Trouble.READ_ONLY),
    **dict.fromkeys((1020, 1040, 1203, 1205, 1213, 1226, 1317, 1969, 3024, 3572), Trouble.BUSY),
    **dict.fromkeys((1054, 1146), Trouble.NOT_MIGRATED),
    **dict.fromkeys((1044, 1045, 1142, 1143, 1227, 1370, 1698), Trouble.NOT_ALLOWED),
    **dict.fromkeys((1021, 1041, 1114), Trouble.FULL),
    **dict.fromkeys((1015, 1030, 1034, 1194, 1195), Trouble.BROKEN),
    **dict.fromkeys((1049, 1053, 1077, 1079, 1080, 1152, 1158, 1159, 1160, 1161, 1184, 1927), Trouble.AWAY),
    **dict.fromkeys((2000, 2002, 2003, 2005, 2006, 2012, 2013, 2014, 2026, 2055, 4031), Trouble.AWAY),
}
_OF_A_LOGIN = frozenset((1044, 1045, 1698))
# What mysqlclient raises as an OperationalError although a value is to blame.
_OF_A_VALUE = frozenset((1153, 1264, 1265, 1267, 1292, 1366, 1406, 1690, 3854, 3988))
# SQLite has no numbers before Python 3.11's `sqlite_errorname`, and its words are stable.
_BY_WORDS = (
    ("readonly", Trouble.READ_ONLY),
    ("locked", Trouble.BUSY),
    ("no such table", Trouble.NOT_MIGRATED),
    ("no such column", Trouble.NOT_MIGRATED),
    ("has no column", Trouble.NOT_MIGRATED),
    ("is full", Trouble.FULL),
    ("unable to open", Trouble.AWAY),
    ("disk i/o error", Trouble.BROKEN),
)


def trouble_of(error: BaseException) -> Trouble | None:
    """Return the reason why the database cannot be used now; None if the error means something else.

    A value that does not fit, or a row that breaks a rule, fails alone: the same write would fail again later.
    """
    if not isinstance(error, DatabaseError):
        return None
    number = _number(error)
    if number in _OF_A_VALUE:
        return None
    state = _state(error)
    if state is not None:
        for length in (5, 2):
            found = _BY_STATE.get(state[:length])
            if found is not None:
                return found
    if isinstance(error, DataError | IntegrityError):
        return None
    if number in _BY_NUMBER:
        return _BY_NUMBER[number]
    words = str(error).lower()
    for part, found in _BY_WORDS:
        if part in words:
            return found
    return Trouble.AWAY if isinstance(error, OperationalError | InterfaceError) else Trouble.BROKEN


def is_of_a_table(error: BaseException) -> bool:
    """Return whether some table, column or right is missing, and the others may be there."""
    is_login = _number(error) in _OF_A_LOGIN or (_state(error) or "").startswith("28")
    return trouble_of(error) in (Trouble.NOT_MIGRATED, Trouble.NOT_ALLOWED) and not is_login


def is_outage(error: BaseException) -> bool:
    """Return whether the database cannot be used now, so that the same may succeed later, on a new connection."""
    return trouble_of(error) is not None


def is_deadlock(error: BaseException) -> bool:
    """Return whether the database rolled back a transaction to resolve a deadlock, so a retry may succeed at once."""
    return _state(error) in ("40001", "40P01") or _number(error) in (1020, 1213)


def trouble(using: str, error: BaseException) -> str:
    """Describe what is wrong with the database in a few words."""
    return (trouble_of(error) or Trouble.BROKEN).value.format(using=using)


def sentence(using: str, error: BaseException) -> str:
    """The same, and what the database says, in one line."""
    words = said(error)
    return f"{trouble(using, error)}: {words}" if words else f"{trouble(using, error)}."


def said(error: BaseException) -> str:
    """Return what the database says, in one line: a log has one for each record."""
    return " ".join(str(error).split())


def _state(error: BaseException) -> str | None:
    """The SQLSTATE of PostgreSQL's own error, by psycopg 3 or 2."""
    cause = error.__cause__
    for name in ("sqlstate", "pgcode"):
        state = getattr(cause, name, None)
        if isinstance(state, str):
            return state
    return None


def _number(error: BaseException) -> int | None:
    """The number of an error of MySQL; other drivers have words there."""
    first = error.args[0] if error.args else None
    return first if isinstance(first, int) else None
