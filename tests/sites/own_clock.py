"""A worker, or a caller, in a process that may have a clock of its own: `python -m tests.sites.own_clock …`.

`worker VENDOR NAME PORT TRANSACTIONS` delivers by the server at PORT and ends after so many transactions;
`queue VENDOR NAME ADDRESS…` queues one message for each address.
"""

import os
import sys

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
django.setup()

from django.db import connections  # noqa: E402

from reliable_email.backends.smtp import ReliableSMTPBackend  # noqa: E402
from reliable_email.outbox.intake.enqueue import QueueOptions, enqueue  # noqa: E402
from reliable_email.store.memory.route_state import DatabaseRouteStateStore  # noqa: E402
from tests.outbox.conftest import database_settings  # noqa: E402
from tests.outbox.desk import submission, worker  # noqa: E402

ALIAS = "own_clock"


def main(step: str, vendor: str, name: str, *arguments: str) -> None:
    """One step."""
    settings = connections.configure_settings({ALIAS: database_settings(vendor, name), "default": {}})
    connections.settings[ALIAS] = settings[ALIAS]
    if step == "queue":
        messages = [submission(to=(address,)) for address in arguments]
        enqueue(messages, QueueOptions(mailer="routes", using=ALIAS))
        return
    port, transactions = map(int, arguments)
    route = ReliableSMTPBackend(
        alias="route", host="127.0.0.1", port=port, use_tls=False, final_reply_timeout=60
    ).route()
    worker(
        ALIAS,
        route,
        store=DatabaseRouteStateStore(ALIAS),
        batch=1,
        until_empty=False,
        max_transactions=transactions,
        listen=False,
    ).run()


if __name__ == "__main__":
    main(*sys.argv[1:])
