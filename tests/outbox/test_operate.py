"""What a person may do, on every database; each act leaves a line that says who did it."""

from datetime import timedelta

import pytest
from django.db import connections

from reliable_email.outbox.operations.incoming import hold_incoming, release_incoming
from reliable_email.outbox.operations.operate import Act, Resolution, affected, perform, undoing
from reliable_email.outbox.operations.prune import prune
from reliable_email.store.questions.acts import action
from reliable_email.store.questions.audit import audit
from reliable_email.store.questions.filters import Filter
from reliable_email.store.questions.status import status
from reliable_email.store.questions.stories import story
from reliable_email.store.sql.clock import DatabaseNow
from reliable_email.store.tables.attempts import Attempt
from reliable_email.store.tables.messages import OutboxMessage
from reliable_email.store.tables.recipients import OutboxRecipient
from reliable_email.store.tables.shared import Action
from reliable_email.store.tables.states import State
from tests.outbox.acts import cancel, hold, requeue, resolve
from tests.outbox.desk import let_time_pass, queue, row, rows, states, worker
from tests.outbox.network import Network

EVERYTHING = Filter()


def test_hold_stops_everything_and_requeue_lets_it_go(using: str) -> None:
    """The first step after a restore, and the one that undoes it."""
    network = Network()
    queue(using, "ok1@example.com")
    queue(using, "ok2@example.com")
    assert hold(EVERYTHING, actor="ada", using=using) == 2
    worker(using, network.route()).run()
    assert (states(using), network.taken) == ([State.PARKED] * 2, {})
    assert requeue(Filter(recipient="OK2@example.com"), actor="ada", using=using) == 1
    worker(using, network.route()).run()
    assert states(using) == [State.PARKED, State.ACCEPTED]
    assert [(one.actor, one.verb, one.count) for one in Action.objects.using(using).order_by("id")] == [
        ("ada", "hold", 2),
        ("ada", "requeue", 1),
    ]


def test_what_is_cancelled_is_not_sent(using: str) -> None:
    """Cancelled stays cancelled, until somebody requeues it."""
    network = Network()
    message = queue(using)
    assert cancel(Filter(ids=[message.pk]), actor="ada", using=using) == 1
    worker(using, network.route()).run()
    assert (row(using).state, row(using).cause, network.taken) == (State.CANCELLED, "cancelled", {})
    assert cancel(EVERYTHING, actor="ada", using=using) == 0


def test_what_was_accepted_cannot_be_requeued(using: str) -> None:
    """No act of a person makes a second copy of what arrived."""
    network = Network()
    queue(using)
    worker(using, network.route()).run()
    assert requeue(EVERYTHING, actor="ada", using=using) == 0
    assert cancel(EVERYTHING, actor="ada", using=using) == 0
    assert states(using) == [State.ACCEPTED]


@pytest.mark.parametrize("resolution", list(Resolution))
def test_unknown_is_resolved_by_a_person(using: str, resolution: Resolution) -> None:
    """Accepted, rejected, or sent again by the same route."""
    network = Network()
    message = queue(using, "lost@example.com")
    worker(using, network.route()).run()
    assert resolve(Filter(ids=[message.pk]), resolution, actor="ada", using=using) == 1
    match resolution:
        case Resolution.ACCEPTED:
            assert (row(using).state, row(using).cause) == (State.ACCEPTED, "resolved")
        case Resolution.REJECTED:
            assert (row(using).state, row(using).unknowns) == (State.REJECTED, 0)
        case Resolution.RESEND:
            assert (row(using).state, row(using).due_at is not None) == (State.UNKNOWN, True)
            worker(using, network.route()).run()
            assert (row(using).state, row(using).unknowns) == (State.UNKNOWN, 2)
    assert audit(using).is_clean


def test_cancelling_a_resend_leaves_the_doubt(using: str) -> None:
    """What may have arrived is not called cancelled."""
    network = Network()
    message = queue(using, "lost@example.com")
    worker(using, network.route()).run()
    resolve(Filter(ids=[message.pk]), Resolution.RESEND, actor="ada", using=using)
    cancel(EVERYTHING, actor="ada", using=using)
    one = row(using)
    assert (one.state, one.due_at, one.cause) == (State.UNKNOWN, None, "outcome_unknown")


def test_filters_choose_by_state_cause_route_age_and_domain(using: str) -> None:
    """Each condition narrows."""
    network = Network()
    queue(using, "nouser@example.com")
    queue(using, "ok@example.net")
    worker(using, network.route()).run()
    old = Filter(newer_than=None, older_than=None, recipient="@example.com", causes=["mailbox_unknown"])
    assert requeue(old, actor="ada", using=using) == 1
    assert requeue(Filter(states=["accepted"]), actor="ada", using=using) == 0
    assert requeue(Filter(routes=["elsewhere"]), actor="ada", using=using) == 0


def test_status_counts_what_waits(using: str) -> None:
    """By state and priority, with the age of the oldest."""
    queue(using)
    OutboxRecipient.objects.using(using).update(due_at=DatabaseNow(-90))
    found = status(using)
    assert found.recipients["queued"] == 1
    assert found.queued == {"high": 0, "normal": 1, "bulk": 0}
    assert found.due == 1
    assert found.oldest_due_seconds is not None
    assert 85 < found.oldest_due_seconds < 120


def test_a_story_has_recipients_and_attempts(using: str) -> None:
    """One message, all that is known."""
    network = Network()
    message = queue(using, "ok@example.com", "nouser@example.com")
    worker(using, network.route()).run()
    found = story(message.pk, using)
    assert found is not None
    assert [(one.address, one.state) for one in found.recipients] == [
        ("ok@example.com", "accepted"),
        ("nouser@example.com", "rejected"),
    ]
    assert found.attempts[0].outcomes == {"ok@example.com": "accepted", "nouser@example.com": "rejected"}
    assert "user unknown" in found.recipients[1].reply


def test_an_attempt_that_one_recipient_took_names_the_other_with_its_own_reply(using: str) -> None:
    """The 250 was for whoever got it; beside the cause of a refusal it would say that the mailbox is there."""
    queue(using, "ok@example.com", "nouser@example.com")
    worker(using, Network().route()).run()
    attempt = Attempt.objects.using(using).get()
    assert (attempt.cause, attempt.reply_code, attempt.reply_enhanced) == ("mailbox_unknown", 550, "5.1.1")
    assert (attempt.stage, sorted(attempt.outcomes.values())) == ("final_reply", ["accepted", "rejected"])


def test_content_goes_early_and_the_journal_late(using: str) -> None:
    """And nothing unfinished is ever touched, however old."""
    network = Network()
    queue(using, "ok@example.com")
    queue(using, "lost@example.com")
    worker(using, network.route()).run()
    queue(using, "ok2@example.com")
    OutboxMessage.objects.using(using).update(created_at=DatabaseNow(-86400 * 40))
    OutboxRecipient.objects.using(using).exclude(settled_at=None).update(settled_at=DatabaseNow(-86400 * 40))
    week, year = timedelta(days=7), timedelta(days=365)
    assert prune(content_after=week, journal_after=year, using=using, dry_run=True).contents == 1
    assert prune(content_after=week, journal_after=year, using=using).contents == 1
    assert OutboxMessage.objects.using(using).filter(content=None).count() == 1
    pruned = prune(content_after=week, journal_after=timedelta(days=30), using=using)
    assert (pruned.contents, pruned.messages) == (0, 1)
    assert [one.address for one in rows(using)] == ["lost@example.com", "ok2@example.com"]
    assert Attempt.objects.using(using).count() == 1


def test_the_audit_is_clean_after_work(using: str) -> None:
    """Every state that a worker makes keeps the invariants."""
    network = Network()
    for name in ("ok", "nouser", "grey", "lost", "taken-lost", "later", "spam"):
        queue(using, f"{name}@example.com")
    worker(using, network.route()).run()
    let_time_pass(using)
    worker(using, network.route()).run()
    found = audit(using)
    assert found.findings == []
    assert (found.messages, found.recipients, found.unknown) == (7, 7, 2)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ({"state": "queued", "due_at": None, "lease_until": None}, "never due"),
        ({"state": "rejected"}, "is rejected"),
        ({"state": "claimed"}, "lease says otherwise"),
        ({"settled_at": None}, "no time of it"),
    ],
)
def test_the_audit_finds_what_is_wrong(using: str, damage: dict[str, object], words: str) -> None:
    """A row that was changed by hand is told from one that a worker wrote."""
    queue(using)
    worker(using, Network().route()).run()
    OutboxRecipient.objects.using(using).update(**damage)
    assert any(words in finding.text for finding in audit(using).findings)


def test_the_audit_finds_a_second_copy_and_a_lost_row(using: str) -> None:
    """P1 and P2 themselves."""
    first, second = queue(using, "ok1@example.com"), queue(using, "ok2@example.com")
    worker(using, Network().route()).run()
    attempt = Attempt.objects.using(using).get(message_id=first.pk)
    attempt.pk = None
    attempt.save(using=using)
    with connections[using].cursor() as cursor:
        cursor.execute("DELETE FROM reliable_email_outboxrecipient WHERE message_id = %s", [second.pk])
    texts = [finding.text for finding in audit(using).findings]
    assert any("accepted 2 times" in text for text in texts)
    assert any("no recipients" in text for text in texts)


def doubted(using: str) -> None:
    """Queue a message whose first copy may have arrived, and have a person ask for a second one."""
    queue(using, "lost@example.com")
    worker(using, Network().route()).run()
    resolve(EVERYTHING, Resolution.RESEND, actor="ada", using=using)


def undo(using: str) -> int:
    """Take the newest act back, as the button on the page does."""
    newest = Action.objects.using(using).latest("pk")
    story_of = action(newest.pk, using)
    assert story_of is not None
    found = undoing(story_of)
    assert found is not None
    return perform(found[0], found[1], actor="ada", undoes=True, using=using).count


def test_the_undo_of_a_hold_brings_a_resend_back(using: str) -> None:
    """What is unknown is not parked, but it was kept from its second copy all the same; the doubt stays told."""
    doubted(using)
    assert hold(EVERYTHING, actor="bob", using=using) == 1
    held = row(using)
    assert (held.state, held.due_at, held.cause) == (State.UNKNOWN, None, "outcome_unknown")
    assert "held by bob" in held.detail
    assert undo(using) == 1
    assert row(using).due_at is not None
    assert undo(using) == 1, "an undo has an undo"
    assert row(using).due_at is None
    assert undo(using) == 1
    network = Network()
    worker(using, network.route()).run()
    assert network.taken == {}, "a late reply may still say what became of the first copy"
    let_time_pass(using)
    worker(using, network.route()).run()
    assert row(using).unknowns == 2
    assert audit(using).is_clean


def test_a_release_brings_held_resends_back(using: str) -> None:
    """As it lets go what was parked."""
    doubted(using)
    hold(EVERYTHING, actor="bob", using=using)
    released = Filter(states=(State.PARKED,), causes=("held",))
    assert affected(Act.REQUEUE, released, using=using).count == 1
    assert requeue(released, actor="ada", using=using) == 1
    assert (row(using).state, row(using).unknowns) == (State.UNKNOWN, 1)
    assert row(using).due_at is not None
    assert requeue(released, actor="ada", using=using) == 0


def test_a_resend_that_was_cancelled_while_it_was_held_does_not_come_back(using: str) -> None:
    """The later word of a person counts."""
    doubted(using)
    hold(EVERYTHING, actor="bob", using=using)
    cancel(EVERYTHING, actor="ada", using=using)
    assert requeue(Filter(states=(State.PARKED,), causes=("held",)), actor="ada", using=using) == 0
    assert row(using).due_at is None


def test_a_hold_does_not_make_a_resend_of_what_had_none(using: str) -> None:
    """An unknown outcome that waits for a person goes on to wait for one."""
    queue(using, "lost@example.com")
    worker(using, Network().route()).run()
    before = row(using).detail
    hold(EVERYTHING, actor="bob", using=using)
    undo(using)
    assert (row(using).due_at, row(using).detail) == (None, before)


def test_the_release_of_new_mail_brings_a_resend_back(using: str) -> None:
    """It was stopped when a worker took it."""
    doubted(using)
    hold_incoming(EVERYTHING, actor="bob", using=using)
    worker(using, Network().route()).run()
    assert (row(using).state, row(using).due_at) == (State.UNKNOWN, None)
    release_incoming(EVERYTHING, actor="bob", using=using)
    assert requeue(Filter(states=(State.PARKED,), causes=("held",), held_by="bob"), actor="ada", using=using) == 1
    assert row(using).due_at is not None


def test_the_record_names_an_environment_without_a_name_in_words(using: str) -> None:
    """No place of the record is empty where somebody looks for what was chosen."""
    perform(Act.HOLD, Filter(environments=("",), causes=("held",)), actor="olga", using=using)
    assert Action.objects.using(using).get().target == "causes held; environments (no name)"
