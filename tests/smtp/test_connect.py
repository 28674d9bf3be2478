"""From a name to a socket: resolving within bounds, happy eyeballs, and errors that name every address."""

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reliable_email.smtp import resolve
from reliable_email.smtp.deadline import Deadline
from reliable_email.smtp.driver import connect
from reliable_email.smtp.failures import FailureKind, WireError, WireFailure
from reliable_email.smtp.stages import Stage

V4, V6 = socket.AF_INET, socket.AF_INET6


@pytest.fixture(autouse=True)
def nothing_remembered() -> Iterator[None]:
    """Every test begins without remembered addresses and without lookups under way."""
    connect.reset()
    resolve.reset()
    yield
    connect.reset()
    resolve.reset()


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A listener on a free port of 127.0.0.1 that nobody accepts from."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock


@pytest.fixture
def blackholes() -> Iterator[list[tuple[str, int]]]:
    """Three addresses where connecting neither succeeds nor fails: listeners whose backlog is full."""
    with contextlib.ExitStack() as stack:
        addresses = []
        for _ in range(3):
            sock = stack.enter_context(socket.socket())
            sock.bind(("127.0.0.1", 0))
            sock.listen(0)
            for _ in range(4):
                filler = stack.enter_context(socket.socket())
                filler.setblocking(False)
                filler.connect_ex(sock.getsockname())
            addresses.append(sock.getsockname())
        yield addresses


def open_descriptors() -> int:
    """How many this process has."""
    return len(list(Path("/proc/self/fd").iterdir()))


def refusing_port() -> int:
    """A port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
    return port


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Says what the resolver answers for every name."""

    def answer(*addresses: tuple[str, int]) -> None:
        infos = [(V6 if ":" in host else V4, socket.SOCK_STREAM, 6, "", (host, port)) for host, port in addresses]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: infos)

    return answer


def opened(host: str, port: int = 587, seconds: float = 5.0) -> connect.OpenedSocket:
    """Connect and close again; what is told stays."""
    result = connect.open_socket(host, port, deadline=Deadline(seconds))
    result.socket.close()
    return result


def failure_of(host: str, port: int = 587, seconds: float = 5.0) -> WireFailure:
    """The failure of a connection that must fail."""
    with pytest.raises(WireError) as raised:
        connect.open_socket(host, port, deadline=Deadline(seconds))
    return raised.value.failure


def let_go(release: threading.Event) -> None:
    """Let the lookups that hang end, and wait for them: they would be in the way of the next test's."""
    release.set()
    for thread in threading.enumerate():
        if thread.name == "resolve":
            thread.join(10)


class TestResolving:
    """Names to addresses."""

    def test_unknown_name_is_the_operators_mistake(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """EAI_NONAME says that the name does not exist, which no retry will cure."""

        def fail(*args: object, **kwargs: object) -> None:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

        monkeypatch.setattr(socket, "getaddrinfo", fail)
        failure = failure_of("smtp.gmial.test")
        assert (failure.stage, failure.kind) == (Stage.RESOLVE, FailureKind.HOST_NOT_FOUND)
        assert "smtp.gmial.test" in failure.detail

    def test_resolver_without_an_answer_is_temporary(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """EAI_AGAIN says nothing about the name."""

        def fail(*args: object, **kwargs: object) -> None:
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

        monkeypatch.setattr(socket, "getaddrinfo", fail)
        assert failure_of("smtp.test").kind is FailureKind.RESOLVER_FAILED

    @pytest.mark.parametrize("host", ["", ".", "x" * 64 + ".test", "a\0b"])
    def test_impossible_name_is_a_failure_not_a_crash(self, host: str) -> None:
        """What getaddrinfo rejects with UnicodeError or ValueError becomes a sentence."""
        assert failure_of(host).kind is FailureKind.HOST_NOT_FOUND

    def test_hanging_resolver_is_left_behind(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The budget ends the wait, and a second caller waits for the same lookup instead of starting another."""
        release, calls = threading.Event(), []

        def hang(*args: object, **kwargs: object) -> list[object]:
            calls.append(args)
            release.wait(10)
            return [(V4, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 1))]

        monkeypatch.setattr(socket, "getaddrinfo", hang)
        try:
            for _ in range(3):
                failure = failure_of("slow.test", seconds=0.05)
                assert failure.kind is FailureKind.RESOLVER_FAILED
                assert "did not answer within" in failure.detail
            assert len(calls) == 1
        finally:
            let_go(release)

    def test_number_of_hanging_lookups_is_limited(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A dead resolver costs a bounded number of threads, and the sentence says so."""
        release = threading.Event()

        def hang(*args: object, **kwargs: object) -> list[object]:
            release.wait(10)
            return []

        monkeypatch.setattr(socket, "getaddrinfo", hang)
        try:
            details = [failure_of(f"host{n}.test", seconds=0.0).detail for n in range(40)]
            assert sum(thread.name == "resolve" for thread in threading.enumerate()) <= 32
        finally:
            let_go(release)
        assert any("was not asked for" in detail for detail in details)

    def test_numeric_host_needs_no_resolver_thread(self, listener: socket.socket) -> None:
        """An address is not looked up, so that a dead resolver does not matter."""
        before = threading.active_count()
        info = resolve.resolve("127.0.0.1", listener.getsockname()[1], timeout=0.0)
        assert info[0][4] == listener.getsockname()
        assert threading.active_count() == before

    @pytest.mark.parametrize(
        ("written", "bare"),
        [
            ("smtp.test.", "smtp.test"),
            ("[::1]", "::1"),
            ("[127.0.0.1]", "127.0.0.1"),
            ("[IPv6:::1]", "::1"),
            (" smtp.test ", "smtp.test"),
        ],
    )
    def test_spelling_of_hosts(self, written: str, bare: str) -> None:
        """Final dots and brackets are taken off before the resolver sees them."""
        assert resolve.bare_host(written) == bare

    @pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
    def test_child_of_a_fork_does_not_wait_for_its_parents_threads(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The thread that a lookup runs in does not exist in the child, so the child makes its own."""
        release = threading.Event()
        parent = os.getpid()

        def slow_in_parent(*args: object, **kwargs: object) -> list[object]:
            if os.getpid() == parent:
                release.wait(10)
            return [(V4, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 25))]

        monkeypatch.setattr(socket, "getaddrinfo", slow_in_parent)
        with pytest.raises(WireError):
            resolve.resolve("forked.test", 25, timeout=0.0)
        child = os.fork()
        if child == 0:  # pragma: no cover - another process
            status = 1
            with contextlib.suppress(BaseException):
                status = 0 if resolve.resolve("forked.test", 25, timeout=5.0) else 1
            os._exit(status)
        _, status = os.waitpid(child, 0)
        let_go(release)
        assert status == 0


class TestConnecting:
    """Addresses to one socket."""

    def test_socket_is_ready_for_the_driver(self, listener: socket.socket) -> None:
        """Non-blocking, without Nagle's delay, kept alive, and with the time that each stage took."""
        result = connect.open_socket("localhost.", listener.getsockname()[1], deadline=Deadline(5))
        with result.socket as sock:
            assert sock.getblocking() is False
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert result.peer == f"127.0.0.1:{listener.getsockname()[1]}"
        assert set(result.stage_seconds) == {Stage.RESOLVE, Stage.CONNECT}

    def test_dead_address_does_not_cost_the_budget(
        self, names: Callable[..., None], listener: socket.socket, blackholes: list[tuple[str, int]]
    ) -> None:
        """Three silent addresses in front of a good one: the good one wins within a budget they would eat alone."""
        names(*blackholes, listener.getsockname())
        assert opened("mail.test", seconds=5).peer == resolve.address_text(listener.getsockname())

    def test_refusal_is_an_answer(self, names: Callable[..., None], listener: socket.socket) -> None:
        """After a refused address the next one is tried."""
        names(("127.0.0.1", refusing_port()), listener.getsockname())
        assert opened("mail.test").peer == resolve.address_text(listener.getsockname())

    def test_every_address_and_its_error_are_named(self, names: Callable[..., None]) -> None:
        """Where nobody takes the connection, the sentence says who was asked and what was said."""
        ports = refusing_port(), refusing_port()
        names(("127.0.0.1", ports[0]), ("::1", ports[1]))
        failure = failure_of("mail.test")
        assert (failure.stage, failure.kind) == (Stage.CONNECT, FailureKind.CONNECT_FAILED)
        assert f"127.0.0.1:{ports[0]}: connection refused" in failure.detail
        assert f"[::1]:{ports[1]}: " in failure.detail

    def test_silence_everywhere_ends_with_the_budget(
        self, names: Callable[..., None], blackholes: list[tuple[str, int]]
    ) -> None:
        """Blackholed addresses are a time-out that names them and what may be in the way."""
        names(*blackholes)
        failure = failure_of("mail.test", seconds=0.1)
        assert failure.kind is FailureKind.TIMEOUT
        assert f"{resolve.address_text(blackholes[0])}: no answer" in failure.detail
        assert f"{resolve.address_text(blackholes[-1])}: not tried yet" in failure.detail
        assert "firewall" in failure.detail

    def test_last_good_address_comes_first(
        self, names: Callable[..., None], listener: socket.socket, blackholes: list[tuple[str, int]]
    ) -> None:
        """The second connection does not wait for the dead address again."""
        names(*blackholes, listener.getsockname())
        infos = resolve.resolve("mail.test", 587, timeout=5)
        assert connect._in_order(infos, ("mail.test", 587))[0][4] == blackholes[0]
        opened("mail.test")
        assert connect._in_order(infos, ("mail.test", 587))[0][4] == listener.getsockname()

    def test_families_take_turns(self) -> None:
        """RFC 8305 §4: the resolver's order, IPv6 and IPv4 in turn."""
        infos = [(family, 1, 6, "", (name, 25)) for family, name in [(V6, "a"), (V6, "b"), (V6, "c"), (V4, "d")]]
        ordered = connect._in_order(infos, ("mail.test", 25))
        assert [info[4][0] for info in ordered] == ["a", "d", "b", "c"]

    def test_losers_are_closed(self, names: Callable[..., None], blackholes: list[tuple[str, int]]) -> None:
        """Attempts that did not win leave no descriptor behind."""
        names(*blackholes)
        before = open_descriptors()
        failure_of("mail.test", seconds=0.3)
        assert open_descriptors() == before
