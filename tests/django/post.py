"""Messages, backends and what arrived: the words of the tests of a caller's view."""

import socket
from typing import Any

from django.core.mail import EmailMessage

from reliable_email.backends import ReliableSMTPBackend
from reliable_email.testing.server import ScriptedServer

A, B, C = "a@example.net", "b@example.net", "c@example.net"


def backend_for(server: ScriptedServer, **options: Any) -> ReliableSMTPBackend:
    """The mailer "main" over a server."""
    return ReliableSMTPBackend(alias="main", **server.options(**options))


def message(*recipients: str, subject: str = "hello", **fields: Any) -> EmailMessage:
    """A small message."""
    return EmailMessage(subject, "Text.\n", "me@example.org", list(recipients or (A,)), **fields)


def closed_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def received(server: ScriptedServer) -> list[tuple[str, ...]]:
    """The recipients of every message that the server took."""
    return [one.recipients for one in server.messages]
