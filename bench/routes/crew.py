"""What the measurements share: queued messages, worker processes, empty tables."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.core.mail import EmailMessage
from django.db import connection

from reliable_email.delivery.content.building import build_submission
from reliable_email.delivery.submission import DeliveryOptions, Priority
from reliable_email.outbox.intake.enqueue import QueueOptions, enqueue

TABLES = ("outboxrecipient", "outboxmessage", "attempt", "routestate", "opening", "worker", "learnedlimit")


def empty() -> None:
    """Forget everything."""
    with connection.cursor() as cursor:
        names = ", ".join(f"reliable_email_{one}" for one in TABLES)
        cursor.execute(f"TRUNCATE {names} RESTART IDENTITY CASCADE")


def queue(count: int, *, priority: Priority = Priority.NORMAL, mailer: str = "smtp") -> None:
    """Queue so many small messages."""
    for start in range(0, count, 500):
        submissions = []
        for number in range(start, min(start + 500, count)):
            message = EmailMessage("Greetings", "Hello.", "site@example.org", [f"u{number}@example.com"])
            message.delivery_options = DeliveryOptions(priority=priority)  # type: ignore[attr-defined]
            submissions.append(build_submission(message))
        enqueue(submissions, QueueOptions(mailer=mailer, using="default"))


def scalar(sql: str) -> Any:
    """The only value of a query."""
    with connection.cursor() as cursor:
        cursor.execute(sql)
        row = cursor.fetchone()
        return row[0] if row else None


def in_state(state: str) -> int:
    """How many recipients are in a state."""
    return int(scalar(f"SELECT count(*) FROM reliable_email_outboxrecipient WHERE state = '{state}'"))


def until(is_so: Callable[[], bool], seconds: float) -> float:
    """Wait until something is so, at most so long; how long that took."""
    began = time.monotonic()
    while not is_so():
        if time.monotonic() - began > seconds:
            return float("inf")
        time.sleep(0.05)
    return time.monotonic() - began


class Workers:
    """Worker processes, and what they tell at their end."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._processes: list[subprocess.Popen[bytes]] = []
        self._files: list[Path] = []

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[bytes]:
        """Start one."""
        self._files.append(self._folder / f"worker{len(self._files)}.json")
        command = [sys.executable, "-W", "ignore", "-m", "bench.routes.worker", str(self._files[-1]), *arguments]
        self._processes.append(subprocess.Popen(command, env=os.environ | environment))
        return self._processes[-1]

    def stop(self) -> list[dict[str, Any]]:
        """Stop all; what each has told."""
        for one in self._processes:
            if one.poll() is None:
                one.send_signal(signal.SIGTERM)
        for one in self._processes:
            one.wait(60)
        return [json.loads(file.read_text()) for file in self._files if file.exists()]


@contextmanager
def workers() -> Iterator[Workers]:
    """Worker processes that are gone afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        crew = Workers(Path(folder))
        try:
            yield crew
        finally:
            crew.stop()
