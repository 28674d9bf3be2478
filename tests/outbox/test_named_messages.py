"""Acts on messages that a person names: what cannot be done is told with its reason, and is no success."""

import io
import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connections
from django.test import override_settings
from pytest_django import DjangoDbBlocker

from reliable_email.outbox.operations.holds import standing_holds
from reliable_email.store.tables.messages import OutboxMessage
from reliable_email.store.tables.recipients import OutboxRecipient
from reliable_email.store.tables.shared import Action
from reliable_email.store.tables.states import State
from tests.outbox.desk import queue, states
from tests.outbox.test_finding import MAILERS


@pytest.fixture
def site(using: str, django_db_blocker: DjangoDbBlocker) -> Iterator[str]:
    """A site with an outbox over two routes."""
    with override_settings(MAILERS=MAILERS):
        yield using
    connections[using].close()


def become(using: str, message: OutboxMessage, state: State, **values: Any) -> int:
    """Put every recipient of a message into a state."""
    rows = OutboxRecipient.objects.using(using).filter(message=message)
    rows.update(**{"state": state, "due_at": None} | values)
    return message.pk


def run(using: str, *arguments: str) -> tuple[int, str, str]:
    """Exit code, output, and the sentence of the error."""
    out = io.StringIO()
    try:
        call_command("email_outbox", "--database", using, *arguments, stdout=out)
    except CommandError as error:
        return error.returncode, out.getvalue(), str(error)
    return 0, out.getvalue(), ""


@pytest.mark.parametrize(
    ("act", "state", "values", "words"),
    [
        (["cancel"], State.ACCEPTED, {}, "is accepted"),
        (["cancel"], State.CANCELLED, {}, "is cancelled"),
        (["cancel"], State.UNKNOWN, {"unknowns": 1}, "“resolve”"),
        (["hold"], State.UNKNOWN, {"unknowns": 1}, "“resolve”"),
        (["hold"], State.PARKED, {"cause": "held"}, "is parked"),
        (["requeue"], State.ACCEPTED, {}, "is accepted"),
        (["requeue"], State.QUEUED, {}, "is queued"),
        (["requeue", "--by-route", "one"], State.ACCEPTED, {}, "is accepted"),
        (["release"], State.PARKED, {"cause": "sender_not_verified"}, "nobody holds it"),
        (["release"], State.QUEUED, {}, "nobody holds it"),
        (["resolve", "accepted"], State.QUEUED, {}, "is queued"),
        (["resolve", "resend"], State.ACCEPTED, {}, "is accepted"),
        (["resolve", "rejected"], State.REJECTED, {}, "is rejected"),
    ],
    ids=lambda one: "-".join(one) if isinstance(one, list) else str(one),
)
@pytest.mark.parametrize("mode", [[], ["--dry-run"]], ids=["", "dry-run"])
def test_what_cannot_be_done_to_a_named_message_is_told(
    site: str, act: list[str], state: State, values: dict[str, Any], words: str, mode: list[str]
) -> None:
    """Exit code 1 with the state that it is in; and nothing is done, nor recorded."""
    number = become(site, queue(site, mailer="both"), state, **values)
    verb, *rest = act
    names = [verb, str(number), *rest] if verb == "resolve" else [*act, str(number)]
    code, _, error = run(site, *names, *mode)
    assert code == 1
    assert f"Message {number} " in error
    assert words in error
    assert states(site) == [state]
    assert not Action.objects.using(site).exists()


def test_a_message_whose_content_is_gone_cannot_be_sent_again(site: str) -> None:
    """Which is the reason, and not its state."""
    number = become(site, queue(site, mailer="both"), State.REJECTED)
    OutboxMessage.objects.using(site).update(content=None)
    assert run(site, "requeue", str(number)) == (
        1,
        "0 recipients changed\n",
        f"Message {number} was not changed: its content was deleted, so it cannot be sent again.",
    )


def test_a_mailer_that_does_not_use_the_route_is_the_reason(site: str) -> None:
    """A message that no mailer over the route sends would wait for it for ever."""
    number = become(site, queue(site, mailer="one"), State.REJECTED)
    code, _, error = run(site, "requeue", str(number), "--by-route", "two")
    assert (code, "its mailer" in error) == (1, True)


def test_the_others_that_are_named_are_changed(site: str) -> None:
    """A program reads which were not; the exit code is that of a failure."""
    sent = become(site, queue(site, mailer="both"), State.ACCEPTED)
    waits = queue(site, mailer="both").pk
    code, out, error = run(site, "cancel", str(sent), str(waits), "--json")
    told = json.loads(out)
    assert (code, told["count"]) == (1, 1)
    assert [one["message"] for one in told["unchanged"]] == [sent]
    assert told["unchanged"][0]["why"] in error
    assert states(site) == [State.ACCEPTED, State.CANCELLED]


def test_another_condition_may_be_what_leaves_a_message_out(site: str) -> None:
    """The state would allow it."""
    number = queue(site, mailer="both").pk
    code, _, error = run(site, "cancel", str(number), "--cause", "rate_limited")
    assert code == 1
    assert "other options" in error


def test_a_message_of_which_one_recipient_can_be_changed_is_changed(site: str) -> None:
    """The number names all of them, and some have arrived."""
    message = queue(site, "ok1@example.com", "ok2@example.com", mailer="both")
    OutboxRecipient.objects.using(site).filter(address="ok1@example.com").update(state=State.ACCEPTED, due_at=None)
    assert run(site, "cancel", str(message.pk))[:2] == (0, "1 recipient changed\n")


@pytest.mark.parametrize("act", ["cancel", "hold"])
def test_an_unknown_outcome_that_waits_for_a_person_is_not_counted_as_changed(site: str, act: str) -> None:
    """Neither the act nor its dry run changes anything of it."""
    become(site, queue(site, mailer="both"), State.UNKNOWN, unknowns=1, detail="connection lost")
    why = "1 recipient matches; what is unknown has no second copy that waits; “resolve” records what became of it.\n"
    assert run(site, act, "--all", "--dry-run") == (0, f"0 recipients would change\n{why}", "")
    assert run(site, act, "--all") == (0, f"0 recipients changed\n{why}", "")


def test_release_takes_the_options_of_the_hold_that_it_undoes(site: str) -> None:
    """With the same words, behind another verb."""
    queue(site, mailer="both")
    assert run(site, "hold", "--all", "--incoming")[0] == 0
    assert run(site, "release", "--all", "--incoming", "--dry-run")[0] == 0
    assert len(standing_holds(site)) == 1
    code, out, error = run(site, "release", "--all", "--incoming")
    assert (code, out, error) == (0, "1 recipient changed\nThe hold on new mail (all mail) has ended.\n", "")
    assert (standing_holds(site), states(site)) == ([], [State.QUEUED])


def test_a_release_of_what_comes_chooses_as_its_hold_does(site: str) -> None:
    """A subject chooses among what is there, and no hold of what comes ends by it."""
    run(site, "hold", "--all", "--incoming")
    code, _, error = run(site, "release", "--incoming", "--subject", "prices")
    assert (code, "not come yet" in error) == (2, True)
    assert len(standing_holds(site)) == 1
