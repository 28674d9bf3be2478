"""The proxy forwards to the byte, cuts to the byte and counts what it forwards."""

import smtplib
import socket
import time
from collections.abc import Iterator

import pytest

from reliable_email.testing.proxy import CuttingProxy
from reliable_email.testing.server import Script, ScriptedServer, accept_then, both, close, reply, reset

CONTENT = b"Subject: hello\r\n\r\nhello\r\n"


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    """A correct server."""
    with ScriptedServer() as server:
        yield server


def read_all(sock: socket.socket) -> bytes:
    """Everything until the end of the stream."""
    received = b""
    while piece := sock.recv(4096):
        received += piece
    return received


def test_proxy_forwards_a_whole_session_and_counts_it(server: ScriptedServer) -> None:
    """Without a limit a message passes, and both directions are counted to the byte."""
    with CuttingProxy(server.port) as proxy:
        with smtplib.SMTP(proxy.host, proxy.port) as client:
            client.sendmail("a@x.test", ["b@x.test"], CONTENT)
        (flow,) = proxy.wait_until_over()
    record = server.wait_for_end()
    assert server.messages[0].content == CONTENT
    assert flow.client_bytes == len(record.raw)
    assert flow.server_bytes == len(record.sent)
    assert not flow.was_cut


@pytest.mark.parametrize("count", [0, 1, 5, 19])
def test_server_bytes_are_cut_to_the_byte(server: ScriptedServer, count: int) -> None:
    """The client sees exactly so many bytes of the server, then the end of the stream."""
    with (
        CuttingProxy(server.port, server_bytes=count) as proxy,
        socket.create_connection((proxy.host, proxy.port)) as client,
    ):
        assert read_all(client) == b"220 mx.test ESMTP\r\n"[:count]
        client.close()
        (flow,) = proxy.wait_until_over()
    assert flow.was_cut
    assert flow.server_bytes == count


@pytest.mark.parametrize("count", [1, 6, 12, 13])
def test_client_bytes_are_cut_to_the_byte(server: ScriptedServer, count: int) -> None:
    """The server sees exactly so many bytes of the client."""
    with (
        CuttingProxy(server.port, client_bytes=count) as proxy,
        socket.create_connection((proxy.host, proxy.port)) as client,
    ):
        client.sendall(b"EHLO x.test\r\nNOOP\r\n")
        read_all(client)
        record = server.wait_for_end()
    assert bytes(record.raw) == b"EHLO x.test\r\nNOOP\r\n"[:count]


def test_reset_cuts_by_a_reset_on_both_sides(server: ScriptedServer) -> None:
    """With how="reset" the client gets ECONNRESET, not an orderly end."""
    with (
        CuttingProxy(server.port, server_bytes=3, how="reset") as proxy,
        socket.create_connection((proxy.host, proxy.port)) as client,
    ):
        with pytest.raises(ConnectionResetError):
            read_all(client)
        assert server.wait_for_end().ending == "client_reset"


def test_only_the_first_connections_are_cut(server: ScriptedServer) -> None:
    """After `cuts` connections the proxy lets everything pass."""
    with CuttingProxy(server.port, server_bytes=0, cuts=1) as proxy:
        with pytest.raises(smtplib.SMTPServerDisconnected):
            smtplib.SMTP(proxy.host, proxy.port)
        with smtplib.SMTP(proxy.host, proxy.port) as client:
            assert client.noop()[0] == 250
    assert [flow.was_cut for flow in proxy.flows] == [True, False]


def test_turns_are_round_trips(server: ScriptedServer) -> None:
    """Each time the client speaks after the server has spoken is a turn."""
    with (
        CuttingProxy(server.port) as proxy,
        socket.create_connection((proxy.host, proxy.port)) as client,
        client.makefile("rb") as lines,
    ):
        lines.readline()
        for command in (b"NOOP\r\n", b"NOOP\r\n", b"RSET\r\nRSET\r\n"):
            client.sendall(command)
            for _ in range(command.count(b"\r\n")):
                lines.readline()
        assert proxy.turns == 3


def test_latency_delays_each_direction(server: ScriptedServer) -> None:
    """A round trip costs at least twice the latency, the greeting once."""
    began = time.monotonic()
    with (
        CuttingProxy(server.port, latency=0.02) as proxy,
        socket.create_connection((proxy.host, proxy.port)) as client,
    ):
        client.recv(100)
        greeted = time.monotonic()
        client.sendall(b"NOOP\r\n")
        assert client.recv(100) == b"250 2.0.0 Ok\r\n"
        answered = time.monotonic()
    assert greeted - began >= 0.02
    assert answered - greeted >= 0.04


def test_latency_does_not_limit_what_is_on_its_way() -> None:
    """Megabytes pass within a few latencies."""
    content = b"x" * 70 + b"\r\n"
    content *= 40_000
    with (
        ScriptedServer() as server,
        CuttingProxy(server.port, latency=0.01) as proxy,
        smtplib.SMTP(proxy.host, proxy.port) as client,
    ):
        client.sendmail("a@x.test", ["b@x.test"], content)
        assert server.messages[0].content == content


def test_reset_of_a_peer_is_passed_on() -> None:
    """Where the server resets, the client is reset as well."""
    with (
        ScriptedServer(Script(ehlo=reset())) as server,
        CuttingProxy(server.port) as proxy,
        socket.create_connection((proxy.host, proxy.port)) as client,
    ):
        client.recv(100)
        client.sendall(b"EHLO x.test\r\n")
        with pytest.raises(ConnectionResetError):
            client.recv(100)


def test_end_of_one_direction_is_passed_on() -> None:
    """A server that says its last word and closes is heard to the end."""
    script = Script(final_reply=accept_then(both(reply("250 ok"), close())))
    with ScriptedServer(script) as server, CuttingProxy(server.port) as proxy:
        client = smtplib.SMTP(proxy.host, proxy.port)
        assert client.sendmail("a@x.test", ["b@x.test"], CONTENT) == {}
        client.close()
        assert not proxy.wait_until_over()[0].was_cut
    assert len(server.messages) == 1


def test_close_ends_open_connections() -> None:
    """Leaving the proxy resets what is open, and does not wait for the peers."""
    with ScriptedServer() as server:
        with CuttingProxy(server.port) as proxy:
            client = socket.create_connection((proxy.host, proxy.port))
            client.recv(100)
        with pytest.raises(ConnectionResetError):
            client.recv(100)
        client.close()
