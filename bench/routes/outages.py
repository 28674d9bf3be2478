"""Servers that are killed under load and come back."""

import time
from collections.abc import Sequence

from bench.routes.crew import empty, in_state, queue, scalar, until, workers
from tests.servers.ground import public_folder
from tests.servers.mail_server import MailServer

_MESSAGES = 2000
_SHORT_SECONDS = 10
_SOON_SECONDS = 20
"""A route is in use again so soon after a short outage."""
_LATER_SECONDS = 75
"""After a longer one: each failed probe doubles the delay, to a minute at most where mail waits."""


def main(servers: Sequence[type[MailServer]], outages: Sequence[float]) -> None:
    """Measure each server, away for so many seconds each time."""
    print("server                 away   openings   in use again   all accepted, unknown")
    for server_class in servers:
        missing = server_class.missing()
        if missing:
            print(f"{server_class.name:20}   left out: {missing}")
            continue
        for away in outages:
            measure(server_class, away)


def measure(server_class: type[MailServer], away: float) -> None:
    """Kill it in the middle of the queue, under eight connections."""
    empty()
    queue(_MESSAGES)
    with public_folder("re-routes-") as folder, workers() as crew:
        server = server_class(folder)
        try:
            server.start()
            crew.start("--connections", "8", ROUTES_PORT=str(server.port))
            until(lambda: in_state("accepted") >= _MESSAGES // 5, 60)
            server.kill()
            killed_at = time.monotonic()
            time.sleep(away)
            before = in_state("accepted")
            server.start()
            was_away = time.monotonic() - killed_at
            again = until(lambda: in_state("accepted") > before, 120)
            until(lambda: in_state("accepted") + in_state("unknown") >= _MESSAGES, 120)
            openings = scalar("SELECT count(*) FROM reliable_email_opening")
            allowed = _SOON_SECONDS if was_away < _SHORT_SECONDS else _LATER_SECONDS
            kept = openings == 1 and again <= allowed
            print(
                f"{server.name:20} {was_away:5.1f} s {openings:7}   {again:9.1f} s   "
                f"{in_state('accepted'):10} {in_state('unknown')}{'' if kept else '   MISSED'}",
                flush=True,
            )
        finally:
            server.kill()
