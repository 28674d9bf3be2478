"""An outbox delivered by a task queue's fleet: tasks may be lost, doubled or killed; messages may not."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import django
import pytest

from reliable_email.testing.script import Script
from reliable_email.testing.server import ScriptedServer, hang
from tests.services import require
from tests.thoroughness import only_thoroughly

ROOT = Path(__file__).parent.parent.parent
WAIT_SECONDS = 120.0  # for a machine that has other things to do


class Fleet:
    """A site, its broker's name, and the processes that work for it."""

    def __init__(self, server: ScriptedServer, folder: Path, *, announce: str, broker: str = "") -> None:
        self.server = server
        self.environment = os.environ | {
            "DJANGO_SETTINGS_MODULE": "tests.sites.fleet",
            "FLEET_DATABASE": str(folder / "fleet.sqlite3"),
            "FLEET_PORT": str(server.port),
            "FLEET_ANNOUNCE": announce,
            "FLEET_BROKER": broker,
            "FLEET_QUEUE": f"test-{secrets.token_hex(6)}",
            "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}",
            "PYTHONWARNINGS": "ignore",
        }
        self.workers: list[subprocess.Popen[str]] = []
        self.run("migrate")

    def run(self, *step: str, **environment: str) -> str:
        """A step of the site, to its end."""
        done = subprocess.run(
            [sys.executable, "-m", "tests.sites.fleet", *step],
            env=self.environment | environment,
            capture_output=True,
            text=True,
            timeout=WAIT_SECONDS,
            check=False,
            cwd=ROOT,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def start(self, *command: str) -> subprocess.Popen[str]:
        """A worker that goes on until it is stopped."""
        worker = subprocess.Popen(
            [sys.executable, "-m", *command],
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=ROOT,
            start_new_session=True,
        )
        self.workers.append(worker)
        return worker

    def start_celery(self) -> subprocess.Popen[str]:
        """A Celery worker."""
        return self.start(
            "celery", "-A", "tests.sites.fleet", "worker", "--pool", "solo", "--without-mingle", "-l", "error"
        )

    def kill(self, worker: subprocess.Popen[str]) -> None:
        """End a worker at once."""
        os.killpg(worker.pid, signal.SIGKILL)
        worker.wait(10)

    def states(self) -> Counter[str]:
        """How many recipients are in each state."""
        return Counter(line.split()[1] for line in self.run("states").splitlines())

    def sweep_until(self, **wanted: int) -> None:
        """Sweep again and again, as beat does, until the outbox says so."""
        self.wait_for_states(lambda: self.run("sweep"), **wanted)

    def wait_for_states(self, meanwhile: Callable[[], object] = lambda: None, **wanted: int) -> None:
        """Wait until the outbox says so."""
        ends_at = time.monotonic() + WAIT_SECONDS
        while self.states() != Counter(wanted):
            meanwhile()
            assert time.monotonic() < ends_at, f"{self.states()} and not {wanted}; {self.server.story()}"

    @property
    def copies(self) -> Counter[str]:
        """How often each recipient has got a message."""
        return Counter(address for message in self.server.messages for address in message.recipients)


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    """Where the fleet sends."""
    with ScriptedServer() as one:
        yield one


@pytest.fixture
def make_fleet(server: ScriptedServer, tmp_path: Path) -> Iterator[Callable[..., Fleet]]:
    """Fleets whose workers end with the test."""
    fleets: list[Fleet] = []

    def make(**options: str) -> Fleet:
        fleets.append(Fleet(server, tmp_path, **options))
        return fleets[-1]

    yield make
    for fleet in fleets:
        for worker in fleet.workers:
            if worker.poll() is None:
                fleet.kill(worker)


BROKERS = {"rabbitmq": "amqp://guest:guest@127.0.0.1:5672//", "redis": "redis://127.0.0.1:6379/9"}


@pytest.fixture(params=BROKERS)
def celery_fleet(request: pytest.FixtureRequest, make_fleet: Callable[..., Fleet]) -> Fleet:
    """A site on Celery, once with each broker."""
    require(request.param)
    return make_fleet(announce="celery", broker=BROKERS[request.param])


@pytest.mark.timeout(600)
def test_a_celery_worker_delivers_what_is_queued(celery_fleet: Fleet) -> None:
    """Each message is announced after its commit and delivered once."""
    celery_fleet.start_celery()
    celery_fleet.run("queue", "5")
    celery_fleet.server.wait_for_messages(5, timeout=WAIT_SECONDS)
    celery_fleet.wait_for_states(accepted=5)
    assert set(celery_fleet.copies.values()) == {1}


@pytest.mark.timeout(600)
def test_a_lost_task_loses_nothing_and_a_doubled_one_sends_nothing_twice(celery_fleet: Fleet) -> None:
    """Half is never announced; everything is announced again; a sweep finds the rest."""
    celery_fleet.run("queue", "3", FLEET_ANNOUNCE="")
    celery_fleet.start_celery()
    celery_fleet.run("queue", "3")
    celery_fleet.server.wait_for_messages(3, timeout=WAIT_SECONDS)
    celery_fleet.run("sweep")
    celery_fleet.wait_for_states(accepted=6)
    celery_fleet.run("announce-again")
    celery_fleet.run("announce-again")
    celery_fleet.run("queue", "1")
    celery_fleet.server.wait_for_messages(7, timeout=WAIT_SECONDS)
    celery_fleet.wait_for_states(accepted=7)
    assert sum(celery_fleet.copies.values()) == 7


@pytest.mark.timeout(600)
def test_a_killed_celery_worker_leaves_no_second_copy(celery_fleet: Fleet) -> None:
    """It dies while the server thinks about the final reply: that message is unknown, the others arrive."""
    celery_fleet.server.behave(Script(final_reply=hang()), Script())
    worker = celery_fleet.start_celery()
    celery_fleet.run("queue", "1")
    celery_fleet.server.wait_for(lambda one: one.connections and one.connections[0].content_bytes, timeout=WAIT_SECONDS)
    celery_fleet.kill(worker)
    celery_fleet.run("queue", "2")
    celery_fleet.start_celery()
    celery_fleet.sweep_until(accepted=2, unknown=1)  # when the dead worker's lease is over, its claim is decided
    assert set(celery_fleet.copies.values()) == {1}


@only_thoroughly
@pytest.mark.timeout(600)
def test_a_broker_that_is_away_troubles_nobody(make_fleet: Callable[..., Fleet], tmp_path: Path) -> None:
    """Queueing goes on without it, and the sweep delivers; when it is back, announcements do."""
    if shutil.which("redis-server") is None:
        require("redis")
        pytest.skip("redis: redis-server is not installed, only something that answers in its place")
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    fleet = make_fleet(announce="celery", broker=f"redis://127.0.0.1:{port}/0")
    fleet.run("queue", "2")
    fleet.run("sweep")
    fleet.wait_for_states(accepted=2)
    broker = subprocess.Popen(
        ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(tmp_path)],
        stdout=subprocess.DEVNULL,
    )
    try:
        fleet.start_celery()
        fleet.run("queue", "2")
        fleet.server.wait_for_messages(4, timeout=WAIT_SECONDS)
        fleet.wait_for_states(accepted=4)
    finally:
        for worker in fleet.workers:
            fleet.kill(worker)
        broker.terminate()
        broker.wait(10)
    assert set(fleet.copies.values()) == {2}


@pytest.mark.skipif(django.VERSION < (6, 0), reason="django.tasks came with Django 6.0")
@only_thoroughly
@pytest.mark.timeout(600)
def test_django_tasks_deliver_by_whatever_backend_they_have(make_fleet: Callable[..., Fleet]) -> None:
    """A database worker of django-tasks-db; killed in the middle, it leaves no second copy, and a sweep goes on."""
    fleet = make_fleet(announce="tasks")
    fleet.server.behave(Script(final_reply=[None, None, None, hang()]), Script())
    fleet.run("queue", "3")
    worker = fleet.start("django", "db_worker", "--interval", "0.1")
    fleet.server.wait_for_messages(3, timeout=WAIT_SECONDS)
    fleet.wait_for_states(accepted=3)
    content_bytes = fleet.server.connections[0].content_bytes
    fleet.run("queue", "1")
    fleet.server.wait_for(lambda one: one.connections[0].content_bytes > content_bytes, WAIT_SECONDS)
    fleet.kill(worker)
    fleet.run("queue", "1")
    fleet.sweep_until(accepted=4, unknown=1)
    assert fleet.copies == {"user0@example.net": 2, "user1@example.net": 1, "user2@example.net": 1}
