"""What a web process pays for having the package installed: the CPU of its start, over Django's own."""

import subprocess
import sys
from collections.abc import Iterator

from bench.speed.rows import OURS, Row, Scale

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


def _seconds(apps: str) -> float:
    program = _PROGRAM.format(apps=apps)
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    return float(done.stdout)
