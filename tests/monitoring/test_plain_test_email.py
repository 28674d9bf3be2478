"""A plain `test_email --to` says HEALTHY only where the site's own mail would go out, too."""

import io
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connections

from reliable_email.classification import Cause
from reliable_email.delivery.policy import Effect
from reliable_email.outbox.upkeep import worker_row
from reliable_email.store.sql.clock import DatabaseNow
from reliable_email.store.tables.shared import Worker
from reliable_email.testing.server import ScriptedServer
from tests.django.conftest import SMTP, use_mailers

TO = "you@example.com"


def run(*arguments: str) -> tuple[int, str]:
    """Exit code and output."""
    out = io.StringIO()
    try:
        call_command("test_email", "--to", TO, "--from", "site@example.org", *arguments, stdout=out)
    except SystemExit as ended:
        return int(ended.code or 0), out.getvalue()
    return 0, out.getvalue()


@pytest.fixture
def overrides() -> Iterator[list[Any]]:
    """Settings that end with the test."""
    kept: list[Any] = []
    yield kept
    for override in reversed(kept):
        override.disable()


@pytest.fixture
def queue(server: ScriptedServer, overrides: list[Any], db: None) -> ScriptedServer:
    """A site whose default is an outbox over a server that works."""
    outbox = {"BACKEND": "reliable_email.backends.OutboxBackend", "OPTIONS": {"using": "routes"}}
    override = use_mailers({"default": outbox, "routes": {"BACKEND": SMTP, "OPTIONS": server.options(timeout=5)}})
    override.enable()
    overrides.append(override)
    return server


def test_it_is_degraded_where_no_worker_runs(queue: ScriptedServer) -> None:
    """The test message went out directly; the site's own would wait."""
    code, said = run()
    assert code == 3, said
    assert "no worker was seen within a day" in said
    assert "Status: DEGRADED" in said
    assert len(queue.messages) == 1


def test_it_is_healthy_where_one_does(queue: ScriptedServer) -> None:
    """Seen lately."""
    worker_row.arrive("default", "worker", "", 1)
    assert run()[0] == 0
    Worker.objects.update(seen_at=DatabaseNow(-3600))
    code, said = run()
    assert code == 3
    assert "no worker was seen for" in said


def test_it_is_unhealthy_where_the_outbox_has_no_tables(queue: ScriptedServer) -> None:
    """Nothing can be queued."""
    with connections["default"].cursor() as cursor:
        cursor.execute("ALTER TABLE reliable_email_outboxrecipient RENAME TO elsewhere")  # the test is rolled back
    code, said = run()
    assert code == 1
    assert "has no tables" in said


def test_it_is_degraded_where_the_first_route_is_out_of_use(overrides: list[Any], transactional_db: None) -> None:
    """Though the second one took the test message."""
    from tests.monitoring.test_health import fail

    with ScriptedServer() as first, ScriptedServer() as second:
        override = use_mailers(
            {
                "default": {"BACKEND": "reliable_email.backends.FailoverBackend", "OPTIONS": {"using": ["a", "b"]}},
                "a": {"BACKEND": SMTP, "OPTIONS": first.options(timeout=5)},
                "b": {"BACKEND": SMTP, "OPTIONS": second.options(timeout=5)},
            }
        )
        override.enable()
        overrides.append(override)
        fail("default", "a", Effect.OPEN, Cause.REPUTATION_BLOCKED)
        code, said = run()
    assert code == 3, said
    assert "the route 'a' is closed" in said
