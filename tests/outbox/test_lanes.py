"""However much waits in lanes, finding them and claiming from one of them reads a few rows of the index."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connections

from reliable_email.outbox.intake.enqueue import QueueOptions, enqueue
from reliable_email.outbox.rows.claim import Wanted, claim
from reliable_email.outbox.rows.lanes import Lane, LaneBook, Turn
from reliable_email.store.questions.lanes import due_lanes, lane_of
from reliable_email.store.sql.clock import DatabaseNow
from reliable_email.store.tables.recipients import OutboxRecipient
from reliable_email.store.tables.states import PriorityRank
from tests.outbox.desk import queue, submission

_TABLE = OutboxRecipient._meta.db_table


def fill(using: str, count: int, *, lanes: int, mailer: str) -> list[str]:
    """Put so many recipients of one message into so many lanes, in turn; the lanes' mailers."""
    names = [f"{mailer}{n}" for n in range(lanes)]
    queue(using, mailer=mailer)
    rows = OutboxRecipient.objects.using(using)
    first = rows.get(mailer=mailer)
    copies = []
    for n in range(count):
        name = names[n % lanes]
        values = {f.attname: getattr(first, f.attname) for f in first._meta.concrete_fields if not f.primary_key}
        copies.append(OutboxRecipient(**values | {"mailer": name, "lane": lane_of(name), "position": n + 1}))
    rows.bulk_create(copies, batch_size=500)
    rows.filter(mailer=mailer).delete()
    rows.update(due_at=DatabaseNow(-3600.0))
    gather_statistics(using)
    return names


def gather_statistics(using: str) -> None:
    """Tell a database's planner how many rows there are, as it finds out by itself in time."""
    vendor = connections[using].vendor
    if vendor != "sqlite":
        with connections[using].cursor() as cursor:
            cursor.execute(f"ANALYZE {'TABLE ' if vendor == 'mysql' else ''}{_TABLE}")


@contextmanager
def reading_little(using: str, most: int) -> Iterator[list[tuple[str, str]]]:
    """Few rows are read: as MariaDB counts them, and as the others plan it; each statement with a line of its plan."""
    connection = connections[using]
    plans: list[tuple[str, str]] = []

    def explain(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        if _TABLE in sql and connection.vendor != "mysql" and not sql.startswith("EXPLAIN"):
            with connection.cursor() as cursor:
                cursor.execute(f"EXPLAIN {'QUERY PLAN ' * (connection.vendor == 'sqlite')}{sql}", params)
                plans.extend((sql, str(row[-1])) for row in cursor.fetchall())
        return execute(sql, params, many, context)

    before = _rows_read(using)
    with connection.execute_wrapper(explain):
        yield plans
    assert _rows_read(using) - before <= most
    assert not [line for _, line in plans if f"SCAN {_TABLE}" in line or f"Seq Scan on {_TABLE}" in line]
    assert connection.vendor == "mysql" or any("rel_email_rcpt_lane" in line for _, line in plans)


def _rows_read(using: str) -> int:
    if connections[using].vendor != "mysql":
        return 0
    with connections[using].cursor() as cursor:
        cursor.execute("SHOW SESSION STATUS LIKE 'Handler_read%'")
        return sum(int(count) for name, count in cursor.fetchall() if name != "Handler_read_rnd_next")


@pytest.fixture
def lanes(using: str) -> list[str]:
    """Three thousand rows in ten lanes."""
    return fill(using, 3000, lanes=10, mailer="busy")


def test_lanes_are_found_by_a_few_rows_of_each(using: str, lanes: list[str]) -> None:
    """Also where thousands wait in each."""
    with reading_little(using, 100):
        found = due_lanes(connections[using])
    assert {(rank, key) for rank, key, _ in found} == {(PriorityRank.NORMAL, lane_of(name)) for name in lanes}
    assert all(age >= 3599.0 for _, _, age in found)


def test_lanes_in_which_nothing_is_due_are_not_found(using: str, lanes: list[str]) -> None:
    """What is in somebody's hand, or over, has no time at which it is due; what is for later is negative."""
    rows = OutboxRecipient.objects.using(using)
    rows.exclude(mailer__in=lanes[:2]).update(due_at=None)
    rows.filter(mailer=lanes[0]).update(due_at=DatabaseNow(3600.0))
    found = {key: age for _, key, age in due_lanes(connections[using])}
    assert found.keys() == {lane_of(lanes[0]), lane_of(lanes[1])}
    assert found[lane_of(lanes[0])] < 0 < found[lane_of(lanes[1])]


def test_a_claim_of_an_open_lane_reads_nothing_of_closed_ones(using: str, lanes: list[str]) -> None:
    """It takes a range of the index, whatever stands before it."""
    for _ in range(20):
        queue(using, mailer="open")
    turn = Turn(Lane(PriorityRank.NORMAL, lane_of("open"), "open"))
    with reading_little(using, 60):
        taken = claim(using, Wanted(environment="", turns=[turn]), worker="w", limit=10, lease_seconds=60)
    assert [row.mailer for row in taken.rows] == ["open"] * 10


def test_the_rest_of_a_message_is_found_by_its_id(using: str) -> None:
    """A claim that takes as many as it may looks for the recipients that it would cut off, and not through its lane."""
    enqueue([submission() for _ in range(1500)], QueueOptions(mailer="busy", using=using))
    gather_statistics(using)
    turn = Turn(Lane(PriorityRank.NORMAL, lane_of("busy"), "busy"))
    with reading_little(using, 120) as plans:
        taken = claim(using, Wanted(environment="", turns=[turn]), worker="w", limit=10, lease_seconds=60)
    assert len(taken.rows) == 10
    rest = [line for sql, line in plans if "message_id IN" in sql]
    assert rest or connections[using].vendor == "mysql"
    assert not any("rel_email_rcpt_lane" in line for line in rest), rest


def test_each_of_many_lanes_has_its_turn(using: str) -> None:
    """Counted in claims: after two rounds each was served twice, neither more nor less."""
    names = fill(using, 600, lanes=200, mailer="some")
    book = LaneBook(using, "", poll_seconds=600.0)
    book.look(0)
    served: Counter[str] = Counter()
    for _ in range(2 * 200 // 8):
        turns = [Turn(lane, 1) for lane in book.due()[:8]]
        wanted = Wanted(environment="", turns=turns, noting=book)
        served.update(row.mailer for row in claim(using, wanted, worker="w", limit=8, lease_seconds=600).rows)
    assert served == dict.fromkeys(names, 2)
