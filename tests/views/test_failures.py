"""What went wrong lately: put together, and explained."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client

from reliable_email.outbox.keyring import Keyring
from reliable_email.store.questions.recent import RecentAttempt, failures, route_activity
from reliable_email.store.sql.clock import database_now
from reliable_email.store.tables.attempts import Attempt
from reliable_email.views.parts.failure_groups import domain_lines, failure_groups
from tests.views.letters import USING, deliver, queue

PAGE = "/mail/failures/"
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def attempt(text: str = "user unknown", **changes: Any) -> RecentAttempt:
    """A refusal at RCPT."""
    told: dict[str, Any] = {
        "id": 1,
        "message": 1,
        "finished_at": NOON,
        "route": "gmail",
        "stage": "rcpt",
        "cause": "mailbox_unknown",
        "code": 550,
        "enhanced": "5.1.1",
        "text": text,
        "reply": f"550 5.1.1 {text}",
        "detail": "",
        "seconds": 0.1,
        "domains": ("example.org",),
    }
    return RecentAttempt(**told | changes)


def _text(answer: Any) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", answer.content.decode()).split())


def test_the_same_words_about_other_addresses_are_one_trouble() -> None:
    """Addresses and IPs inside a reply do not make it another one; the newest stands for all."""
    newest = attempt("<eve@example.org> user unknown [192.0.2.7]", finished_at=NOON + timedelta(hours=1), message=2)
    [group] = failure_groups([newest, attempt("<bob@example.net> user unknown [192.0.2.9]")])
    assert (group.attempts, group.message) == (2, 2)
    assert "eve@example.org" in group.reply
    assert (group.first_at, group.last_at) == (NOON, NOON + timedelta(hours=1))


@pytest.mark.parametrize(
    "other",
    [{"cause": "mailbox_inactive"}, {"route": "sendgrid"}, {"stage": "final_reply"}, {"enhanced": "5.2.1"}],
)
def test_another_cause_route_stage_or_status_is_another_trouble(other: dict[str, Any]) -> None:
    """What has to be done about it may differ."""
    assert len(failure_groups([attempt(), attempt(**other)])) == 2


def test_the_most_frequent_comes_first() -> None:
    """Whatever is newest."""
    assert [group.attempts for group in failure_groups([attempt("rare"), attempt(), attempt()])] == [2, 1]


def test_domains_are_counted_over_all_troubles() -> None:
    """By recipients, those with the most first."""
    lines = domain_lines([attempt(domains=("web.de", "example.org")), attempt(cause="mailbox_full")])
    assert [(line.domain, line.recipients) for line in lines] == [("example.org", 2), ("web.de", 1)]
    assert lines[0].causes == (("mailbox_unknown", 1), ("mailbox_full", 1))


def test_of_a_message_those_who_got_it_are_no_failure(db: None) -> None:
    """And of very many the first hundred stand for all."""
    row = queue(*(f"someone{number}@example{number % 2}.org" for number in range(300)))
    outcomes = {str(number): "accepted" if number % 2 else "rejected" for number in range(300)}
    _note(row, outcomes=outcomes)
    [found] = failures(USING).attempts
    assert found.domains == ("example0.org",) * 100


@pytest.mark.django_db(transaction=True)
def test_the_page_explains_each_trouble(operator: Client) -> None:
    """What was said, what it means, what to do, whom it met, and where to look."""
    row = queue("nouser@example.org", "ok@example.org")
    deliver()
    answer = operator.get(PAGE)
    text = _text(answer)
    assert "550 5.1.1 user unknown" in text
    assert "The recipient&#x27;s address does not exist." in text
    assert "Correct the address, or remove it." in text
    assert "example.org 1" in text
    assert f'href="/mail/messages/{row.pk}/"' in answer.content.decode()
    assert [(line["cause"], line["count"]) for line in answer.context["causes"]] == [("mailbox_unknown", 1)]


@pytest.mark.django_db(transaction=True)
def test_sealed_replies_are_opened_where_the_key_is(operator: Client, settings: Any) -> None:
    """And never shown as cipher text where it is not."""
    from cryptography.fernet import Fernet

    key = Fernet.generate_key().decode()
    keyring = Keyring((key,))
    queue("nouser@example.org", keyring=keyring)
    deliver(keyring)
    settings.RELIABLE_EMAIL = {"ENCRYPTION_KEYS": [key]}
    assert "user unknown" in _text(operator.get(PAGE))
    settings.RELIABLE_EMAIL = {}
    text = _text(operator.get(PAGE))
    assert "user unknown" not in text
    assert "gAAAA" not in text
    assert "encrypted with a key that is not here" in text


def test_addresses_in_replies_are_masked_where_the_site_wants_that(operator: Client, settings: Any) -> None:
    """Servers repeat them."""
    row = queue("ok@example.org")
    _note(row, text="<secret.person@example.org> unknown")
    assert "secret.person@example.org" in _text(operator.get(PAGE))
    settings.RELIABLE_EMAIL = {"MASK_ADDRESSES": True}
    assert "secret.person" not in _text(operator.get(PAGE))


def test_a_hostile_reply_stays_text(operator: Client) -> None:
    """Neither markup nor control characters of a server reach the browser as such."""
    _note(queue("ok@example.org"), text="<script>alert(1)</script> \x1b[2J \u202eevil")
    page = operator.get(PAGE).content.decode()
    assert "<script>alert" not in page
    assert "\x1b" not in page
    assert "\u202e" not in page


def test_nothing_older_than_a_day_is_told(db: None) -> None:
    """Attempts that succeeded are left out as well."""
    row = queue("ok@example.org")
    _note(row, hours=25)
    _note(row, cause="", code=250)
    assert failures(USING).attempts == ()
    _note(row, hours=23)
    assert len(failures(USING).attempts) == 1


def test_latency_is_told_by_route_and_stage(db: None) -> None:
    """Half within the median, nineteen of twenty within the 95th percentile, of the last hour."""
    row = queue("ok@example.org")
    for number in range(1, 21):
        _note(row, cause="", stage="final_reply", seconds=number)
    _note(row, cause="", stage="final_reply", seconds=900, hours=2)
    _note(row, route="second", seconds=7)
    found = route_activity(USING)
    [latency] = found["gmail"].latencies
    assert (latency.stage, latency.count, latency.p50_seconds, latency.p95_seconds) == ("final_reply", 20, 10, 19)
    assert found["second"].latencies[0].p50_seconds == 7
    assert len(found["gmail"].replies) == 5


def _note(row: Any, *, text: str = "user unknown", hours: float = 0, **changes: Any) -> None:
    told: dict[str, Any] = {
        "claim": 1,
        "worker": "w",
        "route": "gmail",
        "finished_at": database_now(USING) - timedelta(hours=hours),
        "seconds": 0.1,
        "stage": "rcpt",
        "cause": "mailbox_unknown",
        "reply_code": changes.pop("code", 550),
        "reply_enhanced": "5.1.1",
        "reply_text": text,
        "outcomes": {"0": "rejected"},
    }
    Attempt._base_manager.create(message=row, **told | changes)
