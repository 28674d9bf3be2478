"""When a reply asks to come back."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reliable_email.classification import classify
from reliable_email.classification.hints import retry_hint, window_hint
from reliable_email.smtp.syntax.replies import parse_reply

NOW = datetime(2025, 8, 25, 6, 0, 31, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("Greylisted, please try again in 300 seconds", 300),
        ("try again in 5 minutes", 300),
        ("please retry after 1 hour", 3600),
        ("retry in 90s", 90),
        ("wait 2 days before sending", 172800),
        ("please come back in 00:05:00", None),
        ("Greylisting in action, please try again in 00:05:00", 300),
        ("try again in a few minutes", 60),
        ("try again in an hour", 3600),
        ("try again later", None),
        ("more than 24 hours of mail", None),
        ("retry in 999999 days", 604800),
    ],
)
def test_seconds_that_the_text_asks_for(text, seconds):
    """Numbers count where the sentence ties them to trying again; a week is the most."""
    assert retry_hint(text) == (seconds, None)


@pytest.mark.parametrize(
    "text",
    [
        "try again after Mon, 25 Aug 2025 07:00:31 UTC",
        "try again after Mon, 25 Aug 2025 09:00:31 +0200",
        "blocked until 2025-08-25T07:00:31Z, retry then",
        "retry after 2025-08-25 07:00:31 UTC",
    ],
)
def test_a_moment_that_the_text_names(text):
    """A named moment is aware, and becomes seconds; without a clock nobody knows how far away it is."""
    moment = datetime(2025, 8, 25, 7, 0, 31, tzinfo=UTC)
    assert retry_hint(text) == (None, None)
    assert retry_hint(text, now=NOW) == (3600.0, moment)


def test_a_moment_far_away_is_a_mistake():
    """Nobody waits for a year because a server's clock is wrong."""
    seconds, moment = retry_hint("try again after Mon, 24 Aug 2026 07:00:31 UTC", now=NOW)
    assert seconds == 604800
    assert moment == NOW + timedelta(days=7)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("550 5.7.1 try again after 9999-12-31T23:59:59Z", 604800),
        ("550 5.7.1 try again after 9999-12-31T23:59:59-14:00", 604800),
        ("550 5.7.1 try again after 9999-12-31T23:59:59+14:00", 604800),
        ("550 5.7.1 try again after 0001-01-01T00:00:00+14:00", 0),
        ("550 5.7.1 try again after Fri, 31 Dec 9999 23:59:59 -1400", 604800),
        ("550 5.7.1 try again after Fri, 31 Dec 9999 23:59:59 -9999", None),
        ("550 5.7.1 try again after 2025-08-25T06:00:00+99:59", None),
        ("550 5.7.1 try again after 0000-00-00T00:00:00Z", None),
        ("550 5.7.1 try again in 99999 days", 604800),
        ("550 5.7.1 try again in 99:59:59", 359999),
    ],
)
def test_absurd_waits_are_bounded_whether_or_not_there_is_a_clock(text, seconds):
    """No date, time zone or number keeps a route closed for more than a week, and none raises."""
    reply = parse_reply(text)
    for now in (NOW, None):
        failure = classify(reply, now=now)
        assert failure.retry_after is None or 0 <= failure.retry_after <= 604800
        assert failure.retry_at is None or failure.retry_at <= NOW + timedelta(days=7)
    assert retry_hint(text, now=NOW)[0] == seconds


@pytest.mark.parametrize("text", ["after Mon, 99 Aug 2025 07:00:31 UTC", "retry after 2025-13-45 07:00"])
def test_impossible_dates_are_no_dates(text):
    """A date that does not exist asks for nothing."""
    assert retry_hint(text, now=NOW)[1] is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("100 messages per hour", 3600),
        ("30/minute", 60),
        ("daily limit", 86400),
        ("this hour", 3600),
        ("slow down", None),
    ],
)
def test_windows_of_limits(text, seconds):
    """The window of a limit is what has to pass at most."""
    assert window_hint(text) == seconds


@given(st.text(alphabet="againretry wait0123456789:.-secondsminuteshours,MonAug+TZ", max_size=500))
def test_no_text_upsets_the_hints(text):
    """Whatever stands there, the wait is between nothing and a week."""
    seconds, moment = retry_hint(text, now=NOW)
    assert seconds is None or 0 <= seconds <= 604800
    assert moment is None or moment.tzinfo is not None
    window_hint(text)
