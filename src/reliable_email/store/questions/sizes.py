"""The size of the tables, from the database's own statistics: nothing is counted."""

from django.apps import apps
from django.db import connections
from django.db.utils import Error as DatabaseError

from reliable_email.store.questions.filters import outbox_database


def table_bytes(using: str | None = None) -> dict[str, int]:
    """Bytes with indexes by the table's name, the largest first; empty where the database does not say."""
    alias = outbox_database(using)
    connection = connections[alias]
    names = [model._meta.db_table for model in apps.get_app_config("reliable_email").get_models()]
    marks = ", ".join(["%s"] * len(names))
    match connection.vendor:
        case "postgresql":
            sql = (
                "SELECT c.relname, pg_total_relation_size(c.oid) FROM pg_class c "  # noqa: S608 - marks alone
                f"WHERE c.relkind IN ('r', 'p') AND pg_table_is_visible(c.oid) AND c.relname IN ({marks})"
            )
        case "mysql":
            sql = (
                "SELECT table_name, data_length + index_length FROM information_schema.tables "  # noqa: S608
                f"WHERE table_schema = DATABASE() AND table_name IN ({marks})"
            )
        case _:
            # An index counts for its table; many builds of SQLite leave this table of its own out.
            sql = (
                "SELECT m.tbl_name, SUM(s.pgsize) FROM dbstat s JOIN sqlite_master m ON m.name = s.name "  # noqa: S608
                f"WHERE m.tbl_name IN ({marks}) GROUP BY m.tbl_name"
            )
    try:
        with connection.cursor() as cursor:
            cursor.execute(sql, names)
            found = {str(name): int(size or 0) for name, size in cursor.fetchall()}
    except DatabaseError:
        return {}
    return dict(sorted(found.items(), key=lambda one: -one[1]))


def size_words(size: float) -> str:
    """Return a number of bytes for people, such as "12 KB"."""
    for unit in ("bytes", "KB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if size >= 10 or unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:,.1f} TB"
