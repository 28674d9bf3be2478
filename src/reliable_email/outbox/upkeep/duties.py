"""A worker's periodic duties: rescuing from dead workers, pruning, and probing routes that carry no mail."""

import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Protocol

from django.core.exceptions import ImproperlyConfigured

from reliable_email.delivery.route import Route
from reliable_email.delivery.route_memory import RouteStateStore
from reliable_email.delivery.submission import OnUnknown
from reliable_email.outbox import wake
from reliable_email.outbox.faultpoints import point
from reliable_email.outbox.operations.erased import unfinished
from reliable_email.outbox.operations.erasure import finish
from reliable_email.outbox.operations.prune import prune
from reliable_email.outbox.rows.rescue import Rescued, RescuePolicy, rescue
from reliable_email.outbox.upkeep import worker_row
from reliable_email.outbox.upkeep.counters import Tallies
from reliable_email.outbox.upkeep.delivery_log import log_rescued
from reliable_email.outbox.upkeep.reports import settle_by_events
from reliable_email.outbox.upkeep.signalling import tell_rescued
from reliable_email.outbox.upkeep.standby import probe_standby
from reliable_email.outbox.upkeep.worker_options import WorkerOptions

_PRUNE_SECONDS = 3600.0
_PRUNE_AGAIN_SECONDS = 60.0  # after an error: a person who is to be forgotten need not wait for an hour


class Kept(Protocol):
    """The worker, as far as it is known here."""

    options: WorkerOptions
    name: str

    def routes_of(self, mailer: str) -> Sequence[Route]:
        """The mailer's routes that the worker may use."""


class Upkeep:
    """The periodic duties of one worker.

    Args:
        seen_mailers: the routes of mailers that this worker has delivered for; it may grow.
    """

    def __init__(
        self, kept: Kept, store: RouteStateStore, tallies: Tallies, seen_mailers: Mapping[str, Sequence[Route]]
    ) -> None:
        self._kept = kept
        self._options = kept.options
        self._store = store
        self._tallies = tallies
        self._seen_mailers = seen_mailers
        self._prune_at = 0.0

    def rescue(self) -> Rescued:
        """Take back what dead workers held, and settle what providers have reported."""
        using = self._options.using
        policy = RescuePolicy(
            environment=self._options.environment,
            worker=self._kept.name,
            final_reply_seconds=self._options.final_reply_seconds,
            crash_limit=self._options.crash_limit,
            route_on_unknown=self._route_on_unknown,
        )
        rescued = rescue(using, policy)
        if rescued.requeued:
            wake.nudge()
        self._tallies.add(rescued.attempts, is_measured=False)
        log_rescued(rescued)
        worker_row.lose(using, rescued.workers)
        if rescued.messages:
            tell_rescued(using, type(self._kept), rescued.messages)
        settle_by_events(using, environment=self._options.environment)
        return rescued

    def prune(self) -> None:
        """Once an hour, erase what erasures had to leave, and prune where the settings say so."""
        if time.monotonic() < self._prune_at:
            return
        self._prune_at = time.monotonic() + _PRUNE_AGAIN_SECONDS
        if unfinished(self._options.using):
            finish(self._options.using)
        days = self._options.content_days
        if days is not None:
            prune(
                using=self._options.using,
                content_after=timedelta(days=days),
                journal_after=timedelta(days=self._options.journal_days),
                environment=self._options.environment,
            )
        self._prune_at = time.monotonic() + _PRUNE_SECONDS

    def probe_standby(self, every_seconds: float) -> None:
        """Probe what carries no mail, where its turn has come."""
        point("standby")
        for mailer in {*self._options.standby_mailers, *self._seen_mailers}:
            try:
                routes = self._kept.routes_of(mailer)
            except (LookupError, ImproperlyConfigured):
                continue  # told where a message needs it
            probe_standby(routes, store=self._store, every_seconds=every_seconds)

    def _route_on_unknown(self, alias: str) -> OnUnknown:
        for routes in list(self._seen_mailers.values()):
            for route in routes:
                if route.alias == alias:
                    exact = OnUnknown.RESEND if route.idempotency_header is not None else None
                    return exact or route.on_unknown or OnUnknown.HOLD
        return OnUnknown.HOLD
