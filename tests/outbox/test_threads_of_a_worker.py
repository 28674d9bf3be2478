"""Which thread of a worker runs which SQL: the table in docs/explanation/architecture.md, watched as it happens."""

import re
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from django.db import connections

from reliable_email.providers import Quota
from reliable_email.signals import message_delivered
from reliable_email.store.memory.route_state import DatabaseRouteStateStore
from reliable_email.store.tables.states import State
from reliable_email.testing.server import ScriptedServer
from tests.outbox.desk import queue, smtp_route, states, worker
from tests.outbox.watching import Statements, watched

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "architecture.md"
# What the commits of all lines write, and the conditions that they read.
OF_COMMITS = {"attempt", "outboxrecipient", "routestate"}


def documented() -> dict[str, set[str]]:
    """Return the tables of the page's list, by thread."""
    listed = PAGE.read_text("utf-8").split("<!-- threads -->")[1].split("<!-- end of threads -->")[0]
    rows = re.findall(r"^\| `([a-z]+)` \|.*\|([^|]*)\|$", listed, re.MULTILINE)
    return {name: set(re.findall(r"`(\w+)`", tables)) for name, tables in rows}


def at_work(using: str) -> Statements:
    """Watch a worker that delivers, tells receivers, charges a quota, meets a refusal and looks after its database."""
    with ScriptedServer() as server, watched() as seen:
        for number in range(20):
            queue(using, f"user{number}@example.net")
        route = replace(smtp_route(server), quotas=(Quota(window_seconds=86400, limit=1000),))
        one = worker(using, route, store=DatabaseRouteStateStore(using), connections=2, listen=True)
        thread = threading.Thread(target=one.run, name="main")
        thread.start()
        thread.join()
    assert set(states(using)) == {State.ACCEPTED}
    return seen


@pytest.mark.timeout(120)
def test_each_thread_of_a_worker_touches_the_tables_that_the_page_lists_for_it(using: str) -> None:
    """Whoever looks for what holds a thread up finds it there."""
    listed, seen = documented(), at_work(using)
    found = {name: {table for _, table in pairs if table} for name, pairs in seen.seen.items()}
    assert set(found) <= set(listed)
    for name, tables in found.items():
        assert tables <= listed[name], f"{name}: {sorted(tables - listed[name])} is not listed"


@pytest.mark.timeout(120)
def test_the_thread_that_drives_the_lines_runs_their_commits_and_no_other_statement(using: str) -> None:
    """Reading, memory of routes, suspects and receivers have threads of their own, so that none stops all lines."""
    seen = at_work(using)
    assert {table for _, table in seen.seen["lines"]} <= OF_COMMITS
    commits = [sql for sql in seen.texts["lines"] if not re.search("UPDATE|INSERT", sql)]
    assert not any(re.search(r"\bFROM\b", sql) for sql in commits), commits


@pytest.mark.timeout(120)
def test_what_a_receiver_asks_is_not_asked_by_the_thread_of_the_lines(using: str) -> None:
    """A slow receiver holds up its own line."""

    def receive(**fields: object) -> None:
        with connections[using].cursor() as cursor:
            cursor.execute("SELECT 4711")

    message_delivered.connect(receive)
    try:
        seen = at_work(using)
    finally:
        message_delivered.disconnect(receive)
    asking = {name for name, texts in seen.texts.items() if any("4711" in sql for sql in texts)}
    assert asking
    assert "lines" not in asking
