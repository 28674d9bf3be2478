"""Routes that carry no mail are looked at, so that a failover never finds a dead one; full ones are passed over."""

import threading

import pytest

from reliable_email.backends.smtp import ReliableSMTPBackend
from reliable_email.classification import Cause
from reliable_email.delivery.breaker import Permission, Phase
from reliable_email.delivery.failures import local_failure
from reliable_email.delivery.policy import Effect
from reliable_email.delivery.route import Route
from reliable_email.delivery.route_memory import MemoryRouteStateStore, RouteEvent, RouteStateStore
from reliable_email.outbox.upkeep.standby import probe_standby
from reliable_email.outbox.worker.process import Worker
from reliable_email.smtp.deadline import Deadline
from reliable_email.smtp.driver import pool
from reliable_email.smtp.failures import FailureKind, WireFailure
from reliable_email.smtp.stages import Stage
from reliable_email.store.memory.route_state import DatabaseRouteStateStore
from reliable_email.store.tables.states import State
from reliable_email.testing.script import Script
from reliable_email.testing.server import ScriptedServer
from tests.outbox.desk import queue, row, states, worker
from tests.outbox.network import Network

EVERY = 900.0


class Clock:
    """A time that stands still unless told otherwise."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        """Seconds."""
        return self.now


class Door:
    """Counts who looks, and says what is wrong."""

    def __init__(self, failure: WireFailure | None = None) -> None:
        self.failure = failure
        self.looks = 0

    def __call__(self, deadline: Deadline) -> WireFailure | None:
        """See `Route.probe`."""
        self.looks += 1
        return self.failure

    def route(self) -> Route:
        """A route whose door this is."""
        return Network("standby").route(probe=self)


DOWN = WireFailure(stage=Stage.CONNECT, kind=FailureKind.CONNECT_FAILED, detail="connection refused")


@pytest.fixture(params=["memory", "database"])
def store(request: pytest.FixtureRequest, using: str) -> RouteStateStore:
    """Either store."""
    return MemoryRouteStateStore() if request.param == "memory" else DatabaseRouteStateStore(using)


def test_a_route_is_looked_at_once_in_a_while(store: RouteStateStore) -> None:
    """By whoever comes first; the others find that it is not time."""
    door = Door()
    for _ in range(3):
        probe_standby([door.route()], store=store, every_seconds=EVERY)
    assert door.looks == 1


def test_workers_share_the_turn(using: str) -> None:
    """What one process has looked at, another does not look at again."""
    door = Door()
    for _ in range(3):
        probe_standby([door.route()], store=DatabaseRouteStateStore(using), every_seconds=EVERY)
    assert door.looks == 1


def test_a_route_that_fails_is_looked_at_sooner_and_opened() -> None:
    """Three failures in a row, a minute apart, take it out of use before a message needs it; then it comes back."""
    clock = Clock()
    store = MemoryRouteStateStore(clock=clock)
    door = Door(DOWN)
    for _ in range(3):
        probe_standby([door.route()], store=store, every_seconds=EVERY)
        clock.now += EVERY if door.looks == 1 else 61.0
    state = store.read(door.route())
    assert (door.looks, state.phase, state.reason) == (3, Phase.OPEN, Cause.CONNECT_FAILED)
    door.failure = None
    probe_standby([door.route()], store=store, every_seconds=EVERY)
    assert store.ask(door.route(), sender_domain="") is Permission.YES


def test_what_a_login_cannot_refute_is_left_to_a_message() -> None:
    """A quota that is used up says nothing at the login, so nobody is sent there to ask."""
    clock = Clock()
    store = MemoryRouteStateStore(clock=clock)
    door = Door()
    used_up = local_failure(Cause.QUOTA_EXCEEDED, "550 5.4.5 Daily user sending quota exceeded")
    store.tell(door.route(), RouteEvent(failure=used_up, effect=Effect.EXHAUSTED))
    clock.now += 7 * 86400.0
    assert probe_standby([door.route()], store=store, every_seconds=EVERY) == 0
    assert door.looks == 0


def test_a_paused_route_is_left_alone(store: RouteStateStore) -> None:
    """An operator's word."""
    door = Door()
    store.pause(door.route(), by="ada: maintenance")  # type: ignore[attr-defined]
    assert probe_standby([door.route()], store=store, every_seconds=EVERY) == 0


def test_a_refused_password_of_a_fallback_is_known_before_it_is_needed() -> None:
    """Over a real connection: 535 at the probe closes the route until a person acts."""
    store = MemoryRouteStateStore()
    with ScriptedServer(Script(auth="535 5.7.8 bad password"), login={"user": "word"}, tls="starttls") as server:
        route = ReliableSMTPBackend(alias="fallback", **server.options()).route()
        assert probe_standby([route], store=store, every_seconds=EVERY) == 1
    state = store.read(route)
    assert (state.reason, state.needs_person) == (Cause.AUTH_FAILED, True)
    assert server.messages == []


def test_a_worker_probes_the_routes_of_a_mailer_that_has_no_mail(using: str) -> None:
    """On a quiet site, too; nothing else would end this worker."""
    found: list[Worker] = []

    def look(deadline: Deadline) -> WireFailure | None:
        found[0].stop()
        return None

    route = Network("standby").route(probe=look)
    found.append(worker(using, route, until_empty=False, standby_mailers=("routes",), probe_seconds=EVERY))
    assert found[0].run() == 0


def test_a_full_route_is_passed_over_at_claim(using: str) -> None:
    """While all of a route's connections are at work, its mailer's messages stay for others to take."""
    full = threading.Event()
    full.set()
    network = Network()
    queue(using)
    one = worker(using, network.route(is_full=full.is_set), max_transactions=1)
    one.routes_of("routes")
    assert list(one.wanted().closed_mailers) == ["routes"]
    full.clear()
    one.run()
    assert states(using) == [State.ACCEPTED]


def test_more_lines_than_a_route_has_connections_lose_no_attempt(using: str) -> None:
    """Four lines on a route of one connection: all arrive over it, in one attempt each."""
    for _ in range(12):
        queue(using)
    with ScriptedServer() as server:
        route = ReliableSMTPBackend(alias="narrow", connections=1, **server.options()).route()
        worker(using, route, connections=4, batch=2).run()
        pool.reset()
    assert states(using) == [State.ACCEPTED] * 12
    assert len(server.connections) == 1
    assert len(server.messages) == 12


def test_overflow_of_the_first_route_does_not_go_to_the_second(using: str) -> None:
    """Being busy is no reason to leave the preferred route."""
    first, second = Network("first"), Network("second")
    busy = threading.Event()
    busy.set()
    queue(using)
    one = worker(using, first.route(is_full=busy.is_set), second.route())
    one.routes_of("routes")
    assert list(one.wanted().closed_mailers) == ["routes"]
    busy.clear()
    one.run()
    assert row(using).route == "first"
