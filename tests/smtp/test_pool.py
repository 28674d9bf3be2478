"""What the pool keeps, and for how long."""

import gc
import threading
from collections.abc import Iterator

import pytest

from reliable_email.smtp.deadline import Deadline
from reliable_email.smtp.driver import pool as pool_module
from reliable_email.smtp.driver.pool import MAX_IDLE, pool
from reliable_email.smtp.driver.transport import SMTPTransport
from reliable_email.smtp.options import ConnectionOptions, Credentials, TLSMode, TLSPolicy
from reliable_email.smtp.protocol.wire_content import BytesContent
from reliable_email.smtp.transaction import Job, Verdict, allow_all
from reliable_email.testing.server import ScriptedServer
from tests.servers.ground import wait_until

CONTENT = BytesContent.from_bytes(b"Subject: x\r\n\r\nx\r\n")


@pytest.fixture(autouse=True)
def fresh_process_state() -> Iterator[None]:
    """Nothing is left over."""
    yield
    pool_module.reset()


def options_for(server: ScriptedServer, **changes: object) -> ConnectionOptions:
    """How to reach the server."""
    fields = {"host": "127.0.0.1", "port": server.port, "tls": TLSPolicy(mode=TLSMode.NONE)} | changes
    return ConnectionOptions(**fields)  # type: ignore[arg-type]


def send(options: ConnectionOptions) -> None:
    """One small message."""
    job = Job(sender="a@example.org", recipients=("b@example.net",), content=CONTENT)
    (done,) = SMTPTransport(options).transact([job], deadline=Deadline(5), authorize=allow_all)
    assert done.with_verdict(Verdict.ACCEPTED)


def is_reaping() -> bool:
    """Whether the pool's own thread is there."""
    return any(thread.name == "reliable-email-idle" for thread in threading.enumerate())


def passwords() -> set[str]:
    """Of all credentials that the process still has."""
    gc.collect()
    return {one.password for one in gc.get_objects() if isinstance(one, Credentials)}


def test_a_hundred_logins_leave_a_bounded_number_of_connections() -> None:
    """Those that were idle for longest are closed, and each is told so."""
    logins = {f"user{n}": f"secret{n}" for n in range(100)}
    with ScriptedServer(login=logins) as server:
        for user, password in logins.items():
            send(options_for(server, credentials=Credentials(username=user, password=password)))
            assert pool.idle_count() <= MAX_IDLE
        assert pool.idle_count() == MAX_IDLE
        server.wait_for_end(100 - MAX_IDLE)
        assert [record.verbs[-1] for record in server.connections[:5]] == ["QUIT"] * 5
        send(options_for(server, credentials=Credentials(username="user99", password="secret99")))
        assert len(server.connections) == 100


def test_an_idle_connection_is_closed_though_nothing_is_sent_any_more() -> None:
    """In its time; the thread that does it ends with the last one, and its password goes with it."""
    with ScriptedServer(login={"user": "a secret of its own"}) as server:
        credentials = Credentials(username="user", password="a secret of its own")
        send(options_for(server, credentials=credentials, idle_seconds=0.05))
        del credentials
        server.wait_for_end(1)
        wait_until(lambda: not is_reaping(), "the end of the thread", lambda: "")
    assert pool.idle_count() == 0
    assert "a secret of its own" not in passwords()


def test_a_connection_that_is_used_again_in_time_stays() -> None:
    """And one of another server, which is not, goes."""
    with ScriptedServer() as server, ScriptedServer() as other:
        send(options_for(server))
        send(options_for(other, idle_seconds=0.05))
        other.wait_for_end(1)
        send(options_for(server))
        assert len(server.connections) == 1
        assert is_reaping()
    pool_module.reset()
    wait_until(lambda: not is_reaping(), "the end of the thread", lambda: "")
