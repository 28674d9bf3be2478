"""A line that meets a route whose row somebody holds: mail of other routes goes first, and then the line rests."""

import threading
from collections.abc import Iterator

import pytest

from reliable_email.delivery.route_memory import MemoryRouteStateStore
from reliable_email.outbox.keyring import Keyring
from reliable_email.outbox.rows.held import PATIENCE_SECONDS, held_routes
from reliable_email.outbox.rows.journal import commit_together
from reliable_email.outbox.worker.batch import BatchOptions
from reliable_email.outbox.worker.blocking import make_here
from reliable_email.outbox.worker.claim_task import ClaimTask, ClaimTaskOptions
from reliable_email.outbox.worker.steps import Rest, Write
from reliable_email.smtp.transaction import Aside
from reliable_email.store.tables.states import State
from tests.outbox.desk import queue, rows
from tests.outbox.network import Network
from tests.outbox.test_statements import Foreman


@pytest.fixture
def held() -> Iterator[Network]:
    """The server of a route whose row another thread has waited for longer than a worker holds one."""
    held_routes.begin("held")
    held_routes._since["held"] -= 2 * PATIENCE_SECONDS
    yield Network("held")
    held_routes.end("held")


def work(using: str, *networks: Network) -> list[float]:
    """Let a line claim once; the seconds for which it rests."""
    routes = {one.alias: [one.route()] for one in networks}
    line = ClaimTask(
        ClaimTaskOptions(batch_options=BatchOptions(using=using, worker="w")),
        Foreman(),
        routes_of=lambda mailer: routes[mailer],
        store=MemoryRouteStateStore(),
        suspects=threading.Lock(),
    )
    rests = []
    for step in line.work():
        if isinstance(step, Write):
            step.done(commit_together(using, [step.request], keyring=Keyring())[0])
        elif isinstance(step, Aside):
            make_here(step)
        else:
            assert isinstance(step, Rest)
            rests.append(step.seconds)
    return rests


def test_a_line_rests_where_the_row_of_its_route_is_held(using: str, held: Network) -> None:
    """What it gave back can be claimed at once: without a rest it would go round as fast as the database allows."""
    queue(using, "ok@example.com", mailer="held")
    assert work(using, held) == [PATIENCE_SECONDS]
    assert not held.taken
    assert [(one.state, one.attempts) for one in rows(using)] == [(State.QUEUED, 0)]


def test_a_line_does_not_rest_where_no_row_is_held(using: str) -> None:
    """There is more to claim."""
    network = Network("free")
    queue(using, "ok@example.com", mailer="free")
    assert work(using, network) == []
    assert sum(network.taken.values()) == 1


def test_a_held_route_keeps_back_no_other_mail_of_the_same_claim(using: str, held: Network) -> None:
    """It comes last in the claim, though its message was the first."""
    free = Network("free")
    queue(using, "first@example.com", mailer="held")
    queue(using, "ok@example.com", mailer="free")
    assert work(using, held, free) == [PATIENCE_SECONDS]
    assert sum(free.taken.values()) == 1
    assert not held.taken
    assert [one.state for one in rows(using)] == [State.QUEUED, State.ACCEPTED]
