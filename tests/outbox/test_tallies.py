"""What workers count for charts and monitors, on every database."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import connections

from reliable_email.delivery.report import Outcome
from reliable_email.outbox.operations.prune import prune
from reliable_email.outbox.rows.settle import AttemptRow, Evidence
from reliable_email.outbox.upkeep.counters import Tallies
from reliable_email.store.sql.clock import DatabaseNow
from reliable_email.store.tables.recipients import OutboxRecipient
from reliable_email.store.tables.shared import UNBOUNDED_MILLISECONDS, LatencyTotal, OutcomeTotal, Tally
from reliable_email.store.tables.states import State
from tests.outbox.desk import queue, worker
from tests.outbox.network import Network


def test_a_recipient_that_was_accepted_is_not_tallied_with_its_neighbours_cause(using: str) -> None:
    """One transaction, three answers."""
    queue(using, "ok@example.com", "nouser@example.com", "grey@example.com")
    worker(using, Network().route()).run()
    expected = {
        ("route", "accepted", ""): 1,
        ("route", "rejected", "mailbox_unknown"): 1,
        ("route", "deferred", "greylisted"): 1,
    }
    for model in (Tally, OutcomeTotal):
        rows = model._base_manager.using(using).values_list("route", "outcome", "cause", "count")
        assert {tuple(key): count for *key, count in rows} == expected


def test_latencies_are_counted_in_the_bucket_that_holds_them(using: str) -> None:
    """The whole transaction and each stage that was measured; two workers add to the same rows."""
    attempt = AttemptRow(
        message_id=1,
        claim=1,
        worker="w",
        evidence=Evidence(route="route"),
        seconds=0.3,
        outcomes={0: Outcome.ACCEPTED},
        stage_seconds={"mail": 0.005, "final_reply": 400.0},
    )
    for _ in range(2):
        tallies = Tallies()
        tallies.add([attempt])
        tallies.add([attempt], is_measured=False)
        tallies.write(using)
    rows = LatencyTotal.objects.using(using).order_by("stage").values_list("stage", "milliseconds", "count", "seconds")
    assert list(rows) == [
        ("", 500, 2, pytest.approx(0.6)),
        ("final_reply", UNBOUNDED_MILLISECONDS, 2, pytest.approx(800.0)),
        ("mail", 5, 2, pytest.approx(0.01)),
    ]
    assert OutcomeTotal.objects.using(using).get().count == 4


def test_workers_that_count_the_same_at_once_do_not_hinder_each_other(using: str) -> None:
    """Rows that nobody has made yet are made once, and no addition is lost or refused."""
    attempt = AttemptRow(
        message_id=1,
        claim=1,
        worker="w",
        evidence=Evidence(route="route"),
        seconds=0.3,
        outcomes={0: Outcome.ACCEPTED, 1: Outcome.REJECTED, 2: Outcome.DEFERRED},
        causes={1: "mailbox_unknown", 2: "greylisted"},
        stage_seconds={"connect": 0.01, "mail": 0.02, "final_reply": 0.03},
    )
    together = threading.Barrier(4)

    def count() -> None:
        tallies = Tallies()
        tallies.add([attempt])
        together.wait(timeout=30)
        tallies.write(using)
        connections[using].close()

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(count) for _ in range(4)]:
            done.result(timeout=50)
    for model in (OutcomeTotal, LatencyTotal):
        counts = model._base_manager.using(using).values_list("count", flat=True)
        assert list(counts) == [4] * (3 if model is OutcomeTotal else 4)


def test_pruning_leaves_the_totals(using: str) -> None:
    """A counter that goes back would be read as so many new deliveries."""
    queue(using, "ok@example.com")
    worker(using, Network().route()).run()
    Tally.objects.using(using).update(minute=DatabaseNow(-100 * 86400))
    prune(using=using, content_after=timedelta(days=1), journal_after=timedelta(days=90))
    assert not Tally.objects.using(using).exists()
    assert OutcomeTotal.objects.using(using).get().count == 1


def test_what_a_dead_worker_left_unknown_is_tallied_once(using: str) -> None:
    """By whoever rescues it; how long it took was not measured."""
    queue(using, "ok@example.com")
    OutboxRecipient.objects.using(using).update(
        state=State.AUTHORIZED,
        claim=7,
        claimed_by="dead",
        due_at=None,
        lease_until=DatabaseNow(-1),
        authorized_at=DatabaseNow(-60),
        authorized_route="route",
    )
    worker(using, Network().route()).run()
    worker(using, Network().route()).run()
    total = OutcomeTotal.objects.using(using).get()
    assert (total.outcome, total.cause, total.count) == ("unknown", "outcome_unknown", 1)
    assert not LatencyTotal.objects.using(using).exists()
