"""One client and one job: `python -m bench.speed.client NAME PORT COUNT CONNECTIONS [cold]` prints what it took.

A process of its own for each measurement. One message goes before the clock starts: a site has its code loaded.
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


def main(name: str, port: int, count: int, connections: int, *, is_warm: bool) -> None:
    """Send `count` messages over `connections`, each fed by a thread of its own; print seconds and CPU seconds."""
    settings.configure(
        DEFAULT_FROM_EMAIL="shop@example.org", USE_TZ=True, SECRET_KEY="bench", **_mailer(BACKENDS[name], port)
    )
    django.setup()
    from bench.speed.sample import message

    messages = [message(number) for number in range(count)]
    shares = [messages[start::connections] for start in range(connections)]
    if is_warm:
        _send([message(-1)], [])
    sent: list[int] = []
    threads = [threading.Thread(target=_send, args=(share, sent)) for share in shares]
    started, cpu_started = time.perf_counter(), time.process_time()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu_started
    if sum(sent) != count:
        raise SystemExit(f"only {sum(sent)} of {count} messages were sent")
    print(json.dumps({"seconds": seconds, "cpu": cpu}))


def _mailer(backend: str, port: int) -> dict[str, Any]:
    if django.VERSION >= (6, 1):
        return {"MAILERS": {"default": {"BACKEND": backend, "OPTIONS": {"host": "127.0.0.1", "port": port}}}}
    return {"EMAIL_BACKEND": backend, "EMAIL_HOST": "127.0.0.1", "EMAIL_PORT": port}


def _send(messages: list[Any], sent: list[int]) -> None:
    from django.core import mail

    mailer: Any = mail.mailers.default if django.VERSION >= (6, 1) else mail.get_connection()
    sent.append(mailer.send_messages(messages))


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:5]), is_warm="cold" not in sys.argv)
