"""A night with 100,000 messages: each question of an operator is answered by the pages and by the terminal.

The steps are those of `docs/how-to/at-night.md`, at most three each; what they take is printed (-s).
"""

import io
import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from django.core.management import call_command
from django.http import HttpResponse
from pytest_django import DjangoDbBlocker

from reliable_email.store.tables.messages import OutboxMessage
from reliable_email.store.tables.recipients import OutboxRecipient
from tests.docs.pages import DOCS
from tests.outbox.conftest import created_database
from tests.services import require
from tests.views.crowd import fill
from tests.views.test_million import ALIAS, million, site, visit

MESSAGES = int(os.environ.get("RELIABLE_EMAIL_NIGHT_MESSAGES", "100000"))
MOST_STEPS = 3
WRONG = 20_000
pytestmark = pytest.mark.timeout(300)
__all__ = ["million", "site"]  # fixtures; the first is made anew below, with fewer messages


@pytest.fixture(scope="module")
def million(django_db_blocker: DjangoDbBlocker) -> Iterator[str]:  # noqa: F811 - see above
    """The night's database: among its messages 20,000 that wait and should never have been queued."""
    require("postgres")
    with created_database("postgres", ALIAS, f"test_night_{os.getpid()}"), django_db_blocker.unblock():
        call_command("migrate", "reliable_email", database=ALIAS, verbosity=0)
        fill(ALIAS, MESSAGES, attempts=MESSAGES // 5)
        wrong = OutboxRecipient.objects.using(ALIAS).filter(message_id__gt=MESSAGES - WRONG)
        wrong.update(
            state="queued", due_at="2026-01-01T00:00:00Z", settled_at=None, lease_until=None, priority=2, unknowns=0
        )
        OutboxMessage.objects.using(ALIAS).filter(pk__gt=MESSAGES - WRONG).update(subject="Wrong prices")
        yield ALIAS


class Steps:
    """Counts steps and tells how long each took."""

    def __init__(self, question: str, where: str) -> None:
        self.question = question
        self.where = where
        self.taken: list[tuple[str, float]] = []

    def page(self, path: str, **sent: str) -> str:
        """Look at a page, or press a button; what it says."""
        began = time.monotonic()
        answer: HttpResponse = visit(path, sent or None)
        assert answer.status_code in (200, 302), answer.content
        self.taken.append((f"{'POST' if sent else 'GET'} {path}", time.monotonic() - began))
        return answer.content.decode()

    def run(self, command: str) -> str:
        """Run a command of the documentation; what it says."""
        began, out = time.monotonic(), io.StringIO()
        with suppress(SystemExit):  # the verdict is an exit code
            call_command(*command.split(), stdout=out)
        self.taken.append((command, time.monotonic() - began))
        return out.getvalue()

    def end(self) -> None:
        """Hold it to the bound."""
        assert 0 < len(self.taken) <= MOST_STEPS
        for step, seconds in self.taken:
            print(f"{self.question} | {self.where} | {step} | {seconds:.2f} s")  # noqa: T201 - the table


def wrong_states() -> dict[str, int]:
    """How many of the wrong messages are in each state."""
    rows = OutboxRecipient.objects.using(ALIAS).filter(message_id__gt=MESSAGES - WRONG)
    found: dict[str, int] = {}
    for state in rows.values_list("state", flat=True):
        found[state] = found.get(state, 0) + 1
    return found


def is_mail_working(steps: Steps) -> None:
    """The verdict, and why."""
    told = steps.page("/mail/") if steps.where == "page" else steps.run("email_outbox status")
    assert any(verdict in told for verdict in ("HEALTHY", "DEGRADED", "UNHEALTHY"))


def did_it_arrive(steps: Steps) -> None:
    """By the address alone."""
    if steps.where == "page":
        told = steps.page("/mail/messages/?q=person4711@example.org")
    else:
        told = steps.run("email_outbox list --recipient person4711@example.org")
    assert "person4711@example.org" in told
    assert "accepted" in told


def is_a_provider_down(steps: Steps) -> None:
    """What each route is, and what it was."""
    if steps.where == "page":
        assert "gmail" in steps.page("/mail/routes/")
        assert "quota exceeded" in steps.page("/mail/failures/")
    else:
        assert "gmail" in steps.run("email_routes list")
        steps.run("email_routes history gmail")


def what_is_unknown(steps: Steps) -> None:
    """Found, and resolved for one."""
    first = OutboxRecipient.objects.using(ALIAS).filter(state="unknown").order_by("-id").first()
    assert first is not None
    if steps.where == "page":
        assert first.address in steps.page("/mail/messages/?state=unknown")
        act = {"act": "resolve_accepted", "recipient": str(first.pk)}
        steps.page("/mail/messages/act/", **act)
        steps.page("/mail/messages/act/", **act, confirmed="1", reason="seen in the provider's log")
    else:
        assert first.address in steps.run("email_outbox list --state unknown")
        steps.run(f"email_outbox resolve {first.message_id} accepted")
    first.refresh_from_db(using=ALIAS)
    assert first.state == "accepted"


def stop_wrong_mail(steps: Steps) -> None:
    """20,000 are held by their subject, and nothing else is."""
    if steps.where == "page":
        act = {"act": "hold", "scope": "filter", "q": "Wrong prices", "in": "subject"}
        assert "Wrong prices" in steps.page("/mail/messages/?in=subject&q=Wrong+prices")
        assert "20,000 recipients" in steps.page("/mail/messages/act/", **act)
        steps.page("/mail/messages/act/", **act, confirmed="1", reason="wrong prices")
        assert wrong_states() == {"parked": WRONG}
    else:
        steps.run("email_outbox cancel --cause held --subject prices")
        assert wrong_states() == {"cancelled": WRONG}


def forget_a_person(steps: Steps) -> None:
    """Whatever is stored of one address."""
    address = "person4712@web.de" if steps.where == "page" else "person4713@outlook.com"
    rows = OutboxRecipient.objects.using(ALIAS).filter(address=address)
    assert rows.exists()
    if steps.where == "page":
        assert address in steps.page(f"/mail/people/?q={address}")
        steps.page("/mail/people/erase/", address=address)
        steps.page("/mail/people/erase/", address=address, confirmed="1", reason="asked by letter")
    else:
        steps.run(f"email_outbox erase {address}")
    assert not rows.exists()


def how_large_is_it(steps: Steps) -> None:
    """The tables, from the database's own statistics."""
    told = steps.page("/mail/workers/") if steps.where == "page" else steps.run("email_outbox status")
    assert "outboxmessage" in told


QUESTIONS: list[Callable[[Steps], Any]] = [
    is_mail_working,
    did_it_arrive,
    is_a_provider_down,
    what_is_unknown,
    stop_wrong_mail,
    forget_a_person,
    how_large_is_it,
]


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.__name__)
def test_a_question_of_the_night_takes_three_steps_at_most(site: None, question: Callable[[Steps], Any]) -> None:
    """On the pages, then in the terminal."""
    for where in ("page", "terminal"):
        steps = Steps(question.__name__.replace("_", " "), where)
        question(steps)
        steps.end()


def test_the_page_for_the_night_names_the_same_commands() -> None:
    """Whoever reads it finds each of them there."""
    text = (DOCS / "how-to/at-night.md").read_text("utf-8")
    for command in ("status", "list --recipient", "list --state unknown", "resolve", "hold", "cancel", "erase"):
        assert f"email_outbox {command}" in text
    for command in ("list", "history"):
        assert f"email_routes {command}" in text
