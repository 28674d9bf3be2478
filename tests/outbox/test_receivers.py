"""Receivers of signals may do anything to their thread; the worker's own work in that thread goes on."""

import asyncio
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connections, transaction
from django.dispatch import Signal

from reliable_email import signals
from reliable_email.outbox import faultpoints
from reliable_email.store.tables.attempts import Attempt
from reliable_email.store.tables.messages import OutboxMessage
from reliable_email.store.tables.states import State
from reliable_email.testing.server import ScriptedServer
from tests.outbox.desk import queue, smtp_route, states, worker
from tests.outbox.network import Network

_OPTIONS = {"lease_seconds": 2.0, "connections": 4}


@pytest.fixture
def receive() -> Iterator[Callable[[Signal, Callable[..., object]], None]]:
    """Connect receivers until the end of the test."""
    connected: list[tuple[Signal, Callable[..., object]]] = []

    def connect(signal: Signal, receiver: Callable[..., object]) -> None:
        signal.connect(receiver, weak=False)
        connected.append((signal, receiver))

    yield connect
    for signal, receiver in connected:
        signal.disconnect(receiver)


def _autocommit_off(using: str) -> None:
    transaction.set_autocommit(False, using)
    OutboxMessage.objects.using(using).update(subject="changed")


def _atomic_entered(using: str) -> None:
    transaction.atomic(using).__enter__()
    OutboxMessage.objects.using(using).update(subject="changed")


def _begun_by_hand(using: str) -> None:
    with connections[using].cursor() as cursor:
        cursor.execute("BEGIN")


@pytest.mark.parametrize("leave", [_autocommit_off, _atomic_entered, _begun_by_hand])
@pytest.mark.parametrize("is_stepped", [True, False], ids=["in steps", "blocking"])
def test_a_transaction_that_a_receiver_leaves_open_holds_up_nobody(
    using: str,
    receive: Callable[..., None],
    leave: Callable[[str], None],
    is_stepped: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is rolled back with an error in the log, and the next receiver has a good connection."""
    if leave is _begun_by_hand and connections[using].vendor == "mysql":
        pytest.skip("its drivers do not say so")
    told: list[int] = []

    def misbehave(outbox_id: int, **others: Any) -> None:
        told.append(outbox_id)
        leave(using)

    receive(signals.message_delivered, misbehave)
    sent = [queue(using, f"ok{number}@example.com").pk for number in range(8)]
    with ScriptedServer() as server:
        worker(using, smtp_route(server) if is_stepped else Network().route(), **_OPTIONS).run()
    connections[using].close()
    assert states(using) == [State.ACCEPTED] * 8
    assert sorted(told) == sent
    assert "has left a transaction of the database" in caplog.text
    assert not OutboxMessage.objects.using(using).filter(subject="changed").exists()


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, GeneratorExit, asyncio.CancelledError, MemoryError])
def test_what_a_receiver_raises_ends_no_worker_and_makes_nothing_unknown(
    using: str, receive: Callable[..., None], kind: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    """An exit, a cancelled task, a time-out of another library: told in the log, and mail goes on."""

    def fail(**told: Any) -> None:
        raise kind("boom")

    receive(signals.attempt_finished, fail)
    receive(signals.message_delivered, fail)
    for number in range(5):
        queue(using, f"ok{number}@example.com")
    with ScriptedServer() as server:
        worker(using, smtp_route(server), **_OPTIONS).run()
    assert states(using) == [State.ACCEPTED] * 5
    assert "A receiver of a signal failed" in caplog.text


def test_each_delivered_message_is_read_for_its_receivers_once(using: str, receive: Callable[..., None]) -> None:
    """One statement with each outcome, whatever the number of signals, and none with a permission alone."""
    told: list[str] = []
    receive(signals.attempt_finished, lambda attempt, **others: told.append(attempt.route))
    receive(signals.message_delivered, lambda report, **others: told.extend(report.recipients))
    for number in range(5):
        queue(using, f"ok{number}@example.com")
    passed: list[str] = []
    faultpoints.listen(passed.append)
    try:
        with ScriptedServer() as server:
            worker(using, smtp_route(server), connections=1).run()
    finally:
        faultpoints.listen(None)
    assert sorted(told) == sorted(["route"] * 5 + [f"ok{number}@example.com" for number in range(5)])
    assert passed.count("tell") == 5


def test_a_receiver_may_delete_the_message_that_it_is_told_of(
    using: str, receive: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is left of it, and its neighbours are delivered."""

    def delete(outbox_id: int, **told: Any) -> None:
        OutboxMessage.objects.using(using).filter(pk=outbox_id).delete()

    receive(signals.attempt_finished, delete)
    for number in range(6):
        queue(using, f"ok{number}@example.com", f"ok{number}@example.net")
    with ScriptedServer() as server, caplog.at_level(logging.ERROR, "reliable_email.outbox"):
        worker(using, smtp_route(server)).run()
        assert len(server.messages) == 6
    assert not caplog.records
    assert not Attempt.objects.using(using).exists()
