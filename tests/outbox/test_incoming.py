"""Mail that has not come yet is held, and let go again; acts on many rows go on where a kill ended them."""

import io
import json
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command

from reliable_email.monitoring.outbox_health import outbox_findings
from reliable_email.outbox import faultpoints
from reliable_email.outbox.intake.enqueue import QueueOptions, enqueue
from reliable_email.outbox.operations.holds import standing_holds
from reliable_email.outbox.operations.incoming import hold_incoming, release_incoming
from reliable_email.store.questions.audit import audit
from reliable_email.store.questions.filters import Filter
from reliable_email.store.questions.sizes import size_words, table_bytes
from reliable_email.store.sql.clock import DatabaseNow
from reliable_email.store.tables.holds import IncomingHold
from reliable_email.store.tables.messages import OutboxMessage
from reliable_email.store.tables.recipients import OutboxRecipient
from reliable_email.store.tables.shared import Action
from reliable_email.store.tables.states import PriorityRank, State
from tests.outbox.acts import hold, requeue
from tests.outbox.desk import queue, row, rows, states, submission, worker
from tests.outbox.network import Network


def run(using: str, *arguments: str) -> str:
    """What the command prints."""
    out = io.StringIO()
    call_command("email_outbox", "--database", using, *arguments, stdout=out)
    return out.getvalue()


def test_stop_all_mail_is_one_command_and_its_undoing_another(using: str) -> None:
    """What is there and what comes; nothing of it is lost."""
    network = Network()
    queue(using, "ok1@example.com")
    told = run(using, "hold", "--all", "--incoming", "--reason", "wrong prices")
    assert "1 recipient changed" in told
    assert "Messages queued from now on are also held" in told
    queue(using, "ok2@example.com")
    worker(using, network.route()).run()
    assert (states(using), network.taken) == ([State.PARKED] * 2, {})
    assert {one.cause for one in rows(using)} == {"held"}
    assert json.loads(run(using, "release", "--all", "--json")) == {"count": 2}
    queue(using, "ok3@example.com")
    worker(using, network.route()).run()
    assert states(using) == [State.ACCEPTED] * 3
    assert audit(using).is_clean
    assert [one.verb for one in Action.objects.using(using).order_by("pk")] == [
        "hold_incoming",
        "hold",
        "release_incoming",
        "requeue",
    ]


@pytest.mark.parametrize(
    ("chosen", "is_held"),
    [
        (Filter(mailers=["news"]), True),
        (Filter(mailers=["routes"]), True),
        (Filter(mailers=["other"]), False),
        (Filter(accounts=["acme"]), True),
        (Filter(accounts=["other"]), False),
        (Filter(streams=["weekly"]), True),
        (Filter(streams=["other"]), False),
        (Filter(priorities=[PriorityRank.BULK]), True),
        (Filter(priorities=[PriorityRank.HIGH, PriorityRank.BULK]), True),
        (Filter(priorities=[PriorityRank.HIGH]), False),
        (Filter(mailers=["news"], priorities=[PriorityRank.HIGH]), False),
        (Filter(mailers=["other", "news"], streams=["weekly"]), True),
    ],
    ids=lambda value: "-".join(f"{value!r}".split("(")[1:]) if isinstance(value, Filter) else str(value),
)
def test_a_hold_stops_what_matches_and_nothing_else(using: str, chosen: Filter, is_held: bool) -> None:
    """By either of the two mailers, by account, stream and priority; all that is named has to match."""
    hold_incoming(chosen, actor="ada", using=using)
    enqueue([submission(priority="bulk")], QueueOptions(mailer="routes", entry_mailer="news", using=using))
    OutboxMessage.objects.using(using).update(account="acme", stream="weekly")
    worker(using, Network().route()).run()
    assert row(using).state == (State.PARKED if is_held else State.ACCEPTED)


def test_a_hold_of_a_resend_leaves_the_doubt(using: str) -> None:
    """What may have arrived is not called held."""
    network = Network()
    queue(using, "lost@example.com", on_unknown="resend")
    worker(using, network.route()).run()
    OutboxRecipient.objects.using(using).update(due_at=DatabaseNow(-1))
    hold_incoming(Filter(), actor="ada", using=using)
    worker(using, network.route()).run()
    one = row(using)
    assert (one.state, one.due_at, one.unknowns) == (State.UNKNOWN, None, 1)
    assert audit(using).is_clean


def test_a_hold_ends_by_itself_where_it_was_told_to(using: str) -> None:
    """What was parked by then waits for a person."""
    run(using, "hold", "--priority", "normal", "--incoming", "--for", "2h")
    [held] = IncomingHold.objects.using(using)
    assert held.expires_at is not None
    assert round((held.expires_at - held.created_at) / timedelta(hours=1)) == 2
    IncomingHold.objects.using(using).update(expires_at=DatabaseNow(-1))
    queue(using)
    worker(using, Network().route()).run()
    assert states(using) == [State.ACCEPTED]
    assert standing_holds(using) == []


def test_a_release_that_leaves_a_wider_hold_says_so(using: str) -> None:
    """Otherwise whoever has released one mailer waits in vain."""
    queue(using, mailer="routes")
    run(using, "hold", "--all", "--incoming", "--actor", "ada", "--reason", "moving house")
    told = run(using, "release", "--mailer", "routes")
    assert "New mail (all mail) is still held by ada: moving house." in told
    assert len(standing_holds(using)) == 1


def test_a_narrower_hold_ends_with_a_wider_release(using: str) -> None:
    """And a hold of something else stays."""
    hold_incoming(Filter(mailers=["news"], priorities=[2]), actor="ada", using=using)
    hold_incoming(Filter(mailers=["resets"]), actor="ada", using=using)
    assert [one.mailer for one in release_incoming(Filter(mailers=["news"]), actor="ada", using=using)] == ["resets"]
    # Nothing is said of mailers by a filter that looks at what is there.
    assert len(release_incoming(Filter(recipient="ann@example.com"), actor="ada", using=using)) == 1


def test_the_same_hold_is_one(using: str) -> None:
    """Two operators at night."""
    assert hold_incoming(Filter(), actor="ada", using=using) == 1
    assert hold_incoming(Filter(), actor="bob", using=using) == 0
    assert [one.actor for one in standing_holds(using)] == ["ada"]


def test_the_verdict_names_a_hold(using: str) -> None:
    """With who, why, since when, and what ends it."""
    hold_incoming(Filter(streams=["weekly"]), actor="ada", reason="wrong prices", using=using)
    [found] = [one for one in outbox_findings(using) if "held" in one.text]
    assert (found.verdict, found.text) == ("degraded", "new mail (stream weekly) is held by ada: wrong prices")
    assert "email_outbox release" in found.remedy
    assert found.since is not None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["hold", "--incoming"], "Choose messages"),
        (["hold", "--incoming", "--subject", "prices"], "not come yet"),
        (["hold", "--incoming", "--state", "queued", "--all"], "not come yet"),
        (["hold", "--all", "--for", "2h"], "--incoming"),
    ],
)
def test_a_hold_that_cannot_be_meant_is_refused(using: str, arguments: list[str], words: str) -> None:
    """Of what has not come yet neither subject nor state is known."""
    with pytest.raises(CommandError, match=words) as caught:
        run(using, *arguments)
    assert caught.value.returncode == 2
    assert standing_holds(using) == []


def test_a_dry_run_holds_nothing(using: str) -> None:
    """Neither what is there nor what comes."""
    queue(using)
    run(using, "hold", "--all", "--incoming", "--dry-run")
    assert (standing_holds(using), states(using)) == ([], [State.QUEUED])


def test_the_terminal_finds_by_account_and_stream(using: str) -> None:
    """As acts do."""
    first, second = queue(using, "ok1@example.com"), queue(using, "ok2@example.com")
    OutboxMessage.objects.using(using).filter(pk=first.pk).update(account="acme", stream="weekly")
    told = json.loads(run(using, "list", "--account", "acme", "--stream", "weekly", "--json"))
    assert [one["message"] for one in told["recipients"]] == [first.pk]
    assert json.loads(run(using, "cancel", "--stream", "weekly", "--json")) == {"count": 1}
    assert {one.message_id for one in rows(using) if one.state == State.QUEUED} == {second.pk}


def test_an_act_on_many_rows_goes_on_after_a_kill(using: str) -> None:
    """What was committed is done and recorded; the same act again does the rest."""

    class Killed(BaseException):
        pass

    passed: list[str] = []

    def die(name: str) -> None:
        if name == "act:batch":
            passed.append(name)
            if len(passed) == 2:
                raise Killed

    many = [submission(to=[f"ok{n}@example.com"]) for n in range(1100)]
    enqueue(many, QueueOptions(mailer="routes", using=using))
    faultpoints.listen(die)
    try:
        with pytest.raises(Killed):
            hold(Filter(), actor="ada", using=using)
    finally:
        faultpoints.listen(None)
    assert OutboxRecipient.objects.using(using).filter(state=State.PARKED).count() == 1000
    assert hold(Filter(), actor="ada", using=using) == 100
    assert [one.count for one in Action.objects.using(using).order_by("pk")] == [1000, 100]
    assert requeue(Filter(causes=["held"]), actor="ada", using=using) == 1100


def test_status_says_how_much_room_the_tables_take(using: str) -> None:
    """Before somebody else notices."""
    queue(using)
    sizes = table_bytes(using)
    if sizes:  # many builds of SQLite do not say
        assert sizes["reliable_email_outboxmessage"] > 0
        out = io.StringIO()
        with pytest.raises(SystemExit):
            call_command("email_outbox", "--database", using, "status", stdout=out)
        assert "tables " in out.getvalue()
    assert (size_words(999), size_words(193_000_000), size_words(1_250)) == ("999 bytes", "193 MB", "1.2 KB")
