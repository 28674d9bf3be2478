"""A worker process: lines that deliver, and a keeper that renews leases, rescues what dead workers held, and reports.

Stopping has two stages. `stop` finishes the messages in hand and gives back the rest. `stop_now` declares what still
waits for a reply unknown (or leaves it to be sent again, as its policy says) and returns.
"""

import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TypeVar

from django.core.exceptions import ImproperlyConfigured
from django.db import connections

from reliable_email.delivery.breaker import Permission, permission
from reliable_email.delivery.route import Route
from reliable_email.delivery.state import RouteStateStore
from reliable_email.delivery.submission import OnUnknown
from reliable_email.outbox import presence, wake
from reliable_email.outbox.claim import Claim, Wanted, renew
from reliable_email.outbox.domains import DomainCap
from reliable_email.outbox.journal import Written
from reliable_email.outbox.keyring import KeyMissing, Keyring
from reliable_email.outbox.line import Line, LineOptions
from reliable_email.outbox.listen import can_listen, listen
from reliable_email.outbox.logged import log_rescued
from reliable_email.outbox.loop import Loop
from reliable_email.outbox.provider_events import settle_by_events
from reliable_email.outbox.prune import prune
from reliable_email.outbox.reconnect import AWAY, Outage, drop_connection, insist
from reliable_email.outbox.rescue import RescuePolicy, rescue
from reliable_email.outbox.round import RoundOptions
from reliable_email.outbox.settle import AttemptRow, Settlement
from reliable_email.outbox.standby import probe_standby
from reliable_email.outbox.steps import Rest, Steps, run_here
from reliable_email.outbox.stored import missing_keys
from reliable_email.outbox.tallies import Tallies
from reliable_email.outbox.telling import is_anybody_told, tell_rescued, tell_settled

logger = logging.getLogger("reliable_email.outbox")

T = TypeVar("T")

# Lease left over when permissions stop: the write of the permission itself takes time.
_MARGIN_SHARE = 0.2
_PRUNE_SECONDS = 3600.0
_LEAVE_SECONDS = 2.0
_STANDBY_SECONDS = 15.0
_LONG_REST_SECONDS = 60.0
_LOOK_SECONDS = 0.1  # whether a signal handler has said stop


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerOptions:
    """How a worker works; see `RELIABLE_EMAIL` for the settings of the same names.

    Attributes:
        content_days: prune content so long after a message is finished; None prunes nothing.
        journal_days: prune the rest of it so long after.
        only_mailers: deliver for these mailers alone; None for all.
        only_routes: use these routes alone; None for all.
        only_messages: deliver these alone, by id; None for all.
        domain_connections: lines that may deliver to one recipient domain at once; 0 for any number.
        until_empty: end when nothing is due or claimed.
        max_transactions: end after about so many; None for no limit.
        listen: be woken by NOTIFY where there is one.
        standby_mailers: mailers whose routes are probed though nothing goes by them.
        probe_seconds: how often; None for never.
    """

    using: str
    environment: str = ""
    connections: int = 8
    batch: int = 100
    lease_seconds: float = 60.0
    poll_seconds: float = 1.0
    final_reply_seconds: float = 600.0
    stop_seconds: float = 30.0
    crash_limit: int = 5
    content_days: float | None = None
    journal_days: float = 90.0
    only_mailers: Collection[str] | None = None
    only_routes: Collection[str] | None = None
    only_messages: Collection[int] | None = None
    domain_connections: int = 0
    until_empty: bool = False
    max_transactions: int | None = None
    listen: bool = True
    standby_mailers: Collection[str] = ()
    probe_seconds: float | None = None
    keyring: Keyring = field(default_factory=Keyring)


class Worker:
    """See the module.

    Args:
        routes_of: the routes of a mailer, the preferred one first; raises LookupError where there is no such mailer.
        store: what is remembered of routes.
    """

    def __init__(
        self,
        options: WorkerOptions,
        *,
        routes_of: Callable[[str], Sequence[Route]],
        store: RouteStateStore,
    ) -> None:
        self.options = options
        # Unique, so that a name seen in a row is this process and no earlier one.
        self.name = f"{socket.gethostname()[:60]}:{os.getpid()}:{secrets.token_hex(4)}"
        self.transactions = 0
        self._routes_of = routes_of
        self._store = store
        self._lock = threading.Lock()
        self._is_stopping = threading.Event()
        self._is_stopping_now = threading.Event()
        self._is_done = threading.Event()  # the lines have ended
        self._lease_ends_at = 0.0
        self._seen_mailers: dict[str, list[Route]] = {}
        self._suspects = threading.Lock()
        self._loop = Loop(options.using, options.keyring, on_error=self.stop)
        self._tallies = Tallies()
        self._outage = Outage(options.using)
        self._in_hand: dict[int, list[int]] = {}
        self._domains = DomainCap(options.domain_connections)
        self._prune_at = 0.0
        # Of the lines, which share a thread.
        self._is_watched = False
        self._is_more = False
        self._seen = 0

    # What lines ask.

    def may_claim(self) -> bool:
        """See `Foreman`."""
        limit = self.options.max_transactions
        return not self._is_stopping.is_set() and (limit is None or self.transactions < limit)

    def may_go_on(self) -> bool:
        """See `Foreman`."""
        return not self._is_stopping.is_set()

    def may_authorize(self) -> bool:
        """See `Foreman`."""
        return not self._is_stopping_now.is_set() and time.monotonic() < self._lease_ends_at

    def wanted(self) -> Wanted:
        """See `Foreman`: mailers and routes that are closed or full now are passed over."""
        seen = dict(self._seen_mailers)
        closed_routes = {route.alias for routes in seen.values() for route in routes if not self._is_open(route)}
        closed_mailers = [alias for alias, routes in seen.items() if routes and not _has_room(routes, closed_routes)]
        for alias in closed_mailers:
            for route in seen[alias]:
                self._store.hurry(route)  # it is the only way, or the others are closed too
        return Wanted(
            environment=self.options.environment,
            closed_mailers=closed_mailers,
            closed_routes=closed_routes,
            closed_domains=self._domains.full,
            only_mailers=self.options.only_mailers,
            message_ids=self.options.only_messages,
        )

    def has_claimed(self, taken: Claim) -> Collection[int]:
        """See `Foreman`."""
        self._is_more = taken.is_full
        with self._lock:
            self._in_hand[taken.number] = [row.id for row in taken.rows]
        return self._domains.enter(taken)

    @property
    def is_heard(self) -> bool:
        """See `Foreman`."""
        return is_anybody_told()

    def has_written(self, settlements: Sequence[Settlement], attempts: Sequence[AttemptRow], written: Written) -> None:
        """See `Foreman`."""
        self._tallies.add(attempts)
        tell_settled(self.options.using, Worker, settlements, attempts, written.settled)

    def has_finished(self, taken: Claim, transactions: int) -> None:
        """See `Foreman`."""
        with self._lock:
            self.transactions += transactions
            self._in_hand.pop(taken.number, None)
        if self._domains.leave(taken):
            wake.nudge()

    def routes_of(self, mailer: str) -> Sequence[Route]:
        """The mailer's routes that this worker may use."""
        found = self._seen_mailers.get(mailer)
        if found is None:
            allowed = self.options.only_routes
            found = [route for route in self._routes_of(mailer) if allowed is None or route.alias in allowed]
            self._seen_mailers[mailer] = found
        return found

    def _is_open(self, route: Route) -> bool:
        return permission(self._store.read(route), now=self._store.now()) is not Permission.NO

    # Running.

    def run(self) -> int:
        """Work until stopped, or as the options say; how many transactions that were.

        Raises:
            KeyMissing: a pending row was written with an encryption key that is not here.
        """
        self._check_keys()
        presence.arrive(self.options.using, self.name, self.options.environment, self.options.connections)
        connections[self.options.using].close()  # this thread waits from here on
        self._lease_ends_at = time.monotonic() + self._trusted_seconds
        lines = threading.Thread(target=self._run_lines, name="reliable-email-lines", daemon=True)
        keeper = threading.Thread(target=self._keep, name="reliable-email-keeper", daemon=True)
        for thread in (keeper, lines):
            thread.start()
        if self.options.listen and can_listen(self.options.using):
            arguments = (self.options.using, self._is_done)
            threading.Thread(target=listen, args=arguments, name="reliable-email-listener", daemon=True).start()
        standby = threading.Thread(target=self._stand_by, name="reliable-email-standby", daemon=True)
        if self.options.probe_seconds is not None:
            standby.start()
        self._await(lines)
        self._is_done.set()
        keeper.join()
        self._leave()
        return self.transactions

    def stop(self) -> None:
        """Finish what is in hand, give back the rest, end. Safe to call from a signal handler."""
        self._is_stopping.set()

    def stop_now(self) -> None:
        """End without waiting for replies. Safe to call from a signal handler."""
        self._is_stopping.set()
        self._is_stopping_now.set()

    @property
    def _trusted_seconds(self) -> float:
        return self.options.lease_seconds * (1.0 - _MARGIN_SHARE)

    def _check_keys(self) -> None:
        missing = missing_keys(self.options.using, self.options.keyring)
        if missing:
            raise KeyMissing(
                f"Unfinished messages were written with encryption keys that are not in "
                f"RELIABLE_EMAIL['ENCRYPTION_KEYS']: {', '.join(missing)}. Add them behind the current one."
            )

    def _await(self, lines: threading.Thread) -> None:
        while lines.is_alive():
            if self._is_stopping_now.is_set():
                return
            if self._is_stopping.is_set():
                wake.nudge()
            lines.join(timeout=_LOOK_SECONDS)

    def _leave(self) -> None:
        """Whatever is still in hand is settled by the journal, as after a crash, but without accusing anything."""
        using = self.options.using
        steps: tuple[Callable[[], object], ...] = (
            lambda: presence.abandon(using, self.name),
            self._rescue,
            lambda: self._tallies.write(using),
            lambda: presence.leave(using, self.name, self.transactions),
        )
        try:
            for step in steps:
                insist(using, step, seconds=_LEAVE_SECONDS)  # a deadlock with other workers passes
        except AWAY as error:
            logger.warning("The database is away; other workers will take back what was in hand: %s", error)
        connections[self.options.using].close()

    def _run_lines(self) -> None:
        try:
            self._loop.run([self._line(number) for number in range(1, self.options.connections + 1)])
        except Exception:
            logger.exception("The lines of the worker ended with an error; the worker stops")
            self.stop()

    def _line(self, number: int) -> Steps[None]:
        count = self.options.connections
        line = Line(
            LineOptions(
                round=RoundOptions(
                    using=self.options.using,
                    worker=self.name,
                    final_reply_seconds=self.options.final_reply_seconds,
                    keyring=self.options.keyring,
                ),
                batch=self.options.batch,
                # Lines that had begun with as much as each other would all come back for more at the same moment.
                first_batch=max(1, self.options.batch * (count + number) // (2 * count)),
                lease_seconds=self.options.lease_seconds,
            ),
            self,
            routes_of=self.routes_of,
            store=self._store,
            run_here=self._run_here,
            suspects=self._suspects,
        )
        while self.may_claim():
            self._seen = wake.generation()
            try:
                claimed = yield from line.work()
                if not claimed and self.options.until_empty and self._nothing_is_left():
                    # Looked at after the claim, something may have been given back in between: claim once more.
                    claimed = yield from line.work()
                    if not claimed:
                        self._is_more = True  # the other lines may look now, and end as well
                        return
            except AWAY as error:
                self._outage.note(error)
                drop_connection(self.options.using)
                yield Rest(self.options.poll_seconds, is_over=self._is_stopping.is_set)
                continue
            if not claimed:
                yield from self._rest()

    def _rest(self) -> Steps[None]:
        """One idle line watches for all of them; when it finds more than it can take, the next one looks."""
        while self._is_watched and not self._is_more:
            yield Rest(_LONG_REST_SECONDS, is_over=lambda: not self._is_watched or self._is_more)
        if self._is_more:
            self._is_more = False
            return
        self._is_watched = True
        # Whatever was queued since the last claim began may have been missed by it.
        seen = self._seen
        yield Rest(self.options.poll_seconds, is_over=lambda: wake.generation() != seen or self._is_more)
        self._is_watched = self._is_more = False

    def _run_here(self, steps: Steps[T]) -> T:
        return run_here(steps, self._loop.write)

    def _nothing_is_left(self) -> bool:
        """Whether nothing is claimed: what another line has in hand may come back, what the dead had is rescued."""
        return not presence.anything_in_hand(self.options.using, self.options.environment, self.options.only_messages)

    # Keeping.

    def _keep(self) -> None:
        """Renew leases and look after what others left, until the lines have ended."""
        period = self.options.lease_seconds / 4
        try:
            # At once, too: what an earlier worker left behind is the first thing to look after.
            while not self._is_done.is_set():
                began_at = time.monotonic()
                try:
                    self._renew()
                    self._lease_ends_at = began_at + self._trusted_seconds
                    self._rescue()
                    self._tallies.write(self.options.using)
                    presence.note(self.options.using, self.name, self.transactions)
                    self._outage.end()
                    self._prune()
                except AWAY as error:
                    # Not renewed: permissions end by themselves when the lease does.
                    self._outage.note(error)
                    drop_connection(self.options.using)
                self._is_done.wait(period)
        finally:
            connections.close_all()

    def _stand_by(self) -> None:
        """Probe what carries no mail, in a thread of its own: a hanging server must not delay the keeper's leases."""
        every_seconds = self.options.probe_seconds
        assert every_seconds is not None
        try:
            while not self._is_done.is_set():
                try:
                    self._probe_standby(every_seconds)
                except Exception:
                    # A route's own code may raise anything; delivering goes on without probes.
                    logger.exception("Standby routes could not be probed")
                self._is_done.wait(min(every_seconds, _STANDBY_SECONDS))
        finally:
            connections.close_all()

    def _probe_standby(self, every_seconds: float) -> None:
        for mailer in {*self.options.standby_mailers, *self._seen_mailers}:
            try:
                routes = self.routes_of(mailer)
            except (LookupError, ImproperlyConfigured):
                continue  # told where a message needs it
            probe_standby(routes, store=self._store, every_seconds=every_seconds)

    def _renew(self) -> None:
        with self._lock:
            ids = [one for held in self._in_hand.values() for one in held]
        renew(self.options.using, ids, worker=self.name, lease_seconds=self.options.lease_seconds)

    def _rescue(self) -> None:
        rescued = rescue(self.options.using, self._rescue_policy())
        if rescued.requeued:
            wake.nudge()
        self._tallies.add(rescued.attempts, is_measured=False)
        log_rescued(rescued)
        if rescued.messages:
            tell_rescued(self.options.using, Worker, rescued.messages)
        settle_by_events(self.options.using, environment=self.options.environment)

    def _prune(self) -> None:
        days = self.options.content_days
        if days is None or time.monotonic() < self._prune_at:
            return
        self._prune_at = time.monotonic() + _PRUNE_SECONDS
        prune(
            using=self.options.using,
            content_after=timedelta(days=days),
            journal_after=timedelta(days=self.options.journal_days),
        )

    def _rescue_policy(self) -> RescuePolicy:
        return RescuePolicy(
            environment=self.options.environment,
            worker=self.name,
            final_reply_seconds=self.options.final_reply_seconds,
            crash_limit=self.options.crash_limit,
            route_on_unknown=self._route_on_unknown,
        )

    def _route_on_unknown(self, alias: str) -> OnUnknown:
        for routes in self._seen_mailers.values():
            for route in routes:
                if route.alias == alias:
                    exact = OnUnknown.RESEND if route.idempotency_header is not None else None
                    return exact or route.on_unknown or OnUnknown.HOLD
        return OnUnknown.HOLD


def _has_room(routes: Sequence[Route], closed: Collection[str]) -> bool:
    """Whether the first of them that is open has a connection left; its overflow does not go to the others."""
    first = next((route for route in routes if route.alias not in closed), None)
    return first is not None and not first.is_full()
