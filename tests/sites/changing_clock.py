"""A worker of a site without USE_TZ, whose local time may change: `python -m tests.sites.changing_clock …`.

`VENDOR NAME PORT CONNECTIONS FINAL_REPLY_SECONDS`; it works until it is told to stop. As a module, the site's settings.
"""

import os
import signal
import sys
from typing import Any

from tests.settings import *  # noqa: F403

USE_TZ = False
TIME_ZONE = "Europe/Berlin"
ALIAS = "changing_clock"


def main(vendor: str, name: str, port: str, connections_count: str, final_reply_seconds: str) -> None:
    """Work until SIGTERM."""
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.sites.changing_clock"
    import django

    django.setup()
    from django.db import connections

    from reliable_email.backends.smtp import ReliableSMTPBackend
    from reliable_email.store.memory.route_state import DatabaseRouteStateStore
    from tests.outbox.conftest import database_settings
    from tests.outbox.desk import worker

    settings = connections.configure_settings({ALIAS: database_settings(vendor, name), "default": {}})
    connections.settings[ALIAS] = settings[ALIAS]
    route: Any = ReliableSMTPBackend(alias="route", host="127.0.0.1", port=int(port), use_tls=False).route()
    one = worker(
        ALIAS,
        route,
        store=DatabaseRouteStateStore(ALIAS),
        connections=int(connections_count),
        batch=1,
        lease_seconds=4.0,
        final_reply_seconds=float(final_reply_seconds),
        until_empty=False,
        listen=False,
    )
    signal.signal(signal.SIGTERM, lambda *_: one.stop())
    one.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
