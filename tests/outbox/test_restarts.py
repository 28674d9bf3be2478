"""Restarts of the database in mid batch: what was handed over is known, and the rest goes on by itself.

The figures are printed: `python -m pytest -s tests/outbox/test_restarts.py`.
"""

import signal
import sqlite3
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from django.core.management import call_command
from django.db import connections
from pytest_django import DjangoDbBlocker

from reliable_email.outbox.intake.enqueue import QueueOptions, enqueue
from reliable_email.store.questions.audit import audit
from reliable_email.store.tables.states import State
from reliable_email.testing.actions import both, pause, real
from reliable_email.testing.script import Script
from reliable_email.testing.server import ScriptedServer
from tests.outbox.conftest import database_settings
from tests.outbox.desk import rows, smtp_route, submission, worker
from tests.outbox.own_servers import OwnServer, own_server

_COUNT, _CONNECTIONS = 160, 4
_PAUSE = threading.Event().wait


@pytest.fixture(scope="module", params=["postgres", "mariadb", "mysql"])
def own(request: pytest.FixtureRequest, django_db_blocker: DjangoDbBlocker) -> Iterator[tuple[str, OwnServer]]:
    """A database server of this test's own, and the alias of its database."""
    with ExitStack() as stack:
        server = stack.enter_context(own_server(request.param))
        yield stack.enter_context(known(f"own_{request.param}", server.settings(), django_db_blocker)), server


@contextmanager
def known(alias: str, settings: dict[str, object], blocker: DjangoDbBlocker) -> Iterator[str]:
    """Give a database an alias and the app's tables."""
    connections.settings[alias] = connections.configure_settings({alias: settings, "default": {}})[alias]
    try:
        with blocker.unblock():
            call_command("migrate", "reliable_email", database=alias, verbosity=0)
            connections[alias].close()
        yield alias
    finally:
        connections[alias].close()
        del connections[alias]
        del connections.settings[alias]


def disturb(using: str, fault: Callable[[], None], words: str) -> None:
    """Let a worker send, bring the fault about in the middle, and compare both sides' books when it has ended."""
    addresses = [f"ok{number}-{words.replace(' ', '-')}@example.com" for number in range(_COUNT)]
    enqueue([submission(to=(one,)) for one in addresses], QueueOptions(mailer="routes", using=using))
    with ScriptedServer(*[Script(final_reply=both(pause(0.05), real()))] * 400) as server:
        one = worker(using, smtp_route(server), connections=_CONNECTIONS, batch=20, lease_seconds=8.0, listen=False)
        thread = threading.Thread(target=one.run, daemon=True)
        thread.start()
        try:
            server.wait_for_messages(_COUNT // 4, timeout=60)
            began_at = time.monotonic()
            fault()
            over_at, before = time.monotonic(), len(server.messages)
            server.wait_for(lambda ledger: len(ledger.messages) > before, timeout=60)
            again = time.monotonic() - over_at
            thread.join(120)
            assert not thread.is_alive()
        finally:
            one.stop()
            thread.join(30)
        copies = Counter(address for message in server.messages for address in message.recipients)
        logins = len(server.connections)
    connections[using].close()  # this thread's own died, too
    found = {row.address: row.state for row in rows(using) if row.address in addresses}
    states = Counter(found.values())
    lost = [who for who, state in found.items() if state == State.ACCEPTED and not copies[who]]
    twice = [who for who, count in copies.items() if count > 1]
    sys.stdout.write(
        f"\n{using}, {words}: away {over_at - began_at:.1f} s, next message {again:.1f} s later; "
        f"accepted {states['accepted']}, unknown {states['unknown']}, lost {len(lost)}, twice {len(twice)}, "
        f"{logins} connections to the provider\n"
    )
    assert not lost
    assert not twice
    assert set(found.values()) <= {State.ACCEPTED, State.UNKNOWN}
    assert states[State.UNKNOWN] <= _CONNECTIONS
    assert logins <= 2 * _CONNECTIONS + 2 * (time.monotonic() - began_at)
    assert audit(using).findings == []


@pytest.mark.timeout(240)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["in order", "killed"])
@pytest.mark.parametrize("seconds", [0.0, 6.0], ids=["at once", "after six seconds"])
def test_a_restart_in_mid_batch_loses_and_doubles_nothing(
    own: tuple[str, OwnServer], number: signal.Signals, seconds: float, django_db_blocker: DjangoDbBlocker
) -> None:
    """At most one message a connection is unknown, and the worker goes on by itself."""
    using, server = own

    def restart() -> None:
        server.stop(number)
        _PAUSE(seconds)
        server.start()

    with django_db_blocker.unblock():
        disturb(using, restart, f"{number.name} {seconds:g}")
        connections[using].close()


@pytest.fixture
def own_file(tmp_path: Path, django_db_blocker: DjangoDbBlocker) -> Iterator[tuple[str, Path]]:
    """An SQLite database of this test's own that waits a second for a lock."""
    path = tmp_path / "outbox.sqlite3"
    settings = database_settings("sqlite", str(path))
    settings["OPTIONS"] |= {"timeout": 1}
    with known("own_sqlite", settings, django_db_blocker) as alias, django_db_blocker.unblock():
        yield alias, path
        connections[alias].close()


@pytest.mark.timeout(240)
def test_a_locked_file_in_mid_batch_loses_and_doubles_nothing(own_file: tuple[str, Path]) -> None:
    """Somebody writes for longer than anybody waits for a lock."""
    using, path = own_file

    def lock() -> None:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        _PAUSE(6.0)
        other.execute("ROLLBACK")
        other.close()

    disturb(using, lock, "locked 6")
