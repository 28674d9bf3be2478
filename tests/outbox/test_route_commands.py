"""`email_routes` as an operator runs it at night."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import django
import pytest
from django.core import mail
from django.core.management import CommandError, call_command, load_command_class
from django.db import connections
from django.test import override_settings
from pytest_django import DjangoDbBlocker

from reliable_email.store.tables.recipients import OutboxRecipient
from reliable_email.store.tables.routes import Opening
from reliable_email.store.tables.shared import Action
from reliable_email.store.tables.states import State
from reliable_email.testing.server import ScriptedServer
from tests.outbox.desk import states


def smtp(port: int, **options: Any) -> dict[str, Any]:
    """An SMTP mailer on the loopback."""
    return {
        "BACKEND": "reliable_email.backends.ReliableSMTPBackend",
        "OPTIONS": {"host": "127.0.0.1", "port": port, **options},
    }


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    """A real server on the loopback."""
    with ScriptedServer() as running:
        yield running


@pytest.fixture
def site(using: str, server: ScriptedServer, django_db_blocker: DjangoDbBlocker) -> Iterator[str]:
    """An outbox over two routes that work, and a mailer that cannot be built."""
    mailers = {
        "default": {
            "BACKEND": "reliable_email.backends.OutboxBackend",
            "OPTIONS": {"using": "both", "database": using},
        },
        "both": {"BACKEND": "reliable_email.backends.FailoverBackend", "OPTIONS": {"using": ["one", "two"]}},
        "one": smtp(server.port),
        "two": smtp(server.port),
        "broken": smtp(server.port, no_such_option=True),
    }
    older = {"EMAIL_BACKEND": "reliable_email.backends.DefaultMailer"} if django.VERSION < (6, 1) else {}
    with override_settings(MAILERS=mailers, **older):
        yield using
    Opening.objects.using(using).all().delete()
    connections[using].close()


def run(*arguments: str, using: str) -> tuple[int, Any]:
    """Exit code, and what the command printed as JSON."""
    out, code = io.StringIO(), 0
    try:
        call_command("email_routes", "--database", using, *arguments, "--json", stdout=out)
    except SystemExit as error:
        code = int(error.code or 0)
    return code, json.loads(out.getvalue())


def words(*arguments: str, using: str) -> str:
    """What people get."""
    out = io.StringIO()
    call_command("email_routes", "--database", using, *arguments, stdout=out)
    return out.getvalue()


def refused(*arguments: str, using: str) -> tuple[int, str]:
    """Exit code and sentence of a command that does nothing."""
    with pytest.raises(CommandError) as caught:
        call_command("email_routes", "--database", using, *arguments, stdout=io.StringIO())
    return caught.value.returncode, str(caught.value)


def by_alias(using: str) -> dict[str, dict[str, Any]]:
    """The routes as a program gets them."""
    return {one["alias"]: one for one in run("list", using=using)[1]["routes"]}


def test_a_list_has_every_route_with_its_state_also_one_that_cannot_be_built(site: str) -> None:
    """With the reason, and without a traceback."""
    found = by_alias(site)
    assert {name: one["state"] for name, one in found.items()} == {
        "one": "in use", "two": "in use", "broken": "cannot be built"
    }  # fmt: skip
    assert "no_such_option" in found["broken"]["told"]
    assert "no_such_option" in words("show", "broken", using=site)
    heading, *lines = words("list", using=site).splitlines()
    assert len(lines) == 3
    place = heading.index("state")
    assert {line[place:].split("  ")[0] for line in lines} == {"in use", "cannot be built"}


def test_pause_stops_all_mail_and_resume_undoes_it(site: str, server: ScriptedServer) -> None:
    """A worker sends nothing in between; who did it and why is on record, and in the list."""
    assert run("pause", "--all", "--reason", "wrong mails", "--actor", "ada", using=site)[1]["count"] == 3
    mail.send_mail("Hello", "World", "site@example.org", ["ada@example.com"])
    call_command("email_worker", "--database", site, "--max-messages", "1", "--until-empty", stdout=io.StringIO())
    assert (states(site), server.messages) == ([State.QUEUED], [])
    assert by_alias(site)["one"]["state"] == "paused"
    assert "ada: wrong mails" in words("list", "one", using=site)
    assert run("resume", "--all", "--actor", "ada", using=site)[1]["count"] == 3
    assert by_alias(site)["one"]["state"] == "in use"
    OutboxRecipient.objects.using(site).update(due_at=datetime(2020, 1, 1, tzinfo=UTC))
    call_command("email_worker", "--database", site, "--until-empty", stdout=io.StringIO())
    assert states(site) == [State.ACCEPTED]
    acts = Action.objects.using(site).order_by("pk").values_list("verb", "target", "actor", "reason")
    assert ("pause_route", "one", "ada", "wrong mails") in list(acts)
    assert ("resume_route", "two", "ada", "") in list(acts)


@pytest.mark.parametrize("command", ["email_routes", "email_outbox"])
@override_settings(ROOT_URLCONF="no_such_module")
def test_a_configuration_that_is_broken_keeps_nobody_from_looking(site: str, command: str) -> None:
    """As from a shell, with Django's checks: the mailer that cannot be built is an error of theirs."""
    load_command_class("reliable_email", command).run_from_argv(["manage.py", command, "--database", site, "list"])


def test_a_pause_of_one_leaves_the_other_in_use(site: str) -> None:
    """By name."""
    assert "two is paused" in words("pause", "two", using=site)
    found = by_alias(site)
    assert (found["one"]["state"], found["two"]["state"]) == ("in use", "paused")


def test_a_probe_tells_what_it_found(site: str) -> None:
    """Exit code 0 where the route works, 1 where it does not."""
    code, told = run("probe", "one", using=site)
    assert code != 1
    assert told["routes"][0]["route"] == "one"
    assert "EHLO ok" in told["routes"][0]["stages"].replace("ehlo", "EHLO")
    code, told = run("probe", "broken", using=site)
    assert code == 1
    assert "no_such_option" in told["routes"][0]["note"]


def test_history_has_the_newest_first(site: str) -> None:
    """What was closed and is in use again, and what is still closed."""
    assert "No closed route" in words("history", using=site)
    rows = Opening.objects.using(site)
    for number, route in enumerate(("one", "two"), start=1):
        rows.create(
            route=route, number=number, reason="too_fast", evidence="at MAIL: 421 later",
            opened_at=datetime(2026, 1, number, tzinfo=UTC),
            closed_at=datetime(2026, 1, number, 1, tzinfo=UTC) if number == 1 else None,
        )  # fmt: skip
    assert [one["route"] for one in run("history", using=site)[1]["openings"]] == ["two", "one"]
    assert [one["route"] for one in run("history", "one", using=site)[1]["openings"]] == ["one"]
    assert len(run("history", "--limit", "9" * 30, using=site)[1]["openings"]) == 2
    said = words("history", using=site).splitlines()
    assert "still closed" in said[1]
    assert "421 later" in said[2]


@pytest.mark.parametrize("command", ["list", "show", "pause", "resume", "probe", "history"])
def test_a_route_that_is_none_is_a_slip(site: str, command: str) -> None:
    """Exit code 2, with what was meant; nothing is done."""
    code, said = refused(command, "tow", using=site)
    assert (code, "Did you mean 'two'?" in said) == (2, True)
    assert not Action.objects.using(site).exists()


@pytest.mark.parametrize("command", ["pause", "resume", "probe"])
def test_an_act_needs_to_be_told_which(site: str, command: str) -> None:
    """Neither none nor both."""
    assert refused(command, using=site)[0] == 2
    assert refused(command, "one", "--all", using=site)[0] == 2


def test_a_database_that_is_away_is_one_line() -> None:
    """Nothing is told from memory, and no pause is promised."""
    script = (
        "import django; from django.conf import settings; "
        "settings.configure(INSTALLED_APPS=['reliable_email'], USE_TZ=True, EMAIL_HOST='127.0.0.1', DATABASES="
        "{'default': {'ENGINE': 'django.db.backends.sqlite3', 'NAME': '/nonexistent/folder/db.sqlite3'}}); "
        "django.setup(); from django.core.management import execute_from_command_line as run; import sys; "
        "run(['manage.py', *sys.argv[1:]])"
    )
    root = Path(__file__).parents[2]
    for arguments in (["list"], ["pause", "--all"], ["history"]):
        ended = subprocess.run(
            [sys.executable, "-c", script, "email_routes", *arguments],
            capture_output=True, text=True, cwd=root, env=os.environ, check=False,
        )  # fmt: skip
        assert (ended.returncode, len(ended.stderr.strip().splitlines())) == (1, 1), ended.stderr
