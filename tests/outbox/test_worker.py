"""What a worker makes of queued messages, on every database, against a network that keeps the transport's contract."""

import threading
from datetime import timedelta

import pytest
from django.db.models import Sum

from reliable_email import signals
from reliable_email.classification import Cause
from reliable_email.delivery.breaker import Permission
from reliable_email.delivery.failures import local_failure
from reliable_email.delivery.policy import Effect
from reliable_email.delivery.route_memory import MemoryRouteStateStore, RouteEvent
from reliable_email.delivery.submission import OnUnknown, Priority
from reliable_email.outbox import faultpoints
from reliable_email.outbox.intake.enqueue import QueueOptions, enqueue
from reliable_email.outbox.keyring import Keyring
from reliable_email.outbox.rows.claim import Wanted, claim
from reliable_email.outbox.worker.batch import BatchOptions
from reliable_email.outbox.worker.claim_task import ClaimTask, ClaimTaskOptions
from reliable_email.outbox.worker.loop import Loop
from reliable_email.outbox.worker.steps import Steps
from reliable_email.providers import Quota
from reliable_email.smtp.transaction import Job
from reliable_email.store.sql.clock import DatabaseNow, database_now
from reliable_email.store.tables.attempts import Attempt
from reliable_email.store.tables.recipients import OutboxRecipient
from reliable_email.store.tables.shared import Suppression, Tally
from reliable_email.store.tables.shared import Worker as WorkerRow
from reliable_email.store.tables.states import State
from reliable_email.testing.server import ScriptedServer
from tests.outbox.desk import let_leases_end, let_time_pass, queue, row, rows, smtp_route, states, submission, worker
from tests.outbox.network import Network
from tests.outbox.test_statements import Foreman


def test_a_queued_message_is_accepted_once(using: str) -> None:
    """The main path: queued, sent, settled, with the evidence."""
    network = Network()
    queue(using)
    assert worker(using, network.route()).run() == 1
    one = row(using)
    assert (one.state, one.route, one.reply_code, one.attempts) == (State.ACCEPTED, "route", 250, 1)
    assert (one.due_at, one.lease_until) == (None, None)
    assert one.settled_at is not None
    assert network.copies("ok@example.com") == 1
    [attempt] = Attempt.objects.using(using)
    assert attempt.outcomes == {"0": "accepted"}
    assert (attempt.stage, attempt.reply_code) == ("final_reply", 250)


def test_each_recipient_has_its_own_outcome(using: str) -> None:
    """One message, four recipients, four fates, each with its reply."""
    network = Network()
    queue(using, "ok@example.com", "nouser@example.com", "grey@example.com", "ok2@example.com")
    worker(using, network.route()).run()
    assert states(using) == [State.ACCEPTED, State.REJECTED, State.QUEUED, State.ACCEPTED]
    rejected, greylisted = rows(using)[1:3]
    assert (rejected.cause, rejected.reply_code) == ("mailbox_unknown", 550)
    assert (greylisted.cause, greylisted.pinned_route) == ("greylisted", "route")
    assert greylisted.due_at is not None
    assert greylisted.due_at - database_now(using) > timedelta(seconds=250)
    assert network.copies("ok@example.com") == network.copies("ok2@example.com") == 1


def test_only_the_greylisted_recipient_is_tried_again(using: str) -> None:
    """A later attempt carries nobody who has the message."""
    network = Network()
    queue(using, "ok@example.com", "grey@example.com")
    worker(using, network.route()).run()
    let_time_pass(using)
    worker(using, network.route()).run()
    assert network.copies("ok@example.com") == 1
    assert [one.attempts for one in rows(using)] == [1, 2]


def test_a_connection_lost_after_the_terminator_is_unknown_and_held(using: str) -> None:
    """Nobody guesses: the row says unknown, is not due, and is never sent again by itself."""
    network = Network()
    queue(using, "taken-lost@example.com")
    worker(using, network.route()).run()
    let_time_pass(using)
    worker(using, network.route()).run()
    one = row(using)
    assert (one.state, one.cause, one.due_at, one.unknowns) == (State.UNKNOWN, "outcome_unknown", None, 1)
    assert network.copies("taken-lost@example.com") == 1


def test_unknown_is_sent_again_by_the_same_route_where_the_message_says_so(using: str) -> None:
    """Resend goes by the route that may have it already, and not at once; and it ends after a few copies."""
    first, second = Network("first"), Network("second")
    queue(using, "taken-lost@example.com", on_unknown=OnUnknown.RESEND)
    for _ in range(5):
        worker(using, first.route(), second.route()).run()
        let_time_pass(using)
    assert first.copies("taken-lost@example.com") == 3
    assert len(first.taken) == 1, "the Message-ID is the same"
    assert second.taken == {}
    assert (row(using).state, row(using).due_at) == (State.UNKNOWN, None)


def test_a_dead_route_is_left_for_the_next_at_once(using: str) -> None:
    """Failover within one round, counted as one attempt."""
    first, second = Network("first", is_down=True), Network("second")
    queue(using)
    worker(using, first.route(), second.route()).run()
    one = row(using)
    assert (one.state, one.route, one.attempts) == (State.ACCEPTED, "second", 1)
    assert Attempt.objects.using(using).count() == 2


def test_waiting_for_a_closed_route_spends_no_attempt(using: str) -> None:
    """A batch finds out three times that the route is down, and the others wait without being tried."""
    network = Network(is_down=True)
    for _ in range(10):
        queue(using)
    worker(using, network.route()).run()
    assert sum(one.attempts for one in rows(using)) == 3
    assert states(using) == [State.QUEUED] * 10
    network.is_down = False
    let_time_pass(using)
    worker(using, network.route()).run()
    assert states(using) == [State.ACCEPTED] * 10


def test_the_only_probe_is_left_to_who_may_send(using: str) -> None:
    """A worker whose quota is used up does not take it and stay away with it."""
    now = [1_800_000_000.0]
    store = MemoryRouteStateStore(clock=lambda: now[0])
    route = Network().route(quotas=(Quota(window_seconds=86_400, limit=1),))
    down = local_failure(Cause.CONNECT_FAILED, "connection refused")
    for _ in range(3):
        store.tell(route, RouteEvent(failure=down, effect=Effect.COUNT, sender_domain="example.org"))
    assert store.reserve(route, 1, priority=Priority.HIGH)
    now[0] += 3600
    queue(using)
    worker(using, route, store=store).run()
    assert states(using) == [State.QUEUED]
    assert store.ask(route, sender_domain="example.org") is Permission.PROBE


def test_a_size_that_a_route_refused_before_goes_to_the_next_at_once(using: str) -> None:
    """What was learned of a route's limit spares it the next message of that size."""
    store = MemoryRouteStateStore()
    first, second = Network("first"), Network("second")
    too_large = local_failure(Cause.MESSAGE_TOO_LARGE, "552 5.3.4 message too big")
    store.tell(first.route(), RouteEvent(failure=too_large, effect=Effect.LEARN_SIZE, message_bytes=100))
    queue(using)
    worker(using, first.route(), second.route(), store=store).run()
    assert (row(using).state, row(using).route) == (State.ACCEPTED, "second")
    assert not first.taken


def test_an_unknown_refusal_is_checked_with_one_other_route(using: str) -> None:
    """A 5xx that no rule knows may be the route's fault; two of them are the message's."""
    first, second, third = (Network(name, final="554 no") for name in ("first", "second", "third"))
    second.final = ""
    queue(using)
    worker(using, first.route(), second.route()).run()
    assert (row(using).state, row(using).route) == (State.ACCEPTED, "second")
    second.final = "554 never"
    queue(using, "ok2@example.com")
    worker(using, first.route(), second.route(), third.route()).run()
    last = rows(using)[-1]
    assert (last.state, last.route) == (State.REJECTED, "second")


def test_a_sender_that_is_not_verified_anywhere_is_parked(using: str) -> None:
    """The message waits for a person, who can verify the sender; it is not lost."""
    words = "550 The from address does not match a verified Sender Identity."
    network = Network(final=words)
    queue(using)
    worker(using, network.route(provider="sendgrid")).run()
    assert (row(using).state, row(using).cause) == (State.PARKED, "sender_not_verified")


def test_an_expired_message_is_not_sent(using: str) -> None:
    """Its time was over before its turn came."""
    network = Network()
    queue(using, expires_in=timedelta(seconds=-5))
    worker(using, network.route()).run()
    assert row(using).state == State.EXPIRED
    assert network.taken == {}


def test_a_message_for_later_waits(using: str) -> None:
    """Not before its time, by the database's clock."""
    network = Network()
    queue(using, send_at=database_now(using) + timedelta(hours=1))
    worker(using, network.route()).run()
    assert row(using).state == State.QUEUED
    let_time_pass(using)
    worker(using, network.route()).run()
    assert row(using).state == State.ACCEPTED


def test_high_goes_before_normal_and_bulk(using: str) -> None:
    """A newsletter queued first does not hold up a password reset."""
    order: list[str] = []
    network = Network(after_send=lambda job: order.extend(job.recipients))
    for priority in (Priority.BULK, Priority.NORMAL, Priority.HIGH):
        queue(using, f"ok{priority}@example.com", priority=priority)
    worker(using, network.route(), batch=1).run()
    assert order == ["okhigh@example.com", "oknormal@example.com", "okbulk@example.com"]


def test_rows_of_another_environment_are_left_alone(using: str) -> None:
    """A restored or cloned database does not send again."""
    network = Network()
    enqueue([submission()], QueueOptions(mailer="routes", using=using, environment="live"))
    worker(using, network.route(), environment="staging").run()
    assert (row(using).state, network.taken) == (State.QUEUED, {})


def test_a_suppressed_address_is_rejected_without_a_connection(using: str) -> None:
    """The list is asked for each claim, whatever the case of the address."""
    network = Network(is_down=True)
    Suppression.objects.using(using).create(address="ok@example.com", created_at=DatabaseNow())
    queue(using, "Ok@example.com")
    worker(using, network.route()).run()
    assert (row(using).state, row(using).cause) == (State.REJECTED, "suppressed")


def test_a_mailer_that_is_gone_parks_its_messages(using: str) -> None:
    """An alias that was taken out of the settings loses nothing."""
    queue(using, mailer="gone")

    from reliable_email.delivery.route_memory import MemoryRouteStateStore
    from reliable_email.outbox.worker.process import Worker, WorkerOptions

    def routes_of(alias: str) -> list[object]:
        raise LookupError(f"there is no mailer {alias!r}")

    options = WorkerOptions(using=using, until_empty=True, connections=1)
    Worker(options, routes_of=routes_of, store=MemoryRouteStateStore()).run()  # type: ignore[arg-type]
    assert (row(using).state, row(using).cause) == (State.PARKED, "no_such_mailer")


def test_cancelled_in_hand_is_not_sent(using: str) -> None:
    """A person may cancel until the very permission."""
    network = Network()
    queue(using, "ok1@example.com")
    queue(using, "ok2@example.com")

    def cancel_the_second(job: Job) -> None:
        OutboxRecipient.objects.using(using).filter(address="ok2@example.com").update(
            state=State.CANCELLED, due_at=None, lease_until=None
        )

    network.after_send = cancel_the_second
    worker(using, network.route()).run()
    assert states(using) == [State.ACCEPTED, State.CANCELLED]
    assert network.copies("ok2@example.com") == 0


def test_a_worker_that_slept_over_its_lease_sends_nothing(using: str) -> None:
    """The database refuses the permission; the next worker sends, once."""
    network = Network()
    queue(using)
    taken = claim(using, Wanted(environment=""), worker="sleeper", limit=10, lease_seconds=30)
    let_leases_end(using)
    from reliable_email.outbox.rows.journal import Intent, commit

    written = commit(using, intents=[Intent(recipients=taken.rows, route="route")], keyring=Keyring())
    assert written.permitted == [False]
    worker(using, network.route()).run()
    assert network.copies("ok@example.com") == 1


def test_several_lines_and_workers_share_the_work(using: str) -> None:
    """Sixty messages, three workers with three connections each: every one exactly once."""
    network = Network()
    enqueue([submission(to=(f"ok{n}@example.com",)) for n in range(60)], QueueOptions(mailer="routes", using=using))
    crew = [worker(using, network.route(), connections=3, batch=5) for _ in range(3)]
    threads = [threading.Thread(target=one.run) for one in crew]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert states(using) == [State.ACCEPTED] * 60
    assert set(network.taken.values()) == {1}
    assert sum(one.transactions for one in crew) == 60
    assert {one.state for one in WorkerRow.objects.using(using)} == {"stopped"}


def test_stop_finishes_what_is_in_hand_and_gives_back_the_rest(using: str) -> None:
    """The first stage of a shutdown loses and doubts nothing."""
    network = Network()
    for n in range(5):
        queue(using, f"ok{n}@example.com")
    crew = worker(using, network.route())
    network.after_send = lambda job: crew.stop()
    crew.run()
    assert states(using) == [State.ACCEPTED] + [State.QUEUED] * 4
    assert all(one.crashes == 0 for one in rows(using))


def test_stop_now_declares_what_waits_for_a_reply_unknown(using: str) -> None:
    """The second stage does not wait; the late reply still resolves it."""
    network = Network()
    queue(using, "ok1@example.com")
    queue(using, "ok2@example.com")
    crew = worker(using, network.route())
    may_answer = threading.Event()

    def hang(job: Job) -> None:
        crew.stop_now()
        may_answer.wait(20)

    network.after_send = hang
    crew.run()
    assert states(using) == [State.UNKNOWN, State.QUEUED]
    may_answer.set()
    for thread in threading.enumerate():
        if thread.name.startswith("reliable-email-line"):
            thread.join()
    assert states(using) == [State.ACCEPTED, State.QUEUED]


def assert_nothing_was_handed_over(server: ScriptedServer) -> None:
    """The content was asked for, and its end was not said."""
    [record] = server.connections
    assert record.verbs[-1] == "DATA"
    assert b"\r\n.\r\n" not in bytes(record.raw)
    assert server.messages == []


def test_a_worker_that_leaves_before_its_line_has_written_leaves_no_doubt_behind(using: str) -> None:
    """The permission was committed and not given, and the worker's own rescue is a moment faster than the line: what
    the line knows, that nothing was handed over, resolves what rescue could only suppose.
    """
    queue(using)
    begun: list[str] = []
    has_left = threading.Event()

    def act(name: str) -> None:
        if name == "journal:begin":
            begun.append(name)
            if len(begun) == 2:
                assert has_left.wait(30)
        elif name == "journal:end" and len(begun) == 1:
            crew.stop_now()

    with ScriptedServer() as server:
        crew = worker(using, smtp_route(server))
        faultpoints.listen(act)
        crew.run()
        assert row(using).state == State.UNKNOWN
        has_left.set()
        for thread in threading.enumerate():
            if thread.name.startswith("reliable-email-line"):
                thread.join()
        faultpoints.reset()
        server.wait_for_end()
        assert_nothing_was_handed_over(server)
    assert (row(using).state, row(using).unknowns) == (State.QUEUED, 0)


def test_stop_now_while_a_permission_is_committed_sends_nothing(using: str) -> None:
    """It is committed, and it is not given: the recipient goes back to the queue, and nothing is in doubt."""
    queue(using)
    written = threading.Event()
    committed: list[State] = []

    def act(name: str) -> None:
        if name == "journal:end":
            committed.extend(states(using))
            if len(committed) == 1:
                crew.stop_now()
            else:
                written.set()
        elif name == "abandon:release":  # the worker leaves; its line is a moment faster
            assert written.wait(30)

    with ScriptedServer() as server:
        crew = worker(using, smtp_route(server))
        faultpoints.listen(act)
        crew.run()
        faultpoints.reset()
        for thread in threading.enumerate():
            if thread.name.startswith("reliable-email-line"):
                thread.join()
        server.wait_for_end()
        assert_nothing_was_handed_over(server)
    assert committed == [State.AUTHORIZED, State.QUEUED]
    one = row(using)
    assert (one.state, one.unknowns, one.attempts, one.crashes) == (State.QUEUED, 0, 0, 0)
    assert not Attempt.objects.using(using).exists()


def test_a_lease_that_ends_while_a_permission_is_committed_sends_nothing(using: str) -> None:
    """Somebody else may have the row by now: the permission is not given, and a later claim sends it, once."""
    queue(using)
    committed: list[State] = []

    class Watch(Foreman):
        def may_authorize(self) -> bool:
            return not committed

    def act(name: str) -> None:
        if name == "journal:end":
            committed.extend(states(using))

    with ScriptedServer() as server:
        line = ClaimTask(
            ClaimTaskOptions(batch_options=BatchOptions(using=using, worker="w")),
            Watch(),
            routes_of=lambda mailer: [smtp_route(server)],
            store=MemoryRouteStateStore(),
            suspects=threading.Lock(),
        )

        def work() -> Steps[None]:
            yield from line.work()

        faultpoints.listen(act)
        Loop(using, Keyring()).run([work()])
        faultpoints.reset()
        server.wait_for_end()
        assert_nothing_was_handed_over(server)
        assert committed == [State.AUTHORIZED, State.QUEUED]
        one = row(using)
        assert (one.state, one.unknowns, one.attempts) == (State.QUEUED, 0, 0)
        assert not Attempt.objects.using(using).exists()
        worker(using, smtp_route(server)).run()
        assert [message.recipients for message in server.messages] == [("ok@example.com",)]
    assert states(using) == [State.ACCEPTED]


@pytest.mark.parametrize("policy", list(OnUnknown))
def test_a_dead_workers_rows_are_settled_by_its_journal(using: str, policy: OnUnknown) -> None:
    """Claimed goes back at once; permitted becomes unknown, and is due only where its policy sends again."""
    from reliable_email.outbox.rows.journal import Intent, commit

    network = Network()
    queue(using, "ok1@example.com", on_unknown=policy)
    queue(using, "ok2@example.com", on_unknown=policy)
    taken = claim(using, Wanted(environment=""), worker="dead", limit=10, lease_seconds=30)
    commit(using, intents=[Intent(recipients=taken.rows[:1], route="route")], keyring=Keyring())
    let_leases_end(using)
    worker(using, network.route(), lease_seconds=2.0).run()
    first, second = rows(using)
    assert (first.state, second.state) == (State.UNKNOWN, State.ACCEPTED)
    assert (first.due_at is not None) is (policy is OnUnknown.RESEND)
    assert (first.pinned_route, second.crashes) == ("route", 1)


def test_what_kills_workers_is_parked_and_accuses_no_other(using: str) -> None:
    """Five crashes with one message in hand park it; its neighbours are delivered."""
    network = Network()
    for name in ("ok1", "poison", "ok2"):
        queue(using, f"{name}@example.com")

    from reliable_email.outbox.rows.rescue import RescuePolicy, rescue

    # As if the process had died: the rows stay claimed, nobody settles anything.
    taken = claim(using, Wanted(environment=""), worker="w", limit=10, lease_seconds=30)
    assert len(taken.rows) == 3
    let_leases_end(using)
    policy = RescuePolicy(environment="", worker="r")
    assert rescue(using, policy).requeued == 3
    for _ in range(4):
        OutboxRecipient.objects.using(using).filter(address="poison@example.com").update(due_at=DatabaseNow(-99))
        [one] = claim(using, Wanted(environment=""), worker="w", limit=10, lease_seconds=30, suspects=True).rows
        assert one.address == "poison@example.com"
        OutboxRecipient.objects.using(using).filter(id=one.id).update(started_at=DatabaseNow())
        let_leases_end(using)
        rescue(using, policy)
    worker(using, network.route()).run()
    assert states(using) == [State.ACCEPTED, State.PARKED, State.ACCEPTED]
    assert [one.crashes for one in rows(using)] == [1, 5, 1]


def test_signals_tell_attempts_refusals_and_the_end(using: str) -> None:
    """After the commit, with the report; a message is told of when nothing will change by itself."""
    heard: list[tuple[str, object]] = []
    receivers = {
        signals.attempt_finished: lambda **told: heard.append(("attempt", dict(told["attempt"].outcomes))),
        signals.recipient_rejected: lambda **told: heard.append(("rejected", told["outcome"].reply.code)),
        signals.message_delivered: lambda **told: heard.append(("delivered", told["report"].accepted)),
        signals.message_failed: lambda **told: heard.append(("failed", told["report"].rejected)),
    }
    for signal, receiver in receivers.items():
        signal.connect(receiver)
    try:
        queue(using, "ok@example.com")
        worker(using, Network().route()).run()
        queue(using, "ok2@example.com", "nouser@example.com")
        queue(using, "grey@example.com")
        worker(using, Network().route()).run()
    finally:
        for signal, receiver in receivers.items():
            signal.disconnect(receiver)
    assert sorted(heard, key=str) == sorted(
        [
            ("attempt", {"ok@example.com": "accepted"}),
            ("delivered", ["ok@example.com"]),
            ("attempt", {"ok2@example.com": "accepted", "nouser@example.com": "rejected"}),
            ("rejected", 550),
            ("failed", ["nouser@example.com"]),
            ("attempt", {"grey@example.com": "deferred"}),
        ],
        key=str,
    )


def test_outcomes_are_tallied_by_minute_route_and_cause(using: str) -> None:
    """For charts that survive pruning: sums of all workers."""
    for _ in range(2):
        queue(using, "ok@example.com")
        queue(using, "nouser@example.com")
        worker(using, Network().route()).run()
    sums = {
        (one["route"], one["outcome"], one["cause"]): one["sum"]
        for one in Tally.objects.using(using).values("route", "outcome", "cause").annotate(sum=Sum("count"))
    }
    assert sums == {("route", "accepted", ""): 2, ("route", "rejected", "mailbox_unknown"): 2}
