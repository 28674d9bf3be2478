"""Workers on machines whose clocks are off by far more than a lease: the database's clock alone decides."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta

import pytest
from django.db import connections

from reliable_email.backends.smtp import ReliableSMTPBackend
from reliable_email.classification import Cause
from reliable_email.delivery.failures import local_failure
from reliable_email.delivery.policy import Effect
from reliable_email.delivery.route import Route
from reliable_email.delivery.route_memory import RouteEvent
from reliable_email.store.memory.route_state import DatabaseRouteStateStore
from reliable_email.store.questions.audit import audit
from reliable_email.store.sql.clock import database_now
from reliable_email.store.tables.recipients import OutboxRecipient
from reliable_email.store.tables.states import State
from reliable_email.testing.script import Script
from reliable_email.testing.scripted.conversation import Conversation
from reliable_email.testing.server import ScriptedServer
from tests.chaos.harness import vendor_of
from tests.outbox.desk import queue, states
from tests.outbox.network import Network
from tests.services import require

AHEAD, BEHIND = "+40m", "-40m"


@pytest.fixture
def shared(using: str) -> str:
    """A database that several machines share."""
    require("faketime")
    if connections[using].vendor == "sqlite":
        pytest.skip("SQLite lives on one machine, which has one clock")
    return using


@contextmanager
def process(clock: str, using: str, step: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A process whose clock is off; it must end well."""
    name = str(connections[using].settings_dict["NAME"])
    program = [sys.executable, "-m", "tests.sites.own_clock", step, vendor_of(using), name, *arguments]
    # Durations stay true, as on a real machine: only the wall clock is off.
    environment = os.environ | {"FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with subprocess.Popen(["faketime", "-f", clock, *program], env=environment, text=True, **pipes) as running:
        try:
            yield running
            words, _ = running.communicate(timeout=50)
            assert running.returncode == 0, words
        finally:
            running.kill()


def test_a_worker_whose_clock_is_ahead_takes_nothing_from_one_that_is_behind(shared: str) -> None:
    """One waits for a reply with a lease that ended long ago by the other's clock; nothing is doubted."""
    arrived, may_answer = threading.Event(), threading.Event()

    def hold(conversation: Conversation) -> None:
        arrived.set()
        may_answer.wait(50)
        conversation.behave()

    with ScriptedServer(Script(final_reply=hold), Script()) as server:
        queue(shared, "ok0@example.com")
        with process(BEHIND, shared, "worker", str(server.port), "1"):
            assert arrived.wait(40)
            for n in range(1, 6):
                queue(shared, f"ok{n}@example.com")
            with process(AHEAD, shared, "worker", str(server.port), "5"):
                pass
            assert states(shared) == [State.AUTHORIZED, *[State.ACCEPTED] * 5]
            may_answer.set()
    assert states(shared) == [State.ACCEPTED] * 6
    assert sorted(address for message in server.messages for address in message.recipients) == [
        f"ok{n}@example.com" for n in range(6)
    ]
    assert audit(shared).findings == []


def test_what_waits_for_its_time_waits_by_the_databases_clock(shared: str) -> None:
    """Not sent and not given up early by a worker that thinks it is later."""
    now = database_now(shared)
    queue(shared, "later@example.com", send_at=now + timedelta(minutes=20))
    queue(shared, "ok@example.com", expires_in=timedelta(minutes=20))
    with ScriptedServer() as server, process(AHEAD, shared, "worker", str(server.port), "1"):
        pass
    found = dict(OutboxRecipient.objects.using(shared).values_list("address", "state"))
    assert found == {"later@example.com": State.QUEUED, "ok@example.com": State.ACCEPTED}


def test_what_a_caller_queues_whose_clock_is_ahead_is_due_at_once(shared: str) -> None:
    """Its row is due by the database's clock."""
    with process(AHEAD, shared, "queue", "ok@example.com"):
        pass
    with ScriptedServer() as server, process(BEHIND, shared, "worker", str(server.port), "1"):
        pass
    assert states(shared) == [State.ACCEPTED]


def test_a_route_whose_time_is_over_is_used_by_a_worker_whose_clock_is_behind(shared: str) -> None:
    """It does not stay away for forty minutes more."""
    with ScriptedServer() as server:
        real = ReliableSMTPBackend(alias="route", host="127.0.0.1", port=server.port, use_tls=False).route()
        route = Route(alias="route", transport=Network(), fingerprint=real.fingerprint)
        store = DatabaseRouteStateStore(shared)
        over = replace(local_failure(Cause.REPUTATION_BLOCKED, "blocked"), retry_after=0.001)
        store.tell(route, RouteEvent(failure=over, effect=Effect.BLOCKED))
        queue(shared)
        with process(BEHIND, shared, "worker", str(server.port), "1"):
            pass
    assert states(shared) == [State.ACCEPTED]
