"""A route's row that somebody holds for eight seconds, while another mailer's messages go on."""

import time

from django.db import connection, transaction

from bench.routes.crew import empty, in_state, queue, scalar, until, workers
from reliable_email.testing.server import ScriptedServer

_SECONDS = 8.0
_OTHERS = 40_000
_COUNTED = 3_000


def main() -> None:
    """Count the deliveries of the other lane while the row is free, while it is held, and of both lanes afterwards."""
    empty()
    queue(100)
    with ScriptedServer(keeps_content=False) as server, workers() as crew:
        crew.start(ROUTES_PORT=str(server.port), ROUTES_QUOTA="100000/day")
        until(lambda: in_state("accepted") == 100, 60)  # the route's row is there
        queue(_OTHERS, mailer="other")
        free = _during()
        queue(_COUNTED)
        with transaction.atomic():
            scalar("SELECT id FROM reliable_email_routestate WHERE alias = 'smtp' FOR UPDATE")
            counted = _accepted("smtp")
            held = _during()
            stood_still = _accepted("smtp") - counted
        seconds = until(lambda: _accepted("smtp") == _COUNTED + 100, 120)
        crew.stop()
        unknown = in_state("unknown")
    print(f"the other lane delivers in {_SECONDS:.0f} s: {free} while the route's row is free, {held} while it is held")
    print(f"the lane of the held row meanwhile: {stood_still}; all of it {seconds:.1f} s after the row was free")
    print(f"unknown: {unknown}")


def _during() -> int:
    """How many messages of the other lane are delivered in these seconds."""
    before = _accepted("other")
    time.sleep(_SECONDS)
    return _accepted("other") - before


def _accepted(mailer: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM reliable_email_outboxrecipient WHERE mailer = %s AND state = 'accepted'", [mailer]
        )
        return int(cursor.fetchone()[0])
