"""A person who is forgotten: nothing of them is left, nothing is sent to them, and the journal still proves itself."""

import base64
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.apps import apps
from django.core.management import CommandError, call_command
from django.db import connections
from django.db.models import Model
from django.test import override_settings

from reliable_email import models
from reliable_email.delivery.route_memory import MemoryRouteStateStore
from reliable_email.outbox import faultpoints
from reliable_email.outbox.intake.enqueue import QueueOptions, enqueue
from reliable_email.outbox.keyring import configured_keyring
from reliable_email.outbox.operations.erased import Marker
from reliable_email.outbox.operations.erasure import erase, finish, kept_marks, preview, replay
from reliable_email.outbox.operations.exporting import export
from reliable_email.outbox.operations.operate import Resolution, note
from reliable_email.outbox.operations.provider_events import Report, note_report
from reliable_email.outbox.operations.suppressed import allow, suppress
from reliable_email.outbox.operations.suppression_list import suppressed
from reliable_email.outbox.rows.claim import Wanted, claim
from reliable_email.outbox.upkeep.counters import Tallies
from reliable_email.outbox.upkeep.duties import Upkeep
from reliable_email.store.questions.audit import audit
from reliable_email.store.questions.filters import Filter
from reliable_email.store.questions.personal import IMPERSONAL, PLACES
from reliable_email.store.sql.clock import DatabaseNow
from reliable_email.store.tables.events import EventKind, ProviderEvent
from reliable_email.store.tables.messages import OutboxMessage
from reliable_email.store.tables.recipients import OutboxRecipient
from reliable_email.store.tables.shared import Action, Suppression
from reliable_email.store.tables.states import State
from tests.outbox.acts import hold, requeue, resolve
from tests.outbox.desk import queue, row, rows, states, submission, worker
from tests.outbox.network import Network

ANN = "ok.ann@example.com"


def every_model() -> list[type[Model]]:
    """All models of the app."""
    return list(apps.get_app_config("reliable_email").get_models())


def everything_stored(using: str) -> str:
    """Every value of every row of every table, with what is sealed opened."""
    keyring = configured_keyring()
    found = []
    for model in every_model():
        for one in model._base_manager.using(using).all():
            for field in model._meta.concrete_fields:
                value = getattr(one, field.attname)
                if isinstance(value, bytes | memoryview):
                    value = bytes(value).decode("utf-8", "replace")
                text = str(value)
                if text.startswith("gAAAA"):
                    text = keyring.open_text(text, keyring.current)
                found.append(f"{model.__name__}.{field.attname}: {text}")
    return "\n".join(found)


@pytest.mark.parametrize("model", every_model(), ids=lambda model: model.__name__)
def test_every_column_is_personal_or_declared_not_to_be(model: type[Model]) -> None:
    """A column that nobody has decided about would be kept of a person who was forgotten."""
    personal = [one.column for one in PLACES if one.model is model]
    impersonal = IMPERSONAL[model]
    assert len(personal) == len(set(personal))
    assert not impersonal.intersection(personal)
    assert {field.attname for field in model._meta.concrete_fields} == impersonal.union(personal)


@pytest.fixture(params=["in clear", "encrypted"])
def at_rest(request: pytest.FixtureRequest) -> Iterator[None]:
    """Stored as it is, or sealed."""
    keys = [Fernet.generate_key().decode()] if request.param == "encrypted" else []
    with override_settings(RELIABLE_EMAIL={"ENCRYPTION_KEYS": keys}):
        yield


def keep_up(using: str) -> None:
    """What a worker does once an hour."""
    store = MemoryRouteStateStore()
    one = worker(using, store=store, content_days=None)
    Upkeep(one, store, Tallies(), {}).prune()


def queue_sealed(using: str, *to: str) -> OutboxMessage:
    """Queue as a door would, with the site's keys."""
    options = QueueOptions(mailer="routes", using=using, keyring=configured_keyring())
    return enqueue([submission(f"Dear {to[0]}", to=to)], options)[0]


@pytest.mark.usefixtures("at_rest")
def test_nothing_of_the_person_is_left_in_any_table(using: str) -> None:
    """Where it was put by the outbox itself, by people's words and by servers' replies; the audit stays clean."""
    message = queue_sealed(using, ANN)
    shared = queue_sealed(using, "ok.bob@example.com", ANN)
    worker(using, Network().route(), keyring=configured_keyring()).run()
    suppress([ANN], reason="asked by ok.ann@example.com", source=ANN, using=using)
    note("suppress", actor="olga", target=ANN, reason=f"{ANN} called", detail={"recipient": ANN}, using=using)
    note_report(
        Report(names=[message.message_id], recipient=ANN, kind=EventKind.BOUNCED, source="esp", detail=f"<{ANN}> gone"),
        using,
    )
    now = DatabaseNow()
    words = f"550 5.1.1 <{ANN}>: unknown"
    sealed = configured_keyring().seal_text(words)
    models.Attempt.objects.using(using).update(reply_text=sealed, detail=words, dialogue=sealed)
    OutboxRecipient.objects.using(using).update(reply_text=sealed, detail=words)
    models.IncomingHold.objects.using(using).create(actor="olga", reason=f"mail to {ANN}", created_at=now)
    models.Opening.objects.using(using).create(route="smtp", number=1, evidence=words, opened_at=now)
    models.LearnedLimit.objects.using(using).create(
        host="h", port=25, name="chaining", evidence=words, noted_at=now, expires_at=now
    )
    models.RouteState.objects.using(using).create(alias="smtp", breaker={"evidence": [words]}, updated_at=now)
    models.HandlerEvent.objects.using(using).create(
        handler="site.told", kind="outcome", message_id=message.pk, position=0, detail={"to": ANN}, error=words,
        created_at=now,
    )  # fmt: skip
    assert ANN in everything_stored(using)

    done = erase("OK.Ann@Example.COM", actor="olga", reason=f"{ANN} wishes it", using=using)

    assert (done.messages, done.erased, done.waiting) == (2, 2, 0)
    left = [line for line in everything_stored(using).splitlines() if "ok.ann" in line.lower()]
    assert left == []
    assert audit(using).is_clean
    assert [one.address for one in rows(using) if one.message_id == shared.pk] == [
        "ok.bob@example.com",
        "erased-1@erased.invalid",
    ]
    assert {one.state for one in rows(using)} == {State.ACCEPTED}


def test_what_waits_is_cancelled_and_nothing_is_sent_any_more(using: str) -> None:
    """Neither what was queued before nor what the application queues afterwards."""
    network = Network()
    queue(using, ANN)
    held = queue(using, "OK.ann@example.com")
    hold(Filter(ids=[held.pk]), actor="ada", using=using)
    done = erase(ANN, actor="olga", using=using)
    assert (done.cancelled, done.erased) == (2, 2)
    queue(using, "OK.ANN@EXAMPLE.com")
    worker(using, network.route()).run()
    assert network.taken == {}
    assert states(using) == [State.CANCELLED, State.CANCELLED, State.REJECTED]
    assert rows(using)[2].cause == "suppressed"
    assert requeue(Filter(), actor="ada", using=using) == 1  # what was erased has nothing left to send
    assert audit(using).is_clean


def test_a_resend_is_cancelled_and_the_doubt_stays(using: str) -> None:
    """Whether the first copy arrived is not known; the row says so without saying whose it is."""
    network = Network()
    message = queue(using, "lost@example.com")
    worker(using, network.route()).run()
    resolve(Filter(ids=[message.pk]), Resolution.RESEND, actor="ada", using=using)
    OutboxRecipient.objects.using(using).update(authorized_at=DatabaseNow(-3600))
    erase("lost@example.com", actor="olga", using=using)
    one = row(using)
    assert (one.state, one.due_at, one.unknowns, one.address) == (State.UNKNOWN, None, 1, "erased-0@erased.invalid")
    assert audit(using).is_clean


def test_an_unknown_that_may_still_be_answered_waits(using: str) -> None:
    """A late reply would write evidence into the row behind us."""
    queue(using, "lost@example.com")
    worker(using, Network().route()).run()
    assert erase("lost@example.com", actor="olga", using=using).waiting == 1
    OutboxRecipient.objects.using(using).update(authorized_at=DatabaseNow(-3600))
    assert finish(using) == (1, 0)
    assert row(using).address == "erased-0@erased.invalid"


def test_other_recipients_get_their_message_first(using: str) -> None:
    """The content stays as long as somebody waits for it; a worker erases it afterwards."""
    network = Network()
    queue(using, ANN, "ok.bob@example.com")
    assert erase(ANN, actor="olga", using=using).waiting == 1
    worker(using, network.route()).run()
    assert "ok.ann" not in str(network.taken)
    assert states(using) == [State.CANCELLED, State.ACCEPTED]
    keep_up(using)
    assert "ok.ann" not in everything_stored(using)
    assert OutboxMessage.objects.using(using).get().content is None
    assert rows(using)[1].address == "ok.bob@example.com"
    assert Suppression.objects.using(using).get().reason == "erased"
    assert audit(using).is_clean


def test_a_transaction_under_way_is_settled_first(using: str) -> None:
    """What a server may have is not called cancelled."""
    queue(using, ANN)
    [one] = claim(using, Wanted(environment=""), worker="w", limit=1, lease_seconds=60).rows
    OutboxRecipient.objects.using(using).update(state=State.AUTHORIZED, authorized_at=DatabaseNow())
    done = erase(ANN, actor="olga", using=using)
    assert (done.cancelled, done.waiting, row(using).state) == (0, 1, State.AUTHORIZED)
    # The server said "later": the row is back in the queue.
    OutboxRecipient.objects.using(using).update(state=State.QUEUED, due_at=DatabaseNow(), lease_until=None)
    assert finish(using) == (1, 0)
    assert (row(using).state, row(using).address) == (State.CANCELLED, "erased-0@erased.invalid")
    assert one.address == ANN


@pytest.mark.parametrize(
    "point", ["erase:remembered", "erase:marked", "erase:cancelled", "erase:words", "erase:message"]
)
def test_an_erasure_that_was_killed_is_finished_by_repeating_it(using: str, point: str) -> None:
    """At every step; meanwhile nothing is sent."""

    class Killed(BaseException):
        pass

    def die(name: str) -> None:
        if name == point:
            raise Killed

    queue(using, ANN)
    queue(using, ANN)
    note("suppress", actor="olga", target=ANN, using=using)
    faultpoints.listen(die)
    try:
        with pytest.raises(Killed):
            erase(ANN, actor="olga", using=using)
    finally:
        faultpoints.listen(None)
    network = Network()
    worker(using, network.route()).run()
    assert network.taken == {}
    erase(ANN, actor="olga", using=using)
    assert "ok.ann" not in everything_stored(using)
    assert audit(using).is_clean


def test_an_erasure_is_repeated_after_a_restore(using: str) -> None:
    """By the marks that were kept beside the backup, where the backup is older than the erasure."""
    queue(using, ANN)
    queue(using, "ok.bob@example.com")
    worker(using, Network().route()).run()
    before = list(OutboxMessage.objects.using(using).values()), list(OutboxRecipient.objects.using(using).values())
    erase(ANN, actor="olga", using=using)
    marks = kept_marks(using)
    # The backup, in which nobody was ever forgotten.
    Suppression.objects.using(using).all().delete()
    for model, old in zip((OutboxMessage, OutboxRecipient), before, strict=True):
        for values in old:
            model._base_manager.using(using).filter(pk=values["id"]).update(**values)
    assert ANN in everything_stored(using)
    assert replay(marks, actor="olga", using=using) == (1, 0)
    assert "ok.ann" not in everything_stored(using)
    assert suppressed(using, [ANN, "ok.bob@example.com"]) == {ANN}
    assert [one.address for one in rows(using)] == ["erased-0@erased.invalid", "ok.bob@example.com"]


def test_a_key_may_be_rotated_and_one_that_is_gone_is_told(using: str) -> None:
    """Old keys still know whom they have marked."""
    old, new = Fernet.generate_key().decode(), Fernet.generate_key().decode()
    queue(using, ANN)
    with override_settings(RELIABLE_EMAIL={"ENCRYPTION_KEYS": [old]}):
        erase(ANN, actor="olga", using=using)
    with override_settings(RELIABLE_EMAIL={"ENCRYPTION_KEYS": [new, old]}):
        assert suppressed(using, [ANN]) == {ANN}
        assert replay(actor="olga", using=using) == (0, 0)
    with override_settings(RELIABLE_EMAIL={"ENCRYPTION_KEYS": [new]}):
        assert replay(actor="olga", using=using) == (0, 1)


def test_the_mark_cannot_be_found_by_trying_addresses() -> None:
    """It depends on the key, and says nothing of it."""
    one, other = Marker(["a" * 50]), Marker(["b" * 50])
    assert one.mark(ANN) != other.mark(ANN)
    assert one.mark("Ok.Ann@EXAMPLE.com") == one.mark(ANN)
    assert "aaaa" not in f"{one!r} {one.mark(ANN)}"


def test_a_report_brings_nothing_back(using: str) -> None:
    """Providers report for days; neither the story nor the suppression list learns the address again."""
    message = queue(using, ANN)
    worker(using, Network().route()).run()
    erase(ANN, actor="olga", using=using)
    report = Report(names=[message.message_id], recipient=ANN, kind=EventKind.COMPLAINED, source="esp", event_id="1")
    note_report(report, using)
    suppress([ANN], reason="complained", source="esp", using=using, may_shorten=False)
    assert ProviderEvent.objects.using(using).count() == 0
    assert "ok.ann" not in everything_stored(using)


def test_who_comes_back_is_mailed_again(using: str) -> None:
    """By a person's act, as with every suppressed address."""
    network = Network()
    queue(using, ANN)
    erase(ANN, actor="olga", using=using)
    assert allow(["OK.ann@example.com"], using=using) == 1
    queue(using, ANN)
    worker(using, network.route()).run()
    assert list(states(using)) == [State.CANCELLED, State.ACCEPTED]


def test_neighbours_in_spelling_are_left_alone(using: str) -> None:
    """A longer address, another domain, and one that a database's collation takes for the same."""
    others = ("joann@example.com", "ann@example.com.au", "änn@example.com")
    for address in others:
        queue(using, address)
    note("suppress", actor="olga", target="joann@example.com and ann@example.com.au", using=using)
    queue(using, "ann@example.com")
    assert erase("ann@example.com", actor="olga", using=using).messages == 1
    assert [one.address for one in rows(using)] == [*others, "erased-0@erased.invalid"]
    assert Action.objects.using(using).filter(target="joann@example.com and ann@example.com.au").count() == 1


def test_a_sender_is_erased_only_when_that_is_asked_for(using: str) -> None:
    """The site's own address would take everybody's mail with it."""
    queue(using, "ok.bob@example.com")
    queue(using, "site@example.org")
    worker(using, Network().route()).run()
    assert erase("site@example.org", actor="olga", using=using).sent == 2
    assert OutboxMessage.objects.using(using).filter(sender="site@example.org").count() == 1
    erase("site@example.org", actor="olga", as_sender=True, using=using)
    assert "site@example.org" not in everything_stored(using)
    assert rows(using)[0].address == "ok.bob@example.com"


def test_the_preview_counts_and_changes_nothing(using: str) -> None:
    """What it says is what is done."""
    queue(using, ANN)
    queue(using, ANN, "grey@example.com")
    before = everything_stored(using)
    found = preview(ANN, using=using)
    assert everything_stored(using) == before
    done = erase(ANN, actor="olga", using=using)
    assert (found.messages, found.cancelled, found.erased, found.waiting) == (2, 2, 1, 1)
    assert (done.messages, done.cancelled, done.erased, done.waiting) == (2, 2, 1, 1)


# Export.


@pytest.mark.usefixtures("at_rest")
def test_an_export_has_the_person_and_nobody_else(using: str) -> None:
    """Content, outcomes and evidence; of those who got the same message, neither address nor name."""
    message = queue_sealed(using, ANN, "nouser.bob@example.com")
    worker(using, Network().route(), keyring=configured_keyring()).run()
    words = "<nouser.bob@example.com> unknown, <ok.ann@example.com> fine"
    models.Attempt.objects.using(using).update(reply_text=configured_keyring().seal_text(words))
    suppress([ANN], reason="asked us", source="by hand", using=using)
    note("suppress", actor="olga", target=ANN, reason="asked us", using=using)
    told = json.loads("".join(export("OK.ann@example.com", actor="olga", using=using)))
    text = json.dumps(told)
    assert "nouser.bob" not in text
    [found] = told["messages"]
    assert (found["id"], found["recipient"]["address"], found["recipient"]["state"]) == (message.pk, ANN, "accepted")
    assert found["content"]["text"].strip() == f"Dear {ANN}"
    assert found["subject"] == "Greetings"
    assert found["attempts"][0]["outcome"] == "accepted"
    assert found["attempts"][0]["reply_text"] == "<(another recipient)> unknown, <ok.ann@example.com> fine"
    assert [one["reason"] for one in told["suppressions"]] == ["asked us"]
    assert ("reliable_email_action", ANN) in {(one["table"], one["text"]) for one in told["mentions"]}


def test_a_file_of_an_export_is_for_whoever_asked_alone(using: str, tmp_path: Path) -> None:
    """It is personal data, and a machine has other users."""
    queue(using, ANN)
    file = tmp_path / "ann.json"
    umask = os.umask(0o022)
    try:
        call_command("email_outbox", "--database", using, "export", ANN, "--output", str(file))
    finally:
        os.umask(umask)
    assert json.loads(file.read_text("utf-8"))
    assert file.stat().st_mode & 0o777 == 0o600


def test_an_export_is_recorded(using: str) -> None:
    """Whoever reads all that is known of a person leaves a line."""
    queue(using, ANN)
    list(export(ANN, actor="olga", using=using))
    assert [(one.actor, one.verb) for one in Action.objects.using(using)] == [("olga", "export")]


# The commands.


def run(using: str, *arguments: str) -> str:
    """What the command prints."""
    out = io.StringIO()
    call_command("email_outbox", "--database", using, *arguments, stdout=out)
    return out.getvalue()


def test_the_command_says_what_it_did_and_what_to_keep(using: str) -> None:
    """In words for people, and as JSON for programs."""
    queue(using, ANN)
    assert "1 message to this address: 1 would be erased" in run(using, "erase", f"Ann <{ANN}>", "--dry-run")
    told = run(using, "erase", ANN, "--reason", "asked us")
    assert "1 message to this address: 1 erased, 1 of them cancelled" in told
    assert told.splitlines()[-1] == run(using, "erase", "--marks").strip()
    assert json.loads(run(using, "erase", ANN, "--json"))["messages"] == 0


def test_an_erasure_is_one_act_in_the_record_however_many_messages_it_cancels(using: str) -> None:
    """Whoever reads the record sees one erasure, and no row of cancellations."""
    enqueue([submission(to=[ANN]) for _ in range(201)], QueueOptions(mailer="routes", using=using))
    done = erase(ANN, actor="olga", reason="asked us", using=using)
    [noted] = Action.objects.using(using)
    assert (noted.pk, noted.verb, noted.actor, noted.reason) == (done.action, "erase", "olga", "asked us")
    assert (noted.count, done.cancelled) == (201, 201)


def test_the_marks_are_one_json_object_for_programs(using: str) -> None:
    """As everything that is asked for with `--json`; also where there are none."""
    out = io.StringIO()
    call_command("email_outbox", "--database", using, "erase", "--marks", "--json", stdout=out)
    assert json.loads(out.getvalue()) == {"marks": []}
    queue(using, ANN)
    done = erase(ANN, actor="olga", using=using)
    out = io.StringIO()
    call_command("email_outbox", "--database", using, "erase", "--marks", "--json", stdout=out)
    assert json.loads(out.getvalue()) == {"marks": [done.digest]}


def test_the_command_takes_marks_from_a_file(using: str, tmp_path: Any) -> None:
    """The file is read whole before anything is done."""
    queue(using, ANN)
    marks = run(using, "erase", ANN).splitlines()[-1]
    Suppression.objects.using(using).all().delete()
    queue(using, ANN)
    file = tmp_path / "marks"
    file.write_text(f"{marks}\n")
    assert "1 person erased again" in run(using, "erase", "--replay", str(file))
    file.write_text(f"{marks}\nann@example.com\n")
    with pytest.raises(CommandError, match="no mark") as caught:
        run(using, "erase", "--replay", str(file))
    assert caught.value.returncode == 2


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["erase", "nobody@example.com"], 1, "knows nothing"),
        (["export", "nobody@example.com"], 1, "knows nothing"),
        (["erase", "nobody"], 2, "is not an address"),
        (["erase"], 2, "--replay"),
        (["erase", "nobody@example.com", "--marks"], 2, "--replay"),
    ],
)
def test_a_slip_is_told_and_changes_nothing(using: str, arguments: list[str], code: int, words: str) -> None:
    """An address that is not here is most likely misspelt."""
    with pytest.raises(CommandError, match=words) as caught:
        run(using, *arguments)
    assert caught.value.returncode == code
    assert Suppression.objects.using(using).count() == 0


def test_an_attachment_is_gone_with_its_message(using: str) -> None:
    """Shared parts lose the reference; what nothing refers to is swept."""
    message = queue(using, ANN)
    data = base64.b64encode(ANN.encode())
    part = models.Part.objects.using(using).create(
        environment="", digest="d", content=data, content_size=len(data), created_at=DatabaseNow(),
        touched_at=DatabaseNow(),
    )  # fmt: skip
    models.PartReference.objects.using(using).create(message_id=message.pk, part=part, position=0, offset=0)
    erase(ANN, actor="olga", using=using)
    assert models.PartReference.objects.using(using).count() == 0
    connections[using].close()
