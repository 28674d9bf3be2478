"""Messages a second and round trips a message, over links with a delay and without, beside Django and Nodemailer.

The server is a sink of our own in C (`sink.c`, needs gcc); the delay is `link`. Nodemailer takes part where node and
its package are installed (tests/servers/node, `npm ci`).
"""

import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.speed.rows import Row, medians

_HERE = Path(__file__).parent
_NODEMAILER = _HERE.parent.parent / "tests" / "servers" / "node" / "node_modules" / "nodemailer"
_PYTHON_CLIENTS = ("Django", "reliable_email")
_TURNS = 3

Result = dict[str, float]


def rows() -> list[Row]:
    """Rates, CPU and exact counts; nothing, with the reason on stderr, where there is no C compiler."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        print("wire: skipped, there is no C compiler for the sink", file=sys.stderr)
        return []
    with _sink(compiler) as port:
        return [
            _round_trips(port),
            _cpu(port),
            _rate(port, count=2000, connections=1, delay=0.0, clients=_clients()),
            *(
                _rate(port, count=count * connections, connections=connections, delay=delay, clients=_clients())
                for delay, count in ((0.02, 60), (0.08, 40))
                for connections in (1, 5)
            ),
        ]


def _clients() -> tuple[str, ...]:
    if shutil.which("node") and _NODEMAILER.is_dir():
        return ("Django", "Nodemailer", "reliable_email")
    print("wire: without Nodemailer, which is not installed", file=sys.stderr)
    return _PYTHON_CLIENTS


def _rate(port: int, *, count: int, connections: int, delay: float, clients: tuple[str, ...]) -> Row:
    def measure(client: str) -> Callable[[], float]:
        def run() -> float:
            with _link(port, delay) if delay else contextlib.nullcontext((port, None)) as (link_port, _):
                return count / _run(client, link_port, count, connections)["seconds"]

        return run

    plural = "connection" if connections == 1 else "connections"
    return Row(
        what=f"build and send, {delay * 1000:.0f} ms round trip, {connections} {plural}",
        unit="messages/s",
        figures=medians({client: measure(client) for client in clients}, turns=_TURNS),
    )


def _cpu(port: int) -> Row:
    measure = {
        client: (lambda client=client: _run(client, port, 1000, 1)["cpu"] / 1000 * 1e6)  # type: ignore[misc]
        for client in _clients()
    }
    return Row(
        what="CPU of the client to build and send, one connection",
        unit="µs",
        figures=medians(measure, turns=_TURNS),
        more_is_better=False,
    )


def _round_trips(port: int) -> Row:
    """What two more batches cost divided by their messages: the set-up of the connection is not counted."""
    figures = {}
    for client in _clients():
        few, many = (_turns(client, port, count) for count in (20, 60))
        figures[client] = (many - few) / 40
    return Row(what="round trips a message (counted)", unit="", figures=figures, more_is_better=False)


def _turns(client: str, port: int, count: int) -> int:
    with _link(port, 0.002) as (link_port, link):
        _run(client, link_port, count, 1, "cold")  # one connection, and so one line
        assert link is not None
        assert link.stdout is not None
        return int(link.stdout.readline().split()[1])


def _run(client: str, port: int, count: int, connections: int, *temperature: str) -> Result:
    job = [str(port), str(count), str(connections), *temperature]
    if client == "Nodemailer":
        command = ["node", str(_HERE / "nodemailer.mjs"), str(_NODEMAILER), *job]
    else:
        command = [sys.executable, "-W", "ignore", "-m", "bench.speed.client", client, *job]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
    result: Result = json.loads(done.stdout.splitlines()[-1])
    return result


@contextlib.contextmanager
def _sink(compiler: str) -> Iterator[int]:
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "sink"
        subprocess.run([compiler, "-O2", "-o", str(program), str(_HERE / "sink.c")], check=True)
        with _program([str(program)]) as (port, _):
            yield port


@contextlib.contextmanager
def _link(port: int, delay: float) -> Iterator[tuple[int, "subprocess.Popen[str] | None"]]:
    with _program([sys.executable, "-m", "bench.speed.link", str(port), str(delay)]) as started:
        yield started


@contextlib.contextmanager
def _program(command: list[str]) -> Iterator[tuple[int, "subprocess.Popen[str]"]]:
    """A program that prints its port first."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline()), process
        finally:
            process.kill()
