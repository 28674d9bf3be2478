"""Both engines behind one face: hand over a message, and see what became of it and who was asked."""

import threading
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from reliable_email.delivery.direct import Delivery
from reliable_email.delivery.route import Route
from reliable_email.delivery.route_memory import MemoryRouteStateStore
from reliable_email.delivery.words import OnUnknown
from reliable_email.outbox.keyring import Keyring
from reliable_email.outbox.rows.claim import Claim, Wanted
from reliable_email.outbox.rows.journal import Written, commit_together
from reliable_email.outbox.rows.settle import AttemptRow, Settlement
from reliable_email.outbox.rows.standing import STANDS_SECONDS
from reliable_email.outbox.worker.batch import BatchOptions
from reliable_email.outbox.worker.claim_task import ClaimTask, ClaimTaskOptions
from reliable_email.outbox.worker.steps import Write
from reliable_email.store.sql.clock import DatabaseNow
from reliable_email.store.tables.attempts import Attempt
from reliable_email.store.tables.recipients import OutboxRecipient
from tests.engines.routes import Asked, routes_of
from tests.outbox.desk import let_time_pass, queue, submission
from tests.outbox.driving import run_here


@dataclass
class Told:
    """What an engine says.

    Attributes:
        ends: by the local part: `accepted`, `rejected`, `unknown`, or how else it stands.
        asked: routes in the order in which they were asked.
        causes: by the local part.
        attempts: of the recipient's row, or of its report.
    """

    ends: dict[str, str]
    asked: list[Asked]
    causes: dict[str, str] = field(default_factory=dict)
    attempts: dict[str, int] = field(default_factory=dict)

    @property
    def order(self) -> str:
        """Who was asked, as letters."""
        return "".join(one.route for one in self.asked)


class Foreman:
    """Lets a line claim and go on."""

    name = "w"
    is_heard = False

    def may_claim(self) -> bool:
        """See the protocol."""
        return True

    may_go_on = may_authorize = may_claim

    def wanted(self) -> Wanted:
        """See the protocol."""
        return Wanted(environment="")

    def has_claimed(self, taken: Claim) -> Collection[int]:
        """See the protocol."""
        return ()

    def has_written(self, settlements: Sequence[Settlement], attempts: Sequence[AttemptRow], written: Written) -> None:
        """See the protocol."""

    def has_finished(self, taken: Claim, transactions: int) -> None:
        """See the protocol."""


@dataclass
class World:
    """Routes, what is known of them, and a clock that a test moves."""

    scripts: Sequence[str]
    max_attempts: int = 2
    paused: Sequence[str] = ()
    at: float = 1_800_000_000.0
    asked: list[Asked] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.routes = routes_of(self.scripts, self.asked, max_attempts=self.max_attempts)
        self.store = MemoryRouteStateStore(clock=lambda: self.at)
        for route in self.routes:
            if route.alias in self.paused:
                self.store.pause(route, by="an operator")

    def order(self, alias: str) -> int:
        """How often a route was asked."""
        return sum(one.route == alias for one in self.asked)

    def sleep(self, seconds: float) -> None:
        """Let it pass."""
        self.at += seconds


SITE = "site@example.org"


def directly(world: World, to: Sequence[str], *, on_unknown: OnUnknown | None = None, sender: str = SITE) -> Told:
    """Send at once."""
    delivery = Delivery(world.routes, store=world.store, sleep=world.sleep, random=lambda: 0.5)
    [report] = delivery.deliver([submission(to=to, on_unknown=on_unknown, sender=sender)])
    return Told(
        ends={_local(address): one.outcome.value for address, one in report.recipients.items()},
        asked=world.asked,
        causes={_local(address): one.cause.value if one.cause else "" for address, one in report.recipients.items()},
        attempts={_local(address): one.attempts for address, one in report.recipients.items()},
    )


def by_queue(
    world: World,
    to: Sequence[str],
    *,
    using: str,
    rounds: int = 1,
    on_unknown: OnUnknown | None = None,
    sender: str = SITE,
) -> Told:
    """Queue it, and let one line of a worker work through so many claims; between them everything falls due."""
    message = queue(using, *to, on_unknown=on_unknown, sender=sender)
    for number in range(rounds):
        if number:
            let_time_pass(using)
            Attempt.objects.using(using).update(finished_at=DatabaseNow(-2 * STANDS_SECONDS))
            world.sleep(2 * STANDS_SECONDS)
        work(using, world.routes, world.store)
    rows = list(OutboxRecipient.objects.using(using).filter(message=message).order_by("position"))
    return Told(
        ends={_local(row.address): row.state for row in rows},
        asked=world.asked,
        causes={_local(row.address): row.cause for row in rows},
        attempts={_local(row.address): row.attempts for row in rows},
    )


def work(using: str, routes: Sequence[Route], store: MemoryRouteStateStore) -> int:
    """One line of a worker, in this thread: claims once, and takes it as far as it gets."""

    def write(step: Write) -> None:
        [written] = commit_together(using, [step.request], keyring=Keyring())
        step.done(written)

    line = ClaimTask(
        ClaimTaskOptions(batch_options=BatchOptions(using=using, worker="w")),
        Foreman(),
        routes_of=lambda mailer: routes,
        store=store,
        suspects=threading.Lock(),
    )
    return run_here(line.work(), write)


def _local(address: str) -> str:
    return address.partition("@")[0]
