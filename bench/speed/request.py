"""One `send_mail` of a web request over STARTTLS and AUTH: what the caller waits, and what CPU it costs.

Each client's messages go one by one, as requests of one warm process do: Django makes a backend for each, and with it
a TLS context, a connection and a login. `python -m bench.speed.request CLIENT PORT COUNT` is one client's process.
"""

import functools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench.speed.rows import OURS, Row, Scale
from bench.speed.servers import link, submission_server

_DELAY = 0.08


def rows(scale: Scale) -> Iterator[Row]:
    """Time and CPU of one message."""
    count = scale.count(8, at_least=4)
    seen: dict[str, list[dict[str, float]]] = {"Django": [], OURS: []}
    with tempfile.TemporaryDirectory() as folder:
        bundle = Path(folder) / "ca.pem"
        with submission_server(bundle) as port, link(port, _DELAY) as delayed:
            for _ in range(scale.turns):
                for client, results in seen.items():
                    results.append(_run(client, delayed.port, count, bundle))
    for name, what, unit, goal in (
        ("seconds", "send_mail with STARTTLS and AUTH, 80 ms round trip, warm: time", "ms", 5.0),
        ("cpu", "send_mail with STARTTLS and AUTH, 80 ms round trip, warm: CPU", "ms", 6.0),
    ):
        figures = {client: statistics.median(one[name] for one in results) * 1000 for client, results in seen.items()}
        yield Row(what=what, unit=unit, figures=figures, more_is_better=False, goals={"Django": goal})


def _run(client: str, port: int, count: int, bundle: Path) -> dict[str, float]:
    command = [sys.executable, "-W", "ignore", "-m", "bench.speed.request", client, str(port), str(count)]
    environment = os.environ | {"SSL_CERT_FILE": str(bundle)}
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=300, env=environment)
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def main(client: str, port: int, count: int) -> None:
    """Send `count` messages, one at a time, after one that is not measured; print the medians."""
    import django
    from django.conf import settings

    from bench.speed.client import BACKENDS, mailer_settings
    from bench.speed.submission import PASSWORD, USER

    options = {"host": "localhost", "port": port, "username": USER, "password": PASSWORD, "use_tls": True}
    mailer = mailer_settings(BACKENDS[client], **options)
    settings.configure(DEFAULT_FROM_EMAIL="shop@example.org", USE_TZ=True, SECRET_KEY="bench", **mailer)
    django.setup()
    from django.core.mail import send_mail

    text = "Dear Ms Example,\n\nwe have your order, and your payment.\n" * 12
    send = functools.partial(send_mail, "Your order", text, None, ["customer@example.net"], html_message=f"<p>{text}")
    send()
    seconds, cpu = [], []
    for _ in range(count):
        started, cpu_started = time.perf_counter(), time.process_time()
        send()
        seconds.append(time.perf_counter() - started)
        cpu.append(time.process_time() - cpu_started)
    print(json.dumps({"seconds": statistics.median(seconds), "cpu": statistics.median(cpu)}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
