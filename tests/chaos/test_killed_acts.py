"""An act on many rows is killed at every step, and done again: each row is changed once, and none is left."""

from typing import Any

import pytest
from django.core.management import call_command

from reliable_email.outbox.intake.enqueue import QueueOptions, enqueue
from reliable_email.store.questions.audit import audit
from reliable_email.store.tables.messages import OutboxMessage
from reliable_email.store.tables.recipients import OutboxRecipient
from reliable_email.store.tables.shared import Action, Suppression
from reliable_email.store.tables.states import State
from tests.chaos.harness import empty, kill_command
from tests.outbox.desk import queue, submission

pytestmark = pytest.mark.timeout(600)

_MANY = 1100  # three batches
ACTS: dict[str, tuple[tuple[str, ...], dict[str, Any], State]] = {
    "hold": (("hold", "--all"), {"state": State.QUEUED}, State.PARKED),
    "release": (("release", "--all"), {"state": State.PARKED, "cause": "held", "due_at": None}, State.QUEUED),
    "cancel": (("cancel", "--all"), {"state": State.QUEUED}, State.CANCELLED),
    "requeue": (("requeue", "--state", "rejected"), {"state": State.REJECTED, "due_at": None}, State.QUEUED),
    "resolve": (
        ("resolve", "accepted", "--all"),
        {"state": State.UNKNOWN, "unknowns": 1, "due_at": None},
        State.ACCEPTED,
    ),
}


@pytest.mark.parametrize("act", ACTS)
def test_an_act_that_is_killed_at_any_step_goes_on_where_it_is_done_again(using: str, act: str) -> None:
    """Before the first row, inside of each batch and behind it; the record counts what each of the two has done."""
    arguments, before, after = ACTS[act]
    empty(using)
    enqueue([submission(to=[f"ok{n}@example.com"]) for n in range(_MANY)], QueueOptions(mailer="routes", using=using))
    rows = OutboxRecipient.objects.using(using)
    names, at = [], 1
    while True:
        rows.update(**before)
        Action.objects.using(using).all().delete()
        name = kill_command(using, *arguments, at=at)
        if name is None:
            break
        names.append(name)
        done = rows.filter(state=after).count()
        assert done == min(_MANY, names.count("act:batch") * 500)
        call_command("email_outbox", "--database", using, *arguments, "--json")
        assert rows.filter(state=after).count() == _MANY, f"killed at {at}, {name}"
        assert [one.count for one in Action.objects.using(using).order_by("pk")] == [done, _MANY - done]
        at += 1
    if names[-1] == "notify":  # PostgreSQL wakes the workers at the end, where there is something to send
        names.pop()
    assert names == ["act:noted", *["act:changed", "act:batch"] * 3]
    assert audit(using).is_clean


def test_an_erasure_that_is_killed_at_any_step_is_finished_by_the_same_command(using: str) -> None:
    """Whatever is left of the person meanwhile, nothing of it is left in the end."""
    at, killed = 1, []
    while True:
        empty(using)
        Suppression.objects.using(using).all().delete()
        for _ in range(3):
            queue(using, "ok.ann@example.com")
        name = kill_command(using, "erase", "ok.ann@example.com", at=at)
        if name is None:
            break
        killed.append(name)
        call_command("email_outbox", "--database", using, "erase", "ok.ann@example.com", "--json")
        assert not OutboxRecipient.objects.using(using).filter(address__contains="ann").exists(), f"{at} {name}"
        assert not OutboxMessage.objects.using(using).filter(content__isnull=False).exists(), f"{at} {name}"
        assert audit(using).is_clean
        at += 1
    assert {"erase:remembered", "erase:marked", "erase:message", "act:batch"} <= set(killed)
