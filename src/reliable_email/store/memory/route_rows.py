"""The contents of a row of route state: as a process knows them, and as JSON."""

import logging
from collections.abc import Mapping
from dataclasses import fields
from types import MappingProxyType
from typing import Any

from reliable_email.classification import Cause
from reliable_email.delivery import breaker, quota
from reliable_email.delivery.breaker import BreakerState, Phase
from reliable_email.delivery.fingerprints import Likeness, Part, likeness
from reliable_email.delivery.route import Route
from reliable_email.delivery.telling.log_records import log_fields
from reliable_email.process_state import remember
from reliable_email.records import dataclass, field, replace

logger = logging.getLogger("reliable_email.store")


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownRoute:
    """The process's knowledge of a route. `version` is None if there is no row yet."""

    breaker: BreakerState = field(default_factory=BreakerState)
    ledger: quota.Ledger = field(default_factory=quota.Ledger)
    version: int | None = None
    read_at: float = float("-inf")


NOTHING = KnownRoute()


_told: set[str] = set()  # of which routes it was said that their names are not known


def for_configuration(known: KnownRoute, route: Route) -> KnownRoute:
    """Return the knowledge of the route, without what was learned about another configuration."""
    stored, mine = known.breaker.fingerprint or known.ledger.fingerprint, route.fingerprint
    if (
        route.alias not in _told
        and stored
        and mine
        and stored != mine
        and likeness(stored, mine, Part.WHOLE) is Likeness.UNKNOWN
    ):
        _told.add(route.alias)
        logger.warning(
            "The state of route %s was written by a process with another SECRET_KEY, so a change of its configuration "
            "cannot be noticed; the state is used as it is. Give all processes the same SECRET_KEY, and keep an "
            "earlier one in SECRET_KEY_FALLBACKS",
            route.alias,
            extra=log_fields(route=route.alias),
        )
    return replace(
        known,
        breaker=breaker.with_configuration(known.breaker, mine),
        ledger=quota.with_configuration(known.ledger, mine),
    )


def reset() -> None:
    """Forget what was said."""
    _told.clear()


remember(__name__, reset=reset)


def breaker_to_json(state: BreakerState) -> dict[str, Any]:
    """Return the state as it is stored."""
    found = {one.name: getattr(state, one.name) for one in fields(state)}
    return found | {"closed_senders": dict(state.closed_senders)}


def breaker_from_json(stored: Mapping[str, Any]) -> BreakerState:
    """Return the state from what is stored; keys of a newer version are left out."""
    names = {one.name for one in fields(BreakerState)}
    values = {name: value for name, value in stored.items() if name in names}
    if "phase" in values:
        values["phase"] = Phase(values["phase"])
    if values.get("reason") is not None:
        values["reason"] = Cause(values["reason"])
    values["closed_senders"] = MappingProxyType(dict(values.get("closed_senders") or {}))
    return BreakerState(**values)


def ledger_to_json(ledger: quota.Ledger) -> dict[str, Any]:
    """Return the ledger as it is stored."""
    return {
        "counts": [[window, bucket, count] for (window, bucket), count in ledger.counts.items()],
        "limits": [[window, limit] for window, limit in ledger.limits.items()],
        "limits_until": [[window, until] for window, until in ledger.limits_until.items()],
        "fingerprint": ledger.fingerprint,
    }


def ledger_from_json(stored: Mapping[str, Any]) -> quota.Ledger:
    """Return the ledger from what is stored."""
    return quota.Ledger(
        counts=MappingProxyType({(window, bucket): count for window, bucket, count in stored.get("counts", [])}),
        limits=MappingProxyType(dict(stored.get("limits", []))),
        limits_until=MappingProxyType(dict(stored.get("limits_until", []))),
        fingerprint=stored.get("fingerprint", ""),
    )
