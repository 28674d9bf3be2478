"""Asks for what a view shows: the tables, the routes' state, the verdict."""

import time

from reliable_email import conf
from reliable_email.backends.failover import routes_for
from reliable_email.backends.routes import MailerKind, all_mailers
from reliable_email.delivery.route import Route
from reliable_email.diagnosis.verdict import Health
from reliable_email.exceptions import InvalidMailer
from reliable_email.management.screens.outbox_view import OutboxView, RouteView, route_view, span
from reliable_email.store.queries import Status, status
from reliable_email.store.route_state import DatabaseRouteStateStore
from reliable_email.store.states import State


class Looker:
    """Looks as often as it is asked.

    Args:
        using: the outbox's database.
    """

    def __init__(self, using: str) -> None:
        self._using = using
        self._store = DatabaseRouteStateStore(using)
        self._routes = _routes()

    def look(self) -> OutboxView:
        """What is there now.

        Raises:
            django.db.utils.OperationalError, InterfaceError: the database is away.
        """
        found = status(self._using)
        health, reasons = verdict(found)
        return OutboxView(verdict=health, reasons=reasons, status=found, routes=self._route_views())

    def _route_views(self) -> list[RouteView]:
        now = time.time()
        return [route_view(route.alias, self._store.read(route), now=now) for route in self._routes]


def verdict(found: Status) -> tuple[Health, list[str]]:
    """Whether that is well, and why not."""
    settings = conf.get()
    bad, reasons = [], []
    if found.oldest_due_seconds is not None and found.oldest_due_seconds > settings.health_queue_seconds:
        bad.append(f"the oldest message has been due for {span(found.oldest_due_seconds)}")
    alive = any(one.state == "running" and one.silent_seconds < settings.health_worker_seconds for one in found.workers)
    if found.due and not alive:
        bad.append("messages are due and no worker was seen lately")
    unknown, parked = found.recipients[State.UNKNOWN], found.recipients[State.PARKED]
    if unknown > settings.health_unknown:
        reasons.append(f"{unknown} recipients with an unknown outcome")
    if parked > settings.health_parked:
        reasons.append(f"{parked} parked recipients wait for a person")
    health = Health.UNHEALTHY if bad else Health.DEGRADED if reasons else Health.HEALTHY
    return health, bad + reasons


def _routes() -> list[Route]:
    """The routes of every outbox, each once; none where MAILERS is wrong, of which `test_email` tells."""
    found: dict[str, Route] = {}
    try:
        for mailer in all_mailers().values():
            if mailer.kind is MailerKind.OUTBOX:
                for route in routes_for(mailer.alias):
                    found.setdefault(route.alias, route)
    except InvalidMailer:
        return []
    return list(found.values())
