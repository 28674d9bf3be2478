"""The first page: what waits, and what came in and went out."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import django
import pytest
from django.db import connection
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from reliable_email.store.questions.status import queue as read_queue
from reliable_email.store.questions.traffic import BUCKET, Bucket, Traffic, traffic
from reliable_email.store.sql.bounded import BoundedCount, bounded_count
from reliable_email.store.sql.clock import database_now
from reliable_email.store.tables.messages import OutboxMessage
from reliable_email.store.tables.shared import Tally
from reliable_email.store.tables.states import State
from reliable_email.views.parts.chart import HEIGHT, WIDTH, chart
from tests.views.letters import USING, deliver, queue

PAGE = "/mail/"


@pytest.fixture(autouse=True)
def site(settings: Any) -> None:
    """An outbox over one route."""
    settings.MAILERS = {
        "default": {"BACKEND": "reliable_email.backends.OutboxBackend", "OPTIONS": {"using": "routes"}},
        "routes": {
            "BACKEND": "reliable_email.backends.ReliableSMTPBackend",
            "OPTIONS": {"host": "mail.example.com", "username": "shop", "password": "only for tests"},
        },
    }
    if django.VERSION < (6, 1):
        settings.EMAIL_BACKEND = "reliable_email.backends.DefaultMailer"


def _text(answer: object) -> str:
    words = re.sub(r"<[^>]+>", " ", answer.content.decode())  # type: ignore[attr-defined]
    return " ".join(words.split())


def test_an_empty_outbox_says_that_nothing_is_due(operator: Client) -> None:
    """No figure is invented where there is none."""
    text = _text(operator.get(PAGE))
    assert "Nothing is due." in text
    assert "Nothing came in and nothing went out" in text


def test_the_verdict_stands_first_with_reason_since_and_remedy(operator: Client) -> None:
    """Due messages without a worker are what the page says before anything else."""
    queue("ok@example.org")
    answer = operator.get(PAGE)
    text = _text(answer)
    assert answer.context["site"]["verdict"] == "unhealthy"
    assert re.search(r"UNHEALTHY – messages are due and no worker was seen .*, since .* Start “manage.py", text)
    assert text.index("UNHEALTHY") < text.index("What waits")


def test_what_waits_is_told_by_priority_and_by_state(operator: Client) -> None:
    """The oldest due message is named, and links lead to its page and to the recipients of a state."""
    row = queue("ok@example.org", "nouser@example.org")
    answer = operator.get(PAGE)
    lines = {line.priority: line for line in answer.context["queue"].priorities}
    assert str(lines["normal"].due) == "2"
    assert str(lines["high"].due) == "0"
    assert answer.context["oldest"].oldest_message == row.pk
    page = answer.content.decode()
    assert f'href="/mail/messages/{row.pk}/"' in page
    assert 'href="/mail/messages/?state=queued"' in page


def test_a_message_with_its_time_to_come_is_later_and_not_due(db: None) -> None:
    """Only what could be sent now is due."""
    row = queue("ok@example.org")
    row.recipients.update(due_at=database_now(USING) + timedelta(hours=1))
    found = read_queue(USING, environment="")
    assert found.oldest is None
    assert [str(line.later) for line in found.priorities] == ["0", "1", "0"]
    assert found.states[State.QUEUED] == BoundedCount(count=1)


@pytest.mark.django_db(transaction=True)
def test_what_came_in_and_went_out_is_drawn_and_said(operator: Client) -> None:
    """The picture has a name for those who do not see it, and a table with its figures."""
    queue("ok@example.org")
    deliver()
    answer = operator.get(PAGE)
    page = answer.content.decode()
    assert [line.total for line in answer.context["chart"].lines] == [1, 1, 0]
    assert 'role="img" aria-labelledby="traffic-name"' in page
    assert "messages queued: 1 in 24 hours" in page
    assert sum(hour.accepted for hour in answer.context["chart"].hours) == 1


def test_counts_stop_where_more_would_say_nothing(db: None) -> None:
    """Eleven of at most ten is "10+"."""
    queue(*(f"ok{number}@example.org" for number in range(11)))
    [row] = OutboxMessage._base_manager.all()
    assert str(bounded_count(row.recipients.order_by("id"), most=10)) == "10+"
    assert str(bounded_count(row.recipients.order_by("id"), most=11)) == "11"


def test_buckets_that_are_over_are_counted_once(
    db: None, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    """What came in is counted anew only where it can still change."""
    row = queue("ok@example.org")
    now = database_now(USING)
    OutboxMessage._base_manager.filter(pk=row.pk).update(created_at=now - timedelta(hours=2))
    assert traffic(USING).queued == 1
    queue("ok@example.org")
    with django_assert_max_num_queries(3) as captured:
        assert traffic(USING).queued == 2
    counted = next(query["sql"] for query in captured.captured_queries if "bucket_" in query["sql"])
    assert counted.count("SELECT") < 10


def test_traffic_of_the_day_before_is_not_told(db: None) -> None:
    """Only 24 hours are."""
    row = queue("ok@example.org")
    now = database_now(USING)
    OutboxMessage._base_manager.filter(pk=row.pk).update(created_at=now - timedelta(hours=25))
    minute = (now - timedelta(hours=25)).replace(second=0, microsecond=0)
    Tally._base_manager.create(minute=minute, route="first", outcome="accepted", count=7)
    Tally._base_manager.create(minute=minute + timedelta(hours=2), route="first", outcome="accepted", count=5)
    found = traffic(USING)
    assert found.queued == 0
    assert found.outcomes == {"accepted": 5}


def test_a_chart_keeps_within_its_frame() -> None:
    """The upper edge is the next round figure, and the bucket that has just begun is not drawn too low."""
    start = datetime(2026, 1, 1, tzinfo=UTC)
    buckets = tuple(
        Bucket(at=start + BUCKET * number, minutes=15 if number < 4 else 1, queued=30 if number < 4 else 2, outcomes={})
        for number in range(5)
    )
    drawn = chart(Traffic(at=start, buckets=buckets))
    assert drawn.top == "2"
    points = [tuple(map(float, point.split(","))) for point in drawn.lines[0].points.split()]
    assert [x for x, _ in points] == [0.0, WIDTH / 4, WIDTH / 2, WIDTH * 3 / 4, WIDTH]
    assert {y for _, y in points} == {2.0}
    assert all(0 <= y <= HEIGHT for _, y in points)
    assert drawn.lines[0].now_per_minute == 2


def test_missing_tables_are_said_in_words(operator: Client) -> None:
    """Whoever forgot to migrate is told to, in place of a traceback."""
    if connection.vendor == "mysql":
        pytest.skip("MySQL commits with each change of a table")
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE reliable_email_outboxrecipient RENAME TO gone_recipient")
    answer = operator.get(PAGE)
    assert answer.status_code == 503
    assert "manage.py migrate reliable_email" in answer.content.decode()
