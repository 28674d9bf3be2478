"""`email_outbox list`, and the filters that lists and acts share, as an operator asks at night."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.core.mail import EmailMessage
from django.core.management import CommandError, call_command
from django.db import connections
from django.test import override_settings
from django.utils import timezone
from pytest_django import DjangoDbBlocker

from reliable_email.backends import OutboxBackend
from reliable_email.delivery.submission import Priority
from reliable_email.exceptions import InvalidMailer
from reliable_email.outbox.intake.enqueue import QueueOptions, enqueue
from reliable_email.store.tables.messages import OutboxMessage
from reliable_email.store.tables.recipients import OutboxRecipient
from reliable_email.store.tables.states import State
from tests.outbox.desk import queue, states, submission

MAILERS = {
    "default": {"BACKEND": "reliable_email.backends.OutboxBackend", "OPTIONS": {"using": "both"}},
    "newsletter": {"BACKEND": "reliable_email.backends.OutboxBackend", "OPTIONS": {"using": "both"}},
    "both": {"BACKEND": "reliable_email.backends.FailoverBackend", "OPTIONS": {"using": ["one", "two"]}},
    "one": {"BACKEND": "reliable_email.backends.ReliableSMTPBackend", "OPTIONS": {"host": "127.0.0.1", "port": 9}},
    "two": {"BACKEND": "reliable_email.backends.ReliableSMTPBackend", "OPTIONS": {"host": "127.0.0.1", "port": 9}},
}
NEW = ["cy@example.net", "bob@example.com", "ada@example.com"]
ACTS = ("requeue", "cancel", "hold", "release")


@pytest.fixture
def site(using: str, django_db_blocker: DjangoDbBlocker) -> Iterator[str]:
    """A site with two outboxes over one failover."""
    with override_settings(MAILERS=MAILERS):
        yield using
    connections[using].close()


def run(*arguments: str, using: str) -> Any:
    """What the command printed as JSON."""
    out = io.StringIO()
    call_command("email_outbox", "--database", using, *arguments, "--json", stdout=out)
    return json.loads(out.getvalue())


def refused(*arguments: str, using: str) -> tuple[int, str]:
    """Exit code and sentence of a command that does nothing."""
    with pytest.raises(CommandError) as caught:
        call_command("email_outbox", "--database", using, *arguments, stdout=io.StringIO())
    return caught.value.returncode, str(caught.value)


def send(using: str, to: str, *, entry: str = "default", subject: str = "Greetings", **wishes: Any) -> OutboxMessage:
    """Queue as the outbox `entry` does."""
    [message] = enqueue([submission(to=[to], **wishes)], QueueOptions(mailer="both", entry_mailer=entry, using=using))
    OutboxMessage.objects.using(using).filter(pk=message.pk).update(subject=subject)
    return message


def found(*arguments: str, using: str) -> list[str]:
    """The addresses of a list."""
    return [one["address"] for one in run("list", *arguments, using=using)["recipients"]]


@pytest.fixture
def night(site: str) -> str:
    """Four recipients that differ in everything that can be asked for."""
    send(site, "ada@example.com", subject="Reset your password", priority=Priority.HIGH)
    send(site, "bob@example.com", entry="newsletter", subject="News of May", priority=Priority.BULK)
    send(site, "cy@example.net", subject="Invoice 17")
    old = send(site, "dora@bücher.example", subject="Invoice 18")
    OutboxMessage.objects.using(site).filter(pk=old.pk).update(
        created_at=timezone.now() - timedelta(days=3), sender="billing@example.org", from_domain="example.org"
    )
    rows = OutboxRecipient.objects.using(site)
    rows.filter(address="cy@example.net").update(
        state=State.UNKNOWN, cause="outcome_unknown", route="one", due_at=None, unknowns=1
    )
    rows.filter(address="bob@example.com").update(state=State.PARKED, cause="held", due_at=None)
    return site


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ([], ["dora", "cy", "bob", "ada"]),
        (["--recipient", "ada@example.com"], ["ada"]),
        (["--recipient", "Ada Lovelace <ADA@Example.COM>"], ["ada"]),
        (["--recipient", "ad"], ["ada"]),
        (["--recipient", "ada@exam"], ["ada"]),
        (["--recipient", "@example.com"], ["bob", "ada"]),
        (["--recipient", "dora@xn--bcher-kva.example"], ["dora"]),
        (["--recipient", "dora@BÜCHER.example"], ["dora"]),
        (["--state", "unknown", "--state", "parked"], ["cy", "bob"]),
        (["--mailer", "newsletter"], ["bob"]),
        (["--mailer", "both"], ["dora", "cy", "bob", "ada"]),
        (["--subject", "invoice"], ["dora", "cy"]),
        (["--subject", "%"], []),
        (["--sender", "billing@example.org"], ["dora"]),
        (["--sender", "billing"], ["dora"]),
        (["--route", "one"], ["cy"]),
        (["--cause", "held"], ["bob"]),
        (["--priority", "high"], ["ada"]),
        (["--since", "1d"], ["cy", "bob", "ada"]),
        (["--until", "1d"], ["dora"]),
        (["--since", "2001-01-01", "--until", "2001-01-02T03:04:05"], []),
        (["--subject", "invoice", "--since", "1d"], ["cy"]),
        (["--limit", "2"], ["dora", "cy"]),
    ],
)
def test_a_list_finds_by_whatever_is_known(night: str, arguments: list[str], names: list[str]) -> None:
    """Each condition alone, and some together, the newest first."""
    assert [one.partition("@")[0] for one in found(*arguments, using=night)] == names


def test_a_search_for_a_subject_says_that_it_sees_no_encrypted_ones(night: str) -> None:
    """Otherwise "no recipient matches" would be taken for "it was never sent"."""
    assert not run("list", "--subject", "Greetings", using=night)["passes_over_sealed"]
    with override_settings(RELIABLE_EMAIL={"ENCRYPTION_KEYS": [Fernet.generate_key().decode()]}):
        out = io.StringIO()
        call_command("email_outbox", "--database", night, "list", "--subject", "no such words", stdout=out)
    assert "encrypted were not looked at" in out.getvalue()


def test_a_limit_says_that_there_is_more(night: str) -> None:
    """Also to a program."""
    assert run("list", "--limit", "2", using=night)["is_more"]
    assert not run("list", "--limit", "4", using=night)["is_more"]


def test_people_get_one_line_a_recipient_in_columns(night: str) -> None:
    """Headings stand above their values, and both mailers are named where they differ."""
    out = io.StringIO()
    call_command("email_outbox", "--database", night, "list", stdout=out)
    heading, *lines = out.getvalue().splitlines()
    assert len(lines) == 4
    place = heading.index("recipient")
    assert [line[place:].partition("@")[0] for line in lines] == ["dora", "cy", "bob", "ada"]
    assert "newsletter > both" in lines[2]
    assert "outcome_unknown" in lines[1]


@pytest.mark.parametrize("command", ["list", *ACTS])
@pytest.mark.parametrize(
    ("option", "name", "meant"),
    [
        ("--state", "quued", "queued"),
        ("--mailer", "newsleter", "newsletter"),
        ("--route", "tow", "two"),
        ("--cause", "outcome_unkown", "outcome_unknown"),
        ("--priority", "hihg", "high"),
    ],
)
def test_a_name_that_nothing_has_is_a_slip(night: str, command: str, option: str, name: str, meant: str) -> None:
    """Exit code 2, with what was meant; nothing is changed."""
    before = states(night)
    code, words = refused(command, option, name, using=night)
    assert code == 2
    assert f"Did you mean {meant!r}?" in words
    assert states(night) == before


def test_a_mailer_that_left_the_settings_is_known_while_its_mail_is_here(night: str) -> None:
    """Otherwise nobody could cancel what it left behind."""
    queue(night, "eve@example.com", mailer="gone")
    assert run("cancel", "--mailer", "gone", using=night) == {"count": 1}


@pytest.mark.parametrize("command", ["list", *ACTS, "resolve"])
def test_an_address_that_is_not_there_is_told(night: str, command: str) -> None:
    """Exit code 1 with a sentence."""
    words = ["accepted"] if command == "resolve" else []
    code, said = refused(command, *words, "--recipient", "nobody@example.com", using=night)
    assert (code, "nobody@example.com" in said) == (1, True)


@pytest.mark.parametrize("number", ["999999999", "9" * 30])
@pytest.mark.parametrize("command", ["show", *ACTS, "resolve"])
def test_a_message_that_is_not_there_is_told(night: str, command: str, number: str) -> None:
    """Exit code 1 with a sentence, whatever the number's size; the others are left alone."""
    before = states(night)
    words = ["accepted"] if command == "resolve" else []
    code, said = refused(command, number, *words, using=night)
    assert (code, number in said) == (1, True)
    assert states(night) == before


@pytest.mark.parametrize("name", ["ada@example.com", "Ada <ADA@example.com>"])
def test_show_takes_an_address(night: str, name: str) -> None:
    """In any spelling."""
    assert run("show", name, using=night)["subject"] == "Reset your password"


def test_show_takes_a_message_id_without_its_brackets(night: str) -> None:
    """As it is copied from a log."""
    name = OutboxMessage.objects.using(night).values_list("message_id", flat=True)[0]
    assert run("show", name.strip("<>"), using=night)["message_id"] == name


@pytest.mark.parametrize(
    ("act", "count"), [("requeue", 1), ("cancel", 3), ("hold", 2), ("release", 1), ("resolve accepted", 1)]
)
def test_a_dry_run_counts_what_then_changes(night: str, act: str, count: int) -> None:
    """And not what matches: most states allow no such act."""
    arguments = [*act.split(), "--all"]
    before = states(night)
    assert run(*arguments, "--dry-run", using=night) == {"count": count}
    assert states(night) == before
    assert run(*arguments, using=night) == {"count": count}


def test_acts_take_every_filter(night: str) -> None:
    """What a list shows by a filter is what an act changes by it."""
    assert run("cancel", "--subject", "reset", "--priority", "high", "--since", "1h", using=night) == {"count": 1}
    assert run("hold", "--sender", "billing@example.org", using=night) == {"count": 1}
    assert run("resolve", "rejected", "--cause", "outcome_unknown", using=night) == {"count": 1}
    assert found("--state", "cancelled", using=night) == ["ada@example.com"]


def test_an_act_takes_no_address_for_a_part_of_one(night: str) -> None:
    """What nobody has named is not changed."""
    assert refused("cancel", "--recipient", "ada@example.co", using=night)[0] == 1
    assert run("cancel", "--recipient", "ada", using=night) == {"count": 1}


def test_release_undoes_hold_and_nothing_else(night: str) -> None:
    """What waits for a person for another reason goes on to wait."""
    OutboxRecipient.objects.using(night).filter(address="ada@example.com").update(
        state=State.PARKED, cause="sender_not_verified", due_at=None
    )
    assert run("release", "--all", using=night) == {"count": 1}
    assert found("--state", "parked", using=night) == ["ada@example.com"]


@pytest.mark.parametrize(
    "text",
    ["yesterday", "3w", "2026-13-01", "999999999d", "0001-01-01T00:00+23:59", "9999-12-31T23:59-23:59"],
)
def test_a_time_that_is_none_is_refused(night: str, text: str) -> None:
    """With how to write one, and without a traceback."""
    with pytest.raises(CommandError, match="--since"):
        call_command("email_outbox", "--database", night, "list", "--since", text)


@pytest.mark.parametrize(
    "arguments",
    [
        ["list", "--subject", "Gr\udcfc\udcdfe"],
        ["list", "--recipient", "\udcfc@example.com"],
        ["list", "--cause", "\udcfc"],
        ["show", "\udcfc"],
        ["cancel", "--subject", "\udcfc", "--dry-run"],
        ["cancel", "--all", "--reason", "\udcfc"],
        ["resolve", "\udcfc", "accepted"],
    ],
    ids=lambda one: one[0],
)
def test_bytes_that_are_no_characters_are_a_slip(night: str, arguments: list[str]) -> None:
    """A terminal of another encoding sends them; it is one line and no traceback."""
    before = states(night)
    code, words = refused(*arguments, using=night)
    assert (code, "no characters of UTF-8" in words) == (2, True)
    assert states(night) == before


@pytest.mark.parametrize("option", ["--recipient", "--subject", "--sender"])
@pytest.mark.parametrize("command", ["cancel", "list"])
def test_an_empty_condition_is_a_slip(night: str, command: str, option: str) -> None:
    """A variable of a script that is empty: beside another condition, it would have chosen far more than was meant."""
    before = states(night)
    with pytest.raises(CommandError, match=f"{option}: it is empty"):
        call_command("email_outbox", "--database", night, command, option, " ", "--state", "queued")
    assert states(night) == before


@pytest.mark.parametrize("use_tz", [True, False])
@pytest.mark.parametrize("since", ["1h", "2001-01-01", "2001-01-01T00:00+05:00"])
@pytest.mark.parametrize("until", ["2100-01-01", "2100-01-01T00:00Z"])
def test_the_ends_of_a_time_may_be_written_differently(
    night: str, since: str, until: str, use_tz: bool, settings: Any
) -> None:
    """An age, a local time, a time with its zone; without USE_TZ, too."""
    settings.USE_TZ, settings.TIME_ZONE = use_tz, "Asia/Tokyo"
    assert found("--since", since, "--until", until, using=night)[-3:] == NEW
    assert not set(NEW) & set(found("--until", "1h", using=night))


@pytest.mark.parametrize("use_tz", [True, False])
def test_the_ends_of_a_time_are_not_taken_for_each_other(night: str, use_tz: bool, settings: Any) -> None:
    """Between a day ago and two days ago there is nothing: that is a slip, and no answer."""
    settings.USE_TZ, settings.TIME_ZONE = use_tz, "Asia/Tokyo"
    assert refused("list", "--since", "1h", "--until", "2001-01-01", using=night)[0] == 2
    assert refused("list", "--since", "1d", "--until", "2d", using=night)[0] == 2
    assert refused("cancel", "--since", "1h", "--until", "2h", using=night)[0] == 2


def test_a_database_that_is_away_is_one_line() -> None:
    """For looking and for acting, as an operator's shell sees it."""
    script = (
        "import django; from django.conf import settings; "
        "settings.configure(INSTALLED_APPS=['reliable_email'], USE_TZ=True, DATABASES={'default': "
        "{'ENGINE': 'django.db.backends.sqlite3', 'NAME': '/nonexistent/folder/db.sqlite3'}}); django.setup(); "
        "from django.core.management import execute_from_command_line as run; import sys; "
        "run(['manage.py', *sys.argv[1:]])"
    )
    root = Path(__file__).parents[2]
    for arguments in (
        ["list"],
        ["cancel", "--all"],
        ["resolve", "5", "accepted"],
        ["list", "--recipient", "a@b.example"],
    ):
        ended = subprocess.run(
            [sys.executable, "-c", script, "email_outbox", *arguments],
            capture_output=True, text=True, cwd=root, env=os.environ, check=False,
        )  # fmt: skip
        assert (ended.returncode, len(ended.stderr.strip().splitlines())) == (1, 1), ended.stderr


@pytest.mark.parametrize(
    "command",
    [
        ["email_outbox", "status"],
        ["email_outbox", "list"],
        ["email_routes", "list"],
        ["email_suppression", "list"],
        ["email_worker", "--until-empty"],
    ],
    ids=" ".join,
)
def test_a_database_that_is_not_configured_is_told_and_not_a_traceback(command: list[str]) -> None:
    """Exit code 2, with what was probably meant."""
    with pytest.raises(CommandError, match="There is no database 'defualt'. Did you mean 'default'?") as raised:
        call_command(command[0], "--database", "defualt", *command[1:])
    assert raised.value.returncode == 2


def test_an_outbox_over_a_database_that_is_not_configured_is_an_error_of_its_settings() -> None:
    """Neither the message nor the database is to blame."""
    route = {"BACKEND": "reliable_email.backends.ReliableSMTPBackend", "OPTIONS": {"host": "127.0.0.1", "port": 2525}}
    options = {"using": "smtp", "database": "mial"}
    outbox = {"BACKEND": "reliable_email.backends.OutboxBackend", "OPTIONS": options}
    with override_settings(MAILERS={"default": outbox, "smtp": route}):
        with pytest.raises(InvalidMailer, match=r"MAILERS\['default'\].*'database' names 'mial'"):
            OutboxBackend(alias="default", **options).send_messages([EmailMessage("Hello", to=["a@example.com"])])
        with pytest.raises(CommandError, match="'mial'"):
            call_command("email_routes", "list")
