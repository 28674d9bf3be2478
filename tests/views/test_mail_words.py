"""How the pages say durations, instants and what strangers wrote."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.utils.translation import override

from reliable_email.classification import Cause
from reliable_email.classification.meanings import MEANINGS
from reliable_email.templatetags.mail_words import (
    ago,
    at,
    clock,
    milliseconds,
    percent,
    plain,
    said,
    span,
    span_since,
    told,
)

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (-3, "0 s"), (59.4, "59 s"), (60, "1 min"), (90, "1.5 min"), (7200, "2 h"), (129600, "1.5 d")],
)
def test_a_duration_is_said_in_its_largest_unit(seconds: float, words: str) -> None:
    """With one decimal where there is one."""
    assert span(seconds) == words
    assert span(timedelta(seconds=seconds)) == words


@pytest.mark.parametrize(("seconds", "words"), [(0.0851, "85 ms"), (1.25, "1.2 s"), (75, "1.2 min")])
def test_short_durations_are_said_in_milliseconds(seconds: float, words: str) -> None:
    """A server's answer takes less than a second."""
    assert milliseconds(seconds) == words


@pytest.mark.parametrize(
    ("offset", "words"), [(-90, "1.5 min ago"), (90, "in 1.5 min"), (0, "just now"), (-0.5, "just now")]
)
def test_an_instant_is_said_as_seen_from_now(offset: float, words: str) -> None:
    """With the whole of it for machines, and for who points at it."""
    told = str(ago(NOON + timedelta(seconds=offset), NOON))
    assert f">{words}<" in told
    assert 'datetime="2026-03-01T1' in told
    assert 'title="2026-03-01 1' in told


def test_an_instant_of_another_day_has_its_date() -> None:
    """One of today has its seconds."""
    assert ">11:59:00<" in str(at(NOON - timedelta(minutes=1), NOON))
    assert ">2026-02-28 11:00<" in str(at(NOON - timedelta(hours=25), NOON))
    assert at(None, NOON) == ago(None, NOON) == ""


def test_instants_are_in_the_sites_time_zone(settings: Any) -> None:
    """Whatever the database's is."""
    settings.TIME_ZONE = "Europe/Berlin"
    assert clock(NOON) == "13:00"
    assert ">12:59:00<" in str(at(NOON - timedelta(minutes=1), NOON))
    assert "since 2026-03-01 12:59:00 CET" in str(span_since(NOON - timedelta(minutes=1), NOON))


def test_what_strangers_wrote_moves_no_cursor_and_is_masked_on_wish(settings: Any) -> None:
    """Control and bidi characters are escaped; addresses are as RELIABLE_EMAIL wants them."""
    assert said("\x1b[2J \u202egro.elpmaxe") == "\\x1b[2J \\u202egro.elpmaxe"
    settings.RELIABLE_EMAIL = {"MASK_ADDRESSES": True}
    assert said("550 <jane.doe@example.org> unknown") == "550 <j…@example.org> unknown"
    assert said(None) == ""


def test_words_of_closed_sets_are_said_with_spaces() -> None:
    """As people write them."""
    assert plain("mailbox_full") == "mailbox full"


def test_code_in_a_sentence_is_code_and_an_option_is_not_broken() -> None:
    """In every language; what a server may have said in it is escaped."""
    with override("de"):
        shown = told(MEANINGS[Cause.CANNOT_BE_BUILT].person)
    assert "<code>manage.py check</code>" in shown
    assert "`" not in shown
    assert told("Give it more --connections <b>.") == (
        'Give it more <span class="nowrap">--connections</span> &lt;b&gt;.'
    )


def test_a_little_is_never_told_as_nothing() -> None:
    """A minute of a week is no "0.0 %"."""
    assert [percent(one) for one in (0, 0.01, 0.05, 33.333, 100)] == ["0.0", "< 0.1", "0.1", "33.3", "100.0"]
