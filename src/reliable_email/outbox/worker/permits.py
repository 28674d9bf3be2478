"""Requests for the permission to send terminators, and for the quota that they need."""

from collections.abc import Callable, Sequence
from functools import partial

from reliable_email.delivery.route import Route
from reliable_email.delivery.route_memory import RouteStateStore
from reliable_email.delivery.words import Priority
from reliable_email.outbox.rows.claim import Claimed
from reliable_email.outbox.rows.held import held_routes
from reliable_email.outbox.rows.journal import Intent, Written
from reliable_email.outbox.rows.reservations import Reserve
from reliable_email.outbox.worker.steps import Steps
from reliable_email.records import record
from reliable_email.smtp.transaction import Aside
from reliable_email.store.memory.route_state import DatabaseRouteStateStore


@record(frozen=True, slots=True)
class Wish:
    """The wish to hand one job's terminator to a route, for these recipients."""

    recipients: Sequence[Claimed]
    route: Route
    priority: Priority


def permitted_by(
    wishes: Sequence[Wish],
    store: RouteStateStore,
    using: str,
    write: Callable[[Sequence[Intent]], Steps[Written]],
) -> Steps[tuple[list[bool], list[bool]]]:
    """Return for each wish whether it is permitted, and whether the quota was charged.

    In one commit, where the route's row is in the same database and nobody else has changed it meanwhile. Else the
    quota is charged first: by a thread of this line's own, since that may have to wait.

    Args:
        write: commits what is known, and these.
    """
    permitted, reserved = [False] * len(wishes), [False] * len(wishes)
    shared = store if isinstance(store, DatabaseRouteStateStore) and store.using == using else None
    at_once = [number for number, wish in enumerate(wishes) if not wish.route.quotas or shared is not None]
    written = yield from write([_intent(wishes[number], shared) for number in at_once])
    for number, may, is_reserved in zip(at_once, written.permitted, written.reserved, strict=True):
        permitted[number], reserved[number] = may, is_reserved
    others = [number for number, wish in enumerate(wishes) if wish.route.quotas and not reserved[number]]
    if not others:
        return permitted, reserved
    reserving = Aside(partial(_reserve, store, [wishes[number] for number in others]))
    yield reserving
    for number, is_reserved in zip(others, reserving.result(), strict=True):
        reserved[number] = is_reserved
    paid = [number for number in others if reserved[number]]
    if paid:
        written = yield from write([_intent(wishes[number], None) for number in paid])
        for number, may in zip(paid, written.permitted, strict=True):
            permitted[number] = may
    return permitted, reserved


def _intent(wish: Wish, shared: DatabaseRouteStateStore | None) -> Intent:
    reserve = None
    if shared is not None and wish.route.quotas:
        count = len(wish.recipients)
        reserve = Reserve(store=shared, route=wish.route, count=count, priority=wish.priority)
    return Intent(recipients=wish.recipients, route=wish.route.alias, reserve=reserve)


def _reserve(store: RouteStateStore, wishes: Sequence[Wish]) -> list[bool]:
    return [_reserve_for(store, wish) for wish in wishes]


def _reserve_for(store: RouteStateStore, wish: Wish) -> bool:
    if not held_routes.begin(wish.route.alias):
        return False
    try:
        return store.reserve(wish.route, len(wish.recipients), priority=wish.priority)
    finally:
        held_routes.end(wish.route.alias)
