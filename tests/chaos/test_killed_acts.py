"""An act on many rows is killed at every step, and done again: each row is changed once, and none is left."""

import io
import json
from typing import Any

import pytest
from django.core.management import call_command
from django.utils import timezone

from reliable_email.outbox.intake.enqueue import QueueOptions, enqueue
from reliable_email.store.questions.audit import audit
from reliable_email.store.sql.clock import DatabaseNow
from reliable_email.store.tables.attempts import Attempt
from reliable_email.store.tables.messages import OutboxMessage
from reliable_email.store.tables.recipients import OutboxRecipient
from reliable_email.store.tables.shared import Action, Suppression
from reliable_email.store.tables.states import State
from tests.chaos.harness import empty, kill_command
from tests.outbox.desk import queue, submission
from tests.thoroughness import each

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


@pytest.mark.parametrize("act", each(ACTS, 3))
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


# Behind the mark, in the middle of a batch, before a batch, and at both ends.
_PLACES = ("erase:marked 1", "act:changed 2", "erase:message 200", "erase:message 1", "erase:message 450")


@pytest.mark.parametrize("place", each(_PLACES, 2))
def test_an_erasure_of_many_messages_goes_on_where_it_was_killed(using: str, place: str) -> None:
    """A message is erased in one step: none has lost its subject and kept its content, and none is begun anew."""
    point, times = place.split()[0], int(place.split()[1])
    empty(using)
    Suppression.objects.using(using).all().delete()
    many, others = 450, 30  # three batches, and mail of somebody else
    options = QueueOptions(mailer="routes", using=using)
    enqueue([submission(to=["ok.ann@example.com"]) for _ in range(many)], options)
    enqueue([submission(to=["bob@example.com"]) for _ in range(others)], options)
    assert kill_command(using, "erase", "ok.ann@example.com", at=times, point=point) == point
    messages = OutboxMessage.objects.using(using)
    emptied = times if point == "erase:message" else 0
    assert messages.filter(content=None).count() == messages.filter(subject="").count() == emptied
    rows = OutboxRecipient.objects.using(using)
    assert rows.filter(address__startswith="erased-").count() == emptied
    assert audit(using).is_clean
    told = io.StringIO()
    call_command("email_outbox", "--database", using, "erase", "ok.ann@example.com", "--json", stdout=told)
    assert json.loads(told.getvalue())["erased"] == many - emptied
    assert not rows.filter(address__contains="ann").exists()
    assert (messages.filter(content=None).count(), rows.filter(state=State.QUEUED).count()) == (many, others)
    assert not rows.exclude(erasing_at=None).exists()
    assert audit(using).is_clean


def test_a_prune_that_is_killed_at_any_step_goes_on_where_it_is_done_again(using: str) -> None:
    """Content goes with what was said on the wire, a message with all its rows, and what waits stays."""
    names, at = [], 1
    options = QueueOptions(mailer="routes", using=using)
    prune = ("prune", "--content-after", "1d", "--journal-after", "30d")
    while True:
        empty(using)
        enqueue([submission(to=[f"ok{n}@example.com"]) for n in range(_MANY)], options)
        rows, messages = OutboxRecipient.objects.using(using), OutboxMessage.objects.using(using)
        ids = list(messages.order_by("pk").values_list("pk", flat=True))
        done = rows.filter(message__in=ids[:-10])
        done.update(state=State.ACCEPTED, due_at=None, settled_at=DatabaseNow(-3 * 86400.0))
        old, young = ids[: _MANY // 2 + 20], ids[_MANY // 2 + 20 :]
        rows.filter(message__in=old).update(settled_at=DatabaseNow(-60 * 86400.0))
        messages.filter(pk__in=old).update(created_at=DatabaseNow(-61 * 86400.0))
        messages.filter(pk__in=young).update(created_at=DatabaseNow(-4 * 86400.0))
        said = {"claim": 1, "worker": "w", "route": "one", "seconds": 0.1, "stage": "final_reply", "outcomes": {}}
        attempts = Attempt.objects.using(using)
        attempts.bulk_create(
            [Attempt(message_id=one, finished_at=timezone.now(), dialogue="250 ok", **said) for one in ids[:-10]]
        )
        name = kill_command(using, *prune, at=at)
        if name is None:
            break
        names.append(name)
        mute = attempts.filter(dialogue=None, message__content__isnull=False)
        assert mute.exists() is (name == "prune:said")
        assert attempts.count() == messages.count() - 10 == rows.count() - 10
        told = io.StringIO()
        call_command("email_outbox", "--database", using, *prune, "--json", stdout=told)
        assert (
            set(messages.values_list("pk", flat=True)) == set(young) == set(rows.values_list("message_id", flat=True))
        )
        assert messages.exclude(content=None).count() == 10
        assert not attempts.exclude(dialogue=None).exists()
        at += 1
    assert names == [*["prune:content", "prune:said"] * 3, *["prune:journal", "prune:deleted"] * 2]
