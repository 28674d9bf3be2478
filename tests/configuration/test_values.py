"""Values that people write are read from their own type or from text, and refused in words."""

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reliable_email import values
from reliable_email.backends.reading.quotas import quotas
from reliable_email.providers import Quota
from reliable_email.values import ValueProblem


@pytest.mark.parametrize("word", ["true", "True", " YES ", "on", "1", 1, True])
def test_usual_words_for_true_are_understood(word: object) -> None:
    """Environments have no booleans."""
    assert values.boolean(word) is True


@pytest.mark.parametrize("word", ["false", "No", "off", "0", "", 0, False])
def test_usual_words_for_false_are_understood(word: object) -> None:
    """The text "false" is not true."""
    assert values.boolean(word) is False


@pytest.mark.parametrize("word", ["ture", "2", 2, None, [], "enabled"])
def test_other_words_are_no_boolean(word: object) -> None:
    """A typing error does not become a value."""
    with pytest.raises(ValueProblem, match="true or false"):
        values.boolean(word)


@given(st.integers(min_value=1, max_value=65_535))
def test_a_number_reads_the_same_from_text(number: int) -> None:
    """A whole number may come from an environment."""
    assert values.integer(str(number), at_least=1, at_most=65_535) == number == values.integer(number)


@pytest.mark.parametrize("bad", [True, 1.0, "1.5", "x", "", None, 0, 65_536, "0x10"])
def test_what_is_not_a_port_is_refused_with_the_bounds(bad: object) -> None:
    """The bounds are said, so that nobody has to look them up."""
    with pytest.raises(ValueProblem, match="from 1 to 65535"):
        values.integer(bad, at_least=1, at_most=65_535)


@pytest.mark.parametrize("bad", [0, -1, math.nan, math.inf, "nan", "inf", True, "soon", None])
def test_a_duration_is_finite_and_above_zero(bad: object) -> None:
    """Zero would make sockets non-blocking, infinity would wait for ever."""
    with pytest.raises(ValueProblem, match="number of seconds"):
        values.seconds(bad)


def test_a_secret_with_a_line_end_is_refused_without_being_shown() -> None:
    """A mounted file's line end inside a password is found; the password is not in the error."""
    with pytest.raises(ValueProblem) as caught:
        values.secret("hunter2\n")
    assert "hunter2" not in str(caught.value)


def test_a_secret_keeps_its_spaces() -> None:
    """An app password of Google is written with spaces; trimming is not ours to do."""
    assert values.secret(" ab cd ") == " ab cd "


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """The path and the system's reason are in the error."""
    with pytest.raises(ValueProblem, match="absent.pem .No such file"):
        values.existing_file(str(tmp_path / "absent.pem"))


def test_a_word_near_a_known_one_is_suggested() -> None:
    """Case does not matter."""
    assert values.closest("HOTS", ["host", "port"]) == "host"
    assert values.closest("zzz", ["host", "port"]) is None


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("500/day", [(86_400, 500, "recipients")]),
        ("500 per day, 30 messages/minute", [(86_400, 500, "recipients"), (60, 30, "messages")]),
        ({"hour": 100}, [(3600, 100, "recipients")]),
        (["1/second", {"day": "20 messages"}], [(1, 1, "recipients"), (86_400, 20, "messages")]),
        (False, []),
        ("none", []),
    ],
)
def test_quotas_are_understood(written: object, expected: list[tuple[int, int, str]]) -> None:
    """Text, dicts and lists of them; recipients unless messages are said."""
    assert [(one.window_seconds, one.limit, one.unit) for one in quotas(written)] == expected


def test_a_quota_is_one_already() -> None:
    """The providers' own values can be used."""
    one = Quota(window_seconds=60, limit=3)
    assert quotas([one]) == (one,)


@pytest.mark.parametrize("bad", ["500", "many/day", "5/fortnight", "0/day", 500, {"day": "x"}])
def test_a_quota_that_cannot_be_understood_shows_how_to_write_it(bad: object) -> None:
    """The error has an example."""
    with pytest.raises(ValueProblem, match="500/day"):
        quotas(bad)
