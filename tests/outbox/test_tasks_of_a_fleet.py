"""Tasks that deliver: what they cost, how they end, and what a caller pays for announcing them."""

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

from reliable_email.integrations import announcing, delivering
from reliable_email.integrations.registration import SweepRegistration
from reliable_email.outbox import faultpoints
from reliable_email.outbox.rows.claim import Wanted, claim
from reliable_email.outbox.upkeep import worker_row
from reliable_email.store.questions.status import workers
from reliable_email.store.sql.clock import DatabaseNow
from reliable_email.store.tables.attempts import Attempt
from reliable_email.store.tables.shared import Worker as WorkerRow
from reliable_email.store.tables.states import State
from reliable_email.testing.actions import both, hang, pause, real
from reliable_email.testing.script import Script
from reliable_email.testing.server import ScriptedServer
from tests.outbox.desk import let_leases_end, queue, rows, states
from tests.outbox.test_commands import server, site

__all__ = ["server", "site"]  # fixtures


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """Each test is a process of its own."""
    yield
    delivering.reset()
    announcing.reset()


def queued(using: str, count: int) -> list[int]:
    """The ids of so many messages."""
    return [queue(using, f"ok{number}@example.com", mailer="smtp").pk for number in range(count)]


@contextmanager
def counted(using: str) -> Iterator[dict[str, int]]:
    """Sessions and, on PostgreSQL, commits of the database within this; 0 for what is not counted."""
    opened: list[BaseDatabaseWrapper] = []
    used = {"sessions": 0, "commits": 0}

    def count(connection: BaseDatabaseWrapper, **kwargs: Any) -> None:
        opened.append(connection)

    connections[using].close()
    own = connections.create_connection(using)
    before = commits(own)
    connection_created.connect(count)
    try:
        yield used
    finally:
        connection_created.disconnect(count)
        connections[using].close()
        used["sessions"] = len(opened)
        used["commits"] = commits(own) - before
        own.close()


def commits(own: BaseDatabaseWrapper) -> int:
    """How many transactions the database has seen, when all others have left it and told of theirs."""
    if own.vendor != "postgresql":
        return 0
    others = "FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend'"
    with own.cursor() as cursor:
        cursor.execute(f"SELECT count(*) {others}")
        while cursor.fetchone()[0] > 1:
            time.sleep(0.01)
            cursor.execute(f"SELECT count(*) {others}")
        cursor.execute("SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()")
        return int(cursor.fetchone()[0])


@pytest.mark.parametrize("size", [20, 60])
def test_a_batch_costs_three_sessions_and_at_most_two_commits_a_message(site: str, size: int) -> None:
    """No keeper, no rescue, no row among the workers for each task."""
    ids = queued(site, size)
    delivering.deliver_messages(queued(site, 1), using=site)  # the process arrives
    with counted(site) as used:
        assert delivering.deliver_messages(ids, using=site) == size
    assert used["sessions"] <= 4  # one of which is made when the lines' are closed
    assert used["commits"] <= 2 * size
    assert states(site) == [State.ACCEPTED] * (size + 1)
    assert WorkerRow.objects.using(site).count() == 1
    delivering.process_ends()
    assert not WorkerRow.objects.using(site).exists()


def test_a_slow_server_costs_no_more_commits(site: str, server: ScriptedServer, settings: Any) -> None:
    """Renewals ask for what is in hand, and not for what is settled."""
    settings.RELIABLE_EMAIL = {"LEASE_SECONDS": 5}
    ids = queued(site, 20)
    delivering.deliver_messages(queued(site, 1), using=site)
    server.behave(Script(final_reply=both(pause(0.1), real())))
    with counted(site) as used:
        assert delivering.deliver_messages(ids, using=site) == 20
    assert used["commits"] <= 2 * len(ids)


def test_a_sweep_that_finds_nothing_costs_little(site: str) -> None:
    """Fleets sweep all day: one line asks whether nothing is left, for all of them."""
    delivering.sweep(using=site)
    with counted(site) as used:
        assert delivering.sweep(using=site) == 0
    assert used["sessions"] <= 4
    assert used["commits"] <= 20


@contextmanager
def held(using: str, server: ScriptedServer) -> Iterator[list[int]]:
    """A message that another task has in hand meanwhile: its server does not answer."""
    ids = queued(using, 1)
    server.behave(Script(final_reply=hang()))
    is_over = threading.Event()

    def deliver() -> None:
        try:
            delivering.deliver_messages(ids, using=using, is_over=is_over.is_set)
        finally:
            connections.close_all()  # this thread's own

    first = threading.Thread(target=deliver)
    first.start()
    server.wait_for(lambda one: one.connections and one.connections[0].content_bytes, timeout=30)
    yield ids
    is_over.set()
    server.close()
    first.join(30)
    assert not first.is_alive()


def test_a_task_ends_where_others_hold_its_messages(site: str, server: ScriptedServer) -> None:
    """It waits for nobody: a slot of the fleet is worth more."""
    with held(site, server) as ids:
        assert delivering.deliver_messages(ids, using=site) == 0


@pytest.mark.timeout(60)
def test_a_sweep_ends_where_others_hold_all_that_there_is(site: str, server: ScriptedServer) -> None:
    """Neither does a sweep: what others let fall, the next one finds."""
    with held(site, server):
        assert delivering.sweep(using=site, seconds=3600.0) == 0


def test_a_sweep_delivers_what_a_dead_worker_held(site: str) -> None:
    """It does not end before that is taken back."""
    queued(site, 3)
    claim(site, Wanted(environment=""), worker="dead", limit=3, lease_seconds=60)
    let_leases_end(site)
    assert delivering.sweep(using=site) == 3
    assert states(site) == [State.ACCEPTED] * 3


def test_a_process_that_was_killed_in_a_task_is_lost_when_its_lease_is_over(site: str) -> None:
    """People read so within minutes, and not for a day that it runs; one without tasks is only silent."""
    delivering.deliver_messages(queued(site, 1), using=site)
    worker = Attempt.objects.using(site).get().worker
    WorkerRow.objects.using(site).update(seen_at=DatabaseNow(-600))
    (process,) = workers(site)
    assert (process.name[:6], process.state) == ("tasks:", "silent")
    queued(site, 1)
    claim(site, Wanted(environment=""), worker=worker, limit=1, lease_seconds=60)
    let_leases_end(site)
    assert delivering.sweep(using=site) == 1
    assert {one.name[:6]: one.state for one in workers(site)} == {"tasks:": "lost", "sweep:": "stopped"}


def test_a_process_without_tasks_for_an_hour_is_forgotten_and_comes_back(site: str) -> None:
    """Killed ones are not told from idle ones, so neither is listed for long."""
    delivering.deliver_messages(queued(site, 1), using=site)
    first = WorkerRow.objects.using(site).get().name
    WorkerRow.objects.using(site).update(seen_at=DatabaseNow(-4000))
    worker_row.arrive(site, "another", "", 1)
    assert [one.name for one in workers(site)] == ["another"]
    process = delivering._registrations[site]
    process._noted_at -= 60.0
    delivering.deliver_messages(queued(site, 1), using=site)
    assert {one.name: (one.state, one.settled) for one in workers(site)} == {
        first: ("running", 2),
        "another": ("running", 0),
    }


def test_one_sweep_at_a_time(site: str) -> None:
    """Whoever comes meanwhile leaves at once; the row of one that died is free after a lease."""
    queued(site, 1)
    held = SweepRegistration(delivering._options(site, None, 10))
    held.arrive()
    assert delivering.sweep(using=site) == 0
    assert states(site) == [State.QUEUED]
    held.leave(0)
    assert delivering.sweep(using=site) == 1
    assert WorkerRow.objects.using(site).count() == 1


def test_a_sweep_that_only_waits_for_a_reply_keeps_one_other_from_nothing(site: str) -> None:
    """A server that takes minutes would hold up all retries; a third sweep would take the fleet's last slots."""
    queued(site, 1)
    options = replace(delivering._options(site, None, 10), max_seconds=0.0)
    first, second = SweepRegistration(options), SweepRegistration(options)
    first.arrive()
    first.note(0)
    second.arrive()
    assert delivering.sweep(using=site) == 0
    second.note(0)
    assert delivering.sweep(using=site) == 0
    second.leave(0)
    assert delivering.sweep(using=site) == 1
    first.leave(0)
    names = {f"sweep:{options.environment}", f"sweep:{options.environment}:2"}
    assert dict(WorkerRow.objects.using(site).values_list("name", "state")) == dict.fromkeys(names, "stopped")


def test_a_sweep_ends_in_time_though_more_is_due(site: str) -> None:
    """After its seconds it claims nothing more, and gives back what it had not begun."""
    queued(site, 5)
    assert delivering.sweep(using=site, seconds=0.0) == 0
    assert states(site) == [State.QUEUED] * 5


@pytest.mark.timeout(60)
def test_a_sweep_is_over_with_its_seconds_though_most_of_it_rests(
    site: str, server: ScriptedServer, settings: Any
) -> None:
    """Lines that found nothing hear that time is up; one after the other they would each look for once more."""
    settings.RELIABLE_EMAIL = {"POLL_SECONDS": 60}
    queued(site, 1)
    server.behave(Script(final_reply=both(pause(2.5), real())))
    assert delivering.sweep(using=site, seconds=2.0) == 1
    assert states(site) == [State.ACCEPTED]


@pytest.mark.timeout(60)
def test_a_sweep_is_over_with_its_transactions_though_most_of_it_rests(
    site: str, server: ScriptedServer, settings: Any
) -> None:
    """So they hear that enough was sent."""
    settings.RELIABLE_EMAIL = {"POLL_SECONDS": 60}
    queued(site, 1)
    server.behave(Script(final_reply=both(pause(0.5), real())))
    assert delivering.sweep(using=site, max_transactions=1) == 1
    assert states(site) == [State.ACCEPTED]


def test_a_reply_that_takes_longer_than_the_limit_is_not_waited_for(site: str, server: ScriptedServer) -> None:
    """Whoever is killed in the middle would accuse all that it holds; this way one is unknown, the rest go on."""
    queued(site, 10)
    server.behave(Script(final_reply=hang()))
    assert delivering.sweep(using=site, limit_seconds=4.0) >= 1
    assert State.UNKNOWN in states(site)
    assert set(states(site)) == {State.UNKNOWN, State.QUEUED}
    assert all(one.crashes == 0 for one in rows(site))


def test_the_lines_of_a_sweep_share_what_little_is_due(site: str, server: ScriptedServer) -> None:
    """One that took it all would send for as long as all together need not."""
    queued(site, 20)
    server.behave(Script(final_reply=both(pause(0.2), real())))
    assert delivering.sweep(using=site) == 20
    assert len(server.connections) > 1


def test_what_a_task_had_no_time_for_is_announced_again(
    site: str, server: ScriptedServer, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next task goes on, without a sweep; one that got nowhere does not announce for ever."""
    told: list[int] = []
    ids = queued(site, 3)
    settings.RELIABLE_EMAIL = {"ANNOUNCE": "celery"}
    monkeypatch.setattr(announcing, "_is_immediate", lambda name: False)
    monkeypatch.setattr(announcing, "_announcer", lambda name: told.extend)
    # Of the second the server has the envelope by then.
    server.behave(Script(final_reply=[both(pause(4.5), real()), None]))
    assert delivering.deliver_messages(ids, using=site, limit_seconds=8.0) == 2
    assert states(site) == [State.ACCEPTED, State.ACCEPTED, State.QUEUED]
    assert announcing._process.flush(10.0)
    assert told == ids
    assert delivering.deliver_messages(ids, using=site, limit_seconds=0.0) == 0
    assert announcing._process.flush(10.0)
    assert told == ids


def test_a_signal_ends_a_sweep_in_order_and_is_passed_on(site: str) -> None:
    """Its process is the fleet's, which hears of it as well."""
    heard: list[int] = []
    ids = queued(site, 3)
    before = signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))

    def interrupt(name: str) -> None:
        if name == "claim:end" and not heard:
            os.kill(os.getpid(), signal.SIGTERM)
            while not heard:
                time.sleep(0.01)

    faultpoints.listen(interrupt)
    try:
        delivering.sweep(using=site)
    finally:
        faultpoints.reset()
        signal.signal(signal.SIGTERM, before)
    assert heard == [signal.SIGTERM]
    assert len(ids) == 3
    assert set(states(site)) <= {State.QUEUED, State.ACCEPTED}


class SoftTimeLimitExceeded(Exception):
    """What Celery raises in the task."""


def test_a_time_limit_stops_the_lines_too(site: str) -> None:
    """No thread goes on without its task, and what was in hand is given back."""
    queued(site, 3)
    before = signal.signal(signal.SIGUSR1, _limit)

    def interrupt(name: str) -> None:
        if name == "claim:end":
            os.kill(os.getpid(), signal.SIGUSR1)

    faultpoints.listen(interrupt)
    try:
        with pytest.raises(SoftTimeLimitExceeded):
            delivering.sweep(using=site)
    finally:
        faultpoints.reset()
        signal.signal(signal.SIGUSR1, before)
    # What they have in hand they finish; then each closes its own connection to the database.
    names = {f"reliable-email-{one}" for one in ("lines", "renewals", "memory", "helper")}
    for one in threading.enumerate():
        if one.name in names:
            one.join(30)
            assert not one.is_alive(), one.name
    assert set(states(site)) <= {State.QUEUED, State.ACCEPTED}


def _limit(number: int, frame: object) -> None:
    raise SoftTimeLimitExceeded


def test_what_a_commit_queues_is_one_task(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ids are gathered off the caller's thread."""
    told: list[list[int]] = []
    monkeypatch.setattr(announcing, "_announcer", lambda name: told.append)
    one = announcing.Announcer()
    for number in range(250):
        one.add(number)
    assert one.flush(10.0)
    assert sorted(number for ids in told for number in ids) == list(range(250))
    assert all(len(ids) <= 100 for ids in told)
    assert len(told) <= 5


def test_a_broker_that_hangs_costs_the_caller_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller goes on while the announcer waits."""
    is_over, begun = threading.Event(), threading.Event()

    def hang_there(ids: list[int]) -> None:
        begun.set()
        is_over.wait()

    monkeypatch.setattr(announcing, "_announcer", lambda name: hang_there)
    one = announcing.Announcer()
    one.add(1)
    assert begun.wait(10)
    for number in range(20_000):
        one.add(number)
    assert not one.flush(0.0)
    is_over.set()
    assert one.flush(10.0)


def test_a_preview_in_memory_does_not_make_the_caller_wait_for_the_broker() -> None:
    """`mail.outbox` is there as soon as anybody makes a locmem backend; it says nothing of tests."""
    code = (
        "import threading\n"
        "from django.conf import settings\n"
        "settings.configure(INSTALLED_APPS=['reliable_email'], RELIABLE_EMAIL={'ANNOUNCE': 'celery'})\n"
        "import django; django.setup()\n"
        "from celery import Celery\n"
        "from celery.signals import before_task_publish\n"
        "app = Celery('site', broker='memory://'); app.set_default()\n"
        "told = []\n"
        "@before_task_publish.connect(weak=False)\n"
        "def tell(**kwargs): told.append(threading.current_thread() is not threading.main_thread())\n"
        "from django.core.mail.backends.locmem import EmailBackend\n"
        "EmailBackend(**({'alias': 'preview'} if django.VERSION >= (6, 1) else {}))\n"
        "from django.core import mail; assert mail.outbox == []\n"
        "from reliable_email import signals\n"
        "from reliable_email.integrations import announcing\n"
        "signals.message_queued.send(object, outbox_id=1)\n"
        "announcing._process.flush(60.0)\n"
        "assert told == [True], told\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_after_a_failure_nobody_announces_for_a_while(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One warning; sweeps find everything."""
    tries: list[int] = []

    def fail(ids: list[int]) -> None:
        tries.append(len(ids))
        raise ConnectionRefusedError("no broker")

    monkeypatch.setattr(announcing, "_announcer", lambda name: fail)
    one = announcing.Announcer()
    with caplog.at_level(logging.WARNING, "reliable_email.outbox"):
        one.add(1)
        assert one.flush(10.0)
        one.add(2)
        assert one.flush(10.0)
    assert tries == [1]
    [record] = caplog.records
    words = "1 queued messages could not be announced; a sweep or a worker will find them: "
    assert record.message == f"{words}ConnectionRefusedError: no broker"
