"""Findings about routes, from the remembered state: no server is asked."""

import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

from django.apps import apps
from django.utils.translation import gettext_noop as _

from reliable_email import conf
from reliable_email.backends.building import build_route
from reliable_email.backends.routes import DEFAULT_ALIAS, Mailer, all_mailers, named_routes
from reliable_email.backends.smtp import ReliableSMTPBackend
from reliable_email.backends.unbuilt import error_text, unbuilt_route, without_remedy
from reliable_email.classification.causes import Cause
from reliable_email.classification.meanings import MEANINGS
from reliable_email.delivery import quota
from reliable_email.delivery.breaker import BreakerState, Permission, Phase, permission
from reliable_email.delivery.route import Route
from reliable_email.delivery.route_memory import goes_on_at, memory_store, quota_shares
from reliable_email.delivery.submission import Priority
from reliable_email.diagnosis.verdict import Health
from reliable_email.mailers import mailers
from reliable_email.monitoring.databases import outbox_databases
from reliable_email.monitoring.findings import Finding, Topic, instant
from reliable_email.monitoring.sentences import Name, Sentence, Sentences
from reliable_email.records import dataclass
from reliable_email.values import printable

_PACE_SECONDS: Final = 300  # a quota of a shorter window is a pace, and nothing to call somebody for


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteCondition:
    """One route as its last messages left it.

    Attributes:
        breaker: its breaker's state.
        ledger: what was used of its quotas.
        is_closed: nothing goes by it now.
    """

    route: Route
    breaker: BreakerState
    ledger: quota.Ledger
    now: float

    @property
    def is_closed(self) -> bool:
        """True if nothing goes by it: it cannot be built, its breaker or a person says so, or a quota is used up."""
        return bool(self.route.build_error) or self.is_out_of_use or self.used_up is not None

    @property
    def is_out_of_use(self) -> bool:
        """True if its breaker keeps messages away, now or until a person has mended something."""
        state = self.breaker
        if state.phase is Phase.CLOSED:
            return False
        return state.needs_person or permission(state, now=self.now) is Permission.NO

    @property
    def is_on_trial(self) -> bool:
        """True if the time for which the route was closed is over, and it has not been tried since."""
        return self.breaker.phase is not Phase.CLOSED and not self.is_out_of_use

    def has_room(self, priority: Priority) -> bool:
        """Return whether its quotas leave anything to messages of this priority."""
        return quota.room(self.ledger, self.route.quotas, now=self.now, priority=priority, shares=quota_shares()) != 0

    def goes_on_at(self, priority: Priority) -> float | None:
        """Return the time from which a message of this priority may use the route; None if it is not known."""
        return goes_on_at(self.breaker, self.ledger, self.route, now=self.now, priority=priority)

    def is_paced(self, priority: Priority) -> bool:
        """Return whether the quotas without room are per second or minute, which are often used up for a moment."""
        shares = quota_shares()
        windows = [
            one.window_seconds
            for one in self.route.quotas
            if quota.left(self.ledger, one, now=self.now, priority=priority, shares=shares) <= 0
        ]
        return bool(windows) and max(windows) <= _PACE_SECONDS

    @property
    def used_up(self) -> int | None:
        """The window in seconds of a quota that leaves nothing, not even to messages of priority high."""
        for one in self.route.quotas:
            if quota.left(self.ledger, one, now=self.now, priority=Priority.HIGH) <= 0:
                return None if self.is_paced(Priority.HIGH) else one.window_seconds
        return None


def site_routes() -> dict[str, tuple[Route, ...]]:
    """The routes of each mailer that no other mailer sends through; console and the like are left out.

    Those that cannot be built are among them, with a `build_error`.
    """
    entries = all_mailers()
    below = {alias for one in entries.values() for alias in one.using}
    return {alias: tuple(routes_behind(alias)) for alias in entries if alias not in below or alias == DEFAULT_ALIAS}


def condition(route: Route, using: str | None = None) -> RouteCondition:
    """Return the remembered state of a route; only this process's if there are no tables.

    Args:
        using: the database in which it is; None for the one in which the outbox's workers keep it.
    """
    if apps.is_installed("reliable_email"):
        from reliable_email.store.memory.route_state import DatabaseRouteStateStore, database_store

        shared = database_store()
        alias = using or next(iter(outbox_databases()), shared.using)
        store = shared if alias == shared.using else DatabaseRouteStateStore(alias)
        return RouteCondition(route=route, breaker=store.read(route), ledger=store.ledger(route), now=time.time())
    return RouteCondition(
        route=route, breaker=memory_store.read(route), ledger=memory_store.ledger(route), now=time.time()
    )


def route_findings(using: str | None = None) -> Iterator[Finding]:
    """Yield a finding for each closed route, and for each mailer that has no other."""
    groups = site_routes()
    told: set[str] = set()
    for alias, routes in sorted(groups.items(), key=lambda item: item[0] != DEFAULT_ALIAS):
        if not routes:
            if alias == DEFAULT_ALIAS and not conf.is_in_tests():
                yield Finding(
                    verdict=Health.DEGRADED,
                    text=Sentence(
                        _("the mailer %(mailer)s only shows or stores messages and delivers none"), mailer=repr(alias)
                    ),
                    remedy=_("If people should get mail, use a route that delivers it."),
                )
            continue
        conditions = [condition(route, using) for route in routes]
        for one in _judge(alias, conditions):
            if one.text not in told:
                told.add(one.text)
                yield one


def _judge(alias: str, conditions: Sequence[RouteCondition]) -> Iterator[Finding]:
    closed = [one for one in conditions if one.is_closed]
    nothing_goes = len(closed) == len(conditions)
    if nothing_goes and alias != DEFAULT_ALIAS:
        since = [instant(one.breaker.opened_at) for one in closed if one.is_out_of_use]
        yield Finding(
            verdict=Health.UNHEALTHY,
            text=Sentence(
                _("no mail goes out by the mailer %(mailer)s: every route of it is closed"), mailer=repr(alias)
            ),
            remedy=_("Read the findings about its routes."),
            topic=Topic.ROUTE,
            since=max(filter(None, since), default=None),
        )
    verdict = Health.UNHEALTHY if nothing_goes and alias == DEFAULT_ALIAS else Health.DEGRADED
    for one in conditions:
        if one.is_closed or one.is_on_trial:
            yield _told(one, verdict if one.is_closed else Health.DEGRADED)


def _told(one: RouteCondition, verdict: Health) -> Finding:
    state, name = one.breaker, repr(one.route.alias)
    if one.route.build_error:
        error, remedy = without_remedy(one.route.build_error)
        return Finding(
            verdict=verdict,
            text=Sentence(_("the route %(route)s cannot be built: %(error)s"), route=name, error=error),
            remedy=remedy,
            topic=Topic.ROUTE,
            name=one.route.alias,
        )
    if state.phase is Phase.PAUSED:
        text = Sentence(_("the route %(route)s is paused by an operator"), route=name)
        if state.paused_by:
            text = Sentence(_("the route %(route)s is paused by %(who)s"), route=name, who=printable(state.paused_by))
        return Finding(
            verdict=verdict,
            text=text,
            remedy=_("Resume it when the reason for the pause is over."),
            since=instant(state.opened_at),
            topic=Topic.PAUSED,
            name=one.route.alias,
        )
    if one.is_out_of_use or one.is_on_trial:
        meaning = MEANINGS[state.reason] if state.reason is not None else None
        return Finding(
            verdict=verdict,
            text=_closed(one, name),
            remedy=Sentences(meaning.says, meaning.person) if meaning is not None else "",
            since=instant(state.opened_at),
            topic=Topic.QUOTA if state.reason == Cause.QUOTA_EXCEEDED else Topic.ROUTE,
            name=one.route.alias,
        )
    at = one.goes_on_at(Priority.HIGH)
    waits: str = _("Its messages wait until the window has moved on.")
    if at is not None:
        template = _("Its messages wait until the window has moved on, at %(moment)s.")
        waits = Sentence(template, moment=datetime.fromtimestamp(at, UTC))
    return Finding(
        verdict=verdict,
        text=Sentence(
            _("the route %(route)s has used up its quota of the last %(hours)s h"),
            route=name,
            hours=f"{(one.used_up or 0) / 3600:g}",
        ),
        remedy=Sentences(waits, _("Send less, ask the provider for more, or add a route.")),
        topic=Topic.QUOTA,
        name=one.route.alias,
    )


def _closed(one: RouteCondition, name: str) -> str:
    """The route, why, what was said, and whether it is tried again by the next message."""
    state = one.breaker
    values = {"route": name, "cause": Name(state.reason or ""), "evidence": printable(state.evidence)}
    if not state.reason:
        text = Sentence(_("the route %(route)s is closed"), route=name)
    elif not state.evidence:
        text = Sentence(_("the route %(route)s is closed: %(cause)s"), route=name, cause=values["cause"])
    else:
        text = Sentence(_("the route %(route)s is closed: %(cause)s (%(evidence)s)"), **values)
    if one.is_out_of_use:
        return text
    return Sentence(_("%(closed)s; its pause is over, and the next message tries it again"), closed=text)


def routes_behind(alias: str) -> Iterator[Route]:
    """Yield the routes of a mailer that deliver."""
    for one in named_routes(alias):
        for route in _routes_behind(one):
            if route.delivers:
                yield route


def _routes_behind(one: Mailer) -> Sequence[Route]:
    if one.kind.delivers_nothing:
        return ()
    if one.is_legacy:
        # The `EMAIL_*` settings may hide a second provider.
        try:
            backend = mailers[one.alias]
        except Exception as error:  # noqa: BLE001 - any code of anybody's may be behind a mailer
            return (unbuilt_route(one.alias, error_text(one.alias, error)),)
        if isinstance(backend, ReliableSMTPBackend):
            return backend.routes()
    return (build_route(one),)
