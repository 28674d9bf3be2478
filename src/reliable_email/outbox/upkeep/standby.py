"""Probes of routes that carry no mail: connect, TLS and login, without a message.

So a failover never finds a dead route, and what a person has to mend is known before it is needed. All workers
together look at a route once in a while; which of them does is the route's state to say.
"""

import logging
from collections.abc import Iterable
from datetime import UTC, datetime

from reliable_email import classification
from reliable_email.delivery.policy import decide
from reliable_email.delivery.route import Route
from reliable_email.delivery.route_memory import RouteEvent, RouteStateStore
from reliable_email.smtp.deadline import Deadline

logger = logging.getLogger("reliable_email.outbox")


def probe_standby(routes: Iterable[Route], *, store: RouteStateStore, every_seconds: float) -> int:
    """Probe those routes whose turn it is; how many that were. Blocks for at most the routes' own timeouts."""
    count = 0
    for route in routes:
        if route.probe is None or not store.begin_standby_probe(route, every_seconds=every_seconds):
            continue
        count += 1
        opening = store.read(route).number
        wire = route.probe(Deadline(route.timeout))
        if wire is None:
            store.tell(route, RouteEvent(failure=None, opening=opening))
            continue
        now = datetime.fromtimestamp(store.now(), tz=UTC)
        failure = classification.classify(wire, provider=route.provider, now=now)
        logger.warning("Route %s failed its probe: %s, at %s", route.alias, failure.cause, wire.stage)
        store.tell(route, RouteEvent(failure=failure, effect=decide(failure).effect, opening=opening))
    return count
