"""When a route was closed stands on its page: a strip of the last days, and why."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client, override_settings
from django.utils import timezone

from reliable_email.models import Opening
from reliable_email.store.questions.route_history import OpeningStory
from reliable_email.views.parts.closings import SHOWN, WIDTH, closings
from tests.views.test_acting import MAILERS, OLDER

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)


def story(opened: timedelta, closed: timedelta | None = None, **more: Any) -> OpeningStory:
    """An opening so long ago."""
    known = {"route": "first", "account": "", "number": 1, "reason": "timeout", "evidence": "", "failed_probes": 0}
    ended = NOW - closed if closed is not None else None
    return OpeningStory(opened_at=NOW - opened, closed_at=ended, **known | more)  # type: ignore[arg-type]


def test_a_route_that_was_never_closed_has_no_history() -> None:
    """An empty strip says nothing."""
    assert closings([], NOW) is None


def test_the_strip_shows_when_and_for_how_long() -> None:
    """Half of the week, seen from its beginning; what was over before does not count."""
    found = closings([story(timedelta(days=3.5)), story(timedelta(days=20), timedelta(days=8))], NOW)
    assert found is not None
    assert found.bars == ((WIDTH / 2, WIDTH / 2),)
    assert found.percent == pytest.approx(50)
    assert [one.is_over for one in found.lines] == [False, True]


def test_a_short_one_can_be_seen_and_stays_within_the_strip() -> None:
    """Ten seconds, a moment ago."""
    found = closings([story(timedelta(seconds=10), timedelta(0))], NOW)
    assert found is not None
    [(start, width)] = found.bars
    assert width >= 2
    assert start + width <= WIDTH


def test_of_many_the_newest_are_listed() -> None:
    """The command has all."""
    found = closings([story(timedelta(hours=n + 1), timedelta(hours=n)) for n in range(9)], NOW)
    assert found is not None
    assert (len(found.lines), found.more, len(found.bars)) == (SHOWN, 9 - SHOWN, 9)


@pytest.mark.django_db
@override_settings(MAILERS=MAILERS, **OLDER)
def test_the_page_of_the_routes_shows_it(operator: Client) -> None:
    """At its own route, with the words of the server."""
    now = timezone.now()
    Opening.objects.create(
        route="first", number=1, reason="quota_exceeded", evidence="at mail: 550 5.4.5 <enough>",
        opened_at=now - timedelta(hours=3), closed_at=now - timedelta(hours=1),
    )  # fmt: skip
    answer = operator.get("/mail/routes/")
    lines = {one.alias: one.closings for one in answer.context["routes"]}
    assert lines["second"] is None
    assert lines["first"] is not None
    text = answer.content.decode()
    for words in ("When it was closed", "quota exceeded", "550 5.4.5 &lt;enough&gt;", "2 h", 'class="shut"'):
        assert words in text
