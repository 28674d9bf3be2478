"""Processes that a chaos test ends: enqueuers and workers that die, or fall asleep, at a numbered point.

They are forked from a server process that has loaded Django already, so that hundreds of them cost little. Every read
and write of a socket is a point, besides those of the outbox itself.
"""

import contextlib
import io
import os
import socket
import threading
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
django.setup()

from django.core.management import call_command  # noqa: E402
from django.db import connections, transaction  # noqa: E402
from django.test import override_settings  # noqa: E402

from reliable_email.backends.failover import routes_for  # noqa: E402
from reliable_email.delivery.route_memory import MemoryRouteStateStore  # noqa: E402
from reliable_email.outbox import faultpoints  # noqa: E402
from reliable_email.outbox.intake.enqueue import QueueOptions, enqueue  # noqa: E402
from reliable_email.outbox.worker.process import Worker, WorkerOptions  # noqa: E402
from tests.outbox.conftest import database_settings  # noqa: E402
from tests.outbox.desk import submission  # noqa: E402

ALIAS = "crew"


class _Countdown:
    """Passes points until the one that is meant; those of one name alone are counted where it is given."""

    def __init__(self, at: int, number: int, told: Any, only: str = "") -> None:
        self._only = only
        self._lock = threading.Lock()
        self._count = 0
        self._at = at
        self._signal = number
        self._told = told

    def pass_point(self, name: str) -> None:
        """Die, or sleep, if this is it."""
        if self._only and name != self._only:
            return
        with self._lock:
            self._count += 1
            if self._count != self._at:
                return
            self._told.send_bytes(name.encode())
            os.kill(os.getpid(), self._signal)


class _PointedSocket(socket.socket):
    """Each transfer is a point, before and after."""

    def send(self, *arguments: Any) -> int:
        faultpoints.point("socket:send")
        count = super().send(*arguments)
        faultpoints.point("socket:sent")
        return count

    def recv(self, *arguments: Any) -> bytes:
        faultpoints.point("socket:recv")
        data = super().recv(*arguments)
        faultpoints.point("socket:received")
        return data


def _prepare(vendor: str, name: str, at: int, number: int, told: Any, only: str = "") -> None:
    connections.settings[ALIAS] = connections.configure_settings(
        {ALIAS: database_settings(vendor, name), "default": {}}
    )[ALIAS]
    connections[ALIAS].ensure_connection()
    faultpoints.listen(_Countdown(at, number, told, only).pass_point)


def run_worker(vendor: str, name: str, port: int, at: int, number: int, told: Any) -> None:
    """Work until the queue is empty, or until point `at`, where this process sends itself the signal `number`."""
    _work(vendor, name, port, at, number, told)


def run_flying_worker(vendor: str, name: str, port: int, at: int, number: int, told: Any) -> None:
    """The same with three messages in flight at once."""
    _work(vendor, name, port, at, number, told, flight=3)


def run_two_lines(vendor: str, name: str, port: int, at: int, number: int, told: Any) -> None:
    """The same over two connections, which commit together."""
    _work(vendor, name, port, at, number, told, connections=2, batch=2)


def _work(vendor: str, name: str, port: int, at: int, number: int, told: Any, *, flight: int = 0, **how: Any) -> None:
    socket.socket = _PointedSocket  # type: ignore[misc]
    options = {"host": "127.0.0.1", "port": port, "use_tls": False, "flight": flight}
    mailers = {"routes": {"BACKEND": "reliable_email.backends.ReliableSMTPBackend", "OPTIONS": options}}
    override_settings(MAILERS=mailers).enable()
    _prepare(vendor, name, at, number, told)
    worker = Worker(
        WorkerOptions(using=ALIAS, until_empty=True, lease_seconds=60.0, listen=False, **{"connections": 1} | how),
        routes_of=lambda mailer: routes_for(mailer),
        store=MemoryRouteStateStore(),
    )
    worker.run()
    told.close()


def run_enqueue(vendor: str, name: str, port: int, at: int, number: int, told: Any) -> None:
    """Queue three messages in one transaction, and one more without."""
    _prepare(vendor, name, at, number, told)
    queue = QueueOptions(mailer="routes", using=ALIAS)
    with contextlib.suppress(BrokenPipeError):
        with transaction.atomic(ALIAS):
            enqueue([submission(to=(f"together{n}@example.com",)) for n in range(3)], queue)
            faultpoints.point("caller:commit")
        faultpoints.point("caller:between")
        enqueue([submission(to=("alone@example.com",), idempotency_key="alone")], queue)
        faultpoints.point("caller:end")
    told.close()


def run_command(vendor: str, name: str, port: int, at: int, number: int, told: Any, only: str, *arguments: str) -> None:
    """Do what a person does by `email_outbox`, up to the point `at`, of those with the name `only` or of all."""
    _prepare(vendor, name, at, number, told, only)
    call_command("email_outbox", "--database", ALIAS, *arguments, stdout=io.StringIO())
    told.close()
