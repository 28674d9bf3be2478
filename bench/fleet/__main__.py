"""What becomes of mail when a fleet of tasks delivers it and something breaks: `make fleet`.

Celery on Redis and on RabbitMQ, and django-tasks-db, on PostgreSQL; brokers are reached by a gate that can hang and be
down. For each case: recipients lost, reached twice, unknown, and still waiting after a minute; how late the last one
was; sessions and commits a mail, those that queue it included.
"""

import argparse
import contextlib
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from bench.fleet.gate import Gate
from reliable_email.testing.actions import both, pause, real
from reliable_email.testing.script import Script
from reliable_email.testing.server import ScriptedServer

ROOT = Path(__file__).resolve().parent.parent.parent
PAUSE = threading.Event().wait
PROCESSES = 2
TIMEOUT_SECONDS = 60.0
BROKERS = {"Redis": ("redis", 6379), "RabbitMQ": ("amqp", 5672)}
Kill = Callable[["Fleet"], None]


class Fleet:
    """A database, a server that takes its time, and the processes that run tasks.

    Args:
        broker: "Redis" or "RabbitMQ" for Celery; "" for django-tasks-db.
        limits: options of Celery's workers.
    """

    def __init__(self, server: ScriptedServer, folder: Path, gate: Gate | None, broker: str, limits: list[str]) -> None:
        self.server = server
        self.gate = gate
        self.broker = broker
        self._limits = limits
        self._folder = folder
        self._looks = 0
        self.database = f"fleet_{os.getpid()}_{secrets.token_hex(3)}"
        self.queue_name = f"fleet-{secrets.token_hex(6)}"
        url = ""
        if gate is not None:
            url = {
                "Redis": f"redis://127.0.0.1:{gate.port}/9",
                "RabbitMQ": f"amqp://guest:guest@127.0.0.1:{gate.port}//",
            }[broker]
        self.environment = os.environ | {
            "DJANGO_SETTINGS_MODULE": "bench.fleet.site",
            "FLEET_DATABASE": self.database,
            "FLEET_PORT": str(server.port),
            "FLEET_ANNOUNCE": "celery" if broker else "tasks",
            "FLEET_BROKER": url,
            "FLEET_QUEUE": self.queue_name,
            "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}",
            "PYTHONWARNINGS": "ignore",
        }
        self.workers: list[subprocess.Popen[bytes]] = []
        self._beat: subprocess.Popen[bytes] | None = None
        self.root = psycopg.connect(host="127.0.0.1", user="postgres", dbname="postgres", autocommit=True)
        self.root.execute(f'CREATE DATABASE "{self.database}"')
        self.step("migrate")

    def close(self) -> None:
        """End everything."""
        for one in [*self.workers, *([self._beat] if self._beat is not None else [])]:
            self.kill(one)
        self.root.execute(f'DROP DATABASE "{self.database}" WITH (FORCE)')
        self.root.close()

    def step(self, *words: str, **environment: str) -> None:
        """A step of the site, to its end."""
        command = [sys.executable, "-m", "bench.fleet.site", *words]
        subprocess.run(command, env=self.environment | environment, cwd=ROOT, check=True, timeout=120)

    def start(self) -> None:
        """The fleet's processes."""
        if self.broker:
            words = ["celery", "-A", "bench.fleet.site", "worker", "--concurrency", str(PROCESSES), "-l", "error"]
            self.workers.append(self._start([*words, "--without-mingle", *self._limits]))
            if self._beat is None:
                place = str(self._folder / "beat")
                self._beat = self._start(["celery", "-A", "bench.fleet.site", "beat", "-l", "error", "-s", place])
        else:
            for _ in range(PROCESSES):
                self.workers.append(self._start(["django", "db_worker", "--interval", "0.1"]))

    def _start(self, words: list[str]) -> subprocess.Popen[bytes]:
        log = (self._folder / "log").open("ab")
        with log:
            return subprocess.Popen(
                [sys.executable, "-m", *words],
                env=self.environment,
                cwd=ROOT,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def kill(self, one: subprocess.Popen[bytes], number: int = signal.SIGKILL) -> None:
        """End a process and its children."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(one.pid, number)
        one.wait(60)

    def children(self) -> list[int]:
        """The processes that run tasks: Celery's are children of its worker."""
        if not self.broker:
            return [one.pid for one in self.workers]
        parent = self.workers[-1].pid
        return [int(pid) for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]

    def wait_for(self, count: int) -> None:
        """Until the server has so many messages."""
        self.server.wait_for_messages(count, timeout=TIMEOUT_SECONDS)

    def change(self, words: str) -> None:
        """Change the database's settings, and end its sessions so that they see it."""
        self.root.execute(f'ALTER DATABASE "{self.database}" {words}')
        self.root.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [self.database])

    def used(self) -> tuple[int, int]:
        """Sessions and commits of the database so far, without those by which this program looked at it."""
        query = "SELECT sessions, xact_commit FROM pg_stat_database WHERE datname = %s"
        row = self.root.execute(query, [self.database]).fetchone()
        assert row is not None
        return int(row[0]) - self._looks, int(row[1]) - 2 * self._looks  # a session begins with a transaction

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """What the outbox says."""
        self._looks += 1
        with psycopg.connect(host="127.0.0.1", user="postgres", dbname=self.database) as own:
            return own.execute(sql).fetchall()

    def wait_until_settled(self) -> None:
        """Until everything has ended or is unknown; a sweep helps where the queue has no beat."""
        ends_at = time.monotonic() + TIMEOUT_SECONDS
        query = "SELECT count(*) FROM reliable_email_outboxrecipient WHERE state NOT IN ('accepted', 'unknown')"
        while self.rows(query)[0][0] and time.monotonic() < ends_at:
            if not self.broker:
                self.step("sweep")
            PAUSE(1.0)


def _nothing(fleet: Fleet) -> None:
    pass


def _kill_children(fleet: Fleet) -> None:
    fleet.wait_for(10)
    for pid in fleet.children():
        os.kill(pid, signal.SIGKILL)
    if not fleet.broker:
        fleet.start()


def _kill_parent(fleet: Fleet) -> None:
    fleet.wait_for(10)
    for one in fleet.workers:
        fleet.kill(one)
    fleet.start()


def _stop_with_backlog(fleet: Fleet) -> None:
    fleet.wait_for(10)
    began_at = time.monotonic()
    for one in fleet.workers:
        os.kill(one.pid, signal.SIGTERM)
    for one in fleet.workers:
        one.wait(60)
    print(f"    ended {time.monotonic() - began_at:.1f} s after SIGTERM", file=sys.stderr)
    fleet.start()


def _hang(fleet: Fleet) -> None:
    assert fleet.gate is not None
    fleet.wait_for(10)
    fleet.gate.hangs.set()
    PAUSE(5.0)
    fleet.gate.hangs.clear()


def _down(fleet: Fleet) -> None:
    assert fleet.gate is not None
    fleet.wait_for(10)
    fleet.gate.shut()
    PAUSE(5.0)
    fleet.gate.open()


def _flush(fleet: Fleet) -> None:
    fleet.wait_for(10)
    from kombu import Connection

    with Connection(fleet.environment["FLEET_BROKER"]) as broker:
        broker.default_channel.queue_purge(fleet.queue_name)


def _read_only(fleet: Fleet) -> None:
    fleet.wait_for(10)
    fleet.change("SET default_transaction_read_only = on")
    PAUSE(3.0)
    fleet.root.execute(f'ALTER DATABASE "{fleet.database}" RESET default_transaction_read_only')
    fleet.change("RESET default_transaction_read_only")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One misfortune.

    Attributes:
        copies: how often each message is announced; 0 for never.
        slow: how long each final reply takes.
        limits: options of Celery's worker, which make it a case of Celery's alone.
        needs_broker: whether it is about the broker.
    """

    happens: Kill = _nothing
    copies: int = 1
    slow: float = 0.1
    limits: tuple[str, ...] = ()
    needs_broker: bool = False


CASES = {
    "undisturbed": Case(),
    "every task lost": Case(copies=0),
    "every task three times": Case(copies=3),
    "its children killed": Case(happens=_kill_children),
    "the parent killed": Case(happens=_kill_parent),
    "SIGTERM with a backlog": Case(happens=_stop_with_backlog),
    "soft time limit of 4 s": Case(limits=("--soft-time-limit", "4"), slow=0.4),
    "hard time limit of 4 s": Case(limits=("--time-limit", "4"), slow=0.4),
    "broker hangs for 5 s": Case(happens=_hang, needs_broker=True),
    "broker down for 5 s": Case(happens=_down, needs_broker=True),
    "broker's queue flushed": Case(happens=_flush, needs_broker=True),
    "database read-only for 3 s": Case(happens=_read_only),
}


@contextlib.contextmanager
def _fleet(broker: str, case: Case) -> Iterator[Fleet]:
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        script = Script(final_reply=both(pause(case.slow), real()))
        server = stack.enter_context(ScriptedServer(script, keeps_content=False))
        gate = stack.enter_context(Gate(BROKERS[broker][1])) if broker else None
        fleet = Fleet(server, folder, gate, broker, list(case.limits))
        stack.callback(fleet.close)
        yield fleet


def measure(broker: str, name: str, count: int) -> list[str]:
    """One row of the table."""
    case = CASES[name]
    with _fleet(broker, case) as fleet:
        fleet.start()
        before = fleet.used()
        fleet.step("queue", str(count), str(case.copies), **({} if case.copies else {"FLEET_ANNOUNCE": ""}))
        case.happens(fleet)
        fleet.wait_until_settled()
        used = fleet.used()
        states = Counter(state for (state,) in fleet.rows("SELECT state FROM reliable_email_outboxrecipient"))
        late = fleet.rows(
            "SELECT max(extract(epoch FROM r.settled_at - m.created_at)) FROM reliable_email_outboxrecipient r "
            "JOIN reliable_email_outboxmessage m ON m.id = r.message_id"
        )[0][0]
        copies = Counter(address for one in fleet.server.messages for address in one.recipients)
        waiting = states.total() - states["accepted"] - states["unknown"]
        lost = count - states.total() + max(0, states["accepted"] - len(copies))
        twice = sum(1 for times in copies.values() if times > 1)
    sessions, commits = (now - then for now, then in zip(used, before, strict=True))
    figures = [
        lost,
        twice,
        states["unknown"],
        waiting,
        f"{late or 0:.1f}",
        f"{sessions / count:.1f}",
        f"{commits / count:.1f}",
    ]
    return [str(one) for one in figures]


def main() -> None:
    """Measure, and print a table for each queue."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=80, help="messages a case")
    parser.add_argument("--queues", default="Redis,RabbitMQ,tasks", help="of these")
    parser.add_argument("cases", nargs="*", help="words of the cases' names; by default all")
    options = parser.parse_args()
    for queue in options.queues.split(","):
        broker = "" if queue == "tasks" else queue
        print(f"\n{'Celery on ' + broker if broker else 'django-tasks-db'}, {options.count} messages a case")
        print(
            "| case | lost | twice | unknown | still waiting | last after s | sessions a mail | commits a mail |\n|---|"
            + "---:|" * 7
        )
        for name, case in CASES.items():
            if options.cases and not any(word in name for word in options.cases):
                continue
            if not broker and (case.needs_broker or case.limits):
                continue
            print(f"| {name} | {' | '.join(measure(broker, name, options.count))} |", flush=True)


if __name__ == "__main__":
    main()
