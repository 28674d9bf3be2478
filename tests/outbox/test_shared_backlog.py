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
