"""Operators' acts on a route, on a page or in a terminal: pause, resume, probe now. Each leaves an `Action`."""

from enum import StrEnum
from typing import assert_never

from django.db import connections

from reliable_email.backends.routes import DEFAULT_ALIAS, all_mailers
from reliable_email.delivery.route import Route
from reliable_email.diagnosis.examination import RouteExamination, examine_route
from reliable_email.diagnosis.verdict import Health
from reliable_email.monitoring.databases import outbox_databases
from reliable_email.outbox.operations.operate import note
from reliable_email.records import dataclass, field
from reliable_email.store.memory.route_state import DatabaseRouteStateStore, database_store


class Verb(StrEnum):
    """The acts on a route, as the record names them."""

    PAUSE = "pause_route"
    RESUME = "resume_route"
    PROBE = "probe_route"


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteAct:
    """The result of an act.

    Attributes:
        action: the id of the record.
        told: of a probe, what it found.
        is_written: whether the workers can see it; else this process alone knows until the database takes it.
    """

    action: int
    is_written: bool = True
    told: dict[str, str] = field(default_factory=dict)


def do(verb: Verb, route: Route, *, actor: str, reason: str, using: str | None = None) -> RouteAct:
    """Do it, and write down who did it and why.

    Args:
        using: the database in which the workers look; None for that of the site's outboxes.
    """
    told: dict[str, str] = {}
    store = state_store(using)
    match verb:
        case Verb.PAUSE:
            store.pause(route, by=f"{actor}: {reason}" if reason else actor)
        case Verb.RESUME:
            store.resume(route)
        case Verb.PROBE:
            told = _probe(route)
        case _:
            assert_never(verb)
    action = note(verb, actor=actor, target=route.alias, reason=reason, detail=told, using=using)
    # Inside of the caller's transaction it is written after that.
    is_written = not store.is_behind or connections[store.using].in_atomic_block
    return RouteAct(action=action, told=told, is_written=is_written)


def state_store(using: str | None = None) -> DatabaseRouteStateStore:
    """Return the store of route state that the workers use."""
    shared = database_store()
    alias = using or next(iter(outbox_databases()), shared.using)
    return shared if alias == shared.using else DatabaseRouteStateStore(alias)


def _probe(route: Route) -> dict[str, str]:
    """Up to the login, over a connection of its own; no message is sent, and the route's state stays as it is."""
    if route.build_error:
        unbuilt = RouteExamination(
            alias=route.alias, summary="cannot be built", verdict=Health.UNHEALTHY, note=route.build_error
        )
        return _outcome(unbuilt)
    entries = all_mailers()
    found = examine_route(entries.get(route.alias) or entries[DEFAULT_ALIAS])
    return _outcome(next((one for one in found if one.alias == route.alias), found[0]))


def _outcome(found: RouteExamination) -> dict[str, str]:
    told = {
        "verdict": str(found.verdict or "not known"),
        "seconds": f"{found.seconds:.2f}",
        "summary": found.summary,
        "note": found.note,
    }
    if found.climb is not None:
        told["stages"] = ", ".join(f"{rung.stage} {'ok' if rung.is_ok else 'failed'}" for rung in found.climb.rungs)
    if found.explanation is not None:
        told |= {
            "said": found.explanation.said,
            "meaning": found.explanation.meaning,
            "remedy": " ".join(found.explanation.remedies),
        }
    return told
