"""Acts by the pages: confirmed, with a reason, recorded."""

from collections.abc import Callable
from typing import Any

import django
import pytest
from django.test import Client, override_settings

from reliable_email.models import Action, OutboxMessage, OutboxRecipient
from reliable_email.outbox.operations.operate import Act
from tests.views.letters import deliver, queue

ACT = "/mail/messages/act/"
MAILERS = {
    "default": {"BACKEND": "reliable_email.backends.OutboxBackend", "OPTIONS": {"using": "routes"}},
    "routes": {"BACKEND": "reliable_email.backends.FailoverBackend", "OPTIONS": {"using": ["first", "second"]}},
    "first": {"BACKEND": "reliable_email.backends.ReliableSMTPBackend", "OPTIONS": {"host": "127.0.0.1"}},
    "second": {"BACKEND": "reliable_email.backends.ReliableSMTPBackend", "OPTIONS": {"host": "127.0.0.2"}},
}
# Django before 6.1 comes to MAILERS by this door.
OLDER = {"EMAIL_BACKEND": "reliable_email.backends.DefaultMailer"} if django.VERSION < (6, 1) else {}
pytestmark = pytest.mark.django_db(transaction=True)


def states() -> dict[str, str]:
    """Each recipient's state by the name in its address."""
    return {one.address.partition("@")[0]: one.state for one in OutboxRecipient.objects.all()}


def ids(*names: str) -> list[int]:
    """The rows of recipients by the names in their addresses."""
    return [OutboxRecipient.objects.get(address=f"{name}@example.com").pk for name in names]


def confirm(client: Client, sent: dict[str, Any], **more: Any) -> Any:
    """Follow the confirmation page's form."""
    page = client.post(ACT, sent)
    assert page.status_code == 200, page.content.decode()
    fields: dict[str, list[str]] = {}
    for name, value in page.context["wanted"].fields:
        fields.setdefault(name, []).append(value)
    return client.post(ACT, {"act": sent["act"], "confirmed": "1", "reason": "because", **fields, **more}, follow=True)


def test_the_first_page_changes_nothing_and_says_what_would_happen(operator: Client) -> None:
    """How many, of what, and what it means."""
    queue("ok@example.com", "nouser@example.com", "lost@example.com")
    deliver()
    before = states()
    page = operator.post(ACT, {"act": "requeue", "recipient": ids("ok", "nouser", "lost")})
    text = " ".join(page.content.decode().split())
    assert '<strong id="count">1 recipient</strong> of 3 selected recipients can be changed' in text
    assert "never sent a second time" in text
    assert (states(), Action.objects.count()) == (before, 0)


def test_what_has_no_content_any_more_is_told_of_before_and_after(person: Callable[..., Client]) -> None:
    """A person who sends again what was pruned is not left to guess why nothing happens."""
    client = person("view_outboxmessage", "act_on_outbox")
    queue("nouser@example.com")
    deliver()
    sent = {"act": "requeue", "recipient": ids("nouser")}
    fields = dict(client.post(ACT, sent).context["wanted"].fields)
    OutboxMessage.objects.update(content=None, fields=None)
    text = " ".join(client.post(ACT, sent).content.decode().split())
    assert "1 recipient cannot be sent to again, since the content of the message was deleted." in text
    done = client.post(ACT, {"act": "requeue", "confirmed": "1", "reason": "because", **fields}, follow=True)
    assert "or the content was deleted" in done.content.decode()


def test_a_selection_is_cancelled_and_the_record_says_by_whom_and_why(person: Callable[..., Client]) -> None:
    """Those that were not ticked stay."""
    queue("a@example.com", "b@example.com", "c@example.com")
    client = person("view_outboxmessage", "act_on_outbox")
    answer = confirm(client, {"act": "cancel", "recipient": ids("a", "c")}, reason="sent in error")
    assert states() == {"a": "cancelled", "b": "queued", "c": "cancelled"}
    noted = Action.objects.get()
    assert (noted.actor, noted.verb, noted.reason, noted.count) == ("ann", "cancel", "sent in error", 2)
    assert "2 recipients cancelled" in answer.content.decode()


def test_without_a_reason_nothing_is_done(operator: Client) -> None:
    """Spaces are none."""
    queue("a@example.com")
    answer = operator.post(ACT, {"act": "cancel", "recipient": ids("a"), "confirmed": "1", "reason": "  "})
    assert answer.status_code == 400
    assert "Give a reason" in answer.content.decode()
    assert states() == {"a": "queued"}


def test_a_nul_in_a_reason_is_kept_escaped(operator: Client) -> None:
    """Not every database has a place for that character."""
    queue("a@example.com")
    confirm(operator, {"act": "hold", "recipient": ids("a")}, reason="wrong\0price")
    assert Action.objects.get().reason == "wrong\\x00price"


def test_whoever_comes_by_a_link_is_led_to_the_list(operator: Client) -> None:
    """After a login that was asked for in the middle of an act, for example."""
    assert operator.get(ACT)["Location"] == "/mail/messages/"


def test_who_may_only_look_cannot_act(person: Callable[..., Client]) -> None:
    """Not even by a form of their own."""
    queue("a@example.com")
    sent = {"act": "cancel", "recipient": ids("a"), "confirmed": "1", "reason": "x"}
    assert person("view_outboxmessage", "read_content").post(ACT, sent).status_code == 403
    assert states() == {"a": "queued"}


def test_another_sites_form_does_nothing(db: None) -> None:
    """The token is asked for."""
    from django.contrib.auth.models import User

    queue("a@example.com")
    client = Client(enforce_csrf_checks=True)
    client.force_login(User.objects.create_superuser("olga"))
    sent = {"act": "cancel", "recipient": ids("a"), "confirmed": "1", "reason": "x"}
    assert client.post(ACT, sent).status_code == 403
    assert states() == {"a": "queued"}


def test_a_whole_filter_is_acted_on_but_not_what_came_since(operator: Client) -> None:
    """What was counted is what is changed."""
    queue("a@example.com")
    queue("b@example.net")
    sent = {"act": "hold", "scope": "filter", "q": "@example.com"}
    page = operator.post(ACT, sent)
    assert page.context["count"].count == 1
    queue("late@example.com")
    fields = dict(page.context["wanted"].fields)
    operator.post(ACT, {"act": "hold", "confirmed": "1", "reason": "wait", **fields})
    assert states() == {"a": "parked", "b": "queued", "late": "queued"}


def test_a_filter_by_cause_requeues_what_failed_for_it(operator: Client) -> None:
    """The others are left alone."""
    queue("nouser@example.com", "spam@example.com")
    deliver()
    confirm(operator, {"act": "requeue", "scope": "filter", "cause": "mailbox_unknown"})
    assert states() == {"nouser": "queued", "spam": "rejected"}


def test_words_of_a_subject_choose_what_is_cancelled(operator: Client) -> None:
    """A bad deploy is known by its subject; what has another one stays."""
    queue("a@example.com", subject="Wrong prices")
    queue("b@example.com", subject="Your password")
    confirm(operator, {"act": "cancel", "scope": "filter", "q": "wrong prices"})
    assert states() == {"a": "cancelled", "b": "queued"}


def test_the_second_page_repeats_the_search(operator: Client) -> None:
    """Whoever comes back from the telephone sees what would be cancelled."""
    queue("a@example.com")
    asked = {"act": "cancel", "scope": "filter", "state": "queued", "mailer": "routes", "age": "last-1h", "q": "a@exa"}
    text = operator.post(ACT, asked).content.decode()
    facts = text.partition('id="narrowed"')[2].partition("</dl>")[0]
    for words in ("a@exa", "queued", "routes", "in the last hour"):
        assert words in facts
    assert "with “a@exa” in the address" in text


@pytest.mark.parametrize(
    ("act", "state", "is_due"),
    [
        (Act.RESOLVE_ACCEPTED, "accepted", False),
        (Act.RESOLVE_REJECTED, "rejected", False),
        (Act.RESOLVE_RESEND, "unknown", True),
    ],
)
def test_an_unknown_recipient_is_resolved(operator: Client, act: Act, state: str, is_due: bool) -> None:
    """It arrived, it did not, or it is sent again."""
    row = queue("lost@example.com")
    deliver()
    answer = confirm(operator, {"act": act.value, "message": row.pk, "recipient": ids("lost")})
    found = OutboxRecipient.objects.get()
    assert (found.state, found.due_at is not None) == (state, is_due)
    assert answer.redirect_chain[-1][0].startswith(f"/mail/messages/{row.pk}/?done=")
    assert "because" in answer.content.decode()


@override_settings(MAILERS=MAILERS, **OLDER)
def test_a_requeue_may_name_the_only_route(operator: Client) -> None:
    """And no route that is not there; what another mailer sends is left as it is."""
    row = queue("nouser@example.com")
    queue("nouser1@example.com", mailer="another")
    deliver()
    sent = {"act": "requeue", "scope": "filter", "state": "rejected"}
    text = operator.post(ACT, sent).content.decode()
    assert "second alone" in text
    assert "routes alone" not in text
    refused = operator.post(ACT, {**sent, "confirmed": "1", "reason": "x", "by_route": "third"})
    assert refused.status_code == 400
    confirm(operator, sent, by_route="second")
    assert states() == {"nouser": "queued", "nouser1": "rejected"}
    found = OutboxRecipient.objects.get(message=row)
    assert (found.state, found.pinned_route, found.attempts) == ("queued", "second", 0)
    assert Action.objects.get().detail["by_route"] == "second"
    text = confirm(operator, sent, by_route="second").content.decode()
    assert "1 recipient" not in text
    assert "or its mailer does not send by second." in text


def test_what_moved_on_meanwhile_is_left_alone_and_said_so(operator: Client) -> None:
    """The page after it does not claim what was not done."""
    queue("ok@example.com")
    sent = {"act": "cancel", "recipient": ids("ok")}
    assert operator.post(ACT, sent).context["count"].count == 1
    deliver()
    answer = operator.post(ACT, {**sent, "confirmed": "1", "reason": "late"}, follow=True)
    assert states() == {"ok": "accepted"}
    assert "Nothing was changed" in answer.content.decode()


def test_somebody_elses_act_is_not_told_as_ones_own(person: Callable[..., Client], operator: Client) -> None:
    """The link names a record, and the sentence is for whoever made it."""
    queue("a@example.com")
    confirm(operator, {"act": "hold", "recipient": ids("a")})
    page = person("view_outboxmessage").get(f"/mail/messages/?done={Action.objects.get().pk}")
    assert page.context["notices"] == []


@pytest.mark.parametrize(
    "sent",
    [{}, {"act": "destroy"}, {"act": "cancel"}, {"act": "cancel", "scope": "message", "message": "x"}],
    ids=["nothing", "no-such-act", "nobody", "no-message"],
)
def test_a_form_that_means_nothing_is_refused(operator: Client, sent: dict[str, str]) -> None:
    """With words, not with an error of the server."""
    assert operator.post(ACT, sent).status_code == 400
