"""What a process pays for having the package: the CPU of its start, and of its first message, over Django's own."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator

from bench.speed import first
from bench.speed.rows import OURS, Row, Scale
from bench.speed.servers import Missing, sink

# Django as a small site has it, with two apps and mail; then the same with this package in INSTALLED_APPS.
_PROGRAM = """
import time, django
from django.conf import settings
settings.configure(SECRET_KEY="bench", USE_TZ=True,
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", {apps}],
    DATABASES={{"default": {{"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}}})
started = time.process_time()
django.setup()
import django.core.mail, django.core.mail.backends.smtp, django.http, django.urls
print(time.process_time() - started)
"""


def rows(scale: Scale) -> Iterator[Row]:
    """One row: milliseconds of CPU over Django's. Of each the least of several starts, the one least disturbed."""
    turns = [(_seconds(""), _seconds('"reliable_email"')) for _ in range(max(5, scale.turns * 3))]
    seconds = {"Django": min(one for one, _ in turns), OURS: min(one for _, one in turns)}
    yield Row(
        what="start of a web process, over Django's own",
        unit="ms",
        figures={OURS: (seconds[OURS] - seconds["Django"]) * 1000},
        more_is_better=False,
        at_most=30.0,
    )
    yield from _first_rows(scale)


_FIRST = {
    "send": ("first message of a process, sent directly: CPU", 25.0),
    "enqueue": ("first message of a process, queued: CPU", 25.0),
    "worker": ("start of a worker, empty queue: CPU", None),
}


def _first_rows(scale: Scale) -> Iterator[Row]:
    """The first message of a process, beside Django's; the least of several, and counts of what was imported."""
    with sink() as server, tempfile.TemporaryDirectory() as folder:
        _first("django", server.port, folder)  # makes the tables
        told = {step: [] for step in first.STEPS}
        for _ in range(max(5, scale.turns * 2)):
            for step, found in told.items():
                found.append(_first(step, server.port, folder))
    cpu = {step: min(one["cpu"] for one in found) * 1000 for step, found in told.items()}
    for step, (what, goal) in _FIRST.items():
        yield Row(
            what=what,
            unit="ms",
            figures={"Django's SMTP backend": cpu["django"], OURS: cpu[step]} if step == "send" else {OURS: cpu[step]},
            more_is_better=False,
            at_most=goal,
        )
        yield Row(
            what=f"{what.removesuffix(': CPU')}: modules imported (counted)",
            unit="",
            figures={OURS: told[step][0]["own"]},
            more_is_better=False,
        )


def _first(step: str, port: int, folder: str) -> dict[str, float]:
    command = [sys.executable, "-W", "ignore", "-m", "bench.speed.first", step, str(port), folder]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise Missing(f"the first message failed: {done.stderr[-500:]}")
    told: dict[str, float] = json.loads(done.stdout)
    return told


def _seconds(apps: str) -> float:
    program = _PROGRAM.format(apps=apps)
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    return float(done.stdout)
