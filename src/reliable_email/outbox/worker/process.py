"""A worker process: lines that deliver, and a keeper that renews leases, rescues what dead workers held, and reports.

Stopping has two stages. `stop` finishes the messages in hand and gives back the rest. `stop_now` declares what still
waits for a reply unknown (or leaves it to be sent again, as its policy says) and returns.
"""

import logging
import threading
import time
from collections.abc import Callable, Collection, Sequence
from functools import partial

from django.db import connections

from reliable_email.delivery.route import Route
from reliable_email.delivery.route_memory import RouteStateStore, answering_from_memory
from reliable_email.delivery.telling.log_records import log_fields
from reliable_email.outbox import wake
from reliable_email.outbox.faultpoints import point
from reliable_email.outbox.own_connection import use_own_connection
from reliable_email.outbox.rows.claim import Claim, Wanted, renew
from reliable_email.outbox.rows.journal import Written
from reliable_email.outbox.rows.reservations import give_back
from reliable_email.outbox.rows.settle import AttemptRow, Settlement
from reliable_email.outbox.upkeep import worker_row
from reliable_email.outbox.upkeep.duties import Upkeep
from reliable_email.outbox.upkeep.keeper import Duty, check_process, keep
from reliable_email.outbox.upkeep.listen import can_listen, listen
from reliable_email.outbox.upkeep.reconnect import AWAY, Outage, drop_connection, insist
from reliable_email.outbox.upkeep.registration import Registration, unique_name
from reliable_email.outbox.upkeep.signalling import is_anybody_told, tell_settled
from reliable_email.outbox.upkeep.threads import Crew, WorkerFailed, WorkerThread
from reliable_email.outbox.upkeep.worker_options import Bounds, WorkerOptions
from reliable_email.outbox.worker.batch import BatchOptions
from reliable_email.outbox.worker.claim_task import ClaimTask, ClaimTaskOptions
from reliable_email.outbox.worker.hardship import Hardship, Idleness
from reliable_email.outbox.worker.in_hand import InHand
from reliable_email.outbox.worker.loop import Loop
from reliable_email.outbox.worker.steps import Rest, Steps
from reliable_email.outbox.worker.wants import Wants
from reliable_email.store.sql.outages import is_outage, sentence

__all__ = ["Worker", "WorkerFailed", "WorkerOptions"]

logger = logging.getLogger("reliable_email.outbox")

# Lease left over when permissions stop: the write of the permission itself takes time.
_MARGIN_SHARE = 0.2
_LEAVE_SECONDS = 2.0
_STANDBY_SECONDS = 15.0
_REBUILD_SECONDS = 60.0
_LOOK_SECONDS = 0.1  # whether a signal handler has said stop
_ARRIVE_SECONDS = 2.0  # a database that is locked at the start
_JOIN_SECONDS = 5.0
_LEASE_SECONDS = 0.25
_MEMORY_SECONDS = 0.25
_STANDSTILL_SECONDS = 6.0  # how soon it is looked again whether a quota, or a route, has room for what waits
_HANG_SECONDS = 5.0
_FIRST_BATCH = 10  # a small backlog is for all lines
_RENEWAL_TRIES = 10


class Worker:
    """A worker process: its claim tasks (lines), its keeper, and the state that they share.

    Args:
        routes_of: the routes of a mailer, the preferred one first; raises LookupError where there is no such mailer.
        store: what is remembered of routes.
        registration: the row that says that it is there; one of its own by default.

    It is long because its threads share one lease and one wish to stop, and each method is run or asked by one of them.
    """

    def __init__(
        self,
        options: WorkerOptions,
        *,
        routes_of: Callable[[str], Sequence[Route]],
        store: RouteStateStore,
        registration: Registration | None = None,
    ) -> None:
        self.options = options
        self._registration = registration or Registration(options, unique_name())
        self.name = self._registration.worker_name
        self._bounds = Bounds(options)
        self.transactions = 0
        self.left_unknown = 0  # recipients whose replies were not waited for
        self._routes_of = routes_of
        self._store = store
        self._lock = threading.Lock()
        self._is_stopping = threading.Event()
        self._is_stopping_now = threading.Event()
        self._is_done = threading.Event()  # the lines have ended
        self._is_empty = False  # nothing was due, and nothing in hand
        self._lease_ends_at = 0.0
        self._seen_mailers: dict[str, list[Route]] = {}
        self._built_at: dict[str, float] = {}
        self._suspects = threading.Lock()
        self._caller = connections[options.using]  # whose schema is the worker's
        self._crew = Crew(self._fail, lambda: use_own_connection(options.using, self._caller))
        # Two leases that were not renewed: whatever this worker holds is somebody else's by then.
        self._hang_seconds = max(_HANG_SECONDS, 2 * options.lease_seconds)
        self._loop = Loop(
            options.using,
            options.keyring,
            on_error=lambda: self._fail(self._loop.failure),
            crew=self._crew,
            read_seconds=self._hang_seconds,
            call_seconds=self._hang_seconds + options.final_reply_seconds,
        )
        self._tallies = self._registration.tallies
        self._outage = Outage(options.using)
        self._held = InHand()
        self._moves = 0  # how often something was taken in hand, or was done
        self._wants = Wants(options, self.name, seen=self._seen_mailers, routes_of=self.routes_of, store=store)
        self._upkeep = Upkeep(self, store, self._tallies, self._seen_mailers)
        # Of the lines, which share a thread.
        self._idleness = Idleness()
        self._hardship = Hardship()
        self._failure = ""
        self._failed_at = 0.0

    # What lines ask.

    def may_claim(self) -> bool:
        """Return whether a line may claim: not while stopping, and not without a valid lease."""
        return self._goes_on() and self._has_lease()

    def may_go_on(self) -> bool:
        """Return whether a line may go on with its claim: not without a valid lease, which would permit nothing."""
        return not self._is_stopping.is_set() and self._has_lease() and not self.is_out_of_time

    def may_authorize(self) -> bool:
        """Return whether a line may ask for permissions."""
        return not self._is_stopping_now.is_set() and self._has_lease()

    def _goes_on(self) -> bool:
        limit = self.options.max_transactions
        if self._is_stopping.is_set() or self._is_empty or self.is_out_of_time:
            return False
        return limit is None or self.transactions < limit

    @property
    def is_out_of_time(self) -> bool:
        """Return whether its seconds are over, so that it may have given something back."""
        return time.monotonic() >= self._bounds.claims_until

    def _has_lease(self) -> bool:
        return time.monotonic() < self._lease_ends_at

    def wanted(self) -> Wanted:
        """Return the conditions on the rows to claim."""
        return self._wants.wanted()

    def has_claimed(self, taken: Claim) -> Collection[int]:
        """Note a claim; return the ids of rows to give back, because of a domain's limit."""
        self._idleness.is_more = taken.is_full
        with self._lock:
            self._moves, self._is_empty = self._moves + 1, False
        self._held.take(taken)
        return self._wants.take(taken)

    @property
    def is_heard(self) -> bool:
        """Return whether a receiver of signals is connected."""
        return is_anybody_told()

    def has_written(self, settlements: Sequence[Settlement], attempts: Sequence[AttemptRow], written: Written) -> None:
        """Note a commit: count and log it, and send its signals."""
        if attempts and any(written.settled):
            self._hardship.end()  # the others need not wait until the whole claim is done
        with self._lock:
            self.transactions += len(attempts)
        self._held.settle(settlements)
        self._tallies.add(attempts)
        tell_settled(self.options.using, Worker, settlements, attempts, written.settled)

    def has_finished(self, taken: Claim, transactions: int) -> None:
        """Note the end of a claim."""
        with self._lock:
            self._moves += 1
        self._held.leave(taken)
        if self._wants.leave(taken):
            wake.nudge()

    def routes_of(self, mailer: str) -> Sequence[Route]:
        """The mailer's routes that this worker may use."""
        found = self._seen_mailers.get(mailer)
        if found is None or self._wants_rebuilding(mailer, found):
            allowed = self.options.only_routes
            found = [route for route in self._routes_of(mailer) if allowed is None or route.alias in allowed]
            self._seen_mailers[mailer] = found
            self._built_at[mailer] = time.monotonic()
        return found

    def _wants_rebuilding(self, mailer: str, routes: Sequence[Route]) -> bool:
        """Return whether one of them could not be built a while ago: its package, key or file may be there by now."""
        is_due = time.monotonic() >= self._built_at.get(mailer, 0.0) + _REBUILD_SECONDS
        return is_due and any(route.build_error for route in routes)

    # Running.

    def run(self, *, is_over: Callable[[], bool] = lambda: False) -> int:
        """Work until stopped, or as the options say; how many transactions that were.

        Args:
            is_over: asked again and again whether to stop.

        Raises:
            KeyMissing: a pending row was written with an encryption key that is not here.
            WorkerFailed: the worker cannot work here, or had to end since one of its threads did.
        """
        check_process()
        using = self.options.using
        if not self._caller.settings_dict["AUTOCOMMIT"]:
            raise WorkerFailed(f"DATABASES[{using!r}] has AUTOCOMMIT = False: a worker needs a database that commits.")
        if not self.options.until_empty:
            from reliable_email.delivery.transports import ahead  # one that ends soon would pay for what it never needs

            ahead.load()
        try:
            insist(using, self._registration.arrive, seconds=_ARRIVE_SECONDS)
        except AWAY as error:
            raise WorkerFailed(sentence(using, error)) from error
        finally:
            connections[using].close()  # this thread waits from here on
        self._lease_ends_at = time.monotonic() + self._trusted_seconds  # nothing is claimed yet: nothing can be overdue
        lines = self._crew.make("lines", lambda: self._run_lines(lines), hangs_after=self._hang_seconds)
        threads = [
            self._keeping("renewals", self._renewals),
            self._keeping("memory", self._memory, is_vital=False),
            lines,
        ]
        if not self.options.is_task:
            threads.insert(0, self._keeping("keeper", self._keeper))
        if self.options.listen and can_listen(using):
            threads.append(self._keeping("listener", partial(listen, using, self._is_done), is_vital=False))
        if self.options.probe_seconds is not None:
            threads.append(self._keeping("standby", self._standby, is_vital=False))
        try:
            for one in threads:
                one.start()
            self._await(lines, is_over)
        except BaseException:
            # A time limit of whoever runs this, or an impatient person: no thread may go on without its worker.
            self.stop()
            lines.join(self.options.stop_seconds)
            raise
        finally:
            self._is_done.set()
            self._crew.end()
            for one in threads[: threads.index(lines)]:
                one.join(_JOIN_SECONDS)
            self._leave()
        if self._failure:
            raise WorkerFailed(self._failure)
        return self.transactions

    def _fail(self, words: str) -> None:
        """End, and say why."""
        if not self._failure:
            self._failed_at = time.monotonic()
            self._failure = words
        self.stop()

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

    def _await(self, lines: WorkerThread, is_over: Callable[[], bool]) -> None:
        while lines.thread.is_alive():
            self._crew.look()
            if is_over() or self.is_out_of_time:
                self.stop()
            if time.monotonic() >= self._bounds.waits_until:
                self.stop_now()
            if self._is_stopping_now.is_set():
                return
            if self._failure and time.monotonic() - self._failed_at > self.options.stop_seconds:
                return  # what hangs does not hear that it is to stop
            if self._is_stopping.is_set():
                wake.nudge()
            lines.thread.join(timeout=_LOOK_SECONDS)
        self._crew.look()

    def _leave(self) -> None:
        """Give back what is in hand; the journal settles the rest as after a crash, without counting a crash."""
        using = self.options.using
        steps: list[Callable[[], object]] = [partial(give_back, self._store), self._store.flush]
        steps.append(lambda: self._registration.leave(self.transactions))
        if self._held.ids() or not (self.options.is_task or self._is_empty):
            steps[:0] = [lambda: worker_row.abandon(using, self.name), self._take_back]
        try:
            for step in steps:
                insist(using, step, seconds=_LEAVE_SECONDS)  # a deadlock with other workers passes
        except Exception as error:
            words = "Other workers will take back what this one had in hand: %s"
            if is_outage(error):
                logger.warning(words, sentence(using, error), extra=log_fields())
            else:
                logger.exception(words, error, extra=log_fields())
        connections[self.options.using].close()

    def _take_back(self) -> None:
        """Settle by the journal what was in hand; it counts as done here."""
        attempts = self._upkeep.rescue().attempts
        self.left_unknown += sum(len(one.outcomes) for one in attempts)
        with self._lock:
            self.transactions += len(attempts)

    def _run_lines(self, thread: WorkerThread) -> None:
        lines = [self._line(number) for number in range(1, self.options.connections + 1)]
        with answering_from_memory():  # whatever the database is doing, the wires go on
            self._loop.run(lines, busy=thread)
        self._crew.dismiss(thread)

    def _line(self, number: int) -> Steps[None]:
        line = ClaimTask(
            ClaimTaskOptions(
                batch_options=BatchOptions(
                    using=self.options.using,
                    worker=self.name,
                    final_reply_seconds=self.options.final_reply_seconds,
                    keyring=self.options.keyring,
                ),
                batch=self.options.batch,
                # Lines that had begun with as much as each other would all come back for more at the same moment.
                first_batch=min(self.options.batch, _FIRST_BATCH + number) if self.options.connections > 1 else None,
                lease_seconds=self.options.lease_seconds,
                takes_suspects=not self.options.is_task,
            ),
            self,
            routes_of=self.routes_of,
            store=self._store,
            suspects=self._suspects,
        )
        yield from self._claims(line, number)
        self._hardship.leave(number)

    def _claims(self, line: ClaimTask, number: int) -> Steps[None]:
        while self._goes_on():
            yield from self._hardship.wait(number)
            if not self._has_lease():
                yield Rest(_LEASE_SECONDS, is_over=lambda: self._is_stopping.is_set() or self._has_lease())
                continue
            self._idleness.seen = wake.generation()
            try:
                claimed = yield from line.work()
                moves = self._moves
                if not claimed and self.options.until_empty and (yield from self._wants.nothing_is_left()):
                    # Looked at after the claim, something may have been given back in between: claim once more.
                    claimed = yield from line.work()
                    if not claimed and self._has_lease():
                        # The other lines may look now, and end as well; at once where none had anything in hand.
                        self._idleness.is_more, self._is_empty = True, moves == self._moves
                        return
            except Exception as error:
                if is_outage(error):
                    self._outage.note(error)
                else:
                    # Once; the next tries are the same trouble.
                    level = logging.DEBUG if self._hardship.seconds else logging.ERROR
                    words = "A claim of the worker's thread 'lines' failed: %s"
                    logger.log(level, words, error, exc_info=True, extra=log_fields())
                drop_connection(self.options.using)
                line.is_in_trouble = True
            if line.is_in_trouble:
                yield from self._hardship.meet(number, self.options.poll_seconds)
                continue
            self._hardship.end()
            if self.options.is_task and not (claimed and self._idleness.is_more):
                return  # what others hold, or what is due later, is theirs or a sweep's
            if not claimed:
                seconds = self.options.poll_seconds
                if self._wants.stands_still and not self.options.until_empty:
                    seconds = max(seconds, _STANDSTILL_SECONDS)
                yield from self._idleness.rest(seconds, self._goes_on)

    # Keeping.

    def _keeping(self, name: str, work: Callable[[WorkerThread], None], *, is_vital: bool = True) -> WorkerThread:
        one = self._crew.make(name, lambda: work(one), hangs_after=self._hang_seconds, is_vital=is_vital)
        return one

    def _keep(self, thread: WorkerThread, duties: Sequence[Duty], period: float, *, at_once: bool = True) -> None:
        """Run duties in a thread until the worker ends, `period` seconds apart."""
        keep(
            thread,
            duties,
            using=self.options.using,
            outage=self._outage,
            period=period,
            is_over=self._is_done,
            at_once=at_once and not self.options.is_task,
        )
        self._crew.dismiss(thread)

    def _renewals(self, thread: WorkerThread) -> None:
        duties = [
            Duty(name="renew its leases", do=self._renew, limit=_RENEWAL_TRIES),
            Duty(name="note that it is there", do=self._note_presence),
        ]
        self._keep(thread, duties, self.options.lease_seconds / 4, at_once=False)

    def _keeper(self, thread: WorkerThread) -> None:
        duties = [
            # At once, too: what an earlier worker left behind is the first thing to look after.
            Duty(name="take back what was lost", do=self._upkeep.rescue),
            Duty(name="write its counts", do=lambda: self._tallies.write(self.options.using)),
            Duty(name="prune", do=self._upkeep.prune),
        ]
        self._keep(thread, duties, self.options.lease_seconds / 4)

    def _memory(self, thread: WorkerThread) -> None:
        """Write what was noted of routes, in a thread of its own: a locked row delays nothing else."""
        self._keep(thread, [Duty(name="write what it knows of routes", do=self._flush_memory)], _MEMORY_SECONDS)

    def _flush_memory(self) -> None:
        point("memory")
        self._store.flush()

    def _standby(self, thread: WorkerThread) -> None:
        """Probe what carries no mail, in a thread of its own: a hanging server must delay nothing else."""
        every_seconds = self.options.probe_seconds
        assert every_seconds is not None
        duties = [Duty(name="probe standby routes", do=lambda: self._upkeep.probe_standby(every_seconds))]
        self._keep(thread, duties, min(every_seconds, _STANDBY_SECONDS))

    def _note_presence(self) -> None:
        """Say that it is there, unless nothing works: whoever watches must not take that for a worker."""
        self._outage.end()
        if self._hardship.seconds < self.options.lease_seconds:
            self._registration.note(self.transactions)

    def _renew(self) -> None:
        point("renewals")
        # From before the question: the database counts the lease from a later moment, so that its end here comes first.
        began_at = time.monotonic()
        renew(self.options.using, self._held.ids(), worker=self.name, lease_seconds=self.options.lease_seconds)
        self._lease_ends_at = began_at + self._trusted_seconds
