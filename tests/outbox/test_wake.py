"""An idle worker that is told of work, instead of finding it at its next look."""

import os
import subprocess
import sys
import threading

import pytest
from django.db import connections

from reliable_email.outbox import faultpoints
from reliable_email.store.tables.states import State
from tests.chaos.harness import vendor_of
from tests.outbox.desk import queue, states, worker
from tests.outbox.network import Network
from tests.servers.ground import wait_until


def _is_listened_to(using: str) -> bool:
    with connections[using].cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%%'"
        )
        return bool(cursor.fetchone()[0])


def _queue_elsewhere(using: str) -> None:
    name = str(connections[using].settings_dict["NAME"])
    program = [sys.executable, "-m", "tests.sites.own_clock", "queue", vendor_of(using), name, "ok@example.com"]
    subprocess.run(program, check=True, env=os.environ, timeout=50)


@pytest.mark.parametrize("by", ["another process", "this process"])
def test_an_idle_worker_is_woken_by_what_is_queued(using: str, by: str) -> None:
    """LISTEN on PostgreSQL, a condition in the process anywhere: a worker that polls once an hour sends at once."""
    if by == "another process" and connections[using].vendor != "postgresql":
        pytest.skip("only PostgreSQL wakes other processes; elsewhere they poll")
    taken = threading.Event()
    network = Network(after_send=lambda job: taken.set())
    one = worker(using, network.route(), until_empty=False, poll_seconds=3600.0, listen=by == "another process")
    idle = threading.Event()
    thread = threading.Thread(target=one.run)

    def look(name: str) -> None:
        if name == "claim:end":
            idle.set()

    faultpoints.listen(look)
    try:
        thread.start()
        assert idle.wait(30)
        if by == "another process":
            wait_until(lambda: _is_listened_to(using), "somebody who listens", lambda: "")
            _queue_elsewhere(using)
        else:
            queue(using)
        assert taken.wait(30), "it slept on"
    finally:
        one.stop()
        thread.join(30)
        faultpoints.listen(None)
    assert states(using) == [State.ACCEPTED]


def test_only_one_of_many_idle_lines_looks_when_something_is_queued(using: str) -> None:
    """All have looked at the start, for mail and for suspects; then one takes what is new, and looks once more."""
    lines, wakings = 8, 5
    looks, sent = threading.Semaphore(0), threading.Semaphore(0)
    network = Network(after_send=lambda job: sent.release())
    one = worker(using, network.route(), connections=lines, until_empty=False, poll_seconds=3600.0, listen=False)
    thread = threading.Thread(target=one.run)

    def look(name: str) -> None:
        if name == "claim:end":
            looks.release()

    faultpoints.listen(look)
    try:
        thread.start()
        assert all(looks.acquire(timeout=30) for _ in range(2 * lines)), "not every line has looked"
        for _ in range(wakings):
            queue(using)
            assert sent.acquire(timeout=30), "nobody has looked"
            assert all(looks.acquire(timeout=30) for _ in range(3))
    finally:
        one.stop()
        thread.join(30)
        faultpoints.listen(None)
    assert not looks.acquire(blocking=False), "more than one has looked"
    assert states(using) == [State.ACCEPTED] * wakings
