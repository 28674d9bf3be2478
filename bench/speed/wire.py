"""Messages a second and round trips a message, over links with a delay and without, beside Django and Nodemailer.

The server is a sink of our own in C (`sink.c`, needs gcc); the delay is `link`. Nodemailer takes part where node and
its package are installed (tests/servers/node, `npm ci`). Flights go to a real Postfix.
"""

import contextlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.speed.rows import OURS, Row, Scale, medians
from bench.speed.servers import link, postfix, sink

_HERE = Path(__file__).parent
_NODEMAILER = _HERE.parent.parent / "tests" / "servers" / "node" / "node_modules" / "nodemailer"
_FLIGHT = 20

Result = dict[str, float]


def rows(scale: Scale) -> Iterator[Row]:
    """Rates, CPU and exact counts.

    Raises:
        Missing: there is no C compiler.
    """
    with sink() as server:
        yield _round_trips(server.port)
        yield _cpu(server.port, scale)
        yield _rate(server.port, scale, count=2000, connections=1, delay=0.0, goals={"Django": 8.0})
        yield _large(server.port, scale)
        for delay, count in ((0.02, 60), (0.08, 24)):
            for connections in (1, 5):
                yield _rate(
                    server.port,
                    scale,
                    count=count * connections,
                    connections=connections,
                    delay=delay,
                    goals={"Django": 3.8, "Nodemailer": 1.9},
                )


_OTHERS = {
    "nagle": "a server that writes each reply alone, with Nagle's algorithm",
    "plain": "a server without PIPELINING",
    "unchained": "a server that refuses commands behind a final dot",
}


def other_rows(scale: Scale) -> Iterator[Row]:
    """Servers of other habits.

    Raises:
        Missing: there is no C compiler.
    """
    for word, what in _OTHERS.items():
        with sink(word) as server:
            count = scale.count(1000)
            yield Row(
                what=f"build and send, 0 ms round trip, {what}",
                unit="messages/s",
                figures=medians(
                    {one: _measure(one, server.port, count, 1, 0.0) for one in ("Django", OURS)}, turns=scale.turns
                ),
                goals={"Django": 1.2},
            )


def _large(port: int, scale: Scale) -> Row:
    count = scale.count(40)
    measure = {one: _measure(one, port, count, 1, 0.0, "large") for one in ("Django", OURS)}
    return Row(
        what="build and send, an attachment of 1 MB, 0 ms round trip",
        unit="MB/s",
        figures=medians(measure, turns=scale.turns),
        goals={"Django": 2.0},
    )


def flight_rows(scale: Scale) -> Iterator[Row]:
    """Flights of 20 to a real Postfix.

    Raises:
        Missing: there is no Postfix, or this is not root.
    """
    with postfix() as port:
        for delay, count, goal in ((0.02, 30, 40.0), (0.08, 12, 50.0)):
            measure = {
                "Django": _measure("Django", port, count, 1, delay),
                OURS: _measure(OURS, port, 1000, 1, delay, f"flight={_FLIGHT}"),
            }
            yield Row(
                what=f"flights of {_FLIGHT} to Postfix, {delay * 1000:.0f} ms round trip, 1 connection",
                unit="messages/s",
                figures=medians(measure, turns=scale.turns),
                goals={"Django": goal},
            )


def _clients() -> tuple[str, ...]:
    if shutil.which("node") and _NODEMAILER.is_dir():
        return ("Django", "Nodemailer", OURS)
    print("wire: without Nodemailer, which is not installed", file=sys.stderr)
    return ("Django", OURS)


def _rate(port: int, scale: Scale, *, count: int, connections: int, delay: float, goals: dict[str, float]) -> Row:
    # Over a link even a quick run needs enough of them for the set-up not to count.
    count = scale.count(count) if not delay else round(count * max(scale.share, 0.5))
    measure = {client: _measure(client, port, count, connections, delay) for client in _clients()}
    plural = "connection" if connections == 1 else "connections"
    return Row(
        what=f"build and send, {delay * 1000:.0f} ms round trip, {connections} {plural}",
        unit="messages/s",
        figures=medians(measure, turns=scale.turns),
        goals=goals,
    )


def _measure(client: str, port: int, count: int, connections: int, delay: float, *words: str) -> Callable[[], float]:
    def run() -> float:
        with contextlib.ExitStack() as links:
            to = links.enter_context(link(port, delay)).port if delay else port
            return count / _run(client, to, count, connections, *words)["seconds"]

    return run


def _cpu(port: int, scale: Scale) -> Row:
    count = scale.count(1000)
    measure = {
        client: (lambda client=client: _run(client, port, count, 1)["cpu"] / count * 1e6)  # type: ignore[misc]
        for client in _clients()
    }
    return Row(
        what="CPU of the client to build and send, one connection",
        unit="µs",
        figures=medians(measure, turns=scale.turns),
        more_is_better=False,
    )


def _round_trips(port: int) -> Row:
    """What forty more messages cost, divided by forty: the set-up of the connection is not counted."""
    figures = {}
    for client in _clients():
        few, many = (_turns(client, port, count) for count in (20, 60))
        figures[client] = (many - few) / 40
    return Row(
        what="round trips a message, one connection (counted)",
        unit="",
        figures=figures,
        more_is_better=False,
        at_most=1.05,
    )


def _turns(client: str, port: int, count: int) -> int:
    with link(port, 0.002) as counted:
        _run(client, counted.port, count, 1, "cold")  # one connection, and so one line
        return counted.turns()


def _run(client: str, port: int, count: int, connections: int, *words: str) -> Result:
    job = [str(port), str(count), str(connections), *words]
    if client == "Nodemailer":
        command = ["node", str(_HERE / "nodemailer.mjs"), str(_NODEMAILER), *job]
    else:
        command = [sys.executable, "-W", "ignore", "-m", "bench.speed.client", client, *job]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
    result: Result = json.loads(done.stdout.splitlines()[-1])
    return result
