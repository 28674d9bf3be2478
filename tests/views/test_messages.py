"""The list of messages: what it shows, finds, and asks of the database."""

from collections.abc import Callable

import pytest
from django.test import Client, override_settings
from django.utils.http import urlencode

from reliable_email.models import OutboxRecipient
from reliable_email.outbox.keyring import Keyring
from reliable_email.store.questions.filters import Filter
from reliable_email.store.questions.search import Field, Search, search
from reliable_email.store.tables.states import State
from tests.views.letters import deliver, queue

PAGE = "/mail/messages/"
pytestmark = pytest.mark.django_db(transaction=True)


def addresses(client: Client, query: str = "") -> list[str]:
    """Who is on the page."""
    lines = client.get(f"{PAGE}?{query}").context["lines"]
    return [line["address"] for line in lines]


def test_the_newest_recipients_come_first_with_what_was_last_said(operator: Client) -> None:
    """State, cause and reply stand on one line."""
    queue("ok@example.com")
    queue("nouser@example.net", subject="Second")
    deliver()
    text = operator.get(PAGE).content.decode()
    assert text.index("nouser@example.net") < text.index("ok@example.com")
    for words in ("mailbox unknown", "550 5.1.1 user unknown", "Second", "rejected", "accepted"):
        assert words in text


def test_search_finds_an_address_a_domain_a_message_id_a_number_and_a_subject(operator: Client) -> None:
    """What the text is, is judged by its form."""
    first = queue("Ada@Example.com", subject="Invoice 17")
    queue("bob@example.net")
    for text in ("Ada@example.com", "Ada@EXAMPLE.com", "@example.com", first.message_id, first.message_id.strip("<>")):
        assert addresses(operator, f"q={text}") == ["Ada@example.com"], text
    assert addresses(operator, f"q=%23{first.pk}") == ["Ada@example.com"]
    assert addresses(operator, "q=invoice+17") == ["Ada@example.com"]
    assert addresses(operator, "q=nobody@example.com") == []
    assert addresses(operator, "q=ada&in=subject") == []


def test_filters_narrow_and_can_be_combined(operator: Client) -> None:
    """State, cause, route, mailer and age."""
    queue("ok@example.com")
    queue("nouser@example.com", mailer="other")
    deliver()
    queue("ok2@example.com")
    assert addresses(operator, "state=accepted") == ["ok@example.com"]
    assert addresses(operator, "state=accepted&state=queued") == ["ok2@example.com", "ok@example.com"]
    assert addresses(operator, "cause=mailbox_unknown&route=route") == ["nouser@example.com"]
    assert addresses(operator, "mailer=other") == ["nouser@example.com"]
    assert addresses(operator, "mailer=other&state=accepted") == []
    assert len(addresses(operator, "age=last-1h")) == 3
    assert addresses(operator, "age=before-1h") == []


@pytest.mark.parametrize("query", ["before=x", "state=nonsense", "age=last-99d9", "in=nowhere", "before=%00", "q=%00"])
def test_a_query_that_means_nothing_is_left_out(operator: Client, query: str) -> None:
    """A link that was cut still leads to the list, and a condition that was left out is named."""
    queue("ok@example.com")
    assert addresses(operator, query) == ["ok@example.com"]
    said = operator.get(f"{PAGE}?{query}").context["remark"]
    assert ("do not exist" in said) == (not query.startswith("before"))


@pytest.mark.parametrize(
    "condition", [("state", "quued"), ("priority", "hgih"), ("age", "yesterday"), ("in", "nowhere"), ("q", "a\0")]
)
def test_no_act_is_made_where_a_condition_is_not_understood(operator: Client, condition: tuple[str, str]) -> None:
    """Without the condition it would change more than was meant."""
    queue("ok@example.com")
    sent = {"act": "cancel", "scope": "filter", condition[0]: condition[1]}
    for more in ({}, {"confirmed": "1", "reason": "wrong"}):
        answer = operator.post("/mail/messages/act/", sent | more).content.decode()
        assert f"Nothing was changed. The search has conditions that do not exist: {condition[0]}=" in answer
    assert OutboxRecipient.objects.get().state == State.QUEUED


def test_pages_follow_each_other_without_a_gap(db: None) -> None:
    """Each recipient is on one page, in order, whatever the size of the pages."""
    for _ in range(3):
        queue("a@example.com", "b@example.com", "c@example.com")
    seen: list[int] = []
    before = None
    while True:
        page = search(Search(before=before), size=2)
        seen += [line.id for line in page.lines]
        before = page.before
        if before is None:
            break
    assert seen == sorted(seen, reverse=True)
    assert len(seen) == 9


def test_what_has_no_index_is_looked_for_in_a_window_and_the_page_says_so(db: None) -> None:
    """A rare cause in a large table costs a page of windows, not the table."""
    queue("nouser@example.com")
    deliver()
    for number in range(6):
        queue(f"ok{number}@example.com")
    wanted = Search(chosen=Filter(causes=("mailbox_unknown",)))
    first = search(wanted, window=3)
    assert (first.lines, first.is_cut) == ([], True)
    assert first.looked_back_to is not None
    second = search(Search(chosen=wanted.chosen, before=first.before), window=3)
    third = search(Search(chosen=wanted.chosen, before=second.before), window=3)
    assert [line.address for line in (*second.lines, *third.lines)] == ["nouser@example.com"]
    assert third.before is None


def test_a_search_for_a_subject_can_be_acted_on_as_a_whole(db: None) -> None:
    """The filter has the words."""
    queue("ok@example.com", subject="Invoice")
    page = search(Search(text="invoice"))
    assert (page.field, page.chosen) == (Field.SUBJECT, Filter(subject="invoice"))
    assert len(page.lines) == 1


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Ada Lovelace <ADA@example.com>", ["ada@example.com"]),
        ('"Lovelace, Ada" <ada@example.com>', ["ada@example.com"]),
        ("da@exam", ["ada@example.com"]),
        ("ada", ["ada@example.com"]),
        ("@example.net", ["bob@example.net"]),
        ("Invoice", ["bob@example.net"]),
        ("Dear Ada", []),
    ],
)
def test_one_box_takes_an_address_in_any_form(operator: Client, text: str, found: list[str]) -> None:
    """As it stands in a complaint, or as much of it as the caller remembers."""
    queue("ada@example.com", subject="Welcome")
    queue("bob@example.net", subject="Invoice 17")
    assert addresses(operator, urlencode({"q": text})) == found


def test_encrypted_subjects_are_shown_with_the_key_and_never_found(operator: Client) -> None:
    """The page says that they cannot be searched."""
    from cryptography.fernet import Fernet

    key = Fernet.generate_key().decode()
    queue("ok@example.com", subject="Payslip", keyring=Keyring([key]))
    with override_settings(RELIABLE_EMAIL={"ENCRYPTION_KEYS": [key]}):
        assert "Payslip" in operator.get(PAGE).content.decode()
        answer = operator.get(f"{PAGE}?q=payslip")
        assert answer.context["lines"] == []
        assert "cannot be searched" in answer.content.decode()
    answer = operator.get(PAGE)
    assert "a key that is not here" in answer.content.decode()
    assert "gAAAA" not in answer.content.decode()


@override_settings(RELIABLE_EMAIL={"MASK_ADDRESSES": True})
def test_masked_addresses_stay_masked_and_can_be_searched(operator: Client) -> None:
    """Who knows an address finds it; who does not, does not learn it."""
    queue("ada@example.com")
    text = operator.get(f"{PAGE}?q=ada@example.com").content.decode()
    assert "a…@example.com" in text
    assert ">ada@example.com" not in text


def test_who_may_not_act_sees_no_boxes_to_tick(person: Callable[..., Client]) -> None:
    """Looking is a permission of its own."""
    queue("ok@example.com")
    text = person("view_outboxmessage").get(PAGE).content.decode()
    assert "ok@example.com" in text
    assert 'name="recipient"' not in text
    assert 'name="act"' not in text


def test_what_strangers_wrote_is_text(operator: Client) -> None:
    """Markup in a subject is shown, not obeyed."""
    queue("ok@example.com", subject="<script>alert(1)</script>\u202egnp")
    text = operator.get(PAGE).content.decode()
    assert "<script>alert" not in text
    assert "\u202e" not in text


@override_settings(USE_THOUSAND_SEPARATOR=True)
def test_numbers_that_mean_rows_are_never_written_for_people(operator: Client) -> None:
    """A site that groups digits still sends the same ids back."""
    row = queue("ok@example.com")
    OutboxRecipient.objects.update(id=1_234_567)
    assert 'name="recipient" value="1234567"' in operator.get(PAGE).content.decode()
    page = operator.get(f"{PAGE}{row.pk}/").content.decode()
    assert 'name="recipient" value="1234567"' in page
    assert f'name="message" value="{row.pk}"' in page
