"""One step of a queue, in a process of its own: `python -m bench.speed.site STEP [COUNT]`; prints its cost as JSON."""

import json
import os
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

warnings.simplefilter("ignore")
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "bench.speed.settings")

import django  # noqa: E402

django.setup()

from django.core import mail  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import connection  # noqa: E402

from bench.speed import sample  # noqa: E402

QUEUE = os.environ["SPEED_QUEUE"]
_AT_ONCE = 5000
_TABLES = {
    "reliable_email": [f"reliable_email_{name}" for name in ("attempt", "outboxrecipient", "outboxmessage", "tally")],
    "post_office": ["post_office_log", "post_office_email"],
    "mailer": ["mailer_message", "mailer_messagelog"],
}


def migrate() -> None:
    """Make the tables."""
    call_command("migrate", verbosity=0)


def clear() -> None:
    """Empty the queue."""
    with connection.cursor() as cursor:
        for table in _TABLES.get(QUEUE, []):
            cursor.execute(f"TRUNCATE {table} CASCADE" if connection.vendor == "postgresql" else f"DELETE FROM {table}")
    if QUEUE == "mailer":  # a drain that was cut leaves its lock behind
        for lock in Path(os.environ["SPEED_FOLDER"]).glob("mailer*"):
            lock.unlink()
    if QUEUE == "celery":
        from bench.speed.celery_app import app

        app.control.purge()


def settle_down() -> None:
    """What autovacuum does for a table that has grown, at a moment that is no part of a measurement."""
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


def enqueue(count: int) -> dict[str, float]:
    """One message at a time, in autocommit; the median of a call."""
    messages = [sample.message(number) for number in range(count)]
    messages[0].send()
    seconds = []
    for message in messages[1:]:
        started = time.perf_counter()
        message.send()
        seconds.append(time.perf_counter() - started)
    return {"p50": statistics.median(seconds)}


def fill(count: int) -> dict[str, float]:
    """As many as that by the queue's own way to queue many; how long that takes, the making of messages included.

    The first goes before the clock starts: a site has its code loaded.
    """
    _FILL[QUEUE](range(1))
    seconds = 0.0
    for begin in range(1, count, _AT_ONCE):
        numbers = range(begin, min(count, begin + _AT_ONCE))
        started = time.perf_counter()
        _FILL[QUEUE](numbers)
        seconds += time.perf_counter() - started
    return {"seconds": seconds}


def _fill_by_door(numbers: range) -> None:
    mailer: Any = mail.mailers.default if django.VERSION >= (6, 1) else mail.get_connection()
    mailer.send_messages([sample.message(number) for number in numbers])


def _fill_post_office(numbers: range) -> None:
    from post_office.mail import send_many

    wanted = []
    for number in numbers:
        message = sample.message(number)
        (html, _), *_ = message.alternatives
        wanted.append(
            {
                "recipients": message.to,
                "sender": message.from_email,
                "subject": message.subject,
                "message": message.body,
                "html_message": html,
            }
        )
    send_many(wanted)


def _fill_celery(numbers: range) -> None:
    from bench.speed.celery_app import send

    for number in numbers:
        send.delay(number)


_FILL: dict[str, Callable[[range], None]] = {
    "reliable_email": _fill_by_door,
    "mailer": _fill_by_door,
    "post_office": _fill_post_office,
    "celery": _fill_celery,
}
STEPS: dict[str, Callable[..., Any]] = {step.__name__: step for step in (migrate, clear, settle_down, enqueue, fill)}

if __name__ == "__main__":
    print(json.dumps(STEPS[sys.argv[1]](*map(int, sys.argv[2:]))))
