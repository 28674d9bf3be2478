"""A worker's lines ask no database for routes: a row that somebody holds delays nobody else."""

import threading

import pytest
from django.db import connections, transaction

from reliable_email.outbox.worker.process import Worker, WorkerOptions
from reliable_email.providers import Quota
from reliable_email.smtp.transaction import Job
from reliable_email.store.memory.route_state import DatabaseRouteStateStore
from reliable_email.store.tables.shared import RouteState
from reliable_email.store.tables.states import State
from tests.outbox.desk import queue, rows
from tests.outbox.network import Network


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("lines", "batch"), [(2, 100), (4, 2)], ids=["a claim each", "more claims of the held lane than lines"]
)
def test_a_locked_row_of_one_route_delays_no_other_lane(using: str, lines: int, batch: int) -> None:
    """While a route's row is held, another mailer's messages are delivered; the first goes on when it is free."""
    if connections[using].vendor == "sqlite":
        pytest.skip("SQLite locks whole databases")
    store = DatabaseRouteStateStore(using)
    counted, other = Network("counted"), Network("other")
    routes = {
        "counted": [counted.route(quotas=(Quota(window_seconds=86400, limit=1000),))],
        "other": [other.route()],
    }
    store.pause(routes["counted"][0], by="a test")  # so that there is a row
    store.resume(routes["counted"][0])
    for number in range(20):
        queue(using, f"ok{number}@example.com", mailer="counted")
        queue(using, f"ok{number}@example.org", mailer="other")
    all_others_are_through = threading.Event()

    def note(job: Job) -> None:
        if sum(other.taken.values()) >= 20:
            all_others_are_through.set()

    other.after_send = note
    options = WorkerOptions(using=using, connections=lines, batch=batch, poll_seconds=0.05, lease_seconds=30.0)
    worker = Worker(options, routes_of=lambda mailer: routes[mailer], store=store)
    thread = threading.Thread(target=worker.run)
    try:
        with transaction.atomic(using):
            RouteState.objects.using(using).select_for_update().get(alias="counted")
            thread.start()
            assert all_others_are_through.wait(60), "a row of another route held them up"
            assert not counted.taken
        while any(one.state != State.ACCEPTED for one in rows(using)):
            connections[using].close()
    finally:
        worker.stop()
        thread.join()
    assert sum(counted.taken.values()) == 20


def test_the_thread_of_the_lines_asks_no_database_for_routes(using: str) -> None:
    """What it notes of a route is written by another thread, soon."""
    store = DatabaseRouteStateStore(using)
    network = Network()
    queue(using, "later@example.com")
    seen: list[str] = []

    class Watched(DatabaseRouteStateStore):
        def _change_row(self, *arguments):  # type: ignore[no-untyped-def]
            seen.append(threading.current_thread().name)
            return super()._change_row(*arguments)

    store = Watched(using)
    options = WorkerOptions(using=using, connections=1, poll_seconds=0.05, until_empty=True)
    Worker(options, routes_of=lambda mailer: [network.route()], store=store).run()
    assert seen, "the failure was written"
    assert not any("lines" in name for name in seen), seen
    assert RouteState.objects.using(using).get(alias="route").breaker["failures"] == 1
