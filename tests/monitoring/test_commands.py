"""`email_outbox status` and `test_email --health-check` say what the site's health is, in the same words."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.core import mail
from django.core.management import call_command
from django.db import connections
from pytest_django import DjangoDbBlocker

from reliable_email.outbox.upkeep import worker_row
from tests.monitoring.conftest import outbox_mailers

MakeSite = Callable[..., None]


def run(*arguments: str) -> tuple[int, Any, str]:
    """Exit code, the JSON object, and the words of a command."""
    code, texts = 0, []
    for json_option in (["--json"], []):
        out = io.StringIO()
        try:
            call_command(*arguments, *json_option, stdout=out)
        except SystemExit as error:
            code = int(error.code or 0)
        texts.append(out.getvalue())
    return code, json.loads(texts[0]), texts[1]


def test_both_commands_give_the_same_verdict_and_remedy(site: str) -> None:
    """Each server answers, and yet mail waits."""
    mail.send_mail("Hello", "World", "site@example.org", ["ada@example.com"])
    queue_code, queue_told, queue_words = run("email_outbox", "--database", site, "status")
    code, told_json, words = run("test_email", "--check-only", "--health-check", "--from", "site@example.org")
    assert (queue_code, code) == (1, 1)
    assert (queue_told["verdict"], told_json["status"]) == ("unhealthy", "unhealthy")
    assert queue_told["findings"] == told_json["health"]["findings"]
    assert told_json["reason"] == "messages are due and no worker was seen within a day"
    for text in (queue_words, words):
        assert "messages are due and no worker was seen within a day, since " in text
        assert "Start “manage.py email_worker”" in text
        assert "Status: UNHEALTHY" in text


def test_what_the_ladder_finds_is_not_made_better_by_health(site: str, make_site: MakeSite) -> None:
    """Nobody has sent anything yet, so nothing is remembered of a dead server."""
    make_site(outbox_mailers(site, 9))
    worker_row.arrive(site, "worker", "", 1)
    code, told_json, words = run("test_email", "--check-only", "--health-check", "--from", "site@example.org")
    assert (code, told_json["status"], told_json["health"]["status"]) == (1, "unhealthy", "healthy")
    assert "4. Site Health: ✓" in words


def test_status_shows_those_that_run_of_a_thousand_workers(site: str) -> None:
    """A cron job leaves a row a minute, and what an operator looks for stands above the verdict."""
    worker_row.arrive(site, "still-here", "", 1)
    for number in range(40):
        worker_row.arrive(site, f"ended-{number}", "", 1)
        worker_row.leave(site, f"ended-{number}", 1)
    _, told, words = run("email_outbox", "--database", site, "status")
    shown = [line for line in words.splitlines() if line.startswith("worker ")]
    assert shown[0].startswith("worker still-here: running")
    assert len(shown) == 20
    assert "and 21 more workers within a day" in words
    assert len(told["workers"]) == 41


def test_status_says_so_where_there_are_no_tables(
    make_site: MakeSite, tmp_path: Path, django_db_blocker: DjangoDbBlocker
) -> None:
    """An operator who forgot to migrate gets a sentence, and no traceback."""
    alias = "not_migrated"
    settings = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(tmp_path / "empty.sqlite3")}
    connections.settings[alias] = connections.configure_settings({alias: settings, "default": {}})[alias]
    try:
        make_site(outbox_mailers(alias, 9))
        with django_db_blocker.unblock():
            code, told, words = run("email_outbox", "--database", alias, "status")
            connections[alias].close()
    finally:
        del connections[alias]
        del connections.settings[alias]
    assert (code, told["verdict"]) == (1, "unhealthy")
    assert "the outbox has no tables in the database 'not_migrated'" in words
    assert "Run “manage.py migrate reliable_email”." in words
