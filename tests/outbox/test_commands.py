"""`email_worker` and `email_outbox` as an operator runs them: exit codes, JSON, and words."""

import io
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import django
import pytest
from django.core import mail
from django.core.mail import EmailMessage
from django.core.management import CommandError, call_command
from django.db import connections
from django.test import override_settings
from pytest_django import DjangoDbBlocker

from reliable_email.backends.outbox import submit
from reliable_email.management.commands.email_outbox import Command as EmailOutbox
from reliable_email.management.commands.email_suppression import Command
from reliable_email.outbox import faultpoints
from reliable_email.outbox.operations import operate
from reliable_email.store.tables.recipients import OutboxRecipient
from reliable_email.store.tables.shared import Action
from reliable_email.store.tables.states import State
from reliable_email.testing.server import ScriptedServer
from tests.outbox.desk import queue, row, states


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    """A real server on the loopback."""
    with ScriptedServer() as running:
        yield running


@pytest.fixture
def site(using: str, server: ScriptedServer, django_db_blocker: DjangoDbBlocker) -> Iterator[str]:
    """A site whose default mailer is an outbox over one SMTP route."""
    mailers = {
        "default": {
            "BACKEND": "reliable_email.backends.OutboxBackend",
            "OPTIONS": {"using": "smtp", "database": using},
        },
        "smtp": {
            "BACKEND": "reliable_email.backends.ReliableSMTPBackend",
            "OPTIONS": {"host": "127.0.0.1", "port": server.port},
        },
    }
    # Django before 6.1 comes to MAILERS by this door.
    older = {"EMAIL_BACKEND": "reliable_email.backends.DefaultMailer"} if django.VERSION < (6, 1) else {}
    with override_settings(MAILERS=mailers, **older):
        yield using
    connections[using].close()


def run(*arguments: str, using: str) -> tuple[int, Any]:
    """Exit code, and what the command printed as JSON."""
    out = io.StringIO()
    code = 0
    try:
        call_command(arguments[0], "--database", using, *arguments[1:], "--json", stdout=out)
    except SystemExit as error:
        code = int(error.code or 0)
    return code, json.loads(out.getvalue())


def test_from_send_to_acceptance_by_the_commands(site: str, server: ScriptedServer) -> None:
    """The whole way over a real wire: send(), email_worker, email_outbox."""
    mail.send_mail("Hello", "World", "site@example.org", ["ada@example.com"])
    code, told = run("email_outbox", "status", using=site)
    assert (code, told["verdict"], told["recipients"]["queued"]) == (1, "unhealthy", 1)
    assert "no worker" in told["reasons"][0]
    code, told = run("email_worker", "--until-empty", using=site)
    assert (code, told["transactions"]) == (0, 1)
    assert [message.recipients for message in server.messages] == [("ada@example.com",)]
    code, told = run("email_outbox", "status", using=site)
    assert (code, told["verdict"], told["recipients"]["accepted"]) == (0, "healthy", 1)
    assert run("email_outbox", "audit", using=site)[0] == 0


def test_show_tells_everything_by_number_and_by_message_id(site: str) -> None:
    """Two names for one message."""
    queued = submit(EmailMessage("Hello", "World", "site@example.org", ["ada@example.com"]))
    by_number = run("email_outbox", "show", str(queued.pk), using=site)[1]
    by_name = run("email_outbox", "show", queued.message_id, using=site)[1]
    assert by_number == by_name
    assert (by_number["subject"], by_number["recipients"][0]["state"]) == ("Hello", "queued")


def test_hold_needs_to_be_told_what(site: str) -> None:
    """An operator who forgets the filter changes nothing."""
    submit(EmailMessage("Hello", "World", "site@example.org", ["ada@example.com"]))
    with pytest.raises(CommandError, match="--all") as caught:
        call_command("email_outbox", "--database", site, "hold")
    assert caught.value.returncode == 2
    assert run("email_outbox", "hold", "--all", "--dry-run", using=site)[1] == {"count": 1}
    assert states(site) == [State.QUEUED]
    assert run("email_outbox", "hold", "--all", using=site)[1] == {"count": 1}
    assert states(site) == [State.PARKED]
    assert run("email_outbox", "status", using=site)[0] == 3


def test_resolve_takes_the_persons_word(site: str) -> None:
    """By number, with what was found out."""
    queued = submit(EmailMessage("Hello", "World", "site@example.org", ["ada@example.com"]))
    OutboxRecipient.objects.using(site).update(state=State.UNKNOWN, due_at=None, unknowns=1)
    assert run("email_outbox", "resolve", str(queued.pk), "accepted", "--actor", "ada", using=site)[1] == {"count": 1}
    assert (row(site).state, row(site).detail) == (State.ACCEPTED, "resolved by ada")


def test_people_get_words(site: str) -> None:
    """Without --json every subcommand prints something to read."""
    queued = submit(EmailMessage("Hello", "World", "site@example.org", ["ada@example.com"]))
    out = io.StringIO()
    call_command("email_worker", "--database", site, "--until-empty", stdout=out)
    for arguments in (["status"], ["show", str(queued.pk)], ["audit"], ["prune", "--dry-run"], ["cancel", "--all"]):
        call_command("email_outbox", "--database", site, *arguments, stdout=out)
    text = out.getvalue()
    for words in (
        "1 transactions",
        "Status: HEALTHY",
        "ada@example.com: accepted",
        "0 findings",
        "0 recipients changed",
    ):
        assert words in text


@override_settings(ROOT_URLCONF="no_such_module")
def test_a_page_that_is_broken_stops_no_mail(site: str) -> None:
    """The worker looks at the configuration of mail, and at no page of the site."""
    EmailMessage("Subject", "Body", "from@example.org", ["to@example.net"]).send()
    call_command("email_worker", "--database", site, "--until-empty", skip_checks=False, stdout=io.StringIO())
    assert states(site) == [State.ACCEPTED]


@override_settings(RELIABLE_EMAIL={"CONECTIONS": 4})
def test_a_worker_does_not_begin_with_settings_that_nobody_reads(site: str) -> None:
    """A key that is misspelt would be a wish that nobody hears."""
    with pytest.raises(CommandError, match="CONECTIONS"):
        call_command("email_worker", "--database", site, "--until-empty", skip_checks=False)


@pytest.mark.parametrize("arguments", [["--connections", "0"], ["--max-messages", "-1"]])
def test_a_worker_refuses_numbers_that_mean_nothing(site: str, arguments: list[str]) -> None:
    """Usage errors exit with 2."""
    with pytest.raises(CommandError) as caught:
        call_command("email_worker", "--database", site, *arguments)
    assert caught.value.returncode == 2


def test_an_act_says_why_and_a_requeue_by_which_route(site: str) -> None:
    """Both are in the record; a route that no mailer uses is a slip."""
    mail.send_mail("Hello", "World", "site@example.org", ["ada@example.com"])
    run("email_outbox", "hold", "--all", "--actor", "ada", "--reason", "wrong prices", using=site)
    _, told = run("email_outbox", "requeue", "--all", "--by-route", "smtp", "--reason", "mended", using=site)
    assert told == {"count": 1}
    assert row(site).pinned_route == "smtp"
    noted = Action.objects.using(site).order_by("pk")
    assert [(one.verb, one.reason, one.detail.get("by_route")) for one in noted] == [
        ("hold", "wrong prices", None),
        ("requeue", "mended", "smtp"),
    ]
    with pytest.raises(CommandError, match="There is no route 'elsewhere'"):
        call_command("email_outbox", "--database", site, "requeue", "--all", "--by-route", "elsewhere")


def test_a_requeue_by_a_route_leaves_mailers_without_it_alone(site: str) -> None:
    """They would wait for it for ever."""
    mail.send_mail("Hello", "World", "site@example.org", ["ada@example.com"])
    OutboxRecipient.objects.using(site).update(mailer="another")
    run("email_outbox", "hold", "--all", using=site)
    _, told = run("email_outbox", "requeue", "--all", "--by-route", "smtp", using=site)
    assert (told["count"], row(site).state) == (0, State.PARKED)


@override_settings(RELIABLE_EMAIL={"LEASE_SECONDS": 1})
@pytest.mark.parametrize("arguments", ["email_outbox status", "email_worker"])
def test_a_setting_that_is_wrong_is_one_line(site: str, arguments: str) -> None:
    """At night nobody wants to find it below a traceback."""
    with pytest.raises(CommandError, match=r"RELIABLE_EMAIL\['LEASE_SECONDS'\] must be .* “manage.py check” finds"):
        name, *others = arguments.split()
        call_command(name, "--database", site, *others)


SUPPRESSING = """
import sys
from django.conf import settings
databases = {{'default': {{'ENGINE': 'django.db.backends.sqlite3', 'NAME': {path!r}}}}}
settings.configure(INSTALLED_APPS=['reliable_email'], DATABASES=databases)
import django; django.setup()
from django.core.management import call_command, execute_from_command_line
from django.utils.timezone import now
from reliable_email.models import Suppression
call_command('migrate', verbosity=0)
rows = (Suppression(address=f'a{{n}}@example.com', created_at=now()) for n in range({size}))
Suppression.objects.bulk_create(rows)
sys.stdin.readline()
execute_from_command_line(['manage.py', 'email_suppression', 'list'])
"""


@pytest.mark.parametrize("size", [10, 3000])
def test_a_reader_who_has_read_enough_is_no_error(tmp_path: Path, size: int) -> None:
    """`email_suppression list | head` writes no traceback, whether much or little is left to write."""
    command = [sys.executable, "-c", SUPPRESSING.format(path=str(tmp_path / "db"), size=size)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdin
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        process.stdin.write("\n")
        process.stdin.close()
        assert process.stderr.read() == ""
        assert process.wait(60) == 141


@pytest.mark.parametrize("by_a_shell", [False, True])
def test_another_broken_pipe_is_an_error_as_ever(
    by_a_shell: bool, site: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A database's socket is not the output: who calls a command from code keeps both."""

    def fail(*args: Any, **options: Any) -> None:
        raise BrokenPipeError(32, "a socket")

    monkeypatch.setattr(Command, "handle", fail)
    with pytest.raises(BrokenPipeError, match="a socket"):
        if by_a_shell:
            Command().run_from_argv(["manage.py", "email_suppression", "list"])
        else:
            call_command("email_suppression", "list", stdout=io.StringIO())
    os.write(1, b"still heard")
    assert capfd.readouterr().out == "still heard"


def test_ctrl_c_in_an_act_is_a_sentence_and_what_was_done_stays(
    site: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No traceback, the exit code of an interrupted program, and the same command does the rest."""
    monkeypatch.setattr(operate, "_IDS_AT_ONCE", 2)
    for number in range(5):
        queue(site, f"ok{number}@example.com")
    passed: list[str] = []

    def interrupt(name: str) -> None:
        passed.append(name)
        if passed.count("act:batch") == 1:
            raise KeyboardInterrupt

    command = ["manage.py", "email_outbox", "--database", site, "cancel", "--all", "--reason", "wrong prices"]
    faultpoints.listen(interrupt)
    try:
        with pytest.raises(SystemExit) as raised:
            EmailOutbox().run_from_argv(command)
    finally:
        faultpoints.reset()
    assert raised.value.code == 130
    assert capsys.readouterr().err == "Interrupted. What was done stays; the same command does the rest.\n"
    assert Counter(states(site)) == {State.CANCELLED: 2, State.QUEUED: 3}
    EmailOutbox().run_from_argv(command)
    assert states(site) == [State.CANCELLED] * 5
