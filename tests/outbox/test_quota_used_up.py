"""A quota that is used up stops a lane and touches no row; verdict, log and `until_empty` know that, and the hour."""

import logging
import re
from collections import Counter
from collections.abc import Callable
from typing import Any

import django
import pytest
from django.core import mail
from django.db import connections

from reliable_email.classification import Cause
from reliable_email.delivery.breaker import Phase
from reliable_email.delivery.failures import local_failure
from reliable_email.delivery.policy import Effect
from reliable_email.delivery.route import Route
from reliable_email.delivery.route_memory import MemoryRouteStateStore, RouteEvent
from reliable_email.delivery.submission import Priority
from reliable_email.diagnosis.verdict import Health
from reliable_email.monitoring.health import examine_site
from reliable_email.monitoring.route_health import site_routes
from reliable_email.outbox.rows.claim import Wanted, claim
from reliable_email.outbox.rows.lanes import Lane, LaneBook, Turn
from reliable_email.outbox.upkeep import worker_row
from reliable_email.outbox.upkeep.standstill import Standstill
from reliable_email.providers import Quota
from reliable_email.store.memory.route_state import DatabaseRouteStateStore
from reliable_email.store.questions.lanes import due_lanes, lane_of
from reliable_email.store.sql.clock import DatabaseNow
from reliable_email.store.tables.recipients import OutboxRecipient
from reliable_email.store.tables.routes import Opening
from reliable_email.store.tables.states import PriorityRank, State
from tests.outbox.desk import queue, rows, states, worker
from tests.outbox.network import Network

DAY = (Quota(window_seconds=86400, limit=10),)
HOUR = r"it goes on at \d{4}-\d\d-\d\d \d\d:\d\d UTC"


def limited(network: Network) -> Route:
    """A route that takes ten a day."""
    return network.route(quotas=DAY)


def test_no_more_than_the_quota_is_sent_and_the_worker_ends(using: str, caplog: pytest.LogCaptureFixture) -> None:
    """Normal mail stops short of the limit, what waits keeps the time since when it is due, and it is said once."""
    caplog.set_level(logging.INFO, "reliable_email")
    for n in range(30):
        queue(using, f"ok{n}@example.com", priority=Priority.NORMAL if n % 2 else Priority.BULK)
    due = dict(OutboxRecipient.objects.using(using).values_list("id", "due_at"))
    network = Network()
    store = DatabaseRouteStateStore(using)
    for _ in range(3):
        worker(using, limited(network), store=store, connections=4).run()
    assert sum(network.taken.values()) == 9  # 95 % of ten
    waiting = OutboxRecipient.objects.using(using).filter(state=State.QUEUED)
    assert waiting.count() == 21
    assert {one.id: one.due_at for one in waiting} == {one.id: due[one.id] for one in waiting}
    assert {one.attempts for one in waiting} == {0}
    told = [record.getMessage() for record in caplog.records if "quota" in record.getMessage()]
    assert len(told) == 3, "one for each worker"
    assert re.search(HOUR, told[0])


def test_a_quota_a_minute_that_paces_mail_is_said_once_an_hour(caplog: pytest.LogCaptureFixture) -> None:
    """It is used up each minute while a newsletter goes out, which is what it is for."""
    caplog.set_level(logging.INFO, "reliable_email")
    now = [1_800_000_000.0]
    store = MemoryRouteStateStore(clock=lambda: now[0])
    route = Network().route(quotas=(Quota(window_seconds=60, limit=10),))
    standstill = Standstill(lambda mailer: [route], store, lambda mailer: 0)
    lane = Lane(PriorityRank.NORMAL, 1, "routes")

    def look() -> int | None:
        standstill.begin()
        room = standstill.room_for(lane)
        standstill.end()
        return room

    for _ in range(70):
        assert look() == 9
        assert store.reserve(route, 9, priority=Priority.NORMAL)
        assert look() == 0
        now[0] += 65.0
    told = [record.getMessage() for record in caplog.records]
    assert [line.split(":")[0] for line in told] == [
        "Mail of routes (normal) waits",
        "Mail of routes goes on",
        "Mail of routes (normal) waits",
        "Mail of routes goes on",
    ]


def test_what_is_urgent_has_the_reserve(using: str) -> None:
    """While normal mail waits for room, a password reset goes."""
    for n in range(12):
        queue(using, f"ok{n}@example.com")
    network, store = Network(), DatabaseRouteStateStore(using)
    worker(using, limited(network), store=store).run()
    queue(using, "urgent@example.com", priority=Priority.HIGH)
    worker(using, limited(network), store=store).run()
    assert "urgent@example.com" in [address for address, _ in network.taken]
    assert sum(network.taken.values()) == 10


def test_a_raised_limit_lets_mail_go_on(using: str) -> None:
    """The next worker that knows it sends."""
    for n in range(12):
        queue(using, f"ok{n}@example.com")
    network, store = Network(), DatabaseRouteStateStore(using)
    worker(using, limited(network), store=store).run()
    worker(using, network.route(quotas=(Quota(window_seconds=86400, limit=100),)), store=store).run()
    assert states(using) == [State.ACCEPTED] * 12


def test_a_lane_without_quota_costs_a_worker_nothing_but_looking(using: str) -> None:
    """Neither rows nor the route's state are written while nothing may go."""
    for n in range(12):
        queue(using, f"ok{n}@example.com")
    network, store = Network(), DatabaseRouteStateStore(using)
    worker(using, limited(network), store=store).run()
    one = worker(using, limited(network), store=store)
    seen: list[str] = []

    def note(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        seen.append(sql)
        return execute(sql, params, many, context)

    with connections[using].execute_wrapper(note):
        for _ in range(5):
            assert not one.wanted().turns
    assert not [sql for sql in seen if sql.lstrip().upper().startswith(("UPDATE", "INSERT", "DELETE"))]
    assert len(seen) <= 6  # lanes, names, routes, the clock; what is known is not asked again


def test_other_mailers_go_on(using: str) -> None:
    """One mailer's quota is nobody else's."""
    for n in range(12):
        queue(using, f"ok{n}@example.com")
    network, store = Network(), DatabaseRouteStateStore(using)
    worker(using, limited(network), store=store).run()
    queue(using, "free@example.com", mailer="free")
    other = Network("other")
    worker(using, other.route(), store=store, only_mailers=["free"]).run()
    assert [address for address, _ in other.taken] == ["free@example.com"]


@pytest.mark.parametrize("limit", [1, 2, 3, 10])
def test_many_recipients_of_one_message_go_as_far_as_the_quota_reaches(using: str, limit: int) -> None:
    """A message larger than the whole quota goes in parts; no recipient twice."""
    queue(using, *[f"ok{n}@example.com" for n in range(15)])
    network, store = Network(), DatabaseRouteStateStore(using)
    worker(using, network.route(quotas=(Quota(window_seconds=86400, limit=limit),)), store=store).run()
    assert sum(network.taken.values()) == max(int(limit * 0.95), 1)
    assert set(network.taken.values()) == {1}
    assert Counter(states(using))[State.QUEUED] == 15 - max(int(limit * 0.95), 1)


def test_two_workers_together_never_exceed_it(using: str) -> None:
    """Each with several lines, at once."""
    import threading

    for n in range(40):
        queue(using, f"ok{n}@example.com")
    network = Network()
    workers = [
        worker(using, limited(network), store=DatabaseRouteStateStore(using), connections=3, batch=2) for _ in range(2)
    ]
    threads = [threading.Thread(target=lambda one=one: one.run()) for one in workers]  # type: ignore[misc]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(network.taken.values()) <= 9


def test_a_closed_route_is_probed_by_one_message_and_the_others_are_not_touched(using: str) -> None:
    """When its time is over, one is claimed to find out."""
    for n in range(8):
        queue(using, f"ok{n}@example.com")
    network, store = Network(), DatabaseRouteStateStore(using)
    route = network.route()
    network.is_down = True
    over = local_failure(Cause.REPUTATION_BLOCKED, "blocked")
    from dataclasses import replace

    store.tell(route, RouteEvent(failure=replace(over, retry_after=0.001), effect=Effect.BLOCKED))
    worker(using, route, store=store, connections=4).run()
    touched = [one for one in rows(using) if one.claim]
    assert len(touched) == 1
    assert store.read(route).phase is Phase.OPEN


def test_openings_are_history(using: str) -> None:
    """Each is written once, with how it ended; another process's view is the same."""
    store, route = DatabaseRouteStateStore(using), Network().route()
    trouble = RouteEvent(failure=local_failure(Cause.DISCONNECTED, "gone"), effect=Effect.COUNT)
    for _ in range(6):
        store.tell(route, trouble)
    [opening] = Opening.objects.using(using).all()
    assert (opening.number, opening.reason, opening.closed_at) == (1, "disconnected", None)
    DatabaseRouteStateStore(using).tell(route, RouteEvent(failure=None))
    for _ in range(3):
        store.tell(route, trouble)
    first, second = Opening.objects.using(using).order_by("number")
    assert first.closed_at is not None
    assert (second.number, second.closed_at) == (2, None)


def test_lanes_are_found_by_skipping_and_served_in_turn(using: str) -> None:
    """High mail of all lanes before normal, and the lanes of one priority one after the other."""
    for mailer in ("a", "b", "c"):
        for _ in range(4):
            queue(using, mailer=mailer)
    queue(using, mailer="c", priority=Priority.HIGH)
    found = due_lanes(connections[using])
    assert {(rank, key) for rank, key, _ in found} == {
        (PriorityRank.NORMAL, lane_of("a")),
        (PriorityRank.NORMAL, lane_of("b")),
        (PriorityRank.NORMAL, lane_of("c")),
        (PriorityRank.HIGH, lane_of("c")),
    }
    book = LaneBook(using, "", poll_seconds=60.0)
    book.look(0)
    taken = []
    for _ in range(7):  # the second claim finds that nothing urgent is left
        turns = [Turn(lane) for lane in book.due() if not book.is_drained(lane)]
        wanted = Wanted(environment="", turns=turns[:1], noting=book)
        taken += [row.mailer for row in claim(using, wanted, worker="w", limit=1, lease_seconds=60).rows]
    assert taken[0] == "c"
    assert Counter(taken) == {"a": 2, "b": 2, "c": 2}


def test_lanes_of_another_environment_are_not_read(using: str) -> None:
    """A restored database may hold a million rows of the live site."""
    queue(using)
    OutboxRecipient.objects.using(using).update(environment="live", lane=lane_of("routes", environment="live"))
    book = LaneBook(using, "", poll_seconds=60.0)
    book.look(0)
    assert book.due() == []


def test_rows_without_a_lane_are_claimed_as_before(using: str) -> None:
    """A process of the earlier version has queued them."""
    queue(using)
    OutboxRecipient.objects.using(using).update(lane=0)
    network = Network()
    worker(using, network.route()).run()
    assert states(using) == [State.ACCEPTED]
    assert Lane(PriorityRank.NORMAL, 0) not in LaneBook(using, "", poll_seconds=1.0).due()


def use_quota(settings: Any, using: str, quota: str) -> None:
    """A site whose outbox delivers by one server with this quota."""
    settings.MAILERS = {
        "default": {
            "BACKEND": "reliable_email.backends.OutboxBackend",
            "OPTIONS": {"using": "smtp", "database": using},
        },
        "smtp": {
            "BACKEND": "reliable_email.backends.ReliableSMTPBackend",
            "OPTIONS": {"host": "127.0.0.1", "port": 9, "quota": quota},
        },
    }
    if django.VERSION < (6, 1):
        settings.EMAIL_BACKEND = "reliable_email.backends.DefaultMailer"


def test_the_verdict_names_the_hour(using: str, settings: Any) -> None:
    """DEGRADED, not HEALTHY, and not the age of a queue that could not have gone."""
    use_quota(settings, using, "10/day")
    [route] = site_routes()["default"]
    store = DatabaseRouteStateStore(using)
    for _ in range(9):
        assert store.reserve(route, 1, priority=Priority.NORMAL)
    worker_row.arrive(using, "w", "", 1)
    assert examine_site(using).verdict is Health.HEALTHY
    mail.send_mail("Hello", "World", "site@example.org", ["ada@example.com"])
    OutboxRecipient.objects.using(using).update(due_at=DatabaseNow(-7200.0))
    found = examine_site(using)
    assert found.verdict is Health.DEGRADED
    assert [one for one in found.findings if re.search(r"'smtp'.*\(normal\).*" + HOUR, one.text)] == list(
        found.findings
    )
    assert found.since is not None


@pytest.mark.parametrize("priority", [Priority.NORMAL, Priority.HIGH])
def test_a_quota_per_minute_is_a_pace_and_no_finding_until_mail_has_waited_for_long(
    using: str, settings: Any, priority: Priority
) -> None:
    """One a second, or ten a minute, is used up whenever somebody looks: no monitor is to call anybody for that."""
    use_quota(settings, using, "10/minute")
    [route] = site_routes()["default"]
    store = DatabaseRouteStateStore(using)
    while store.reserve(route, 1, priority=priority):
        pass
    worker_row.arrive(using, "w", "", 1)
    mail.send_mail("Hello", "World", "site@example.org", ["ada@example.com"])
    found = examine_site(using)
    assert (found.verdict, [one.text for one in found.findings]) == (Health.HEALTHY, [])
    OutboxRecipient.objects.using(using).update(due_at=DatabaseNow(-3600.0))
    if priority is Priority.HIGH:
        found = examine_site(using)
        assert found.verdict is Health.DEGRADED
        assert "quota" in found.findings[0].text
