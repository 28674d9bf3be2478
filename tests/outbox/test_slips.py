"""Slips of an operator's fingers, and acts that change nothing: each is told in a sentence, with what was meant."""

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.core.management.base import BaseCommand
from django.db import connections
from django.test import override_settings
from pytest_django import DjangoDbBlocker

from reliable_email.management.commands import email_outbox, email_routes, email_suppression, email_worker
from reliable_email.management.commands import explain_reply as explaining
from reliable_email.management.commands import test_email as testing
from reliable_email.outbox.intake.enqueue import QueueOptions, enqueue
from reliable_email.outbox.operations.holds import standing_holds
from reliable_email.store.tables.messages import OutboxMessage
from reliable_email.store.tables.recipients import OutboxRecipient
from reliable_email.store.tables.states import State
from tests.outbox.desk import states, submission

_SMTP = {"BACKEND": "reliable_email.backends.ReliableSMTPBackend", "OPTIONS": {"host": "127.0.0.1", "port": 9}}
_OUTBOX = "reliable_email.backends.OutboxBackend"
MAILERS = {
    "default": {"BACKEND": _OUTBOX, "OPTIONS": {"using": "both"}},
    "newsletter": {"BACKEND": _OUTBOX, "OPTIONS": {"using": "bulk", "database": "elsewhere"}},
    "both": {"BACKEND": "reliable_email.backends.FailoverBackend", "OPTIONS": {"using": ["one", "two"]}},
    "one": _SMTP,
    "two": _SMTP,
    "bulk": _SMTP,
}


@pytest.fixture
def site(using: str, django_db_blocker: DjangoDbBlocker) -> Iterator[str]:
    """Three recipients of one outbox; a second one has a database of its own."""
    outbox = {"BACKEND": _OUTBOX, "OPTIONS": {"using": "both", "database": using}}
    with override_settings(MAILERS=MAILERS | {"default": outbox}):
        queued = [submission(to=[f"{name}@example.com"]) for name in ("ada", "bob", "cy")]
        enqueue(queued, QueueOptions(mailer="both", entry_mailer="default", using=using))
        yield using
    connections[using].close()


def told(*arguments: str, using: str) -> str:
    """What the command prints."""
    out = io.StringIO()
    call_command("email_outbox", "--database", using, *arguments, stdout=out)
    return out.getvalue()


def refused(command: str, *arguments: str) -> str:
    """The sentence by which a slip is refused, which has exit code 2."""
    with pytest.raises(CommandError) as caught:
        call_command(command, *arguments, stdout=io.StringIO())
    assert caught.value.returncode in (1, 2)  # argparse's errors have 1 by `call_command`, and 2 by a shell
    return str(caught.value)


# Names.


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--routes", "oen"], "There is no route 'oen'. Did you mean 'one'?"),
        (["--routes", "default"], "There is no route 'default'. There are: bulk, one, two."),
        (["--mailers", "bohts"], "There is no mailer 'bohts'. Did you mean 'both'?"),
        (["--mailers", "newsletter"], "The outbox 'newsletter' is in the database 'elsewhere': add --database"),
        (["--mailers", "both", "--routes", "bulk"], "None of these mailers sends by the route 'bulk'."),
    ],
    ids=" ".join,
)  # fmt: skip
def test_a_worker_refuses_what_it_would_wait_for_in_vain(site: str, arguments: list[str], words: str) -> None:
    """A route is called a route, and a mailer of another database is one that this worker never meets."""
    assert words in refused("email_worker", "--database", site, "--until-empty", *arguments)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["hold", "--environment", "prodd"], "There is no environment 'prodd'. There are: "),
        (["hold", "--account", "acme"], "There is no account 'acme'. There are: none."),
        (["cancel", "--stream", "news"], "There is no stream 'news'. There are: none."),
        (["hold", "--mailer", "newsletter"], "The outbox 'newsletter' is in the database 'elsewhere'"),
        (["import", "--from", "mailer", "--mailer", "bohts"], "There is no mailer 'bohts'. Did you mean 'both'?"),
    ],
    ids=lambda one: " ".join(one) if isinstance(one, list) else "",
)
def test_a_name_that_nothing_has_is_no_filter_that_matches_nothing(site: str, arguments: list[str], words: str) -> None:
    """It is refused before anything is done, with what was meant."""
    assert words in refused("email_outbox", "--database", site, *arguments)
    assert states(site) == [State.QUEUED] * 3


def test_what_comes_may_be_held_for_an_account_that_has_sent_nothing_yet(site: str) -> None:
    """A hold of what comes names what is not here."""
    assert "0 recipients" in told("hold", "--account", "acme", "--incoming", "--dry-run", using=site)


@pytest.mark.parametrize("chosen", [["--account", "acme"], ["--stream", "news"]], ids=" ".join)
@pytest.mark.parametrize("incoming", [[], ["--incoming"]], ids=str)
def test_a_hold_of_what_has_not_come_yet_ends_by_its_own_filter(
    site: str, chosen: list[str], incoming: list[str]
) -> None:
    """A release ends holds on incoming messages with or without `--incoming`, also where none has come since."""
    told("hold", *chosen, "--incoming", using=site)
    assert standing_holds(site)
    told("release", *chosen, *incoming, using=site)
    assert not standing_holds(site)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["test_email", "--check-only", "--route", "bohts"], "There is no mailer 'bohts'. Did you mean 'both'?"),
        (["test_email", "--check-only", "--dns", "--selector", "oen=x"], "There is no route 'oen'. Did you mean 'one'"),
        (["explain_reply", "550 no", "--stage", "rctp"], "There is no stage 'rctp'. Did you mean 'rcpt'?"),
    ],
    ids=lambda one: " ".join(one) if isinstance(one, list) else "",
)  # fmt: skip
def test_the_other_commands_say_what_was_meant(site: str, arguments: list[str], words: str) -> None:
    """Each name that an option takes is compared with the known ones."""
    assert words in refused(*arguments)


# Empty values.

COMMANDS = {
    "email_outbox": email_outbox.Command,
    "email_routes": email_routes.Command,
    "email_suppression": email_suppression.Command,
    "email_worker": email_worker.Command,
    "explain_reply": explaining.Command,
    "test_email": testing.Command,
}


def _values(name: str, command: type[BaseCommand]) -> Iterator[tuple[str, ...]]:
    """Each option with a value and each argument that `command` and its subcommands take, with an empty one."""
    parsers = {(): command().create_parser("manage.py", name)}
    for action in parsers[()]._actions:
        if isinstance(action.choices, dict):
            parsers |= {(sub,): parser for sub, parser in action.choices.items()}
    for before, parser in parsers.items():
        for action in parser._actions:
            if action.nargs == 0 or isinstance(action.choices, dict):
                continue
            yield (name, *before, *action.option_strings[-1:], "")
            yield (name, *before, *action.option_strings[-1:], " ")
            if action.option_strings:
                yield (name, *before, f"{action.option_strings[-1]}=")


@pytest.mark.parametrize("name", COMMANDS)
def test_an_empty_value_is_a_slip_wherever_a_command_takes_one(name: str) -> None:
    """A variable of a script that is empty: it would widen an act, take another database, or record no name."""
    for arguments in _values(name, COMMANDS[name]):
        assert "is empty: leave it out" in refused(*arguments), arguments


# Acts that change nothing.


def _without_content(using: str, **values: object) -> None:
    OutboxRecipient.objects.using(using).update(due_at=None, **values)
    OutboxMessage.objects.using(using).update(content=None, fields=None)


@pytest.mark.parametrize("is_dry", [False, True])
def test_an_act_that_needs_content_says_how_many_have_none(site: str, *, is_dry: bool) -> None:
    """By a filter, too, and where some of what it chooses can be sent again."""
    _without_content(site, state=State.REJECTED)
    dry = ["--dry-run"] * is_dry
    words = "3 recipients cannot be sent to again, since the content of their messages was deleted."
    assert words in told("requeue", "--state", "rejected", *dry, using=site)
    first = OutboxMessage.objects.using(site).order_by("pk")[:1].get()
    OutboxMessage.objects.using(site).filter(pk=first.pk).update(content=b"Hello.")
    found = told("requeue", "--all", *dry, using=site)
    assert found.startswith("1 recipient ")
    assert "2 recipients cannot be sent to again, since the content" in found


def test_a_release_of_what_has_no_content_says_so(site: str) -> None:
    """What is held keeps its content, unless a person took it away."""
    _without_content(site, state=State.PARKED, cause="held")
    assert "3 recipients cannot be sent to again, since the content" in told("release", "--all", using=site)
    _without_content(site, state=State.UNKNOWN, unknowns=1)
    assert "3 recipients cannot be sent to again, since the content" in told("resolve", "resend", "--all", using=site)


@pytest.mark.parametrize(
    ("state", "arguments", "words"),
    [
        (State.ACCEPTED, ["cancel", "--all"], "3 recipients match; “cancel” changes only what is"),
        (State.ACCEPTED, ["hold", "--recipient", "ada@example.com"], "1 recipient matches; “hold” changes only what"),
        (State.QUEUED, ["release", "--all"], "3 recipients match; none of them is held."),
        (State.QUEUED, ["resolve", "accepted", "--all"], "3 recipients match; “resolve” changes only what is unknown."),
        (State.QUEUED, ["requeue", "--state", "parked"], "No recipient matches."),
        (State.REJECTED, ["requeue", "--all", "--by-route", "bulk"],
         "3 recipients match; none of them is of a mailer that sends by the route 'bulk'."),
    ],
    ids=lambda one: " ".join(one) if isinstance(one, list) else "",
)  # fmt: skip
def test_an_act_that_changes_nothing_says_why(site: str, state: State, arguments: list[str], words: str) -> None:
    """ "0 recipients changed" alone sends a person looking for the reason."""
    OutboxRecipient.objects.using(site).update(state=state, due_at=None)
    for dry in ([], ["--dry-run"]):
        assert words in told(*arguments, *dry, using=site)


def test_a_recipient_of_another_environment_is_told_of(site: str) -> None:
    """An act is about this site's own environment, unless it says otherwise."""
    OutboxRecipient.objects.using(site).update(environment="staging")
    assert "3 recipients match in other environments: add --all-environments." in told("cancel", "--all", using=site)


def test_a_file_that_is_not_named_is_not_replayed(site: str, tmp_path: Path) -> None:
    """`--replay` alone replays the list, and with a name the file, too."""
    assert "0 persons erased again" in told("erase", "--replay", using=site)
    (tmp_path / "marks").touch()
    assert "0 persons erased again" in told("erase", "--replay", str(tmp_path / "marks"), using=site)
