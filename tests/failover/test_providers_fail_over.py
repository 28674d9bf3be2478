"""Each provider in each of its troubles as the first route: the mail arrives by the second, and it is said why."""

import json
import re

import pytest

from reliable_email.delivery.report import Outcome
from tests.failover.page import FILE, document
from tests.failover.troubles import RECIPIENT, STAYS, TROUBLES, Trouble, diagnosed, explained, send_through

_GOES_ON = [one for one in TROUBLES if one.name not in STAYS]
_STAYS = [one for one in TROUBLES if one.name in STAYS]


def _name(trouble: Trouble) -> str:
    return f"{trouble.provider}-{trouble.name}"


@pytest.mark.parametrize("trouble", _GOES_ON, ids=_name)
def test_the_mail_arrives_by_the_second_route_and_the_reply_is_explained(trouble: Trouble) -> None:
    """One copy, by the route that works; explain_reply finds the cause that decided."""
    story = send_through(trouble)
    assert (story.first, story.second) == (0, 1)
    outcome = story.report.recipients[RECIPIENT]
    assert (outcome.outcome, outcome.route) == (Outcome.ACCEPTED, "second")
    failure = story.attempt.failure
    assert failure is not None
    found = json.loads(explained(story, trouble.provider, "--json"))
    assert found["cause"] == failure.cause
    assert found["help"] or found["meaning"]


@pytest.mark.parametrize("trouble", _STAYS, ids=_name)
def test_what_is_about_recipient_or_content_is_offered_to_no_other_route(trouble: Trouble) -> None:
    """It is rejected or tried later, as the documentation says of it."""
    story = send_through(trouble)
    assert (story.first, story.second) == (0, 0)
    assert story.report.recipients[RECIPIENT].outcome == STAYS[trouble.name].partition(":")[0]


@pytest.mark.parametrize("trouble", TROUBLES, ids=_name)
def test_test_email_says_why_a_route_does_not_work(trouble: Trouble) -> None:
    """The server's words, their meaning and a remedy, and never the password."""
    code, out = diagnosed(trouble)
    assert code == 1
    assert "Status: UNHEALTHY" in out
    said = re.search(r"Said: +(\d{3})", out)
    assert said is not None, out
    assert re.search(r"Meaning: \S", out)
    assert re.search(r"To do: +\S", out)
    assert "not-the-password" not in out


def test_the_documentation_is_what_happens() -> None:
    """docs/failover.md is written by tools/write_failover.py; run it after a change of words."""
    assert FILE.read_text() == document()
