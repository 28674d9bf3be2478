"""The same databases as the outbox's tests, and sites whose default mailer is an outbox or a failover."""

from collections.abc import Callable, Iterator
from typing import Any

import django
import pytest
from django.db import connections
from pytest_django import DjangoDbBlocker

from reliable_email.testing.server import ScriptedServer
from tests.outbox.conftest import database, using

__all__ = ["database", "using"]

SMTP = "reliable_email.backends.ReliableSMTPBackend"


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    """A real server on the loopback."""
    with ScriptedServer() as running:
        yield running


@pytest.fixture
def make_site(settings: Any) -> Callable[..., None]:
    """Gives a site these mailers, on every Django."""

    def make(mailers: dict[str, Any], **own: Any) -> None:
        settings.MAILERS = mailers
        settings.RELIABLE_EMAIL = own
        if django.VERSION < (6, 1):
            settings.EMAIL_BACKEND = "reliable_email.backends.DefaultMailer"

    return make


def outbox_mailers(using: str, *ports: int) -> dict[str, Any]:
    """An outbox over a failover of "first", "second" …"""
    names = ["first", "second", "third"][: len(ports)]
    return {
        "default": {
            "BACKEND": "reliable_email.backends.OutboxBackend",
            "OPTIONS": {"using": "routes", "database": using},
        },
        "routes": {"BACKEND": "reliable_email.backends.FailoverBackend", "OPTIONS": {"using": names}},
        **{
            name: {"BACKEND": SMTP, "OPTIONS": {"host": "127.0.0.1", "port": port}}
            for name, port in zip(names, ports, strict=True)
        },
    }


@pytest.fixture
def site(
    using: str, server: ScriptedServer, make_site: Callable[..., None], django_db_blocker: DjangoDbBlocker
) -> Iterator[str]:
    """An outbox over two routes to one real server."""
    make_site(outbox_mailers(using, server.port, server.port))
    yield using
    connections[using].close()
