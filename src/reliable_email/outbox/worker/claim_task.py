"""One connection of a worker: claims, takes the claim over the routes, begins again; see `outbox.worker.steps`."""

import logging
import threading
from collections.abc import Callable, Collection, Sequence
from typing import Protocol

from reliable_email.delivery.route import Route
from reliable_email.delivery.route_memory import RouteStateStore, writing_nothing
from reliable_email.delivery.telling.log_records import log_fields
from reliable_email.outbox.rows.claim import Claim, Wanted, claim
from reliable_email.outbox.rows.held import PATIENCE_SECONDS
from reliable_email.outbox.rows.journal import Intent, Request, Written
from reliable_email.outbox.rows.settle import AttemptRow, Settlement
from reliable_email.outbox.rows.sql import Tables, marks
from reliable_email.outbox.upkeep.reconnect import drop_connection, insist
from reliable_email.outbox.worker.batch import Batch, BatchOptions
from reliable_email.outbox.worker.steps import Read, Rest, Steps, Write
from reliable_email.records import dataclass
from reliable_email.smtp.transaction import Aside
from reliable_email.store.sql.outages import is_outage, sentence
from reliable_email.store.tables.states import State

logger = logging.getLogger("reliable_email.outbox")

# While the wire waits for a permission, the database may be away for so long.
_AUTHORIZE_SECONDS = 5.0
# Outcomes that were read are worth waiting for: a restart of the database takes a while.
_FINISH_SECONDS = 300.0
# So many permissions that are refused in a row are no accident, such as messages that were cancelled in hand.
_MAX_REFUSALS = 3


class Foreman(Protocol):
    """The questions and reports of a claim task to its worker."""

    name: str

    def may_claim(self) -> bool:
        """Return whether more is to be claimed."""

    def may_go_on(self) -> bool:
        """Return whether a further message of the claim may be begun."""

    def may_authorize(self) -> bool:
        """Return whether the lease is certainly live and the worker was not told to stop at once."""

    def wanted(self) -> Wanted:
        """Return the conditions on the rows to claim."""

    def has_claimed(self, taken: Claim) -> Collection[int]:
        """Note a claim and renew its lease from now on; return the ids of rows to give back at once."""

    @property
    def is_heard(self) -> bool:
        """True if `has_written` calls other people's code."""

    def has_written(self, settlements: Sequence[Settlement], attempts: Sequence[AttemptRow], written: Written) -> None:
        """Count, log and signal what was committed."""

    def has_finished(self, taken: Claim, transactions: int) -> None:
        """Count a finished claim, and stop renewing it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimTaskOptions:
    """The options with which a claim task claims.

    Attributes:
        first_batch: what it takes at first, and again once less was there; then twice as much each time, up to `batch`.
            Always as much as `batch` where that is None.
        takes_suspects: whether it takes, alone, what had a worker die on it.
    """

    batch_options: BatchOptions
    batch: int = 100
    first_batch: int | None = None
    lease_seconds: float = 60.0
    takes_suspects: bool = True


class ClaimTask:
    """One connection of a worker: it claims, sends what it claimed, and claims again.

    Args:
        suspects: held while a recipient is in hand that had a worker die on it: one at a time in the process, so that
            the next crash accuses no other.
    """

    def __init__(
        self,
        options: ClaimTaskOptions,
        foreman: Foreman,
        *,
        routes_of: Callable[[str], Sequence[Route]],
        store: RouteStateStore,
        suspects: threading.Lock,
    ) -> None:
        self._options = options
        self._using = options.batch_options.using
        self._foreman = foreman
        self._routes_of = routes_of
        self._store = store
        self._suspects = suspects
        self._batch = self._first_batch = options.first_batch or options.batch
        # Whether the last claim failed as a whole, or was permitted nothing: claimed again at once, it would only make
        # connections.
        self.is_in_trouble = False

    def work(self) -> Steps[int]:
        """Claim once and take it as far as it gets; how many recipients were claimed.

        Raises:
            django.db.Error: the database is away.
        """
        self.is_in_trouble = False
        claiming = Read(lambda: self._claim(suspects=False))
        yield claiming
        taken = claiming.result()
        self._share(taken)
        if taken.rows:
            yield from self._take(taken)
            return len(taken.rows)
        return (yield from self._work_on_suspect()) if self._options.takes_suspects else 0

    def _share(self, taken: Claim) -> None:
        """Take more where there is more: one line that took a small backlog whole would be the only one at work."""
        is_full = len(taken.rows) >= self._batch
        self._batch = min(2 * self._batch, self._options.batch) if is_full else self._first_batch

    def _work_on_suspect(self) -> Steps[int]:
        claiming = Read(self._claim_suspect)
        yield claiming
        taken = claiming.result()
        if not taken.rows:
            return 0
        try:
            yield from self._take(taken)
            return len(taken.rows)
        finally:
            self._suspects.release()

    def _claim(self, *, suspects: bool) -> Claim:
        if not self._foreman.may_claim():
            return Claim(number=0)
        with writing_nothing():
            wanted = self._foreman.wanted()
        return claim(
            self._using,
            wanted,
            worker=self._foreman.name,
            limit=self._batch,
            lease_seconds=self._options.lease_seconds,
            suspects=suspects,
        )

    def _claim_suspect(self) -> Claim:
        """Claim one, and hold on to `suspects` where there was one."""
        if not self._suspects.acquire(blocking=False):
            return Claim(number=0)
        try:
            taken = self._claim(suspects=True)
            self._note_start(taken)
        except BaseException:
            self._suspects.release()
            raise
        if not taken.rows:
            self._suspects.release()
        return taken

    def _note_start(self, taken: Claim) -> None:
        tables = Tables(self._using)
        for row in taken.rows:
            tables.run(
                "suspect:start",
                f"UPDATE {tables.recipient} SET started_at = {tables.now()} WHERE id = %s AND claim = %s",  # noqa: S608
                [row.id, taken.number],
            )

    def _insist_on_letting_go(self, taken: Claim) -> Steps[None]:
        letting_go = Aside(lambda: insist(self._using, lambda: self._let_go(taken), seconds=_FINISH_SECONDS))
        yield letting_go
        letting_go.result()

    def _let_go(self, taken: Claim) -> None:
        """End the claim's lease: rescue does the rest."""
        tables = Tables(self._using)
        states = [state.value for state in State if state.is_in_hand]
        sql = (
            f"UPDATE {tables.recipient} SET lease_until = {tables.now(-1)} "  # noqa: S608 - names and clock
            f"WHERE state IN ({marks(states)}) AND claim = %s AND claimed_by = %s"
        )
        tables.run("let_go", sql, [*states, taken.number, self._foreman.name])

    def _take(self, taken: Claim) -> Steps[None]:
        give_back = self._foreman.has_claimed(taken)
        is_repeat = False
        seconds = _AUTHORIZE_SECONDS
        refusals = 0  # in a row: each has cost a connection

        def may_authorize() -> bool:
            nonlocal refusals
            may = self._foreman.may_authorize()
            refusals += not may
            return may

        def may_go_on() -> bool:
            return refusals < _MAX_REFUSALS and self._foreman.may_go_on()

        def write(
            settlements: Sequence[Settlement], attempts: Sequence[AttemptRow], intents: Sequence[Intent]
        ) -> Steps[Written]:
            nonlocal is_repeat, refusals
            writing = Write(
                Request(settlements=settlements, attempts=attempts, intents=intents, is_repeat=is_repeat), seconds
            )
            is_repeat = True  # where it fails, it may have been committed all the same
            yield writing
            written = writing.result()
            is_repeat = False
            # What a quota has no room for says nothing of the lease.
            answers = [
                may
                for intent, may, is_paid in zip(intents, written.permitted, written.reserved, strict=True)
                if intent.reserve is None or is_paid
            ]
            if answers:
                refusals = 0 if any(answers) else refusals + 1
            if self._foreman.is_heard and (settlements or attempts):
                # Receivers may do anything, and take their time.
                telling = Aside(lambda: self._foreman.has_written(settlements, attempts, written))
                yield telling
                telling.result()
            else:
                self._foreman.has_written(settlements, attempts, written)
            return written

        batch = Batch(
            taken,
            self._options.batch_options,
            routes_of=self._routes_of,
            store=self._store,
            write=write,
            give_back=give_back,
            may_go_on=may_go_on,
            may_authorize=may_authorize,
        )
        try:
            yield from batch.run()
            self.is_in_trouble = bool(refusals)
            if batch.is_held:  # what was given back may be claimed at once, and would only come back
                yield Rest(PATIENCE_SECONDS)
        except Exception as error:
            self.is_in_trouble = True
            seconds = _FINISH_SECONDS
            if is_outage(error):
                logger.warning("A claim was interrupted: %s", sentence(self._using, error), extra=log_fields())
                drop_connection(self._using)
                yield from batch.finish()
                if batch.is_in_doubt:
                    yield from self._insist_on_letting_go(taken)
                if not batch.is_loaded:
                    raise  # told by whoever knows how long it lasts
                return
            # Anything, in code of anybody's, about some message of this claim. It is treated as a crash with the claim
            # in hand: its messages are tried one by one, and the one that is to blame is parked after a few times.
            logger.exception("A claim of the worker's thread 'lines' ended with an error", extra=log_fields())
            try:
                yield from batch.write_known()
            except Exception:
                logger.exception("The results of the claim cannot be written", extra=log_fields())
            yield from self._insist_on_letting_go(taken)
        finally:
            self._foreman.has_finished(taken, batch.transactions)
