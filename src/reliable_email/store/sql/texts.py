"""Text as a database can hold it: what a column has no room for is escaped, so that it never blocks what it is about.

What servers, providers and people say may hold NUL, half characters, and letters that the database's encoding does not
have (an emoji in MySQL's utf8mb3, a Polish letter in LATIN1). An outcome must not be lost for its evidence's sake.
"""

import codecs
import re
from functools import lru_cache
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from reliable_email.process_state import remember

_UTF8 = "utf-8"
_UTF8_OF_THREE = "utf8mb3"
_SQL_ASCII = "sql_ascii"
_POSTGRES_LATIN = {5: 9, 6: 10, 7: 13, 8: 14, 9: 15, 10: 16}  # LATIN5 is ISO 8859-9
_encodings: dict[tuple[str, str], tuple[str, ...]] = {}


def storable(connection: BaseDatabaseWrapper, text: str, length: int | None = None) -> str:
    r"""The text, what this database cannot hold as `\x00`, `\u017c` or `\U0001f600`, cut to so many characters."""
    if not text.isascii() or "\0" in text:
        text = escaped(text, encodings(connection))
    return text if length is None else text[:length]


def storable_json(connection: BaseDatabaseWrapper, value: Any) -> Any:
    """The same for all text inside a value that becomes JSON."""
    if isinstance(value, str):
        if value.isascii() and "\0" not in value:
            return value
        names = encodings(connection)
        # There PostgreSQL takes any bytes as text, and cannot say what an escape in JSON would be.
        return escaped(value, ("ascii",) if _SQL_ASCII in names else names)
    if isinstance(value, dict):
        return {storable_json(connection, str(key)): storable_json(connection, one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [storable_json(connection, one) for one in value]
    return value


def holds(connection: BaseDatabaseWrapper, text: str) -> bool:
    """Return whether this database holds the text as it is."""
    return storable(connection, text) == text


def escaped(text: str, names: tuple[str, ...] = (_UTF8,)) -> str:
    """Return the text with characters escaped that one of these encodings lacks; NUL and surrogates always are."""
    if "\0" not in text and all(_takes(name, text) for name in names):
        return text
    return "".join(
        char if char != "\0" and all(_takes(name, char) for name in names) else _escape(char) for char in text
    )


def encodings(connection: BaseDatabaseWrapper) -> tuple[str, ...]:
    """The encodings that text passes on its way into this database, and in it; asked for once."""
    key = connection.alias, str(connection.settings_dict.get("NAME"))
    found = _encodings.get(key)
    if found is None:
        found = _encodings[key] = _asked_for(connection)
    return found


def reset() -> None:
    """Forget what databases have said of themselves."""
    _encodings.clear()


def _asked_for(connection: BaseDatabaseWrapper) -> tuple[str, ...]:
    match connection.vendor:
        case "postgresql":
            connection.ensure_connection()
            raw: Any = connection.connection
            info: Any = getattr(raw, "info", None)
            status = info.parameter_status if hasattr(info, "parameter_status") else raw.get_parameter_status
            return (_python_name(str(status("server_encoding") or "UTF8")),)
        case "mysql":
            sql = (
                "SELECT DISTINCT character_set_name FROM information_schema.columns WHERE table_schema = DATABASE() "
                "AND table_name LIKE 'reliable!_email!_%%' ESCAPE '!' AND character_set_name IS NOT NULL "
                "UNION SELECT @@character_set_client"
            )
            with connection.cursor() as cursor:
                cursor.execute(sql, [])
                return tuple(sorted({_python_name(str(row[0])) for row in cursor.fetchall()}))
        case _:
            return (_UTF8,)


@lru_cache(64)
def _python_name(name: str) -> str:
    """Python's name for what a database calls its encoding."""
    plain = name.lower()
    if plain == "sql_ascii":
        return _SQL_ASCII
    if plain in ("utf8", "utf8mb4", "unicode", "binary"):
        return _UTF8 if plain != "utf8" or name.isupper() else _UTF8_OF_THREE
    if plain in ("utf8mb3", "ucs2"):
        return _UTF8_OF_THREE
    if name == "latin1":  # MySQL's is Windows' code page
        return "cp1252"
    latin = re.fullmatch(r"LATIN(\d+)", name)
    if latin:
        number = int(latin[1])
        plain = f"iso8859-{_POSTGRES_LATIN.get(number, number)}"
    plain = re.sub(r"\Awin(?=\d)", "cp", plain)
    try:
        return codecs.lookup(plain).name
    except LookupError:
        return "ascii"


def _takes(name: str, text: str) -> bool:
    if name == _UTF8_OF_THREE:
        return max(text, default="") <= "\uffff" and _takes(_UTF8, text)
    try:
        text.encode(_UTF8 if name == _SQL_ASCII else name)
    except UnicodeEncodeError:
        return False
    return True


def _escape(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")


remember(__name__, reset=reset)
