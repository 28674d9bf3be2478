"""A process of the first version, whose modules stand first on PYTHONPATH: `python -m bench.routes.earlier VERB`.

`migrate` makes that version's tables. `queue` queues a message each 20 milliseconds until it is told to stop, and
prints how many it has queued. `worker` delivers until it is told to stop.
"""

import os
import signal
import sys
import threading
from pathlib import Path

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "bench.routes.settings")
django.setup()

from django.core.mail import send_mail  # noqa: E402
from django.core.management import call_command  # noqa: E402

import reliable_email  # noqa: E402


def queue() -> int:
    """Queue until SIGTERM; how many."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda number, frame: stop.set())
    count = 0
    while not stop.wait(0.02):
        send_mail("Greetings", "Hello.", "site@example.org", [f"meanwhile{count}@example.com"])
        count += 1
    return count


if __name__ == "__main__":
    if os.environ["ROUTES_EARLIER"] not in str(Path(reliable_email.__file__)):
        raise SystemExit("These are not the modules of the earlier version.")
    if sys.argv[1] == "migrate":
        call_command("migrate", "reliable_email", verbosity=0)
    elif sys.argv[1] == "queue":
        print(queue())
    else:
        call_command("email_worker", verbosity=0)
