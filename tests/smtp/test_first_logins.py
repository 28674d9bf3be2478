"""A login that nobody knows yet is tried on one connection, whoever wants it at the same time."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from reliable_email.smtp.deadline import Deadline
from reliable_email.smtp.driver.pool import pool
from reliable_email.smtp.failures import FailureKind, WireError
from reliable_email.smtp.options import ConnectionOptions, Credentials, TLSMode, TLSPolicy
from reliable_email.testing.reset import reset
from reliable_email.testing.script import Script
from reliable_email.testing.server import ScriptedServer, close, hang, real, until_told

LOGIN = {"ana": "right"}
WIDTH = 8


@pytest.fixture(autouse=True)
def _unknown() -> Iterator[None]:
    """A process that knows no login."""
    reset()
    yield
    reset()


def options(server: ScriptedServer, password: str = "right") -> ConnectionOptions:
    """How to reach it."""
    credentials = Credentials(username="ana", password=password)
    return ConnectionOptions(
        host="127.0.0.1", port=server.port, tls=TLSPolicy(mode=TLSMode.NONE), credentials=credentials
    )


def all_at_once(wanted: ConnectionOptions, seconds: float = 20.0) -> list[FailureKind | None]:
    """What became of so many connections that are wanted together."""
    gate = threading.Barrier(WIDTH)

    def one() -> FailureKind | None:
        gate.wait()
        try:
            connection, _ = pool.acquire(wanted, deadline=Deadline(seconds))
        except WireError as error:
            return error.failure.kind
        pool.release(connection)
        return None

    with ThreadPoolExecutor(WIDTH) as threads:
        return list(threads.map(lambda _: one(), range(WIDTH)))


def auths(server: ScriptedServer) -> int:
    """How often somebody logged in."""
    return sum(line.startswith("AUTH") for one in server.connections for line in one.commands)


def test_a_wrong_password_is_offered_once_however_many_want_it() -> None:
    """All hear the refusal; the account sees one wrong login."""
    with ScriptedServer(login=LOGIN) as server:
        assert all_at_once(options(server, "wrong")) == [FailureKind.REFUSED] * WIDTH
        assert auths(server) == 1


def test_a_right_password_lets_all_go_on() -> None:
    """Each with a connection, and later ones wait for nobody."""
    with ScriptedServer(login=LOGIN) as server:
        assert all_at_once(options(server)) == [None] * WIDTH
        assert all_at_once(options(server)) == [None] * WIDTH


def test_a_first_connection_that_breaks_is_no_answer() -> None:
    """The next one finds out."""
    with ScriptedServer(Script(auth=close()), Script(), login=LOGIN) as server:
        found = all_at_once(options(server))
        assert found.count(FailureKind.DISCONNECTED) <= 1
        assert found.count(None) >= WIDTH - 1


def test_a_login_that_hangs_holds_nobody_longer_than_one_stage() -> None:
    """Then they go by themselves, within their own budget."""
    with ScriptedServer(Script(auth=hang()), Script(), login=LOGIN) as server:
        found = all_at_once(options(server), seconds=1.0)
        assert FailureKind.TIMEOUT in found
        assert set(found) <= {None, FailureKind.TIMEOUT}


def test_other_logins_do_not_wait() -> None:
    """Another user, another password, no login at all: each is its own."""
    with (
        ScriptedServer(Script(auth=until_told()), Script(), login=LOGIN) as server,
        ThreadPoolExecutor(1) as threads,
    ):
        first = threads.submit(pool.acquire, options(server), deadline=Deadline(20))
        server.wait_for(lambda one: auths(one) == 1)
        connection, _ = pool.acquire(replace(options(server), credentials=None), deadline=Deadline(20))
        pool.release(connection)
        with pytest.raises(WireError):
            pool.acquire(options(server, "another"), deadline=Deadline(20))
        assert not first.done()
        server.do(real(), connection=1)
        pool.release(first.result(20)[0])


def test_a_login_that_was_known_and_is_refused_is_new_again() -> None:
    """A password that was changed at the provider is offered once, too."""
    with ScriptedServer(login=LOGIN) as server:
        wanted = options(server)
        connection, _ = pool.acquire(wanted, deadline=Deadline(20))
        pool.release(connection)
        pool.close_idle(wanted)
        server.rules.login["ana"] = "changed"
        with pytest.raises(WireError):
            pool.acquire(wanted, deadline=Deadline(20), fresh=True)
        before = auths(server)
        assert all_at_once(wanted) == [FailureKind.REFUSED] * WIDTH
        assert auths(server) == before + 1
        server.rules.login["ana"] = "right"
        connection, _ = pool.acquire(wanted, deadline=Deadline(20), fresh=True)
        pool.release(connection)
