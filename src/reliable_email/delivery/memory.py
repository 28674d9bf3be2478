"""Route state in the process: where the app is not installed, and wherever the database is away."""

import os
import threading
import time
from collections.abc import Callable

from reliable_email.delivery import breaker, quota
from reliable_email.delivery.breaker import BreakerState, Permission
from reliable_email.delivery.policy import Effect
from reliable_email.delivery.route import Route
from reliable_email.delivery.state import RouteEvent
from reliable_email.delivery.submission import Priority


class MemoryRouteStateStore:
    """See `RouteStateStore`."""

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._lock = threading.RLock()
        self._states: dict[str, BreakerState] = {}
        self._ledgers: dict[str, quota.Ledger] = {}

    def read(self, route: Route) -> BreakerState:
        """See `RouteStateStore`."""
        state = self._states.get(route.alias)
        if state is None:
            state = self._states.setdefault(route.alias, BreakerState(fingerprint=route.fingerprint))
        return breaker.with_configuration(state, route.fingerprint)

    def ask(self, route: Route, *, sender_domain: str) -> Permission:
        """See `RouteStateStore`."""
        with self._lock:
            state = self.read(route)
            now = self._clock()
            answer = breaker.permission(state, now=now, sender_domain=sender_domain)
            if answer is Permission.PROBE:
                self._states[route.alias] = breaker.begin_probe(state, now=now)
            return answer

    def tell(self, route: Route, event: RouteEvent) -> None:
        """See `RouteStateStore`."""
        with self._lock:
            state = self.read(route)
            self._states[route.alias] = apply_event(state, event, now=self._clock())
            if event.effect is Effect.EXHAUSTED:
                ledger = self._ledger(route)
                self._ledgers[route.alias] = quota.lowered(ledger, route.quotas, now=self._clock())

    def reserve(self, route: Route, count: int, *, priority: Priority) -> bool:
        """See `RouteStateStore`."""
        if not route.quotas:
            return True
        with self._lock:
            ledger = self._ledger(route)
            taken = quota.reserve(ledger, route.quotas, count, now=self._clock(), priority=priority)
            if taken is None:
                return False
            self._ledgers[route.alias] = taken
            return True

    def settle(self, route: Route, *, reserved: int, used: int) -> None:
        """See `RouteStateStore`."""
        if not route.quotas or used >= reserved:
            return
        with self._lock:
            ledger = self._ledger(route)
            self._ledgers[route.alias] = quota.refund(ledger, route.quotas, reserved - used, now=self._clock())

    def _ledger(self, route: Route) -> quota.Ledger:
        return quota.with_configuration(self._ledgers.get(route.alias, quota.Ledger()), route.fingerprint)

    def pause(self, route: Route, *, by: str) -> None:
        """Take a route out of use in this process."""
        with self._lock:
            self._states[route.alias] = breaker.pause(self.read(route), by=by, now=self._clock())

    def resume(self, route: Route) -> None:
        """Put it back."""
        with self._lock:
            self._states[route.alias] = breaker.resume(self.read(route))

    def forget(self) -> None:
        """Forget everything."""
        self._lock = threading.RLock()
        self._states.clear()
        self._ledgers.clear()


def apply_event(state: BreakerState, event: RouteEvent, *, now: float) -> BreakerState:
    """The breaker's next state; shared by every store."""
    if event.failure is None:
        return breaker.after_success(state, sender_domain=event.sender_domain)
    return breaker.after_failure(
        state,
        event.effect,
        event.failure,
        now=now,
        sender_domain=event.sender_domain,
        recipients=event.recipients,
        message_bytes=event.message_bytes,
    )


memory_store = MemoryRouteStateStore()


def reset() -> None:
    """Forget what this process knows of every route."""
    memory_store.forget()


if hasattr(os, "register_at_fork"):
    # What was learned stays true in the child; only the lock may be held by a thread that is not there.
    os.register_at_fork(after_in_child=lambda: setattr(memory_store, "_lock", threading.RLock()))
