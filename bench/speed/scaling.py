"""Several workers on one PostgreSQL: what each message costs whom, by number of workers and size of message.

`python -m bench.speed.scaling` prints the tables of docs/how-to/scale.md. The workers, the database and the server that
takes the mail share this machine's processors, so that the rate stops growing where they are used up: the costs of a
message are what carries over to another machine. Measure on a machine that does nothing else: the processes of every
database named PostgreSQL count.
"""

import argparse
import contextlib
import os
import resource
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings

settings.configure(DEFAULT_FROM_EMAIL="shop@example.org", USE_TZ=True, SECRET_KEY="bench")

from bench.speed.queues import OUTBOX, Site, postgres_database  # noqa: E402
from bench.speed.servers import sink  # noqa: E402

_ROOT = Path(__file__).parent.parent.parent
_POLL_SECONDS = 0.02
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """One drain, in milliseconds of CPU, commits and bytes for each message.

    What as many workers use to start, to find an empty queue and to end is measured first and left out: a worker of a
    site runs for days.

    Attributes:
        rate: messages a second, from the first to the last.
        interpreter: user time of the workers.
        calls: system time of the workers: sockets to the database and to the server.
        database: CPU of PostgreSQL's processes.
        server: CPU of the server that takes the mail.
        idle: share of the processors that nobody used.
        commits: transactions of the database.
        log_bytes: written to the write-ahead log.
        queued_log_bytes: written there before, when the messages were queued.
        stored_bytes: of the tables and their indexes, once the messages were queued.
    """

    rate: float
    interpreter: float
    calls: float
    database: float
    server: float
    idle: float
    commits: float
    log_bytes: float
    queued_log_bytes: float
    stored_bytes: float


def measure(site: Site, workers: int, count: int) -> Cost:
    """Fill the queue, and drain it by so many workers."""
    site.run("clear")
    idle = _sample(site.database)
    with _running(site, workers):
        pass
    empty = _sample(site.database)
    site.run("fill", count)
    filled = _sample(site.database)
    site.run("settle_down")
    taken_before = site.sink.counts()[0]
    before = _sample(site.database)
    with _running(site, workers) as processes:
        first = taken = 0
        last_at = began_at = time.perf_counter()
        began_jiffies: tuple[int, int] | None = None
        while taken < count and any(one.poll() is None for one in processes):
            time.sleep(_POLL_SECONDS)
            now_taken = site.sink.counts()[0] - taken_before
            if now_taken != taken:
                taken, last_at = now_taken, time.perf_counter()
            if taken and began_jiffies is None:
                began_at, first, began_jiffies = time.perf_counter(), taken, _processors()
        ended_jiffies = _processors()
    assert began_jiffies is not None, (site.folder / "workers.log").read_text()[-2000:]
    after = _sample(site.database)
    used = {name: (after[name] - before[name] - (empty[name] - idle[name])) / count for name in after}
    busy, total = (ended - began for ended, began in zip(ended_jiffies, began_jiffies, strict=True))
    return Cost(
        rate=(taken - first) / max(last_at - began_at, _POLL_SECONDS),
        interpreter=used["interpreter"] * 1000,
        calls=used["calls"] * 1000,
        database=used["postgres"] * 1000,
        server=used["sink"] * 1000,
        idle=1 - busy / max(1, total),
        commits=used["commits"],
        log_bytes=used["log"],
        queued_log_bytes=(filled["log"] - empty["log"]) / count,
        stored_bytes=(filled["bytes"] - empty["bytes"]) / count,
    )


@contextlib.contextmanager
def _running(site: Site, workers: int) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Run so many workers until they find the queue empty."""
    with (site.folder / "workers.log").open("w") as log:
        processes = [
            subprocess.Popen(site.queue.command, env=site.environment, cwd=_ROOT, stdout=log, stderr=log)
            for _ in range(workers)
        ]
        try:
            yield processes
        finally:
            for one in processes:
                one.wait(60)


def _sample(database: str) -> dict[str, float]:
    """Return seconds of CPU so far, of the workers that have ended and by program, and the database's counters."""
    import psycopg

    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    found = {"postgres": 0.0, "sink": 0.0}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, rest = path.read_text().partition("(")[2].rpartition(")")
        except OSError:
            continue
        if name in found:
            # utime, stime and, of the children that have ended, cutime and cstime: a session's goes to the postmaster.
            found[name] += sum(map(int, rest.split()[11:15])) / _TICKS
    with psycopg.connect(host="127.0.0.1", user="postgres", dbname="postgres", autocommit=True) as connection:
        row = connection.execute(
            "SELECT xact_commit, pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0'), pg_database_size(datname) "
            "FROM pg_stat_database WHERE datname = %s",
            [database],
        ).fetchone()
    assert row is not None
    workers = {"interpreter": children.ru_utime, "calls": children.ru_stime}
    return found | workers | {"commits": float(row[0]), "log": float(row[1]), "bytes": float(row[2])}


def _processors() -> tuple[int, int]:
    """Return the ticks that all processors have been busy, and all ticks."""
    ticks = list(map(int, Path("/proc/stat").read_text().splitlines()[0].split()[1:9]))
    return sum(ticks) - ticks[3] - ticks[4], sum(ticks)


@contextlib.contextmanager
def _site(size: int) -> Iterator[Site]:
    with (
        sink() as server,
        postgres_database("reliable_email_speed_scaling") as database,
        tempfile.TemporaryDirectory(prefix="speed-") as folder,
    ):
        site = Site(OUTBOX, server, Path(folder), database, server.port)
        site.environment["SPEED_BYTES"] = str(size)
        site.run("migrate")
        yield site


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(prog="bench.speed.scaling", description=__doc__)
    parser.add_argument("--count", type=int, default=10_000, help="messages of 2 kB; of larger ones, fewer")
    parser.add_argument("--workers", default="1,2,4", help="numbers of worker processes")
    parser.add_argument("--sizes", default="2,20,200", help="of a message, in kB")
    options = parser.parse_args()
    print(
        "| size | workers | messages/s | interpreter | system calls | PostgreSQL | server | idle | commits | log "
        "| log of queueing | stored |"
    )
    print("|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|")
    for size in map(int, options.sizes.split(",")):
        with _site(size * 1000) as site:
            count = max(500, min(options.count, options.count * 20 // size))
            for workers in map(int, options.workers.split(",")):
                cost = measure(site, workers, count)
                print(
                    f"| {size} kB | {workers} | {cost.rate:,.0f} | {cost.interpreter:.2f} ms | {cost.calls:.2f} ms | "
                    f"{cost.database:.2f} ms | {cost.server:.2f} ms | {cost.idle:.0%} | {cost.commits:.2f} | "
                    f"{cost.log_bytes / 1000:.1f} kB | {cost.queued_log_bytes / 1000:.1f} kB | "
                    f"{cost.stored_bytes / 1000:.1f} kB |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
