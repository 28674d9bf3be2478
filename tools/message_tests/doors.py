"""The settings of the run, and each door with its own view of the one sink.

Reference is Django's SMTP backend. Ours: direct, failover, queue; the last two also over Django's SMTP backend as their
route. Beside them django-anymail, with a fake of its HTTP, directly and over failover and queue.
"""

import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import django
import requests
from django.conf import settings
from django.core.mail import EmailMessage

from reliable_email.testing.server import ScriptedServer
from tests.content.anymail_posts import PROVIDERS, Network, SESClient, install_boto

REFERENCE = "django"
BY_SMTP = ("direct", "failover", "queue", "failover over Django's", "queue over Django's")
QUEUES = ("queue", "queue over Django's")
_PACKAGE = "reliable_email.backends"
_DJANGO = "django.core.mail.backends.smtp.EmailBackend"


@dataclass
class Posts:
    """What anymail posted, and by which of its users."""

    lock: Any = field(default_factory=threading.Lock)
    found: list[Any] = field(default_factory=list)


POSTS = Posts()


def _anymail_backend(provider: str) -> type:
    if provider == "amazon_ses":
        install_boto()
    base = import_module(f"anymail.backends.{provider}").EmailBackend

    class Backend(base):  # type: ignore[misc, valid-type]
        def create_session(self) -> requests.Session:
            session = super().create_session()
            session.mount("https://", Network(POSTS.found))
            return session  # type: ignore[no-any-return]

        def open(self) -> Any:
            if provider == "amazon_ses":
                self.client = SESClient(POSTS.found)
                return None
            return super().open()

    Backend.__name__ = Backend.__qualname__ = provider
    Backend.__module__ = "anymail.of_the_tests"
    return Backend


def __getattr__(name: str) -> Any:
    """A backend of anymail's by its provider's name, for a dotted path."""
    if name in PROVIDERS:
        globals()[name] = _anymail_backend(name)
        return globals()[name]
    raise AttributeError(name)


@contextmanager
def sinks() -> Iterator[dict[str, ScriptedServer]]:
    """A server for each door; they are all alike."""
    names = (REFERENCE, *BY_SMTP)
    servers = {name: ScriptedServer(accepts_bare_line_ends=True, size_limit=None).start() for name in names}
    try:
        yield servers
    finally:
        for server in servers.values():
            server.close()


def configure(servers: dict[str, ScriptedServer]) -> None:
    """Settings of a site with all these doors."""
    mailers: dict[str, Any] = {
        "default": {"BACKEND": "django.core.mail.backends.dummy.EmailBackend"},
        "away": _ours("ReliableSMTPBackend", host="127.0.0.1", port=1, timeout=5, max_attempts=1),
        REFERENCE: _at(_DJANGO, servers[REFERENCE]),
        "direct": _at(f"{_PACKAGE}.ReliableSMTPBackend", servers["direct"]),
        "failover": _ours("FailoverBackend", using=["away", "failover's"]),
        "failover's": _at(f"{_PACKAGE}.ReliableSMTPBackend", servers["failover"]),
        "queue": _ours("OutboxBackend", using="queue's"),
        "queue's": _at(f"{_PACKAGE}.ReliableSMTPBackend", servers["queue"]),
        "failover over Django's": _ours("FailoverBackend", using=["away", "over Django's"]),
        "over Django's": _at(_DJANGO, servers["failover over Django's"]),
        "queue over Django's": _ours("OutboxBackend", using="behind the queue"),
        "behind the queue": _at(_DJANGO, servers["queue over Django's"]),
    }
    for provider, options in PROVIDERS.items():
        backend = f"tools.message_tests.doors.{provider}"
        mailers[provider] = {"BACKEND": backend, "OPTIONS": {"ignore_unsupported_features": True, **options}}
        mailers[f"failover over {provider}"] = _ours("FailoverBackend", using=["away", provider])
        mailers[f"queue over {provider}"] = _ours("OutboxBackend", using=provider)
    settings.configure(
        SECRET_KEY="only for a trial",
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": str(Path(tempfile.mkdtemp(prefix="message-tests-")) / "outbox.sqlite3"),
                "OPTIONS": {"transaction_mode": "IMMEDIATE", "timeout": 60},
            }
        },
        INSTALLED_APPS=["reliable_email"],
        DEFAULT_FROM_EMAIL="site@example.org",
        USE_TZ=True,
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        MAILERS=mailers,
        **({} if django.VERSION >= (6, 1) else {"EMAIL_BACKEND": f"{_PACKAGE}.DefaultMailer"}),
    )
    django.setup()


def _ours(name: str, **options: Any) -> dict[str, Any]:
    return {"BACKEND": f"{_PACKAGE}.{name}", "OPTIONS": options}


def _at(backend: str, server: ScriptedServer) -> dict[str, Any]:
    return {"BACKEND": backend, "OPTIONS": {"host": server.host, "port": server.port, "timeout": 60}}


def send(door: str, message: EmailMessage) -> str:
    """Send or queue by a door; "" or why it refuses."""
    from reliable_email.mailers import mailers

    try:
        mailers[door].send_messages([message])
    except Exception as error:  # noqa: BLE001 - whatever a site would see
        return f"{type(error).__name__}: {str(error)[:160]}"
    return ""


def work() -> None:
    """A worker empties the queues, without a border of a batch between a message's recipients."""
    from django.db import DEFAULT_DB_ALIAS

    from reliable_email.backends.failover import routes_for
    from reliable_email.outbox.upkeep.worker_options import WorkerOptions
    from reliable_email.outbox.worker.process import Worker
    from reliable_email.store.memory.route_state import DatabaseRouteStateStore

    options = WorkerOptions(using=DEFAULT_DB_ALIAS, until_empty=True, connections=2, batch=100_000, poll_seconds=0.05)
    Worker(options, routes_of=routes_for, store=DatabaseRouteStateStore(DEFAULT_DB_ALIAS)).run()
