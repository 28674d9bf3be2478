"""`email_worker` with its statements counted: `python -m bench.routes.worker FILE ARGUMENTS`.

FILE gets, as JSON, the moments of its statements, and what it has logged as a warning or worse.
"""

import json
import logging
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "bench.routes.settings")
django.setup()

from django.core.management import call_command  # noqa: E402
from django.db.backends.base.base import BaseDatabaseWrapper  # noqa: E402
from django.db.backends.signals import connection_created  # noqa: E402

moments: list[float] = []
lines: list[str] = []


class Lines(logging.Handler):
    """Keeps what is logged."""

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it."""
        lines.append(record.getMessage())


def count(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
    """Count a statement; several that are sent together as so many."""
    moments.extend([time.time()] * (sql.count("; ") + 1))
    return execute(sql, params, many, context)


def watch(connection: BaseDatabaseWrapper, **others: object) -> None:
    """Count the statements of this connection."""
    if count not in connection.execute_wrappers:
        connection.execute_wrappers.append(count)


if __name__ == "__main__":
    connection_created.connect(watch)
    logging.getLogger("reliable_email").addHandler(Lines(logging.WARNING))
    try:
        call_command("email_worker", *sys.argv[2:], verbosity=0)
    finally:
        told = {"moments": moments, "lines": lines, "cpu": time.process_time()}
        Path(sys.argv[1]).write_text(json.dumps(told))
