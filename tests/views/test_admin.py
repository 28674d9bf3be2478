"""Django's admin over the outbox."""

import os
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client, override_settings

from reliable_email.models import Action, OutboxMessage, OutboxRecipient, RouteState, Suppression, Worker
from reliable_email.outbox.operations.suppression_list import suppressed
from reliable_email.store.questions.filters import Filter
from reliable_email.store.sql.clock import database_now
from tests.outbox.acts import cancel
from tests.views.letters import RESET_LINK, USING, deliver, queue

ADMIN = "/admin/reliable_email/"
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize("name", ["outboxmessage", "routestate", "worker", "suppression", "action"])
def test_every_list_opens(operator: Client, name: str) -> None:
    """With a row in it, where a worker writes one."""
    queue("nouser@example.com")
    deliver()
    RouteState.objects.create(alias="gmail", updated_at=database_now(USING))
    assert operator.get(f"{ADMIN}{name}/").status_code == 200


def test_a_message_is_shown_with_recipients_and_attempts_and_without_its_content(operator: Client) -> None:
    """What was said is on the dashboard's page, to which it links."""
    row = queue("ok@example.com", "nouser@example.com", subject="Your secret code is 4711")
    deliver()
    listed = operator.get(f"{ADMIN}outboxmessage/").content.decode()
    text = operator.get(f"{ADMIN}outboxmessage/{row.pk}/change/").content.decode()
    for words in ("nouser@example.com", "mailbox unknown", "550 5.1.1", "final reply", f"/mail/messages/{row.pk}/"):
        assert words in text, words
    for page in (listed, text):
        assert RESET_LINK not in page
    assert "4711" in listed  # as on the dashboard, and for the same permission
    assert "4711" not in text


def test_the_columns_are_in_the_words_of_the_dashboard(operator: Client) -> None:
    """A name of a table is no answer, a worker that died has not said so, and German is German here too."""
    row = queue("ok@example.com", "nouser@example.com")
    deliver()
    Worker.objects.update(state="running", seen_at=database_now(USING) - timedelta(hours=2))
    cancel(Filter(ids=(row.pk,)), actor="ada", using=USING)
    with override_settings(LANGUAGE_CODE="de"):
        message = operator.get(f"{ADMIN}outboxmessage/{row.pk}/change/").content.decode()
        worker = operator.get(f"{ADMIN}worker/").content.decode()
        acts = operator.get(f"{ADMIN}action/").content.decode()
        listed = operator.get(f"{ADMIN}outboxmessage/?priority=1").content.decode()
    for words in ("abgelehnt", "Postfach unbekannt", "Schlussantwort", "normal"):
        assert words in message, words
    for raw in ("rejected", "mailbox_unknown", "final_reply"):
        assert raw not in message, raw
    assert ("verloren" in worker, "running" in worker) == (True, False)
    assert "abgebrochen" in acts
    assert "Masse" in listed


def test_rows_are_written_by_the_outbox_alone(operator: Client) -> None:
    """Not even a superuser adds, changes or deletes a message by hand."""
    row = queue("ok@example.com")
    assert operator.get(f"{ADMIN}outboxmessage/add/").status_code == 403
    assert operator.get(f"{ADMIN}outboxmessage/{row.pk}/delete/").status_code == 403
    operator.post(f"{ADMIN}outboxmessage/{row.pk}/change/", {"sender": "x@example.com"})
    assert OutboxMessage.objects.get().sender == "shop@example.com"


def test_a_message_is_found_by_its_message_id_or_a_whole_address(operator: Client) -> None:
    """Both by an index."""
    row = queue("Ada@Example.com")
    queue("bob@example.com")
    for term in (row.message_id, "Ada@example.com"):
        found = operator.get(f"{ADMIN}outboxmessage/", {"q": term}).context["cl"].queryset
        assert [one.pk for one in found] == [row.pk]
    assert not operator.get(f"{ADMIN}outboxmessage/", {"q": "ada"}).context["cl"].queryset.exists()


@override_settings(RELIABLE_EMAIL={"MASK_ADDRESSES": True})
def test_masked_addresses_are_masked_here_too(operator: Client) -> None:
    """As in commands and on the other pages."""
    row = queue("ada@example.com")
    assert "ada@" not in operator.get(f"{ADMIN}outboxmessage/{row.pk}/change/").content.decode()


def test_messages_are_requeued_and_cancelled_by_actions_that_are_recorded(operator: Client) -> None:
    """As far as their state allows."""
    rejected, waiting = queue("nouser@example.com"), None
    deliver()
    waiting = queue("ok@example.com")
    ids = [rejected.pk, waiting.pk]
    answer = operator.post(
        f"{ADMIN}outboxmessage/", {"action": "requeue", "_selected_action": [rejected.pk]}, follow=True
    )
    assert "1 recipient requeued" in answer.content.decode()
    operator.post(f"{ADMIN}outboxmessage/", {"action": "cancel", "_selected_action": ids})
    assert {one.state for one in OutboxRecipient.objects.all()} == {"cancelled"}
    assert [(one.actor, one.verb, one.count) for one in Action.objects.order_by("pk")] == [
        ("olga", "requeue", 1),
        ("olga", "cancel", 2),
    ]


def test_an_act_on_all_that_the_admin_found_stops_nowhere(operator: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages are counted no further than people turn them; "select all" means all of them nevertheless."""
    monkeypatch.setattr("reliable_email.admin._COUNTED", 2)
    chosen = [queue(f"ok{number}@example.com").pk for number in range(4)]
    sent = {"action": "cancel", "select_across": "1", "_selected_action": chosen[:1]}
    answer = operator.post(f"{ADMIN}outboxmessage/", sent, follow=True)
    assert "4 recipients cancelled" in answer.content.decode()
    assert {one.state for one in OutboxRecipient.objects.all()} == {"cancelled"}


def test_acting_needs_its_permission_in_the_admin_too(db: None) -> None:
    """Staff who may look are offered no action."""
    user = User.objects.create_user("ann", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_outboxmessage"))
    client = Client()
    client.force_login(user)
    row = queue("ok@example.com")
    client.post(f"{ADMIN}outboxmessage/", {"action": "cancel", "_selected_action": [row.pk]})
    assert OutboxRecipient.objects.get().state == "queued"


def test_a_suppressed_address_is_stored_as_it_is_compared(operator: Client) -> None:
    """In lower case, by the database's clock, with a record of who did it."""
    sent = {"address": " Ada@Example.COM ", "reason": "complained", "expires_at_0": "", "expires_at_1": ""}
    operator.post(f"{ADMIN}suppression/add/", sent)
    row = Suppression.objects.get()
    assert (row.address, row.source, row.expires_at) == ("ada@example.com", "by hand", None)
    assert suppressed(USING, ["ADA@example.com"]) == {"ada@example.com"}
    operator.post(f"{ADMIN}suppression/{row.pk}/change/", {**sent, "reason": "asked by phone"})
    operator.post(f"{ADMIN}suppression/{row.pk}/delete/", {"post": "yes"})
    assert not Suppression.objects.exists()
    assert [(one.verb, one.actor, one.target, one.reason) for one in Action.objects.order_by("pk")] == [
        ("suppress", "olga", "ada@example.com", "complained"),
        ("change_suppression", "olga", "ada@example.com", "asked by phone"),
        ("unsuppress", "olga", "ada@example.com", "asked by phone"),
    ]


@pytest.mark.parametrize("address", ["ada", "@example.com", "a b@example.com"])
def test_what_is_no_address_is_not_suppressed(operator: Client, address: str) -> None:
    """The form says how to write one."""
    answer = operator.post(f"{ADMIN}suppression/add/", {"address": address, "reason": ""})
    assert "write it as name@example.com" in answer.content.decode()
    assert not Suppression.objects.exists()


def test_an_address_twice_is_one_row(operator: Client) -> None:
    """The second time the form says so."""
    for address in ("ada@example.com", "ADA@example.com"):
        answer = operator.post(f"{ADMIN}suppression/add/", {"address": address, "reason": ""})
    assert answer.status_code == 200
    assert Suppression.objects.count() == 1


_BARE_SITE = """
import sys, django
from django.conf import settings
settings.configure(
    INSTALLED_APPS=["django.contrib.contenttypes", "reliable_email"], ROOT_URLCONF="tests.views.bare_urls",
    MIDDLEWARE=["django.middleware.common.CommonMiddleware"], SECRET_KEY="x", ALLOWED_HOSTS=["*"], USE_TZ=True,
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}],
)
django.setup()
from django.core.management import call_command
from django.test import Client
call_command("migrate", verbosity=0)
call_command("check")
from tests.outbox.acts import cancel
from reliable_email.store.questions.filters import Filter
assert cancel(Filter(), actor="ada", reason="why") == 0
answer = Client().get("/mail/messages/")
assert answer.status_code == 403 and b"AuthenticationMiddleware" in answer.content, answer.content
assert Client().post("/mail/messages/act/").status_code == 403
assert not [name for name in sys.modules if name.startswith(("django.contrib.auth.models", "django.contrib.admin"))]
"""


def test_the_app_needs_no_users_no_sessions_and_no_admin() -> None:
    """With contenttypes alone the tables are made, acts are recorded, and the pages say what they miss."""
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", _BARE_SITE],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root), "DJANGO_SETTINGS_MODULE": ""},
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert done.returncode == 0, done.stderr


def test_permissions_are_kept_apart(person: Callable[..., Client]) -> None:
    """Each has words of its own in the admin's list of permissions."""
    names = set(Permission.objects.filter(content_type__app_label="reliable_email").values_list("codename", flat=True))
    assert {"view_outboxmessage", "act_on_outbox", "read_content"} <= names


def test_the_list_says_who_what_and_how_it_stands(operator: Client) -> None:
    """Without opening each; a filter by state finds what is stuck."""
    queue("ok@example.com", "nouser@example.org", subject="Your order 17")
    deliver()
    queue("waits@example.com", subject="Reset")
    page = "/admin/reliable_email/outboxmessage/"
    text = operator.get(page).content.decode()
    for words in ("ok@example.com +1", "accepted …", "Your order 17", "waits@example.com", "queued"):
        assert words in text
    text = operator.get(page, {"state": "queued"}).content.decode()
    assert "waits@example.com" in text
    assert "ok@example.com" not in text
