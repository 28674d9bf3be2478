"""The outbox beside other queues: what a caller waits, how fast it drains, on how many connections, in how much memory.

Every queue has a site of its own (`settings`, `site`) and is drained by the command that its documentation names, in a
process of its own. Drains are cut after some seconds: a rate is known by then. PostgreSQL is the one at 127.0.0.1 (user
postgres), Redis the one at 127.0.0.1:6379, database 9.
"""

import contextlib
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from bench.speed.rows import OURS, Row, Scale, medians
from bench.speed.servers import Missing, Sink, link, sink

_ROOT = Path(__file__).parent.parent.parent
_REDIS = "redis://127.0.0.1:6379/9"
_POLL_SECONDS = 0.02
_START_SECONDS = 30.0
_TURNS = 2  # of drains, which take long
_MODULES = {"reliable_email": "reliable_email", "post_office": "post_office", "mailer": "mailer", "celery": "celery"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """One way to use one queue.

    Attributes:
        name: of the column.
        kind: of `settings`.
        way: of `settings`.
        command: what drains it.
    """

    name: str
    kind: str
    command: Sequence[str]
    way: str = ""


_PYTHON = (sys.executable, "-W", "ignore", "-m")
OUTBOX = Queue(name=OURS, kind="reliable_email", command=(*_PYTHON, "django", "email_worker", "--until-empty"))
FLIGHTS = Queue(name=OURS, kind="reliable_email", way="flights", command=OUTBOX.command)
PREPARED = Queue(name=OURS, kind="reliable_email", way="prepared", command=OUTBOX.command)
FIVE = Queue(name=OURS, kind="reliable_email", command=(*OUTBOX.command, "--connections", "5"))
POST_OFFICE = Queue(name="post_office", kind="post_office", command=(*_PYTHON, "django", "send_queued_mail"))
POST_OFFICE_BEST = Queue(
    name="post_office at its best", kind="post_office", way="best", command=(*POST_OFFICE.command, "--processes", "2")
)
MAILER = Queue(name="django-mailer", kind="mailer", command=(*_PYTHON, "django", "send_mail"))
CELERY = Queue(
    name="Celery, concurrency 2",
    kind="celery",
    command=(*_PYTHON, "celery", "-A", "bench.speed.celery_app", "worker", "--concurrency", "2", "-l", "WARNING"),
)


# Of `settings`.
_WAYS = {
    "quota": "two quotas",
    "preset": "a provider's preset and login",
    "receiver": "receivers of two signals",
    "encrypted": "encrypted at rest",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Drained:
    """What a drain came to.

    Attributes:
        rate: messages a second from the first one on: a worker is started once and runs for long.
        connections: to the server.
        count: of messages.
        megabytes: peak resident memory of the largest process.
    """

    rate: float
    connections: int
    count: int
    megabytes: float


@dataclass(slots=True)
class Site:
    """A queue with its tables, and the server that it sends to."""

    queue: Queue
    sink: Sink
    folder: Path
    database: str
    port: int
    environment: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self.environment = os.environ | {
            "DJANGO_SETTINGS_MODULE": "bench.speed.settings",
            "SPEED_QUEUE": self.queue.kind,
            "SPEED_WAY": self.queue.way,
            "SPEED_PORT": str(self.port),
            "SPEED_DATABASE": self.database,
            "SPEED_FOLDER": str(self.folder),
            "SPEED_BROKER": _REDIS,
            "PYTHONPATH": f"{_ROOT}{os.pathsep}{_ROOT / 'src'}",
        }

    def run(self, step: str, *arguments: int) -> dict[str, float]:
        """A step of `site`, to its end; what it measured."""
        command = [*_PYTHON, "bench.speed.site", step, *map(str, arguments)]
        done = subprocess.run(
            command, env=self.environment, cwd=_ROOT, check=False, capture_output=True, text=True, timeout=300
        )
        if done.returncode:
            raise Missing(f"{self.queue.name} failed at {step}: {done.stderr[-2000:]}")
        return dict(json.loads(done.stdout.splitlines()[-1]) or {})

    def drain(self, count: int, *, seconds: float) -> Drained:
        """Fill the queue anew and let it be drained, for so many seconds at most."""
        self.run("clear")
        self.run("fill", count)
        self.run("settle_down")
        before, connections_before = self.sink.counts()
        log = self.folder / "drain.log"
        with log.open("w") as output:
            process = subprocess.Popen(
                self.queue.command,
                env=self.environment,
                cwd=_ROOT,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
            began_at = time.perf_counter()
            first_at = 0.0
            first = taken = polls = 0
            kilobytes = 0
            last_at = began_at
            while taken < count and time.perf_counter() < (first_at or began_at + _START_SECONDS - seconds) + seconds:
                time.sleep(_POLL_SECONDS)
                polls += 1
                if polls % 10 == 0:
                    kilobytes = max(kilobytes, _peak_kilobytes(process.pid))
                now_taken = self.sink.counts()[0] - before
                if now_taken != taken:
                    taken, last_at = now_taken, time.perf_counter()
                if taken and not first_at:
                    first_at, first = time.perf_counter(), taken
            kilobytes = max(kilobytes, _peak_kilobytes(process.pid))
            _end(process, at_once=taken < count)
        if not taken:
            raise Missing(f"{self.queue.name} sent nothing: {log.read_text()[-2000:]}")
        return Drained(
            rate=(taken - first) / max(last_at - first_at, _POLL_SECONDS),
            connections=self.sink.counts()[1] - connections_before,
            count=taken,
            megabytes=kilobytes / 1024,
        )


def _peak_kilobytes(pid: int) -> int:
    """The peak resident memory of the largest process of a tree; 0 where it has ended."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    own = next((int(line.split()[1]) for line in lines if line.startswith("VmHWM")), 0)
    return max([own, *(_peak_kilobytes(int(child)) for child in children)])


def _end(process: "subprocess.Popen[bytes]", *, at_once: bool) -> None:
    """Let a program end by itself, or end it and its children."""
    try:
        if not at_once:
            process.wait(3.0)
            return
    except subprocess.TimeoutExpired:
        pass
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(3.0)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


@contextlib.contextmanager
def _sites(*queues: Queue, kind: str = "postgres", delay: float = 0.0) -> Iterator[dict[str, Site]]:
    """A site for each queue that is installed here, by its name."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(sink())
        port = stack.enter_context(link(server.port, delay)).port if delay else server.port
        sites = {}
        for queue in queues:
            reason = _missing(queue)
            if reason:
                print(f"without {queue.name}: {reason}", file=sys.stderr)
                continue
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="speed-")))
            database = str(folder / "queue.sqlite3")
            if kind == "postgres":
                database = stack.enter_context(postgres_database(f"reliable_email_speed_{queue.kind}{queue.way}"))
            sites[queue.name] = Site(queue, server, folder, database, port)
            sites[queue.name].run("migrate")
        yield sites


def _missing(queue: Queue) -> str:
    if importlib.util.find_spec(_MODULES[queue.kind]) is None:
        return "it is not installed (make bench installs it)"
    if queue.kind == "celery":
        with socket.socket() as probe:
            probe.settimeout(1.0)
            if probe.connect_ex(("127.0.0.1", 6379)):
                return "there is no Redis at 127.0.0.1:6379"
    return ""


@contextlib.contextmanager
def postgres_database(name: str) -> Iterator[str]:
    """Create an empty database of this name, and drop it afterwards.

    Raises:
        Missing: there is no PostgreSQL.
    """
    try:
        import psycopg
    except ImportError:
        raise Missing("psycopg is not installed") from None
    try:
        server = psycopg.connect(host="127.0.0.1", user="postgres", dbname="postgres", autocommit=True)
    except psycopg.OperationalError as error:
        raise Missing(f"there is no PostgreSQL: {error}") from error
    with server:
        server.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        server.execute(f'CREATE DATABASE "{name}"')
        try:
            yield name
        finally:
            server.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


def enqueue_rows(scale: Scale) -> Iterator[Row]:
    """What a caller waits for one message, and for ten thousand.

    Raises:
        Missing: a service is not here.
    """
    count = scale.count(1000)
    for kind, name in (("postgres", "PostgreSQL"), ("sqlite", "SQLite")):
        with _sites(POST_OFFICE, MAILER, OUTBOX, kind=kind) as sites:
            yield Row(
                what=f"enqueue one message, {name}, p50",
                unit="ms",
                figures=medians({one: _enqueue(site, count) for one, site in sites.items()}, turns=scale.turns),
                more_is_better=False,
                goals={POST_OFFICE.name: 1 / 0.6},
            )
            if kind == "postgres":
                many = scale.count(10_000)
                yield Row(
                    what=f"bulk enqueue of {many:,} messages, {name}",
                    unit="messages/s",
                    figures=medians({one: _bulk(site, many) for one, site in sites.items()}, turns=scale.turns),
                    goals={POST_OFFICE.name: 2.0, MAILER.name: 1.15},
                )
    with _sites(POST_OFFICE, MAILER, PREPARED) as sites:
        yield Row(
            what="enqueue one message, PostgreSQL, prepare_threshold of 5, p50",
            unit="ms",
            figures=medians({one: _enqueue(site, count) for one, site in sites.items()}, turns=scale.turns),
            more_is_better=False,
            goals={MAILER.name: 1.0},
        )


def _enqueue(site: Site, count: int) -> Callable[[], float]:
    def run() -> float:
        site.run("clear")
        return site.run("enqueue", count)["p50"] * 1000

    return run


def _bulk(site: Site, count: int) -> Callable[[], float]:
    def run() -> float:
        site.run("clear")
        return count / site.run("fill", count)["seconds"]

    return run


def drain_rows(scale: Scale) -> Iterator[Row]:
    """Ten thousand messages on PostgreSQL, one process, default settings.

    Raises:
        Missing: a service is not here.
    """
    count, seconds = scale.count(10_000), 10.0 * max(scale.share, 0.4)
    with _sites(POST_OFFICE, POST_OFFICE_BEST, MAILER, CELERY, OUTBOX) as sites:
        drained = _in_turns(sites, lambda site: site.drain(count, seconds=seconds), scale)
        yield Row(
            what=f"drain of {count:,}, PostgreSQL, one process, defaults",
            unit="messages/s",
            figures={name: median(one.rate for one in found) for name, found in drained.items()},
            goals={POST_OFFICE.name: 6.0, POST_OFFICE_BEST.name: 3.0, MAILER.name: 12.0, CELERY.name: 6.0},
        )
        yield Row(
            what=f"connections for {count:,} messages (counted)",
            unit="",
            figures={
                name: max(one.connections * count / one.count if name != OURS else one.connections for one in found)
                for name, found in drained.items()
            },
            more_is_better=False,
            at_most=8,  # the configured number
        )
    with _sites(POST_OFFICE, FLIGHTS) as sites:
        drained = _in_turns(sites, lambda site: site.drain(count, seconds=seconds), scale)
        yield Row(
            what=f"drain of {count:,} bulk messages in flights of 20, PostgreSQL",
            unit="messages/s",
            figures={name: median(one.rate for one in found) for name, found in drained.items()},
            goals={POST_OFFICE.name: 15.0},
        )
    for way, what in _WAYS.items():
        with _sites(Queue(name=OURS, kind="reliable_email", way=way, command=OUTBOX.command)) as sites:
            drained = _in_turns(sites, lambda site: site.drain(count, seconds=seconds), scale)
            yield Row(
                what=f"drain of {count:,}, PostgreSQL, one process, {what}",
                unit="messages/s",
                figures={name: median(one.rate for one in found) for name, found in drained.items()},
            )
    with _sites(OUTBOX, kind="sqlite") as sites:
        drained = _in_turns(sites, lambda site: site.drain(count, seconds=seconds), scale)
        yield Row(
            what=f"drain of {count:,}, SQLite, one process, defaults",
            unit="messages/s",
            figures={name: median(one.rate for one in found) for name, found in drained.items()},
        )


def far_rows(scale: Scale) -> Iterator[Row]:
    """A drain over a link of 80 ms, five connections each.

    Raises:
        Missing: a service is not here.
    """
    with _sites(POST_OFFICE, FIVE, delay=0.08) as sites:
        seconds = 8.0 * max(scale.share, 0.5)
        drained = _in_turns(sites, lambda site: site.drain(2000, seconds=seconds), scale)
    yield Row(
        what="drain over a link of 80 ms, 5 connections",
        unit="messages/s",
        figures={name: median(one.rate for one in found) for name, found in drained.items()},
        goals={POST_OFFICE.name: 3.8},
    )


def long_rows(scale: Scale) -> Iterator[Row]:
    """A hundred thousand messages in the queue beside ten thousand: does it get slower, does it grow?

    Raises:
        Missing: a service is not here.
    """
    few, many, seconds = scale.count(10_000), scale.count(100_000), 10.0 * max(scale.share, 0.4)
    with _sites(POST_OFFICE, MAILER, OUTBOX) as sites:
        short = _in_turns(sites, lambda site: site.drain(few, seconds=seconds), Scale(turns=1))
        long = _in_turns(sites, lambda site: site.drain(many, seconds=seconds), Scale(turns=1))
        names = list(sites)
    yield Row(
        what=f"rate with {many:,} queued, over the rate with {few:,}",
        unit="",
        figures={name: long[name][0].rate / short[name][0].rate for name in names},
        at_least=0.95,
    )
    yield Row(
        what=f"peak memory with {many:,} queued, over that with {few:,}",
        unit="",
        figures={name: long[name][0].megabytes / short[name][0].megabytes for name in names},
        more_is_better=False,
        at_most=1.1,
    )
    yield Row(
        what=f"peak memory of the worker with {many:,} queued",
        unit="MB",
        figures={name: long[name][0].megabytes for name in names},
        more_is_better=False,
        at_most=60,
    )


def _in_turns(sites: dict[str, Site], measure: Callable[[Site], Drained], scale: Scale) -> dict[str, list[Drained]]:
    found: dict[str, list[Drained]] = {name: [] for name in sites}
    for _ in range(min(scale.turns, _TURNS)):
        for name, site in sites.items():
            found[name].append(measure(site))
    return found
