"""The smaller pages: workers, suppressions, the record."""

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from reliable_email.outbox.operations.erasure import erase
from reliable_email.outbox.operations.operate import note
from reliable_email.outbox.operations.suppressed import suppress
from reliable_email.outbox.operations.suppression_list import suppressed
from reliable_email.store.sql.clock import database_now
from reliable_email.store.tables.shared import Action, Suppression, Worker
from tests.views.letters import USING, deliver, queue

pytestmark = pytest.mark.django_db


def _text(answer: Any) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", answer.content.decode()).split())


def _worker(name: str, *, silent_seconds: float, state: str = "running") -> None:
    now = database_now(USING)
    Worker._base_manager.create(
        name=name,
        environment="",
        host="web-1",
        pid=7,
        connections=4,
        state=state,
        started_at=now - timedelta(hours=1),
        seen_at=now - timedelta(seconds=silent_seconds),
    )


def test_workers_show_their_last_sign_of_life(operator: Client) -> None:
    """One that is silent for too long is lost, whatever it last said of itself; a fleet's process may have no tasks."""
    _worker("alive", silent_seconds=2)
    _worker("silent", silent_seconds=900)
    _worker("ended", silent_seconds=7000, state="stopped")
    _worker("tasks:web-1:7:ab", silent_seconds=900)
    answer = operator.get("/mail/workers/")
    found = {one.name: (state, badge) for one, state, badge in answer.context["workers"]}
    assert found == {"alive": ("running", "good"), "silent": ("lost", "bad"), "ended": ("stopped", "")} | {
        "tasks:web-1:7:ab": ("silent", "")
    }
    assert "15 min ago" in _text(answer)


def test_without_a_worker_the_page_says_how_to_start_one(operator: Client) -> None:
    """It is the likeliest trouble of a new site."""
    assert "manage.py email_worker" in _text(operator.get("/mail/workers/"))


def test_an_address_is_suppressed_with_a_reason_and_recorded(operator: Client) -> None:
    """In lower case, for as long as was said."""
    given = {"address": "Gone@Example.org", "reason": "asked us to", "days": "30"}
    answer = operator.post("/mail/suppressions/add/", given, follow=True)
    assert suppressed(USING, ["gone@example.org"])
    row = Suppression._base_manager.get()
    assert (row.reason, row.source) == ("asked us to", "by hand: olga")
    assert row.expires_at is not None
    assert round((row.expires_at - row.created_at).total_seconds() / 86_400) == 30
    assert "Nothing is sent to gone@example.org any more." in _text(answer)
    assert list(Action._base_manager.values_list("actor", "verb", "target", "reason")) == [
        ("olga", "suppress", "gone@example.org", "asked us to")
    ]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"address": "nobody"}, "is not an address"),
        ({"address": "ann;bob@example.com"}, "is not an address"),
        ({"address": "ann@example..com"}, "is not an address"),
        ({"address": "a@example.org\u202e"}, "is not an address"),
        ({"days": "-3"}, "whole number"),
        ({"days": "99999"}, "whole number"),
        ({"reason": " "}, "Give a reason"),
    ],
)
def test_what_cannot_be_suppressed_is_said_and_nothing_is_lost(
    operator: Client, given: dict[str, str], said: str
) -> None:
    """The form comes back with what was typed."""
    whole = {"address": "gone@example.org", "reason": "asked us to", "days": ""} | given
    answer = operator.post("/mail/suppressions/add/", whole)
    assert answer.status_code == 400
    assert said in _text(answer)
    assert f'value="{whole["address"]}"' in answer.content.decode()
    assert not Suppression._base_manager.exists()


def test_an_address_is_taken_off_the_list_and_that_is_recorded(operator: Client) -> None:
    """Mail goes to it again."""
    suppress(["gone@example.org", "other@example.org"], source="SendGrid")
    entry = Suppression._base_manager.get(address="gone@example.org").pk
    answer = operator.post("/mail/suppressions/remove/", {"entry": entry, "reason": "has a new mailbox"}, follow=True)
    assert not suppressed(USING, ["gone@example.org"])
    assert suppressed(USING, ["other@example.org"])
    assert "Mail is sent to gone@example.org again." in _text(answer)
    assert Action._base_manager.get().reason == "has a new mailbox"
    assert operator.post("/mail/suppressions/remove/", {"entry": entry}).status_code == 400


@pytest.mark.parametrize(
    ("text", "found"),
    [("gone", ["gone@example.org"]), ("@example.ORG", ["other@example.org", "gone@example.org"]), ("nobody", [])],
)
def test_the_list_is_searched_by_address_beginning_or_domain(operator: Client, text: str, found: list[str]) -> None:
    """The newest first, without case."""
    for address in ("gone@example.org", "one@example.net", "other@example.org"):
        suppress([address], source="by hand")
    answer = operator.get("/mail/suppressions/", {"q": text})
    assert [address for _, address in answer.context["entries"]] == found


def test_the_list_has_an_erased_person_who_is_searched_by_address(operator: Client) -> None:
    """The search knows the hash, which is all that is left."""
    erase("Gone@example.org", actor="ann", using=USING)
    suppress(["other@example.org"], source="by hand")
    [(entry, _)] = operator.get("/mail/suppressions/", {"q": "gone@example.org"}).context["entries"]
    assert entry.address.startswith("(erased ")


def test_long_lists_come_in_pages(operator: Client) -> None:
    """Each entry on one page, none on two."""
    now = database_now(USING)
    Suppression._base_manager.bulk_create(
        Suppression(address=f"a{number}@example.org", created_at=now) for number in range(150)
    )
    first = operator.get("/mail/suppressions/")
    second = operator.get("/mail/suppressions/", {"before": first.context["before"]})
    ids = [one.id for answer in (first, second) for one, _ in answer.context["entries"]]
    assert ids == sorted(Suppression._base_manager.values_list("pk", flat=True), reverse=True)
    assert second.context["before"] is None


def test_looking_at_the_list_is_not_changing_it(person: Callable[..., Client]) -> None:
    """Without the permission to act there are no forms, and the addresses they lead to refuse."""
    suppress(["gone@example.org"], source="by hand")
    entry = Suppression._base_manager.get().pk
    viewer = person("view_outboxmessage")
    page = viewer.get("/mail/suppressions/").content.decode()
    assert "suppressions/add/" not in page
    assert "suppressions/remove/" not in page
    assert viewer.post("/mail/suppressions/remove/", {"entry": entry}).status_code == 403
    assert viewer.post("/mail/suppressions/add/", {"address": "a@b.c", "reason": "x"}).status_code == 403
    assert Suppression._base_manager.count() == 1


def test_the_record_says_who_did_what_and_why(operator: Client) -> None:
    """The newest first, in pages."""
    for number in range(60):
        note("requeue", actor="ann", target=f"message {number}", reason=f"reason {number}", count=number)
    first = operator.get("/mail/record/")
    assert [act.target for act in first.context["page"].acts] == [f"message {number}" for number in range(59, 9, -1)]
    assert "ann requeue message 59 59 reason 59" in _text(first)
    second = operator.get("/mail/record/", {"before": first.context["page"].before})
    assert [act.target for act in second.context["page"].acts] == [f"message {number}" for number in range(9, -1, -1)]
    assert second.context["page"].before is None


@pytest.mark.parametrize("strange", ["x", "-1", "9" * 30, "1;drop"])
def test_a_strange_place_in_a_list_is_its_beginning(operator: Client, strange: str) -> None:
    """Nobody gets a traceback for a mistyped address."""
    assert operator.get("/mail/record/", {"before": strange, "done": strange}).status_code == 200
    assert operator.get("/mail/suppressions/", {"before": strange, "done": strange}).status_code == 200


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("zone", ["UTC", "America/New_York"])
@pytest.mark.parametrize("path", ["", "messages/", "routes/", "failures/", "workers/", "suppressions/", "record/"])
def test_pages_work_on_a_site_without_time_zones(operator: Client, settings: Any, path: str, zone: str) -> None:
    """With USE_TZ off instants are naive, and are the site's own time."""
    settings.USE_TZ = False
    settings.TIME_ZONE = zone
    queue("ok@example.org", "nouser@example.org")
    deliver()
    _worker("alive", silent_seconds=2)
    suppress(["gone@example.org"], source="by hand", lifetime=timedelta(days=1))
    note("requeue", actor="ann", target="message 1")
    assert operator.get(f"/mail/{path}").status_code == 200
