"""Mail is stopped by the pages, and let go again: what is there and what comes."""

from typing import Any

import pytest
from django.test import Client

from reliable_email.models import Action, IncomingHold, OutboxMessage, OutboxRecipient
from reliable_email.store.questions.filters import Filter
from tests.outbox import acts
from tests.views.letters import deliver, queue
from tests.views.test_acting import confirm, ids, states

MESSAGES, RELEASE = "/mail/messages/", "/mail/messages/release/"
pytestmark = pytest.mark.django_db(transaction=True)
EVERYTHING = {"act": "hold", "scope": "filter"}


def undo(client: Client, answer: Any) -> Any:
    """Press the button of the notice, and confirm."""
    [notice] = answer.context["notices"]
    assert notice.undo
    return confirm(client, {"act": notice.undo, "scope": "undo", "done": str(notice.action)})


def test_all_mail_is_stopped_and_goes_again(operator: Client) -> None:
    """What was there, and what came meanwhile."""
    queue("a@example.com")
    page = operator.post("/mail/messages/act/", {**EVERYTHING, "incoming": "1"})
    assert 'name="incoming" value="1" checked' in page.content.decode()
    answer = confirm(operator, EVERYTHING, incoming="1", reason="wrong prices")
    assert states() == {"a": "parked"}
    queue("b@example.com")
    deliver()
    assert states() == {"a": "parked", "b": "parked"}
    text = answer.content.decode()
    assert "New mail is held" in text
    assert "wrong prices" in text
    hold = IncomingHold.objects.get()
    asked = operator.post(RELEASE, {"hold": hold.pk})
    assert asked.context["kept"].count == 2
    operator.post(RELEASE, {"hold": hold.pk, "confirmed": "1", "kept": "1", "reason": "mended"})
    assert states() == {"a": "queued", "b": "queued"}
    assert not IncomingHold.objects.exists()
    assert [one.verb for one in Action.objects.order_by("pk")] == [
        "hold_incoming",
        "hold",
        "release_incoming",
        "requeue",
    ]


def test_the_release_of_a_hold_leaves_what_another_person_held(operator: Client) -> None:
    """Two hundred wrong invoices do not go because somebody else has mended a provider."""
    queue("invoice@example.com")
    acts.hold(Filter(), actor="ann", reason="wrong prices")
    confirm(operator, EVERYTHING, incoming="1", reason="the provider is down")
    queue("a@example.com")
    deliver()
    hold = IncomingHold.objects.get()
    operator.post(RELEASE, {"hold": hold.pk, "confirmed": "1", "kept": "1", "reason": "mended"})
    assert states() == {"invoice": "parked", "a": "queued"}


def test_an_undone_hold_gives_a_message_no_new_time(operator: Client) -> None:
    """A code that is good for five minutes is not sent hours later."""
    queue("a@example.com")
    before = OutboxRecipient.objects.get().gives_up_at
    answer = confirm(operator, EVERYTHING)
    undo(operator, answer)
    assert states() == {"a": "queued"}
    assert OutboxRecipient.objects.get().gives_up_at == before


def test_new_mail_is_held_also_where_nothing_waits(operator: Client) -> None:
    """An empty outbox is no reason to let the next message out."""
    confirm(operator, EVERYTHING, incoming="1", lifetime="4")
    hold = IncomingHold.objects.get()
    assert hold.expires_at is not None
    assert (hold.expires_at - hold.created_at).total_seconds() == pytest.approx(4 * 3600, abs=60)


def test_a_release_needs_a_reason_and_may_leave_what_was_kept(operator: Client) -> None:
    """Whoever looks at it first."""
    queue("a@example.com")
    confirm(operator, EVERYTHING, incoming="1")
    hold = IncomingHold.objects.get()
    assert operator.post(RELEASE, {"hold": hold.pk, "confirmed": "1", "reason": " "}).status_code == 400
    answer = operator.post(RELEASE, {"hold": hold.pk, "confirmed": "1", "reason": "mended"}, follow=True)
    assert "New mail is sent again" in answer.content.decode()
    assert states() == {"a": "parked"}
    assert operator.post(RELEASE, {"hold": hold.pk})["Location"] == MESSAGES


def test_one_hold_is_released_and_the_others_stand(operator: Client) -> None:
    """Also where the one that ends holds more."""
    confirm(operator, {**EVERYTHING, "priority": "bulk"}, incoming="1")
    confirm(operator, EVERYTHING, incoming="1")
    whole = IncomingHold.objects.get(priority=None)
    operator.post(RELEASE, {"hold": whole.pk, "confirmed": "1", "reason": "mended"})
    assert [one.priority for one in IncomingHold.objects.all()] == [2]


@pytest.mark.parametrize("asked", [{"q": "ann@example.com"}, {"state": "queued"}, {"age": "last-1h"}, {"sender": "x"}])
def test_only_what_is_known_of_new_mail_can_be_held(operator: Client, asked: dict[str, str]) -> None:
    """Nobody knows the recipients of what has not come."""
    queue("ann@example.com")
    page = operator.post("/mail/messages/act/", {**EVERYTHING, **asked, "incoming": "1"})
    assert 'name="incoming" value="1"' not in page.content.decode()
    operator.post(
        "/mail/messages/act/", {**EVERYTHING, **asked, "incoming": "1", "confirmed": "1", "reason": "because"}
    )
    assert not IncomingHold.objects.exists()


def test_a_hold_is_undone_for_exactly_those_that_it_parked(operator: Client) -> None:
    """What somebody held before stays; and the undo can be undone."""
    queue("before@example.com")
    confirm(operator, {"act": "hold", "recipient": ids("before")})
    queue("a@example.com", "b@example.com")
    answer = confirm(operator, EVERYTHING)
    queue("late@example.com")
    answer = undo(operator, answer)
    assert states() == {"before": "parked", "a": "queued", "b": "queued", "late": "queued"}
    undo(operator, answer)
    assert states() == {"before": "parked", "a": "parked", "b": "parked", "late": "queued"}


def test_a_cancel_says_that_it_has_no_undo(operator: Client) -> None:
    """And where to look for what should go after all."""
    queue("a@example.com")
    answer = confirm(operator, {"act": "cancel", "recipient": ids("a")})
    [notice] = answer.context["notices"]
    assert "no undo" in notice.text
    assert notice.url.endswith("?state=cancelled")
    assert (notice.undo, operator.get(notice.url).status_code) == ("", 200)
    again = operator.post("/mail/messages/act/", {"act": "requeue", "scope": "undo", "done": Action.objects.get().pk})
    assert again.status_code == 400


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("account", "acme", "a"),
        ("stream", "weekly", "b"),
        ("sender", "shop@example.org", "c"),
        ("sender", "@example.org", "c"),
        ("priority", "bulk", "d"),
    ],
)
def test_the_list_is_narrowed_as_in_the_terminal(operator: Client, name: str, value: str, found: str) -> None:
    """And what was asked for is still in the form."""
    rows = {one: queue(f"{one}@example.com") for one in "abcd"}
    for one, changes in (
        ("a", {"account": "acme"}),
        ("b", {"stream": "weekly"}),
        ("c", {"sender": "shop@example.org", "from_domain": "example.org"}),
    ):
        OutboxMessage.objects.exclude(pk=rows[one].pk).update(sender="other@example.net", from_domain="example.net")
        OutboxMessage.objects.filter(pk=rows[one].pk).update(**changes)
    rows["d"].recipients.update(priority=2)
    page = operator.get(MESSAGES, {name: value})
    assert [line["address"].partition("@")[0] for line in page.context["lines"]] == [found]
    text = page.content.decode()
    assert f'value="{value}"' in text
