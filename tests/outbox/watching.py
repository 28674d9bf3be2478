"""Watch which thread of a worker executes which SQL, without changing anything that runs."""

import re
import sys
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from django.apps import apps
from django.db.backends import utils

from reliable_email.outbox.rows import pipeline

_DJANGO = str(Path(utils.__file__))
_PIPELINE = str(Path(pipeline.__file__))
_VERBS = re.compile(
    r"\b(INSERT INTO|UPDATE|DELETE FROM|FROM|JOIN|LISTEN|NOTIFY|pg_notify)\b\s*[\"`(]?(?:reliable_email_)?(\w*)",
    re.IGNORECASE,
)
_TABLES = {one._meta.model_name for one in apps.get_app_config("reliable_email").get_models()}
_OF_THREAD = re.compile(r"^reliable-email-|[-_ ]?\d+$")


class Statements:
    """What was executed, by the name of the thread: pairs of a verb and a table."""

    def __init__(self) -> None:
        self.seen: dict[str, set[tuple[str, str]]] = defaultdict(set)
        self.texts: dict[str, list[str]] = defaultdict(list)

    def note(self, thread: str, sql: str) -> None:
        """One text, which may hold several statements."""
        name = _OF_THREAD.sub("", thread)
        self.texts[name].append(sql)
        self.seen[name] |= pairs(sql)


def pairs(sql: str) -> set[tuple[str, str]]:
    """What a text does to which tables: written ones by their verbs, all others are read."""
    found = set()
    for verb, table in _VERBS.findall(sql):
        word = verb.upper().split()[0]
        if word in ("LISTEN", "NOTIFY", "PG_NOTIFY"):
            found.add(("notify" if word != "LISTEN" else "listen", ""))
        elif table in _TABLES:
            found.add(("select" if word in ("FROM", "JOIN") else word.lower(), table))
    return found


@contextmanager
def watched() -> Iterator[Statements]:
    """Watch every thread that is begun meanwhile."""
    seen = Statements()

    def look(frame: FrameType, event: str, argument: Any) -> None:
        if event != "call":
            return
        code = frame.f_code
        if code.co_filename == _DJANGO and code.co_name in ("_execute_with_wrappers",):
            seen.note(threading.current_thread().name, str(frame.f_locals["sql"]))
        elif code.co_filename == _PIPELINE and code.co_name == "_answered":
            sql = frame.f_locals["sql"]
            seen.note(threading.current_thread().name, sql.decode() if isinstance(sql, bytes) else str(sql))

    threading.setprofile(look)
    try:
        yield seen
    finally:
        threading.setprofile(None)
        sys.setprofile(None)
