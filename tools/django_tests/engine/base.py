"""Django's SQLite; its tests forbid databases by replacing a method of a base class, which is kept here."""

from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.sqlite3 import base

_ensure_connection: Any = vars(BaseDatabaseWrapper)["ensure_connection"]


class DatabaseWrapper(base.DatabaseWrapper):
    """See the module."""

    ensure_connection = _ensure_connection
