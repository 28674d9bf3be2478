"""Backends and messages for the tests of the doors."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.mail import EmailMessage

from reliable_email.backends.smtp import ReliableSMTPBackend
from reliable_email.testing.script import Script
from reliable_email.testing.server import ScriptedServer

SENDER = "a@example.org"


def message(*recipients: str, **fields: Any) -> EmailMessage:
    """A small message."""
    options = {"subject": "hello", "body": "Text.\n", "from_email": SENDER} | fields
    return EmailMessage(to=list(recipients or ("b@example.net",)), **options)


def backend_for(server: ScriptedServer, **options: Any) -> ReliableSMTPBackend:
    """A backend for a scripted server, with short times."""
    chosen = server.options() | {"timeout": 5, "final_reply_timeout": 1, "local_hostname": "client.test"} | options
    return ReliableSMTPBackend(alias="scripted", **chosen)


@pytest.fixture
def serve() -> Iterator[Callable[..., ScriptedServer]]:
    """Starts servers that end with the test."""
    servers: list[ScriptedServer] = []

    def start(*scripts: Script, **options: Any) -> ScriptedServer:
        servers.append(ScriptedServer(*scripts, **options).start())
        return servers[-1]

    yield start
    for server in servers:
        server.close()
