"""The lines of a worker share what is due, so that a slow server costs a small backlog little."""

import pytest

from reliable_email.store.tables.states import State
from reliable_email.testing.actions import both, pause, real
from reliable_email.testing.script import Script
from reliable_email.testing.server import ScriptedServer
from tests.outbox.desk import queue, smtp_route, states, worker


@pytest.mark.timeout(120)
def test_a_small_backlog_is_shared_by_the_lines(using: str) -> None:
    """Forty messages, eight lines, a server that thinks about each: one line that took all would be the only one."""
    for number in range(40):
        queue(using, f"user{number}@example.net")
    with ScriptedServer() as server:
        server.behave(Script(final_reply=both(pause(0.1), real())))
        worker(using, smtp_route(server), connections=8).run()
        assert set(states(using)) == {State.ACCEPTED}
        assert len(server.connections) >= 4


@pytest.mark.timeout(120)
def test_a_claim_cuts_no_message_in_two(using: str) -> None:
    """Whoever answers to all finds all: an API names those whom it sends to, and a quota counts messages."""
    for number in range(3):
        queue(using, *(f"user{number}-{one}@example.net" for one in range(15)))
    with ScriptedServer() as server:
        worker(using, smtp_route(server), connections=2).run()
        assert set(states(using)) == {State.ACCEPTED}
        assert [len(message.recipients) for message in server.messages] == [15, 15, 15]
