"""The demo's examination must be able to fail."""

import pytest

from demo.story import Line
from demo.truth import contradictions
from reliable_email.delivery.report import Outcome


def line(outcome: Outcome, *, route: str = "gmail") -> Line:
    """A message, as reported."""
    return Line(number=7, recipient="a@b.example", message_id="<7@x>", outcome=outcome, route=route, hops=())


@pytest.mark.parametrize(
    ("outcome", "gmail", "sendgrid"),
    [
        (Outcome.ACCEPTED, 1, 0),
        (Outcome.UNKNOWN, 0, 0),
        (Outcome.UNKNOWN, 1, 0),
        (Outcome.REJECTED, 0, 0),
        (Outcome.DEFERRED, 0, 0),
    ],
)
def test_a_true_report_is_not_contradicted(outcome: Outcome, gmail: int, sendgrid: int) -> None:
    """These are all the true ones."""
    assert contradictions([line(outcome)], {"gmail": ["<7@x>"] * gmail, "sendgrid": ["<7@x>"] * sendgrid}) == []


@pytest.mark.parametrize(
    ("outcome", "gmail", "sendgrid"),
    [
        (Outcome.ACCEPTED, 0, 0),  # lost
        (Outcome.ACCEPTED, 2, 0),  # sent twice
        (Outcome.ACCEPTED, 1, 1),
        (Outcome.ACCEPTED, 0, 1),  # the wrong route
        (Outcome.UNKNOWN, 1, 1),
        (Outcome.UNKNOWN, 0, 1),
        (Outcome.REJECTED, 1, 0),
        (Outcome.DEFERRED, 1, 0),
    ],
)
def test_a_false_report_is_contradicted_in_a_sentence(outcome: Outcome, gmail: int, sendgrid: int) -> None:
    """With the number of the message and what is there."""
    [text] = contradictions([line(outcome)], {"gmail": ["<7@x>"] * gmail, "sendgrid": ["<7@x>"] * sendgrid})
    assert text.startswith(f"message 7 is reported {outcome}")


def test_a_message_that_nobody_reported_is_a_contradiction() -> None:
    """A server with more than the reports is as wrong as one with less."""
    [text] = contradictions([], {"gmail": [], "sendgrid": ["<other@x>"]})
    assert text == "sendgrid has a message that nobody sent: <other@x>"
