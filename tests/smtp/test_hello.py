"""What EHLO says, and what is loopback."""

import socket

import pytest

from reliable_email.smtp.deadline import Deadline
from reliable_email.smtp.driver import hello
from reliable_email.smtp.driver.connection import Connection
from reliable_email.smtp.options import ConnectionOptions, TLSMode, TLSPolicy
from reliable_email.testing.server import ScriptedServer


@pytest.mark.parametrize(
    ("address", "literal"),
    [
        ("192.0.2.5", "[192.0.2.5]"),
        ("172.17.0.3", "[172.17.0.3]"),
        ("2001:db8::25", "[IPv6:2001:db8::25]"),
        ("::1", "[IPv6:::1]"),
        ("fe80::1%eth0", "[IPv6:fe80::1]"),
        ("::ffff:192.0.2.5", "[192.0.2.5]"),
        ("", "[127.0.0.1]"),
        ("/run/socket", "[127.0.0.1]"),
    ],
)
def test_an_address_is_said_as_a_literal(address: str, literal: str) -> None:
    """RFC 5321 §4.1.3, IPv6 with its tag."""
    assert hello.address_literal(address) == literal


@pytest.mark.parametrize(
    ("name", "is_full"),
    [
        ("mail.example.com", True),
        ("web-1.prod.internal", True),
        ("mail.example.com.", True),
        ("3f2a9c1b7d5e", False),  # a container
        ("laptop", False),
        ("localhost", False),
        ("localhost.localdomain", False),
        ("my_host.example.com", False),
        ("-a.example.com", False),
        ("a..example.com", False),
        ("grün.example.com", False),
        ("10.0.0.5", False),
        ("", False),
        (".", False),
        ("a" * 64 + ".example.com", False),
    ],
)
def test_a_full_name_is_one_that_could_be_looked_up(name: str, is_full: bool) -> None:
    """An underscore or a lone label is refused by servers, a number is an address."""
    assert hello.is_full_name(name) is is_full


@pytest.mark.parametrize(
    ("address", "is_own"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("192.0.2.1", False),
        ("::ffff:192.0.2.1", False),
        ("fe80::1%lo", False),
        ("", False),
    ],
)
def test_loopback_is_judged_by_the_address(address: str, is_own: bool) -> None:
    """Also where an IPv6 socket reached an IPv4 peer."""
    assert hello.is_loopback(address) is is_own


@pytest.mark.parametrize("own", ["127.0.0.1", "127.0.0.2"])
def test_the_connection_s_own_address_is_said(own: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not a fixed one: the server compares it with what it sees."""
    monkeypatch.setattr(hello, "_machine_name", "")
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname(), source_address=(own, 0)) as client,
    ):
        assert hello.hello_name(client, None) == f"[{own}]"
        assert hello.hello_name(client, "mail.example.com") == "mail.example.com"
        monkeypatch.setattr(hello, "_machine_name", "web.example.com")
        assert hello.hello_name(client, None) == "web.example.com"


@pytest.mark.parametrize(("host", "said"), [("127.0.0.1", "[127.0.0.1]"), ("::1", "[IPv6:::1]")])
def test_the_server_hears_it(host: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the machine's name to the wire."""
    monkeypatch.setattr(hello, "_machine_name", None)
    monkeypatch.setattr(socket, "gethostname", lambda: "3f2a9c1b7d5e")
    with ScriptedServer(host=host) as server:
        options = ConnectionOptions(host=host, port=server.port, tls=TLSPolicy(mode=TLSMode.NONE))
        connection = Connection.open(options, deadline=Deadline(10))
        assert connection.session.hello_name == said
        connection.close()
    assert server.connections[0].commands[0] == f"EHLO {said}"
