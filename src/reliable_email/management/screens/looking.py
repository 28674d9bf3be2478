"""The questions behind a view: the tables, the routes' state, the verdict."""

from reliable_email.backends.building import build_routes
from reliable_email.backends.routes import MailerKind, all_mailers, named_routes
from reliable_email.delivery.route import Route
from reliable_email.management.screens.outbox_view import OutboxView, RouteView, route_view
from reliable_email.monitoring.health import examine_site
from reliable_email.store.memory.route_state import DatabaseRouteStateStore
from reliable_email.store.questions.status import status


class Looker:
    """Looks as often as it is asked.

    Args:
        using: the outbox's database.
        environment: whose messages and workers are counted; None for all. The verdict is this site's own.
    """

    def __init__(self, using: str, environment: str | None = None) -> None:
        self._using = using
        self._environment = environment
        self._store = DatabaseRouteStateStore(using)
        self._routes = _routes()

    def look(self) -> OutboxView:
        """Return the outbox's present view.

        Raises:
            django.db.utils.OperationalError, InterfaceError: the database is away.
        """
        found = status(self._using, environment=self._environment)
        return OutboxView(health=examine_site(self._using), status=found, routes=self._route_views())

    def _route_views(self) -> list[RouteView]:
        now = self._store.now()
        return [
            RouteView(alias=route.alias, is_in_use=False, use="cannot be built", evidence=route.build_error)
            if route.build_error
            else route_view(route.alias, self._store.read(route), now=now)
            for route in self._routes
        ]


def _routes() -> list[Route]:
    """The routes of every outbox, each once; those that cannot be built too, since messages wait for them."""
    wanted = {
        one.alias: one
        for mailer in all_mailers().values()
        if mailer.kind is MailerKind.OUTBOX
        for one in named_routes(mailer.alias)
    }
    return build_routes(wanted.values())
