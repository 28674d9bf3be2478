"""One message that the only route hangs up on, and those that wait beside it."""

from collections.abc import Generator
from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest
from django.db.models import F

from reliable_email.delivery.breaker import Phase
from reliable_email.smtp.transaction import Job, Transaction, WireStep
from reliable_email.store.tables.recipients import OutboxRecipient
from reliable_email.store.tables.states import State
from tests.engines.doors import World, work
from tests.engines.routes import Scripted
from tests.outbox.desk import queue, rows

pytestmark = pytest.mark.usefixtures("no_suppressions")

STEP_SECONDS = 60.0


@dataclass(eq=False)
class HangsUpOnOne(Scripted):
    """Says 421 to whatever is for `bad@…`, and takes everything else."""

    ways: tuple[Scripted, Scripted] = field(kw_only=True)

    def _one(self, job: Job) -> Generator[WireStep, None, Transaction]:
        bad, good = self.ways
        return (yield from (bad if job.recipients[0].startswith("bad@") else good)._one(job))


def pass_time(world: World, using: str) -> None:
    """A minute, for the route's memory and for the queue."""
    world.sleep(STEP_SECONDS)
    OutboxRecipient.objects.using(using).exclude(due_at=None).update(
        due_at=F("due_at") - timedelta(seconds=STEP_SECONDS)
    )


def test_a_message_that_the_only_route_hangs_up_on_holds_the_others_up_for_minutes_at_most(using: str) -> None:
    """Every try of it is a failed probe, and doubles the time; whoever else waits has the route probed soon."""
    world = World(["250"])
    ways = (
        Scripted("a", ["mail:421 4.3.2 closing"], world.asked),
        Scripted("a", ["250"], world.asked),
    )
    route = replace(world.routes[0], transport=HangsUpOnOne("a", ["250"], world.asked, ways=ways))
    queue(using, "bad@example.com")
    minutes = 0
    while len(world.asked) < 7:
        pass_time(world, using)
        work(using, [route], world.store)
        minutes += 1
    assert minutes > 60  # asked by the queue's schedule, and no oftener
    state = world.store.read(route)
    assert state.phase is Phase.OPEN
    assert state.until - world.at > 2 * STEP_SECONDS
    queue(using, "good@example.com")
    for _ in range(3):
        work(using, [route], world.store)
        pass_time(world, using)
    bad, good = rows(using)
    assert good.state == State.ACCEPTED
    assert bad.state == State.QUEUED
    assert len(world.asked) == 8
