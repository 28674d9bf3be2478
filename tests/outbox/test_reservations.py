"""What a permission takes from a quota: in its own commit, by condition, and never more than there is."""

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connections

from reliable_email.delivery.quota import BUCKETS, used
from reliable_email.delivery.route_memory import MemoryRouteStateStore, answering_from_memory
from reliable_email.delivery.submission import Priority
from reliable_email.outbox.keyring import Keyring
from reliable_email.outbox.rows import reservations
from reliable_email.outbox.rows.claim import Claimed
from reliable_email.outbox.rows.journal import Intent, Request, commit_together
from reliable_email.outbox.rows.reservations import Reserve, give_back
from reliable_email.providers import Quota
from reliable_email.smtp.transaction import Job
from reliable_email.store.memory.route_state import DatabaseRouteStateStore
from reliable_email.store.tables.recipients import OutboxRecipient
from reliable_email.store.tables.shared import RouteState
from reliable_email.store.tables.states import State
from tests.outbox.desk import claimed, queue, rows, states, worker
from tests.outbox.network import Network
from tests.outbox.test_statements import statements

DAY = Quota(window_seconds=86400, limit=10)


@pytest.fixture(autouse=True)
def nothing_ahead() -> None:
    """No test leaves an allowance to the next one."""
    reservations.reset()


def ask(store: DatabaseRouteStateStore, one: Claimed, quota: Quota = DAY, *, fingerprint: str = "") -> Request:
    """A line that wants to hand a message over by a route with this quota."""
    route = Network().route(quotas=(quota,), fingerprint=fingerprint)
    reserve = Reserve(store=store, route=route, count=1, priority=Priority.HIGH)
    return Request(intents=[Intent(recipients=[one], route=route.alias, reserve=reserve)])


def taken(store: DatabaseRouteStateStore, quota: Quota = DAY) -> int:
    """What the row says was used."""
    route = Network().route(quotas=(quota,))
    return used(DatabaseRouteStateStore(store.using).ledger(route), quota, now=store.now())


def known(using: str, quota: Quota = DAY) -> DatabaseRouteStateStore:
    """A store that knows the route's row, of which nothing has been used but one."""
    store = DatabaseRouteStateStore(using)
    assert store.reserve(Network().route(quotas=(quota,)), 1, priority=Priority.HIGH)
    return store


def test_the_quota_is_charged_by_the_commit_that_permits(using: str) -> None:
    """For several lines together: by one change of the route's row."""
    hand, store = claimed(using, 3), known(using)
    before = RouteState.objects.using(using).get().version
    written = commit_together(using, [ask(store, one) for one in hand], keyring=Keyring())
    assert [one.permitted for one in written] == [[True]] * 3
    assert [one.reserved for one in written] == [[True]] * 3
    assert taken(store) == 4
    assert RouteState.objects.using(using).get().version != before


def test_what_does_not_fit_is_not_permitted_and_the_others_are(using: str) -> None:
    """Eleven want the nine that are left."""
    hand, store = claimed(using, 11), known(using)
    written = commit_together(using, [ask(store, one) for one in hand], keyring=Keyring())
    assert [one.permitted[0] for one in written] == [True] * 9 + [False] * 2
    assert (taken(store), [one.state for one in rows(using)].count(State.AUTHORIZED)) == (10, 9)


def test_a_row_that_somebody_else_has_changed_permits_nothing(using: str) -> None:
    """What was known of it is not true any more: neither is anything charged."""
    hand, store = claimed(using, 2), known(using)
    assert DatabaseRouteStateStore(using).reserve(Network().route(quotas=(DAY,)), 8, priority=Priority.HIGH)
    written = commit_together(using, [ask(store, one) for one in hand], keyring=Keyring())
    assert [(one.permitted, one.reserved) for one in written] == [([False], [False])] * 2
    assert taken(store) == 9
    assert [one.state for one in rows(using)] == [State.CLAIMED] * 2


def test_a_lease_that_has_ended_permits_nothing_although_there_is_room(using: str) -> None:
    """What it was charged can be given back, and is told."""
    [one], store = claimed(using, 1), known(using)
    OutboxRecipient.objects.using(using).update(lease_until=None)
    [written] = commit_together(using, [ask(store, one)], keyring=Keyring())
    assert (written.permitted, written.reserved) == ([False], [True])


def test_of_a_large_quota_some_are_taken_ahead_and_come_back(using: str) -> None:
    """A hundred permissions change the route's row a few times; what is left over is given back at the end."""
    large = Quota(window_seconds=86400, limit=100_000)
    hand, store = claimed(using, 20), known(using, large)
    route = Network().route(quotas=(large,))
    with statements(using) as seen:
        for one in hand:
            reserve = Reserve(store=store, route=route, count=1, priority=Priority.NORMAL)
            asked = Request(intents=[Intent(recipients=[one], route="route", reserve=reserve)])
            [written] = commit_together(using, [asked], keyring=Keyring())
            assert written.permitted == [True]
    table = RouteState._meta.db_table
    assert sum(f"UPDATE {connections[using].ops.quote_name(table)}" in sql for sql in seen) == 1
    assert taken(store, large) == 1 + 1 + 63
    give_back(store)
    assert taken(store, large) == 21


def test_what_was_taken_ahead_is_used_in_the_bucket_of_its_ledger_alone(using: str) -> None:
    """Later it would be missing from the window that it is used in: the rest goes back to where it was taken."""

    class Later(DatabaseRouteStateStore):
        seconds = 0.0

        def _now(self) -> float:
            return super()._now() + self.seconds

    large = Quota(window_seconds=86400, limit=100_000)
    hand, store = claimed(using, 2), Later(using)
    route = Network().route(quotas=(large,))
    assert store.reserve(route, 1, priority=Priority.HIGH)
    for one in hand:
        reserve = Reserve(store=store, route=route, count=1, priority=Priority.NORMAL)
        asked = Request(intents=[Intent(recipients=[one], route="route", reserve=reserve)])
        [written] = commit_together(using, [asked], keyring=Keyring())
        if not written.permitted[0]:  # the row was changed by what went back
            [written] = commit_together(using, [asked], keyring=Keyring())
        assert written.permitted == [True]
        store.seconds += large.window_seconds / BUCKETS
    assert list(DatabaseRouteStateStore(using).ledger(route).counts.values()) == [1 + 1, 1 + 63]


@pytest.mark.parametrize("quota", [Quota(window_seconds=60, limit=100_000), Quota(window_seconds=86400, limit=60)])
def test_nothing_is_taken_ahead_of_a_short_window_or_a_small_quota(using: str, quota: Quota) -> None:
    """It would be used in a later window, or be missing to somebody else."""
    [one], store = claimed(using, 1), known(using, quota)
    commit_together(using, [ask(store, one, quota)], keyring=Keyring())
    assert taken(store, quota) == 2


def test_a_refused_message_costs_no_quota(using: str) -> None:
    """The provider does not count a message that its final reply refuses."""
    queue(using, "spam@example.com")
    queue(using, "ok@example.com")
    store = DatabaseRouteStateStore(using)
    worker(using, Network().route(quotas=(DAY,)), store=store).run()
    assert sorted(states(using)) == [State.ACCEPTED, State.REJECTED]
    assert taken(store) == 1


def test_what_was_not_sent_since_the_connection_failed_costs_no_quota(using: str) -> None:
    """Nothing is charged before a terminator is permitted."""
    for n in range(4):
        queue(using, f"ok{n}@example.com")
    network, store = Network(), DatabaseRouteStateStore(using)
    network.is_down = True
    worker(using, network.route(quotas=(DAY,)), store=store).run()
    assert taken(store) == 0


def test_a_store_in_the_process_keeps_quotas_all_the_same(using: str) -> None:
    """Where the routes' tables are in no database, or in another one."""
    for n in range(12):
        queue(using, f"ok{n}@example.com")
    network = Network()
    worker(using, network.route(quotas=(DAY,)), store=MemoryRouteStateStore(), connections=3).run()
    assert sum(network.taken.values()) == 9


def test_thousands_that_wait_for_one_free_slot_do_not_crowd_it(using: str) -> None:
    """One is claimed, and no other row is touched, however many lines look."""
    messages = 500
    for n in range(messages):
        queue(using, f"ok{n}@example.com")
    network, store = Network(), DatabaseRouteStateStore(using)
    route = network.route(quotas=(DAY,))
    assert store.reserve(route, 8, priority=Priority.NORMAL)
    worker(using, route, store=store, connections=4).run()
    assert sum(network.taken.values()) == 1
    assert OutboxRecipient.objects.using(using).exclude(claim=0).count() == 1
    assert OutboxRecipient.objects.using(using).filter(state=State.QUEUED).count() == messages - 1


def test_what_is_over_while_a_claim_is_under_way_goes_back_untouched(using: str) -> None:
    """Somebody else uses the rest between the claim and the permission: nothing is sent, and nothing is lost."""
    for n in range(6):
        queue(using, f"ok{n}@example.com")
    network, store = Network(), DatabaseRouteStateStore(using)
    route = network.route(quotas=(DAY,))

    def use_the_rest(job: Job) -> None:
        DatabaseRouteStateStore(using).reserve(route, 8, priority=Priority.HIGH)

    network.before_send = use_the_rest
    worker(using, route, store=store).run()
    assert sum(network.taken.values()) == 1
    waiting = [one for one in rows(using) if one.state == State.QUEUED]
    assert (len(waiting), {one.attempts for one in waiting}) == (5, {0})


def test_a_row_that_many_change_at_once_is_charged_all_the_same(using: str) -> None:
    """Somebody is quicker each time: in the end the row is held, and what was promised is in it."""
    store, route = known(using), Network().route(quotas=(DAY,))
    connection, other = connections[using], connections.create_connection(using)
    table = connection.ops.quote_name(RouteState._meta.db_table)

    def be_quicker(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        if sql.startswith(f"UPDATE {table}") and not connection.in_atomic_block:
            with other.cursor() as cursor:
                cursor.execute(f"UPDATE {table} SET version = version + 1")
        return execute(sql, params, many, context)

    try:
        with connection.execute_wrapper(be_quicker):
            assert store.reserve(route, 9, priority=Priority.HIGH)
            assert not store.is_behind
            assert taken(store) == 10
            assert not store.reserve(route, 1, priority=Priority.HIGH)
    finally:
        other.close()


def test_what_is_still_to_be_given_back_is_given_back_once(using: str) -> None:
    """A commit that charges the row meanwhile does not give it back as well."""
    hand, store = claimed(using, 1), known(using)
    route = Network().route(quotas=(DAY,))
    assert store.reserve(route, 5, priority=Priority.HIGH)
    with answering_from_memory():
        store.settle(route, reserved=2, used=0, reserved_at=store.now())
        [written] = commit_together(using, [ask(store, hand[0])], keyring=Keyring())
    assert (written.permitted, written.reserved) == ([False], [False])
    store.flush()
    assert taken(store) == 4
    [written] = commit_together(using, [ask(store, hand[0])], keyring=Keyring())
    assert written.permitted == [True]
    assert taken(store) == 5


def _database(using: str) -> str:
    names = ("ENGINE", "NAME", "USER", "PASSWORD", "HOST", "PORT", "OPTIONS")
    settings: dict[str, Any] = connections[using].settings_dict
    return json.dumps({name: settings[name] for name in names})


@pytest.fixture
def crew(using: str) -> Callable[[int, str], list[str]]:
    """Runs so many worker processes over the test's database; what each has sent."""

    def run(count: int, limit: str) -> list[str]:
        processes = [
            subprocess.Popen(
                [sys.executable, "-m", "tests.outbox.quota_worker", _database(using), limit],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for _ in range(count)
        ]
        for one in processes:
            assert one.stdout is not None
            assert one.stdout.readline() == "ready\n"
        for one in processes:
            assert one.stdin is not None
            one.stdin.write("go\n")
            one.stdin.flush()
        return [address for one in processes for address in one.communicate(timeout=240)[0].split()]

    return run


@pytest.mark.parametrize("limit", [40, 4000])
def test_worker_processes_together_send_no_more_than_the_quota(
    using: str, crew: Callable[[int, str], list[str]], limit: int
) -> None:
    """Two real processes with several lines each, over a hundred messages: each is sent once, and as many as may be."""
    for n in range(100):
        queue(using, f"ok{n}@example.com")
    sent = crew(2, str(limit))
    assert len(sent) == len(set(sent)) == min(int(limit * 0.95), 100)
    store = DatabaseRouteStateStore(using)
    quota = Quota(window_seconds=86400, limit=limit)
    ledger = store.ledger(Network().route(quotas=(quota,)))
    # What was taken ahead may stay counted, where a worker had no time to give it back.
    assert used(ledger, quota, now=store.now()) >= len(sent)
