"""One claim's way over the routes, on one connection: choose, send, settle, and turn to the next route.

The transport asks before each terminator; the answer is one commit that settles what is finished and journals what
comes next. What the database could not take is kept and written later: no reply that was read is thrown away.
"""

import logging
import random
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from functools import partial

from django.core.exceptions import ImproperlyConfigured

from reliable_email.classification import Cause, Failure
from reliable_email.delivery.breaker import Phase
from reliable_email.delivery.failures import never_tried, raised
from reliable_email.delivery.given_ids import given_id
from reliable_email.delivery.passages.passage import Passage
from reliable_email.delivery.passages.progress import QUEUED, Fate, Progress, Send, is_withheld
from reliable_email.delivery.route import Route
from reliable_email.delivery.route_memory import RouteStateStore, writing_nothing
from reliable_email.delivery.telling import tracing
from reliable_email.delivery.telling.log_records import log_fields
from reliable_email.delivery.telling.tracing import tracing_round
from reliable_email.outbox.faultpoints import point
from reliable_email.outbox.keyring import Keyring
from reliable_email.outbox.operations.holds import held_by, standing_holds
from reliable_email.outbox.operations.suppression_list import suppressed
from reliable_email.outbox.rows.claim import Claim, Claimed
from reliable_email.outbox.rows.held import held_routes
from reliable_email.outbox.rows.journal import Intent, Written
from reliable_email.outbox.rows.loading import StoredMessage, load_messages, slices
from reliable_email.outbox.rows.settle import AttemptRow, Evidence, Settlement
from reliable_email.outbox.rows.standing import refused_long_ago
from reliable_email.outbox.rows.transitions import Event
from reliable_email.outbox.upkeep.delivery_log import log_written
from reliable_email.outbox.worker.jobs import Contents, Loaded, Missing, Turn, job_of, no_job
from reliable_email.outbox.worker.permits import Wish, permitted_by
from reliable_email.outbox.worker.settlements import (
    MISCONFIGURED_SECONDS,
    attempt_of,
    claimed_of,
    ended,
    progress_of,
    settlement_of,
    stored_of,
    trace_of,
)
from reliable_email.outbox.worker.steps import Read, Steps
from reliable_email.records import dataclass, field
from reliable_email.smtp.deadline import Deadline
from reliable_email.smtp.transaction import Aside, Ask, Grant, Job, Transaction
from reliable_email.store.tables.states import State

logger = logging.getLogger("reliable_email.outbox")
# Transactions whose outcome is only in memory, where nothing is asked for permission (all of them were refused).
_PENDING = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchOptions:
    """The options of a batch.

    Attributes:
        using: alias of the database.
        worker: unique name of the worker.
        final_reply_seconds: how long a late reply may take; resends wait for it.
        keyring: for content at rest.
    """

    using: str
    worker: str
    final_reply_seconds: float = 600.0
    keyring: Keyring = field(default_factory=Keyring)


class Batch:
    """One claim's way over the routes, on one connection.

    Args:
        claim: what was claimed.
        routes_of: the routes of a mailer, the preferred one first; raises LookupError where there is no such mailer.
        store: what is remembered of routes.
        write: commits settlements, attempts and intents; see `journal.commit`.
        give_back: ids of rows that are not for this line after all.
        may_go_on: asked before each message; False ends the batch, and what was not begun is released.
        may_authorize: asked before each permission.

    It is long because all of its steps add to the same lists of what the next commit settles, appends and permits.
    """

    def __init__(
        self,
        claim: Claim,
        options: BatchOptions,
        *,
        routes_of: Callable[[str], Sequence[Route]],
        store: RouteStateStore,
        write: Callable[[Sequence[Settlement], Sequence[AttemptRow], Sequence[Intent]], Steps[Written]],
        give_back: Collection[int] = (),
        may_go_on: Callable[[], bool] = lambda: True,
        may_authorize: Callable[[], bool] = lambda: True,
    ) -> None:
        self._claim = claim
        self._options = options
        self._routes_of = routes_of
        self._store = store
        self._write = write
        self._give_back = give_back
        self._may_go_on = may_go_on
        self._may_authorize = may_authorize
        self._settlements: list[Settlement] = []
        self._attempts: list[AttemptRow] = []
        self._recipients: list[Progress] = []
        self._passages: list[Passage] = []
        self._said: dict[str, Failure] = {}  # by routes, a moment ago
        self._messages: dict[int, StoredMessage] = {}
        self._contents = Contents(options.using, options.keyring, {})
        self._routes: dict[str, list[Route]] = {}
        self.is_held = False  # by whoever has a route's row: what was not begun goes back, for another time
        self.is_loaded = False
        self.transactions = 0

    def _goes_on(self) -> bool:
        return not self.is_held and self._may_go_on()

    def write_known(self) -> Steps[None]:
        """Write what is known, and leave the rest in hand."""
        yield from self._flush()

    def finish(self) -> Steps[None]:
        """Write what is known and give back the rest; again, after `run` or this has raised."""
        yield from self._release()

    def run(self) -> Steps[None]:
        """Take every recipient of the claim as far as it gets now. All that is known is written when it ends."""
        loading = Read(self._load)
        yield loading
        self._passages = loading.result()
        self.is_loaded = True
        yield from self._flush()
        traceparents = [message.traceparent for message in self._messages.values()]
        with tracing_round(worker=self._options.worker, traceparents=traceparents):
            yield from self._take_over_the_routes()
        yield from self._release()

    def _take_over_the_routes(self) -> Steps[None]:
        while self._goes_on():
            plan = self._plan([one for one in self._passages if self._is_simple(one)])
            others = [] if plan else [one for one in self._passages if not self._is_simple(one)]
            if others:
                # Probes are the database's to give: by a thread of this line's own, and behind those that need none.
                planning = Aside(partial(self._plan, others))
                yield planning
                plan = planning.result()
            if not plan:
                break
            for route, sends in plan:
                yield from self._send(route, sends)
            yield from self._flush()
        if self._goes_on():
            for passage in self._passages:
                for one in passage.close():
                    self._settlements.append(self._settlement(one, None, stored_of(passage)))

    def _is_simple(self, passage: Passage) -> bool:
        """Return whether every route is in use, so that planning needs no probe."""
        return all(self._store.read(route).phase is Phase.CLOSED for route in passage.routes)

    @writing_nothing()
    def _load(self) -> list[Passage]:
        """Read the messages, and sort out those that no route has to be asked for."""
        messages, stored = load_messages(self._options.using, (one.message_id for one in self._claim.rows))
        self._contents = Contents(self._options.using, self._options.keyring, stored)
        self._messages = messages
        rows = self._claim.rows
        unwanted = suppressed(self._options.using, [one.address for one in rows])
        stale = refused_long_ago(self._options.using, rows)
        holds = standing_holds(self._options.using)
        going: dict[int, list[Progress]] = {}
        for claimed in rows:
            one = progress_of(claimed, may_stand=claimed.message_id in stale)
            self._recipients.append(one)
            if claimed.id in self._give_back:
                self._end(one, Fate.RELEASED, ended(one, Event.RELEASE))
            elif claimed.is_over:
                self._end(one, Fate.LATER, ended(one, Event.GIVE_UP))
            elif claimed.address.lower() in unwanted:
                detail = "the address is on the suppression list"
                self._end(one, Fate.REJECTED, ended(one, Event.REJECT, Cause.SUPPRESSED.value, detail))
            elif (hold := held_by(holds, claimed, messages.get(claimed.message_id))) is not None:
                self._end(one, Fate.PARKED, ended(one, Event.PARK, "held", f"held by {hold.actor}"))
            elif self._has_routes(one, claimed.mailer):
                going.setdefault(claimed.message_id, []).append(one)
        return [self._passage(messages[pk], recipients) for pk, recipients in going.items()]

    def _has_routes(self, one: Progress, mailer: str) -> bool:
        try:
            if mailer not in self._routes:
                self._routes[mailer] = list(self._routes_of(mailer))
                for route in self._routes[mailer]:
                    self._store.read(route)  # known from here on, to threads that do not ask
        except LookupError as error:
            detail = str(error.args[0] if error.args else "")
            self._end(one, Fate.PARKED, ended(one, Event.PARK, "no_such_mailer", detail))
        except ImproperlyConfigured as error:
            waiting = ended(one, Event.DEFER, "misconfigured", str(error), in_seconds=MISCONFIGURED_SECONDS)
            self._end(one, Fate.LATER, waiting)
        else:
            return True
        return False

    def _end(self, one: Progress, fate: Fate, settlement: Settlement) -> None:
        one.fate = fate
        self._settlements.append(settlement)

    def _passage(self, message: StoredMessage, recipients: list[Progress]) -> Passage:
        first = recipients[0].key
        assert isinstance(first, Claimed)
        return Passage(
            recipients,
            self._routes[first.mailer],
            self._store,
            QUEUED,
            from_domain=message.from_domain,
            size=message.content_size,
            priority=first.priority.priority,
            on_unknown=message.on_unknown,
            said=self._said,
            key=message,
        )

    # Sending.

    def _plan(self, passages: Sequence[Passage]) -> list[tuple[Route, list[Send]]]:
        """Return the next envelopes by route. An envelope that must go alone has a stream of its own."""
        plan: dict[str, tuple[Route, list[Send]]] = {}
        for passage in passages:
            for send in passage.next_sends():
                key = f"{send.route.alias}\0{id(send)}" if send.is_alone else send.route.alias
                plan.setdefault(key, (send.route, []))[1].append(send)
            for one in passage.ended_unasked():
                self._settlements.append(self._settlement(one, None, stored_of(passage)))
        # Those without a quota first, held ones last: a held row of a route delays nobody else's mail.
        return sorted(plan.values(), key=lambda one: (held_routes.holds(one[0].alias), bool(one[0].quotas)))

    def _send(self, route: Route, sends: list[Send]) -> Steps[None]:
        """Send by one route, a few megabytes at a time: what is not in memory yet is read beside the wire's thread."""
        by_message: dict[int, list[Send]] = {}
        for send in sends:
            by_message.setdefault(stored_of(send.passage).id, []).append(send)
        for messages in slices(stored_of(group[0].passage) for group in by_message.values()):
            waiting = deque(send for message in messages for send in by_message[message.id])
            if not self._goes_on():
                for send in waiting:
                    send.passage.withdraw(send)
                continue
            if self._contents.are_here(route, messages):
                contents, missing = self._contents.load(route, messages)
            else:
                reading = Read(partial(self._contents.load, route, messages))
                yield reading
                contents, missing = reading.result()
            for one in missing:
                self._park(one)
            yield from self._stream(route, waiting, contents)

    def _stream(self, route: Route, waiting: deque[Send], contents: Mapping[int, Loaded]) -> Steps[None]:
        """Send what waits. Code that raises ends the attempt of the message that it was about, and no other."""
        while waiting:
            turns: dict[int, Turn] = {}
            error = yield from self._submit(route, waiting, contents, turns)
            left = [turn for turn in turns.values() if not turn.send.is_taken]
            if error is None:
                for turn in left:  # a transport that forgot a job has not sent it
                    self._take(turn, never_tried(turn.job))
                continue
            if not turns and waiting:
                send = waiting.popleft()
                left = [Turn(send, no_job(send.addresses))]
            for turn in left:
                if turn.handed_over or len(left) == 1:
                    self._take(turn, raised(turn.job, error, handed_over=turn.handed_over))
                else:  # by itself it shows whether it is to blame
                    yield from self._stream(route, deque([turn.send]), contents)

    def _submit(
        self, route: Route, waiting: deque[Send], contents: Mapping[int, Loaded], turns: dict[int, Turn]
    ) -> Steps[Exception | None]:
        """Drive one stream of the transport; what its code raised, where it did."""
        point("send:begin")
        jobs = self._jobs(waiting, contents, turns)
        # Closed, whatever happens: what is half said on the wire must not stay there.
        with closing(route.transport.steps(jobs, deadline=Deadline(route.timeout))) as steps:
            while True:
                # Only what the transport's own code raises is about a message. The database's errors are the line's.
                try:
                    step = next(steps, None)
                except Exception as error:
                    logger.exception("Sending by the route %s raised an error", route.alias, extra=log_fields())
                    return error
                if step is None:
                    break
                if isinstance(step, Transaction):
                    self._take(turns[id(step.job)], step)
                    if len(self._attempts) >= _PENDING:
                        yield from self._flush()
                elif isinstance(step, Ask):
                    step.allowed = yield from self._authorize(turns, step.grants, step.settled)
                else:
                    yield step
        point("send:end")
        return None

    def _jobs(self, waiting: deque[Send], contents: Mapping[int, Loaded], turns: dict[int, Turn]) -> Iterator[Job]:
        """Jobs with their contents, for as long as the worker goes on and the route is open."""
        while waiting:
            send = waiting.popleft()
            content = contents.get(stored_of(send.passage).id)
            self.is_held |= held_routes.holds(send.route.alias)
            if content is None or not self._goes_on():
                send.passage.withdraw(send)
            # It may have closed under this very batch: the others need not find that out one by one.
            elif send.passage.may_still_go(send):
                job = job_of(send, stored_of(send.passage), content)
                turn = turns[id(job)] = Turn(send, job)
                if content.error is not None:
                    self._take(turn, raised(job, content.error, handed_over=()))
                    continue
                point("send:job")
                yield job

    def _park(self, missing: Missing) -> None:
        """Park a message that cannot be sent until an operator acts."""
        if missing.cause == "key_missing":
            logger.error("A message cannot be read: %s", missing.detail, extra=log_fields(cause=missing.cause))
        for passage in self._passages:
            if passage.key is missing.message:
                for one in passage.open:
                    self._end(one, Fate.PARKED, ended(one, Event.PARK, missing.cause, missing.detail))

    def _authorize(
        self, turns: Mapping[int, Turn], grants: Sequence[Grant], settled: Sequence[Transaction]
    ) -> Steps[Collection[Job]]:
        for transaction in settled:
            self._take(turns[id(transaction.job)], transaction)
        if not self._may_authorize():  # what is settled is taken all the same: it is known, and written at the end
            return []
        wishes: list[Wish] = []
        for grant in grants:
            turn = turns[id(grant.job)]
            send = turn.send
            # What was refused at RCPT is written before it could become unknown; what goes on stays claimed.
            for one in send.passage.refuse_early(send, grant.refused, now=self._now()):
                self._settle(send, one)
            granted = set(grant.recipients)
            going = [one for one in send.recipients if one.address in granted]
            priority = claimed_of(going[0]).priority.priority
            wishes.append(Wish([claimed_of(one) for one in going], send.route, priority))
        permitted, reserved = yield from permitted_by(wishes, self._store, self._options.using, self._flush)
        for grant, wish, is_reserved in zip(grants, wishes, reserved, strict=True):
            if is_reserved:  # and given back, where it is not used
                turns[id(grant.job)].send.reserved = len(wish.recipients)
                turns[id(grant.job)].send.reserved_at = self._store.now()
        if not self._may_authorize():
            return []  # the lease ended, or somebody said stop, while this was written
        allowed = []
        for grant, may in zip(grants, permitted, strict=True):
            if may:
                turns[id(grant.job)].handed_over = grant.recipients
                allowed.append(grant.job)
        return allowed

    # Judging.

    def _take(self, turn: Turn, transaction: Transaction) -> None:
        """Take a finished transaction, once."""
        send = turn.send
        if send.is_taken:
            return
        if is_withheld(transaction) and held_routes.holds(send.route.alias):
            send.is_taken = self.is_held = True
            send.passage.withdraw(send)
            return
        self.transactions += 1
        provider_message_id = given_id(send.route, transaction)
        for one in send.passage.take(send, transaction, now=self._now()):
            self._settle(send, one, provider_message_id)
        if not is_withheld(transaction):
            message = stored_of(send.passage)
            attempt = attempt_of(
                send, transaction, message, self._claim.number, self._options.worker, provider_message_id
            )
            self._attempts.append(attempt)
            if tracing.tracer is not None:
                tracing.tracer.attempt(trace_of(attempt, message))

    def _settle(self, send: Send, one: Progress, provider_message_id: str = "") -> None:
        self._settlements.append(self._settlement(one, send.route, stored_of(send.passage), provider_message_id))

    def _settlement(
        self, one: Progress, route: Route | None, message: StoredMessage, provider_message_id: str = ""
    ) -> Settlement:
        return settlement_of(
            one,
            route=route,
            encryption_key=message.encryption_key,
            jitter=random.random(),  # noqa: S311 - no secret
            final_reply_seconds=self._options.final_reply_seconds,
            provider_message_id=provider_message_id,
        )

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._store.now(), tz=UTC)

    # Writing.

    def _flush(self, intents: Sequence[Intent] = ()) -> Steps[Written]:
        """Write what is known. Where that raises, nothing was written, and all of it is kept for the next time."""
        if not (self._settlements or self._attempts or intents):
            return Written(permitted=[], settled=[])
        settlements, attempts = self._settlements, self._attempts
        # Emptied behind the write: with each of them gone before, an error would lose replies that were read.
        written = yield from self._write(settlements, attempts, intents)
        self._settlements, self._attempts = [], []  # before anything else: written once more, they would count twice
        log_written(self._messages, settlements, attempts, written.settled)
        return written

    @property
    def is_in_doubt(self) -> bool:
        """True if a recipient was handed over, or may have been, and its outcome is not known."""
        in_hand = [claimed_of(one) for one in self._recipients if one.fate is Fate.OPEN]
        return any(one.delivery.state is State.AUTHORIZED for one in in_hand)

    def _release(self) -> Steps[None]:
        """Write what is known, which says who is still in hand, and give back what was not begun."""
        if not self.is_loaded:
            no_evidence = Evidence()
            self._settlements = [
                Settlement(claimed=one, event=Event.RELEASE, evidence=no_evidence) for one in self._claim.rows
            ]
        yield from self._flush()
        for one in self._recipients:
            # A permission that was given and never answered for may have been used: a flight was in the air.
            if one.fate is Fate.OPEN and claimed_of(one).delivery.state is State.CLAIMED:
                self._end(one, Fate.RELEASED, ended(one, Event.RELEASE))
        yield from self._flush()
