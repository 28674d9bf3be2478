"""One conformance suite for every store of route state; and what only the shared one can promise."""

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from django.db import connections, transaction
from django.test import override_settings

from reliable_email import signals
from reliable_email.classification import Cause, Failure, Scope
from reliable_email.delivery import breaker
from reliable_email.delivery.breaker import BreakerState, Permission, Phase
from reliable_email.delivery.policy import Effect
from reliable_email.delivery.route import Route
from reliable_email.delivery.route_memory import MemoryRouteStateStore, RouteEvent, RouteStateStore
from reliable_email.delivery.submission import Priority
from reliable_email.providers import Quota
from reliable_email.store.memory.route_rows import breaker_from_json, breaker_to_json
from reliable_email.store.memory.route_state import (
    DatabaseRouteStateStore,
)
from reliable_email.store.tables.shared import RouteState
from tests.outbox.network import Network


def route(**changes: Any) -> Route:
    """A route with a configuration."""
    return Network().route(fingerprint="one", **changes)


def failure(cause: Cause = Cause.CONNECT_FAILED, *, retry_after: float | None = None) -> Failure:
    """A failure of the route."""
    return Failure(
        cause=cause,
        scope=Scope.ROUTE,
        permanent=False,
        certain=True,
        retry_after=retry_after,
        detail="connection refused",
    )


def failed(effect: Effect = Effect.COUNT, **changes: Any) -> RouteEvent:
    """An event of it."""
    return RouteEvent(failure=failure(**changes), effect=effect, sender_domain="example.org")


SUCCESS = RouteEvent(failure=None, sender_domain="example.org")


@pytest.fixture(params=["memory", "shared"])
def make_store(request: pytest.FixtureRequest, using: str) -> Callable[[], RouteStateStore]:
    """Gives stores as different processes would have them; in memory, the one process's."""
    if request.param == "memory":
        only = MemoryRouteStateStore()
        return lambda: only
    return lambda: DatabaseRouteStateStore(using)


def test_a_route_nobody_spoke_of_is_open_to_traffic(make_store: Callable[[], RouteStateStore]) -> None:
    """Nothing known means go."""
    store = make_store()
    assert store.read(route()).phase is Phase.CLOSED
    assert store.ask(route(), sender_domain="example.org") is Permission.YES
    store.tell(route(), SUCCESS)
    assert store.ask(route(), sender_domain="example.org") is Permission.YES


def test_three_failures_close_the_route_for_every_process(make_store: Callable[[], RouteStateStore]) -> None:
    """Failures in a row are counted together."""
    first, second = make_store(), make_store()
    first.tell(route(), failed())
    second.tell(route(), failed())
    first.tell(route(), failed())
    third = make_store()
    assert third.ask(route(), sender_domain="example.org") is Permission.NO
    assert third.read(route()).reason is Cause.CONNECT_FAILED
    assert "connection refused" in third.read(route()).evidence


def test_a_success_in_between_starts_the_count_again(make_store: Callable[[], RouteStateStore]) -> None:
    """Three in a row are meant."""
    store = make_store()
    for event in (failed(), failed(), SUCCESS, failed(), failed()):
        store.tell(route(), event)
    assert make_store().read(route()).phase is Phase.CLOSED


def test_another_configuration_is_asked_anew(make_store: Callable[[], RouteStateStore]) -> None:
    """A corrected password opens the route by itself."""
    store = make_store()
    store.tell(route(), failed(Effect.OPEN, cause=Cause.AUTH_FAILED))
    assert store.ask(route(), sender_domain="") is Permission.NO
    corrected = Network().route(fingerprint="two")
    assert make_store().ask(corrected, sender_domain="") is Permission.YES


def test_one_sender_domain_is_closed_without_the_others(make_store: Callable[[], RouteStateStore]) -> None:
    """An unverified sender closes no door to verified ones."""
    store = make_store()
    store.tell(route(), failed(Effect.CLOSE_SENDER, cause=Cause.SENDER_NOT_VERIFIED))
    assert make_store().ask(route(), sender_domain="example.org") is Permission.NO
    assert make_store().ask(route(), sender_domain="example.net") is Permission.YES


def test_what_is_told_is_seen_by_who_has_just_asked(make_store: Callable[[], RouteStateStore]) -> None:
    """An answer that was worked out before stands for nothing that came after it."""
    store = make_store()
    assert store.read(route()).failures == 0
    store.tell(route(), failed())
    assert store.read(route()).failures == 1


def test_the_success_of_one_domain_opens_no_other_one_and_hides_no_later_one(
    make_store: Callable[[], RouteStateStore],
) -> None:
    """While a sender domain is closed, what a success changes depends on whose it is."""
    store = make_store()
    store.tell(route(), failed(Effect.CLOSE_SENDER))
    store.tell(route(), RouteEvent(failure=None, sender_domain="other.example"))
    assert store.ask(route(), sender_domain="example.org") is Permission.NO
    store.tell(route(), SUCCESS)
    assert store.ask(route(), sender_domain="example.org") is Permission.YES


def test_the_probe_is_given_to_one_alone(make_store: Callable[[], RouteStateStore]) -> None:
    """When the time is over, one may try; the others wait for what it finds."""
    store = make_store()
    store.tell(route(), failed(Effect.BLOCKED, cause=Cause.REPUTATION_BLOCKED, retry_after=-5.0))
    answers = [make_store().ask(route(), sender_domain="") for _ in range(4)]
    assert answers.count(Permission.PROBE) == 1
    assert answers.count(Permission.NO) == 3
    make_store().tell(route(), SUCCESS)
    assert make_store().ask(route(), sender_domain="") is Permission.YES


def test_a_quota_is_shared_and_what_was_not_used_comes_back(make_store: Callable[[], RouteStateStore]) -> None:
    """Ten an hour are ten for all processes together."""
    limited = route(quotas=(Quota(window_seconds=3600, limit=10),))
    assert make_store().reserve(limited, 6, priority=Priority.HIGH)
    assert not make_store().reserve(limited, 6, priority=Priority.HIGH)
    make_store().settle(limited, reserved=6, used=2, reserved_at=time.time())
    assert make_store().reserve(limited, 6, priority=Priority.HIGH)
    assert not make_store().reserve(limited, 3, priority=Priority.HIGH)


def test_a_provider_that_says_enough_lowers_the_limit(make_store: Callable[[], RouteStateStore]) -> None:
    """Its own words win over the documented number."""
    limited = route(quotas=(Quota(window_seconds=3600, limit=100),))
    store = make_store()
    assert store.reserve(limited, 5, priority=Priority.HIGH)
    store.tell(limited, failed(Effect.EXHAUSTED, cause=Cause.QUOTA_EXCEEDED))
    assert not make_store().reserve(limited, 1, priority=Priority.HIGH)


def test_a_route_without_quotas_reserves_nothing(make_store: Callable[[], RouteStateStore]) -> None:
    """Nothing to count."""
    assert make_store().reserve(route(), 1_000_000, priority=Priority.BULK)


def test_threads_reserve_exactly_the_limit(using: str) -> None:
    """Twenty want one each of ten: ten get it."""
    limited = route(quotas=(Quota(window_seconds=3600, limit=10),))
    barrier = threading.Barrier(5)
    answers: list[bool] = []

    def run() -> None:
        store = DatabaseRouteStateStore(using)
        barrier.wait()
        try:
            answers.extend(store.reserve(limited, 1, priority=Priority.HIGH) for _ in range(4))
        finally:
            connections[using].close()

    threads = [threading.Thread(target=run) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(answers), sum(answers)) == (20, 10)


def test_nothing_is_read_or_written_inside_a_callers_transaction(using: str) -> None:
    """A rollback undoes nothing, no row lock is held; it is written at the first call outside."""
    store = DatabaseRouteStateStore(using)
    statements: list[str] = []

    def record(execute, sql, params, many, context):  # type: ignore[no-untyped-def]
        statements.append(sql)
        return execute(sql, params, many, context)

    with pytest.raises(ZeroDivisionError), transaction.atomic(using):
        with connections[using].execute_wrapper(record):
            store.tell(route(), failed(Effect.OPEN, cause=Cause.AUTH_FAILED))
            assert store.ask(route(), sender_domain="") is Permission.NO, "the process knows it"
        raise ZeroDivisionError
    assert statements == []
    assert RouteState.objects.using(using).count() == 0
    store.flush()
    assert DatabaseRouteStateStore(using).ask(route(), sender_domain="") is Permission.NO


def test_missing_tables_mean_state_in_the_process(using: str, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing raises; it is said once."""
    table = RouteState._meta.db_table
    with connections[using].schema_editor() as editor:
        editor.alter_db_table(RouteState, table, "elsewhere")
    try:
        store = DatabaseRouteStateStore(using)
        for _ in range(3):
            store.tell(route(), failed())
        assert store.ask(route(), sender_domain="") is Permission.NO
        assert caplog.text.count("kept in this process") == 1
    finally:
        with connections[using].schema_editor() as editor:
            editor.alter_db_table(RouteState, "elsewhere", table)


def test_a_pause_holds_in_every_process_until_it_is_lifted(using: str) -> None:
    """An operator's word is above success and failure."""
    DatabaseRouteStateStore(using).pause(route(), by="ada: maintenance")
    other = DatabaseRouteStateStore(using)
    other.tell(route(), SUCCESS)
    assert other.ask(route(), sender_domain="") is Permission.NO
    assert other.read(route()).paused_by == "ada: maintenance"
    other.resume(route())
    assert DatabaseRouteStateStore(using).ask(route(), sender_domain="") is Permission.YES


def test_who_resumes_a_route_knows_more_than_its_provider_said(make_store: Callable[[], Any]) -> None:
    """A limit that was learned when the quota ran out holds no longer; what was configured does."""
    limited = route(quotas=(Quota(window_seconds=86400, limit=10),))
    store = make_store()
    assert store.reserve(limited, 4, priority=Priority.HIGH)
    store.tell(limited, failed(Effect.EXHAUSTED, cause=Cause.QUOTA_EXCEEDED))
    assert not store.reserve(limited, 1, priority=Priority.HIGH)
    store.resume(limited)
    other = make_store()
    assert other.reserve(limited, 6, priority=Priority.HIGH)
    assert not other.reserve(limited, 1, priority=Priority.HIGH)


@pytest.mark.parametrize("is_shared", [True, False], ids=["database", "memory"])
def test_opening_and_closing_are_signalled(using: str, *, is_shared: bool) -> None:
    """Whoever wants to be told is told, with the reason, by either store."""
    heard: list[tuple[str, Any]] = []

    def on_open(**told: Any) -> None:
        heard.append(("opened", told["reason"]))

    def on_close(**told: Any) -> None:
        heard.append(("closed", told["route"]))

    signals.route_opened.connect(on_open)
    signals.route_closed.connect(on_close)
    try:
        store = DatabaseRouteStateStore(using) if is_shared else MemoryRouteStateStore()
        store.tell(route(), failed(Effect.OPEN, cause=Cause.AUTH_FAILED))
        store.resume(route())
    finally:
        signals.route_opened.disconnect(on_open)
        signals.route_closed.disconnect(on_close)
    assert heard == [("opened", Cause.AUTH_FAILED), ("closed", "route")]


def test_what_is_stored_reads_back_the_same() -> None:
    """And a field that a newer version wrote is passed over."""
    state = breaker.after_failure(
        BreakerState(fingerprint="x"), Effect.CLOSE_SENDER, failure(), now=5.0, sender_domain="example.org"
    )
    stored = breaker_to_json(state) | {"of_the_future": 1}
    assert breaker_from_json(stored) == state


def test_another_account_under_the_same_name_has_a_quota_of_its_own(make_store: Callable[[], RouteStateStore]) -> None:
    """Neither what the first one used nor what its provider said limits the second."""
    store, day = make_store(), (Quota(window_seconds=86_400, limit=4, unit="recipients"),)
    first = route(quotas=day)
    assert store.reserve(first, 3, priority=Priority.HIGH)
    store.tell(first, failed(Effect.EXHAUSTED, cause=Cause.QUOTA_EXCEEDED))
    assert not store.reserve(first, 1, priority=Priority.HIGH)
    assert store.reserve(replace(first, fingerprint="two"), 4, priority=Priority.HIGH)


def test_the_settings_say_how_much_of_a_quota_is_kept_for_what_is_urgent(make_store: Callable[[], Any]) -> None:
    """QUOTA_SOFT_LIMIT bounds what is ordinary, QUOTA_RESERVE what is bulk; high has all of it."""
    limited = route(quotas=(Quota(window_seconds=86400, limit=100),))
    with override_settings(RELIABLE_EMAIL={"QUOTA_SOFT_LIMIT": 0.5, "QUOTA_RESERVE": 0.7}):
        store = make_store()
        assert not store.reserve(limited, 31, priority=Priority.BULK)
        assert store.reserve(limited, 30, priority=Priority.BULK)
        assert not store.reserve(limited, 21, priority=Priority.NORMAL)
        assert store.reserve(limited, 20, priority=Priority.NORMAL)
        assert store.reserve(limited, 50, priority=Priority.HIGH)
        assert not store.reserve(limited, 1, priority=Priority.HIGH)
