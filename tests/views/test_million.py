"""Every page with a million messages in the outbox: few statements, and none that reads a whole table."""

import io
import json
import os
import re
from collections.abc import Iterator
from typing import Any

import django
import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connections
from django.http import HttpResponse
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext
from django.urls import resolve
from pytest_django import DjangoDbBlocker

from reliable_email.management.screens.finding import LOOK_BACK_ROWS
from reliable_email.store.questions.search import WINDOW_ROWS
from tests.outbox.conftest import created_database
from tests.services import require
from tests.views.crowd import fill

MESSAGES, ATTEMPTS = 1_000_000, 200_000
ALIAS = "million"
# Those that grow with the number of messages.
_LARGE = re.compile(r"Seq Scan on (reliable_email_(?:outboxmessage|outboxrecipient|attempt))\b")
_MOST_STATEMENTS = 40

PAGES = [
    "/mail/",
    "/mail/routes/",
    "/mail/failures/",
    "/mail/workers/",
    "/mail/suppressions/",
    "/mail/suppressions/?q=someone",
    "/mail/record/",
    "/mail/messages/",
    "/mail/messages/?state=queued",
    "/mail/messages/?state=accepted",
    "/mail/messages/?state=parked&cause=held",
    "/mail/messages/?cause=mailbox_unknown",
    "/mail/messages/?route=sendgrid",
    "/mail/messages/?q=person4711@example.org",
    "/mail/messages/?q=%40example.org",
    "/mail/messages/?q=%3C4711%40example.com%3E",
    "/mail/messages/?q=order+4711",
    "/mail/messages/?q=order+that+is+not+there",
    "/mail/messages/?priority=bulk",
    "/mail/messages/?account=acme",
    "/mail/messages/?stream=weekly",
    "/mail/messages/?sender=shop@example.com",
    "/mail/messages/?sender=@example.com&priority=high",
    "/mail/messages/?sender=nobody&state=accepted",
    "/mail/messages/?state=rejected&cause=mailbox_unknown&age=before-3d",
    "/mail/messages/?age=last-1h",
    "/mail/messages/?before=400000",
    "/mail/messages/500000/",
    "/mail/people/",
    "/mail/people/?q=person4711%40example.org",
    "/mail/suppressions/?q=%40example.org",
]

pytestmark = pytest.mark.timeout(300)


class Router:
    """The outbox lives in that database."""

    def db_for_read(self, model: Any, **hints: Any) -> str | None:
        """That database for every model of the app."""
        return ALIAS if model._meta.app_label == "reliable_email" else None

    db_for_write = db_for_read


@pytest.fixture(scope="module")
def million(django_db_blocker: DjangoDbBlocker) -> Iterator[str]:
    """A database with so many messages."""
    require("postgres")
    with created_database("postgres", ALIAS, f"test_million_{os.getpid()}"), django_db_blocker.unblock():
        call_command("migrate", "reliable_email", database=ALIAS, verbosity=0)
        fill(ALIAS, MESSAGES, attempts=ATTEMPTS)
        yield ALIAS


@pytest.fixture
def site(million: str, settings: Any, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """A site whose outbox that is."""
    settings.DATABASE_ROUTERS = [Router()]
    smtp = "reliable_email.backends.ReliableSMTPBackend"
    login = {"username": "shop@example.com", "password": "only for tests"}
    settings.MAILERS = {
        "default": {"BACKEND": "reliable_email.backends.OutboxBackend", "OPTIONS": {"using": "routes"}},
        "routes": {"BACKEND": "reliable_email.backends.FailoverBackend", "OPTIONS": {"using": ["gmail", "sendgrid"]}},
        "gmail": {"BACKEND": smtp, "OPTIONS": {"provider": "gmail"} | login},
        "sendgrid": {"BACKEND": smtp, "OPTIONS": {"provider": "sendgrid", "password": "only for tests"}},
    }
    if django.VERSION < (6, 1):
        settings.EMAIL_BACKEND = "reliable_email.backends.DefaultMailer"
    with django_db_blocker.unblock():
        yield
        connections[million].close()


def visit(path: str, sent: dict[str, str] | None = None) -> HttpResponse:
    """The page as somebody with every permission sees it, or the answer to a form."""
    request = RequestFactory().get(path) if sent is None else RequestFactory().post(path, sent)
    request._dont_enforce_csrf_checks = True  # type: ignore[attr-defined]
    request.user = User(username="olga", is_superuser=True)
    found = resolve(path.partition("?")[0])
    answer: HttpResponse = found.func(request, *found.args, **found.kwargs)
    return answer


@pytest.mark.parametrize("path", PAGES)
def test_a_page_takes_few_statements_and_reads_no_whole_table(path: str, site: None) -> None:
    """Each statement goes by an index, the first time and when the page is refreshed."""
    for _ in range(2):
        with CaptureQueriesContext(connections[ALIAS]) as captured:
            assert visit(path).status_code == 200
        statements = [query["sql"] for query in captured.captured_queries]
        assert 0 < len(statements) <= _MOST_STATEMENTS
        found = [(plan, sql) for sql in statements if sql.startswith("SELECT") for plan in [_plan(sql)]]
        assert [f"{_LARGE.findall(plan)}: {sql}" for plan, sql in found if _LARGE.search(plan)] == []


@pytest.mark.parametrize(
    "sent",
    [
        {"act": "requeue", "cause": "mailbox_unknown"},
        {"act": "requeue"},
        {"act": "cancel", "q": "@example.org"},
        {"act": "hold", "age": "before-1d"},
        {"act": "resolve_accepted", "route": "gmail"},
    ],
    ids=["requeue-by-cause", "requeue-all", "cancel-domain", "hold-old", "resolve-route"],
)
def test_what_an_act_would_change_is_counted_without_reading_a_whole_table(sent: dict[str, str], site: None) -> None:
    """The page that asks for the reason says how many, up to a limit."""
    with CaptureQueriesContext(connections[ALIAS]) as captured:
        answer = visit("/mail/messages/act/", sent | {"scope": "filter"})
    assert answer.status_code == 200
    statements = [query["sql"] for query in captured.captured_queries if query["sql"].startswith("SELECT")]
    assert 0 < len(statements) <= _MOST_STATEMENTS
    assert [sql for sql in statements if _LARGE.search(_plan(sql))] == []


@pytest.mark.parametrize(
    "filters",
    [
        ["--recipient", "person4711@example.org"],
        ["--state", "unknown"],
        ["--priority", "bulk", "--since", "2d"],
        ["--sender", "shop@example.com", "--cause", "mailbox_unknown"],
        ["--account", "acme", "--since", "1h"],
        ["--stream", "weekly", "--mailer", "routes", "--since", "1h"],
        ["--subject", "order 4711", "--since", "1h"],
    ],
    ids=" ".join,
)
def test_the_list_in_the_terminal_reads_no_whole_table(site: None, filters: list[str]) -> None:
    """Few statements, each by an index; what has none is looked for among the newest."""
    with CaptureQueriesContext(connections[ALIAS]) as captured:
        call_command("email_outbox", "list", *filters, "--json", stdout=io.StringIO())
    statements = [query["sql"] for query in captured.captured_queries if query["sql"].startswith("SELECT")]
    assert 0 < len(statements) <= _MOST_STATEMENTS
    assert [sql for sql in statements if _LARGE.search(_plan(sql))] == []


@pytest.mark.parametrize(
    "filters",
    [
        ["--account", "acme"],
        ["--stream", "weekly"],
        ["--stream", "weekly", "--until", "30d"],
        ["--mailer", "gmail"],
        ["--sender", "nobody@example.com"],
        ["--subject", "not there"],
        ["--cause", "rate_limited"],
        ["--environment", "staging"],
        ["--recipient", "nobody"],
        ["--recipient", "@nowhere.example"],
    ],
    ids=" ".join,
)
def test_a_list_without_an_index_looks_back_so_far_and_says_so(site: None, filters: list[str]) -> None:
    """A minute of reading would answer nobody at night, and load the database; `--since` looks further back."""
    out = io.StringIO()
    with CaptureQueriesContext(connections[ALIAS]) as captured:
        call_command("email_outbox", "list", *filters, "--json", stdout=out)
    told = json.loads(out.getvalue())
    assert (told["count"], told["is_more"]) == (0, True)
    assert told["looked_back_to"] is not None
    statements = [query["sql"] for query in captured.captured_queries if query["sql"].startswith("SELECT")]
    # Two say that there are too many to look for a name that does not exist.
    assert 0 < len(statements) <= 8 * LOOK_BACK_ROWS // WINDOW_ROWS + 2
    assert [sql for sql in statements if _LARGE.search(_plan(sql))] == []


def test_a_whole_table_that_is_read_would_be_noticed(site: None) -> None:
    """Otherwise the test above could not fail."""
    assert _LARGE.search(_plan("SELECT COUNT(*) FROM reliable_email_outboxrecipient WHERE cause = 'quota_exceeded'"))


def _plan(sql: str) -> str:
    with connections[ALIAS].cursor() as cursor:
        cursor.execute(f"EXPLAIN {sql}")
        return "\n".join(line for (line,) in cursor.fetchall())
