"""Who comes onto the suppression list, and how people see and change it."""

import io
import json
from collections.abc import Iterator
from typing import Any

import pytest
from anymail.signals import AnymailTrackingEvent, tracking
from django.core.management import CommandError, call_command
from django.test.utils import modify_settings

from reliable_email.integrations import anymail
from reliable_email.outbox.suppressed import suppressed
from tests.django.post import A, B

pytestmark = pytest.mark.django_db


def run(*arguments: str) -> str:
    """What the command prints."""
    out = io.StringIO()
    call_command("email_suppression", *arguments, stdout=out)
    return out.getvalue()


def listed() -> dict[str, Any]:
    """The list, by address."""
    return {row["address"]: row for row in map(json.loads, run("list", "--json").splitlines())}


@pytest.fixture
def webhooks() -> Iterator[None]:
    """A site with django-anymail's webhooks."""
    with modify_settings(INSTALLED_APPS={"append": "anymail"}):
        anymail.connect()
        yield
    tracking.disconnect(dispatch_uid="reliable_email.events")


def report(event_type: str, *, esp_event: object = None, **changes: Any) -> None:
    """What anymail makes of a provider's webhook."""
    event = AnymailTrackingEvent(event_type=event_type, recipient=A, esp_event=esp_event, **changes)
    tracking.send(sender=None, event=event, esp_name="SendGrid")


def test_what_was_added_by_hand_is_suppressed_until_it_is_removed() -> None:
    """Whatever case it is written in."""
    assert run("add", A.upper(), B, "--reason", "asked by phone") == "nothing is sent to 2 addresses any more\n"
    assert suppressed("default", [A, B]) == {A, B}
    assert run("remove", A) == "1 address removed from the list\n"
    assert suppressed("default", [A, B]) == {B}
    assert f"{B}  asked by phone  by hand" in run("list")


def test_a_line_may_end_by_itself() -> None:
    """The list says when."""
    run("add", A, "--for", "90d")
    assert listed()[A]["until"] > listed()[A]["since"]


def test_what_is_no_address_is_refused_with_the_form_of_one() -> None:
    """Nothing is half done."""
    with pytest.raises(CommandError, match="name@example.com"):
        run("add", B, "somebody")
    assert listed() == {}


@pytest.mark.usefixtures("webhooks")
class TestProvidersReports:
    """By django-anymail's tracking signal."""

    def test_a_complaint_is_for_ever(self) -> None:
        """Who complained does not want mail."""
        report("complained")
        assert (listed()[A]["reason"], listed()[A]["source"], listed()[A]["until"]) == ("complained", "SendGrid", None)

    @pytest.mark.parametrize("reason", ["bounced", "invalid"])
    def test_a_bounce_that_lasts_is_taken_down_for_half_a_year(self, reason: str) -> None:
        """A mailbox may come back to life."""
        report("bounced", reject_reason=reason)
        assert listed()[A]["until"] is not None

    @pytest.mark.parametrize(
        ("event_type", "reason", "raw"),
        [
            ("deferred", None, None),
            ("bounced", "timed_out", None),
            ("bounced", "blocked", None),
            ("rejected", "blocked", None),
            ("bounced", "bounced", {"bounce": {"bounceType": "Transient"}}),
        ],
    )
    def test_what_may_pass_suppresses_nobody(self, event_type: str, reason: str | None, raw: object) -> None:
        """A blocked sender, a time-out and a full mailbox are no dead address."""
        report(event_type, reject_reason=reason, esp_event=raw)
        assert listed() == {}
