"""One client and one job: `python -m bench.speed.client NAME PORT COUNT CONNECTIONS [cold] [large] [flight=N]`.

Prints its cost. A process of its own for each measurement. Each connection's first two messages go before the clock
starts: a site has its code loaded (ours loads what a refusal needs behind the second message), and whoever can keep a
connection has it.
"""

import json
import sys
import threading
import time
from typing import Any

import django
from django.conf import settings

BACKENDS = {
    "Django": "django.core.mail.backends.smtp.EmailBackend",
    "reliable_email": "reliable_email.backends.ReliableSMTPBackend",
}


def main(
    name: str, port: int, count: int, connections: int, *, is_warm: bool, flight: int, is_large: bool = False
) -> None:
    """Send `count` messages over `connections`, each fed by a thread of its own; print seconds and CPU seconds."""
    options: dict[str, Any] = {"flight": flight, "on_unknown": "resend"} if flight else {}
    mailer = mailer_settings(BACKENDS[name], host="127.0.0.1", port=port, **options)
    settings.configure(DEFAULT_FROM_EMAIL="shop@example.org", USE_TZ=True, SECRET_KEY="bench", **mailer)
    django.setup()
    from bench.speed.sample import message

    messages = [message(number) for number in range(count)]
    if is_large:
        for one in messages:
            one.attach("report.pdf", bytes(range(256)) * 4096, "application/pdf")
    shares = [messages[start::connections] for start in range(connections)]
    sent: list[int] = []
    ready = threading.Barrier(connections + 1)

    def send(share: list[Any]) -> None:
        for number in (-2, -1) if is_warm else ():
            _send([message(number)], [])
        ready.wait()
        _send(share, sent)

    threads = [threading.Thread(target=send, args=(share,)) for share in shares]
    for thread in threads:
        thread.start()
    ready.wait()
    started, cpu_started = time.perf_counter(), time.process_time()
    for thread in threads:
        thread.join()
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu_started
    if sum(sent) != count:
        raise SystemExit(f"only {sum(sent)} of {count} messages were sent")
    print(json.dumps({"seconds": seconds, "cpu": cpu}))


def mailer_settings(backend: str, **options: Any) -> dict[str, Any]:
    """The settings of a site whose mail goes out by this backend."""
    if django.VERSION >= (6, 1):
        return {"MAILERS": {"default": {"BACKEND": backend, "OPTIONS": options}}}
    names = {"username": "EMAIL_HOST_USER", "password": "EMAIL_HOST_PASSWORD"}
    return {"EMAIL_BACKEND": backend} | {names.get(name, f"EMAIL_{name.upper()}"): one for name, one in options.items()}


def _send(messages: list[Any], sent: list[int]) -> None:
    from django.core import mail

    mailer: Any = mail.mailers.default if django.VERSION >= (6, 1) else mail.get_connection()
    sent.append(mailer.send_messages(messages))


if __name__ == "__main__":
    flights = [int(word.removeprefix("flight=")) for word in sys.argv if word.startswith("flight=")]
    main(
        sys.argv[1],
        *map(int, sys.argv[2:5]),
        is_warm="cold" not in sys.argv,
        flight=flights[0] if flights else 0,
        is_large="large" in sys.argv,
    )
