"""The rows that a worker wants to claim next, by what it has in hand and what its routes may take."""

import threading
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence

from reliable_email.delivery.breaker import Permission, permission
from reliable_email.delivery.route import Route
from reliable_email.delivery.route_memory import RouteStateStore, writing_nothing
from reliable_email.outbox import wake
from reliable_email.outbox.rows.claim import Claim, Claimed, Wanted
from reliable_email.outbox.rows.domains import DomainCap
from reliable_email.outbox.rows.held import held_routes
from reliable_email.outbox.rows.lanes import LaneBook, Turn
from reliable_email.outbox.upkeep.standstill import Standstill
from reliable_email.outbox.upkeep.worker_options import WorkerOptions
from reliable_email.outbox.upkeep.worker_row import anything_in_hand
from reliable_email.outbox.worker.steps import Read, Steps


class Wants:
    """The conditions of the next claim. `wanted` asks the database, in the thread that calls it.

    Args:
        worker: its unique name.
        seen: the routes of the mailers that the worker has met.
        routes_of: the routes of a mailer.
    """

    def __init__(
        self,
        options: WorkerOptions,
        worker: str,
        *,
        seen: Mapping[str, Sequence[Route]],
        routes_of: Callable[[str], Sequence[Route]],
        store: RouteStateStore,
    ) -> None:
        self._options = options
        self._seen = seen
        self._store = store
        self._lock = threading.Lock()
        self._is_asking = False  # of the lines, which share a thread
        self._in_hand: Counter[str] = Counter()  # recipients by mailer
        self._domains = DomainCap(options.domain_connections, using=options.using, worker=worker)
        self._lanes = LaneBook(
            options.using, options.environment, poll_seconds=options.poll_seconds, only_mailers=options.only_mailers
        )
        self._standstill = Standstill(routes_of, store, self._in_hand.__getitem__)

    @property
    def stands_still(self) -> bool:
        """True if something is due, and none of it has a way now."""
        return self._standstill.is_complete

    def nothing_is_left(self) -> Steps[bool]:
        """Return whether no worker has claimed anything; no, without a question, while another line is asking.

        What is in hand may come back, and what the dead had is rescued. A sweep waits for its own and for the latter.
        """
        if self._is_asking:
            return False
        options = self._options
        if options.is_sweep and self._in_hand.total():
            return False
        using, environment, ids = options.using, options.environment, options.only_messages
        looking = Read(lambda: anything_in_hand(using, environment, ids, only_lost=options.is_sweep))
        self._is_asking = True
        try:
            yield looking
        finally:
            self._is_asking = False
        return not looking.result()

    def wanted(self) -> Wanted:
        """Lanes, mailers and routes that are closed, full or without quota now are passed over."""
        with writing_nothing():  # a route's row that somebody holds must not hold up who claims
            return self._wanted()

    def _wanted(self) -> Wanted:
        seen = dict(self._seen)
        closed_routes = {route.alias for routes in seen.values() for route in routes if not self._is_open(route)}
        return Wanted(
            environment=self._options.environment,
            turns=self._turns() if self._options.only_messages is None else None,
            noting=self._lanes,
            closed_mailers=[alias for alias, routes in seen.items() if routes and not _has_room(routes, closed_routes)],
            closed_routes=closed_routes,
            closed_domains=self._domains.look(),
            only_mailers=self._options.only_mailers,
            message_ids=self._options.only_messages,
            has_taken=self._has_taken,
        )

    def _has_taken(self, rows: Sequence[Claimed]) -> None:
        """Count them at once: the next line asks for what is left."""
        with self._lock:
            self._in_hand.update(row.mailer for row in rows)
        self._domains.look_again()

    def take(self, taken: Claim) -> Collection[int]:
        """A line begins with a claim; the ids of rows that are to be given back at once."""
        return self._domains.enter(taken)

    def leave(self, taken: Claim) -> bool:
        """Note the end of a claim; return whether rows that were passed over meanwhile may be claimed now."""
        with self._lock:
            self._in_hand.subtract(row.mailer for row in taken.rows)
        return self._domains.leave(taken)

    def _turns(self) -> list[Turn]:
        self._lanes.look(wake.generation())
        self._standstill.begin()
        turns = [Turn(lane, self._standstill.room_for(lane)) for lane in self._lanes.due()]
        self._standstill.end()
        return [turn for turn in turns if turn.limit != 0]

    def _is_open(self, route: Route) -> bool:
        return permission(self._store.read(route), now=self._store.now()) is not Permission.NO


def _has_room(routes: Sequence[Route], closed: Collection[str]) -> bool:
    """Return whether the first of them that is open has a connection left; its overflow does not go to the others."""
    first = next((route for route in routes if route.alias not in closed), None)
    return first is not None and not first.is_full() and not held_routes.holds(first.alias)
