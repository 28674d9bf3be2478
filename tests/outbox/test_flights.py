"""The outbox in flights: one permission for a flight of messages that may be sent twice; no more are ever unknown."""

from collections import Counter
from collections.abc import Iterator

import pytest
from django.db import OperationalError

from reliable_email.delivery.route import Route
from reliable_email.delivery.submission import OnUnknown
from reliable_email.outbox import faultpoints
from reliable_email.outbox.intake.enqueue import QueueOptions, enqueue
from reliable_email.outbox.worker import claim_task
from reliable_email.smtp.driver import learned_limits, pool
from reliable_email.smtp.driver.transport import SMTPTransport
from reliable_email.smtp.options import ConnectionOptions, TLSMode, TLSPolicy
from reliable_email.store.tables.states import State
from reliable_email.testing.server import Script, ScriptedServer, accept_then, hang, reset
from tests.outbox.desk import let_time_pass, rows, states, submission, worker

FLIGHT = 5


@pytest.fixture(autouse=True)
def fresh_process_state() -> Iterator[None]:
    """No connection and nothing learned is left from another test."""
    yield
    pool.reset()
    learned_limits.reset()


def route(server: ScriptedServer, *, on_unknown: OnUnknown | None = OnUnknown.RESEND) -> Route:
    """A route to the server that sends in flights."""
    options = ConnectionOptions(
        host="127.0.0.1", port=server.port, tls=TLSPolicy(mode=TLSMode.NONE), flight=FLIGHT, final_reply_timeout=5
    )
    return Route(alias="route", transport=SMTPTransport(options), on_unknown=on_unknown)


def queue_many(using: str, count: int, on_unknown: OnUnknown | None = None) -> None:
    """Messages to user0, user1, …"""
    many = [submission(to=(f"user{number}@example.com",), on_unknown=on_unknown) for number in range(count)]
    enqueue(many, QueueOptions(mailer="routes", using=using))


def test_a_flight_is_permitted_by_one_commit(using: str) -> None:
    """Twenty messages in flights of five: four permissions, and what is left to write."""
    commits: list[str] = []
    faultpoints.listen(lambda name: commits.append(name) if name == "journal:begin" else None)
    queue_many(using, 20)
    with ScriptedServer() as server:
        worker(using, route(server)).run()
        assert all(message.is_chunked for message in server.messages)
        assert Counter(one.recipients[0] for one in server.messages) == {f"user{n}@example.com": 1 for n in range(20)}
    faultpoints.reset()
    assert set(states(using)) == {State.ACCEPTED}
    assert len(commits) <= 20 // FLIGHT + 2


def test_a_message_that_is_held_does_not_fly(using: str) -> None:
    """Its own policy comes before the route's."""
    queue_many(using, 3, on_unknown=OnUnknown.HOLD)
    with ScriptedServer() as server:
        worker(using, route(server)).run()
        assert [message.is_chunked for message in server.messages] == [False] * 3


def test_a_lost_flight_is_sent_again_and_nothing_else_is(using: str) -> None:
    """The connection ends behind the third message: at most a flight is unknown, and every message arrives."""
    queue_many(using, 20)
    script = Script(final_reply=[None, None, accept_then(reset())])
    with ScriptedServer(script, Script()) as server:
        worker(using, route(server), final_reply_seconds=0.0).run()
        unknown = [one for one in rows(using) if one.unknowns]
        assert 1 <= len(unknown) <= FLIGHT
        let_time_pass(using)
        worker(using, route(server), final_reply_seconds=0.0).run()
        copies = Counter(one.recipients[0] for one in server.messages)
    assert set(states(using)) == {State.ACCEPTED}
    assert set(copies) == {f"user{n}@example.com" for n in range(20)}
    assert {address for address, count in copies.items() if count > 1} <= {one.address for one in unknown}


def test_a_flight_in_the_air_is_in_doubt_when_the_next_permission_cannot_be_written(
    using: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database is away for too long; what the server had taken by then is not queued as if nobody had it."""
    monkeypatch.setattr(claim_task, "_AUTHORIZE_SECONDS", 0.0)
    queue_many(using, 2 * FLIGHT)
    begun: list[str] = []

    def act(name: str) -> None:
        if name == "journal:begin":
            begun.append(name)
            if len(begun) == 2:
                server.wait_for(lambda ledger: len(ledger.messages) == 2)
                raise OperationalError("the database is away")

    silent = Script(final_reply=[None, accept_then(hang())])
    with ScriptedServer(silent, Script()) as server:
        faultpoints.listen(act)
        worker(using, route(server), final_reply_seconds=0.0, max_transactions=1).run()
        faultpoints.reset()
        assert [one.unknowns for one in rows(using)] == [0] + [1] * (FLIGHT - 1) + [0] * FLIGHT
        let_time_pass(using)
        worker(using, route(server), final_reply_seconds=0.0).run()
        copies = Counter(one.recipients[0] for one in server.messages)
    assert set(states(using)) == {State.ACCEPTED}
    assert copies == {f"user{n}@example.com": 1 + (n == 1) for n in range(2 * FLIGHT)}
