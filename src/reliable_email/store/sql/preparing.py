"""A cursor whose statements the driver prepares, on sites whose database settings allow prepared statements.

Django's cursors write the values into the text, so that no two texts are the same and psycopg never prepares one, not
even where `OPTIONS["prepare_threshold"]` asks for it. A pooler in transaction mode may not keep prepared statements,
so nothing is prepared without that option.
"""

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper


def preparing_cursor(connection: BaseDatabaseWrapper) -> CursorWrapper:
    """Return a cursor as `connection.cursor()` does; its statements have one text whatever their values are."""
    cursor = connection.cursor()  # also where others choose the schema, as django-tenants does
    if getattr(connection.connection, "prepare_threshold", None) is not None:  # psycopg 3 has it
        from psycopg import Cursor

        cursor.cursor.close()
        cursor.cursor = Cursor(connection.connection)
    return cursor
