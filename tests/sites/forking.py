"""A site whose processes are forks of one that has sent and queued mail already: what it had open must not be shared.

`application` is for WSGI servers that load it before they fork; `POST /direct/NAME` sends, `POST /queue/NAME` queues.
`app` is for Celery, whose task `post` does the same. A message says which process has made it.
"""

import os
import threading
from collections.abc import Callable, Iterable
from typing import Any

os.environ["DJANGO_SETTINGS_MODULE"] = "tests.sites.forking"
SECRET_KEY = "only for tests"
ALLOWED_HOSTS = ["*"]
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["django.contrib.contenttypes", "reliable_email"]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ["FORKING_DATABASE"],
        "OPTIONS": {"transaction_mode": "IMMEDIATE", "timeout": 30, "init_command": "PRAGMA journal_mode=WAL;"},
    }
}
MAILERS = {
    "default": {
        "BACKEND": "reliable_email.backends.ReliableSMTPBackend",
        "OPTIONS": {"host": "127.0.0.1", "port": int(os.environ["FORKING_PORT"]), "quota": "1000/day"},
    },
    "queue": {"BACKEND": "reliable_email.backends.OutboxBackend", "OPTIONS": {"using": "default"}},
}
EMAIL_BACKEND = "reliable_email.backends.DefaultMailer"
BROKER = os.environ.get("FORKING_BROKER", "")  # a folder, by which Celery's processes hand each other tasks
if BROKER:
    RELIABLE_EMAIL = {"ANNOUNCE": "celery"}

import django  # noqa: E402

if django.VERSION >= (6, 1):
    del EMAIL_BACKEND

if BROKER:
    from celery import Celery

    app = Celery("forking", broker="filesystem://", set_as_current=True)
    app.conf.update(
        broker_transport_options={
            "data_folder_in": BROKER,
            "data_folder_out": BROKER,
            "control_folder": f"{BROKER}-control",
            "polling_interval": 0.05,
        },
        task_ignore_result=True,
        worker_hijack_root_logger=False,
        imports=["reliable_email.integrations.celery"],
    )

Start = Callable[[str, list[tuple[str, str]]], Any]


def send(mailer: str, name: str) -> str:
    """One message; what became of it."""
    from django.core.mail import EmailMessage

    from reliable_email import delivery_of, submit

    made_by = {"X-Process": str(os.getpid())}
    message = EmailMessage("subject", "body", "a@example.org", [f"{name}@example.net"], headers=made_by)
    if mailer == "queue":
        submit(message, using="queue")
        return "queued"
    message.send()
    return str(delivery_of(message).recipients[f"{name}@example.net"].outcome)


if BROKER:
    app.task(send, name="post")


def application(environ: dict[str, Any], start: Start) -> Iterable[bytes]:
    """See the module; the answer names the process."""
    _, mailer, name = environ["PATH_INFO"].split("/")
    try:
        words = send(mailer, name)
    finally:
        from django.core.signals import request_finished

        request_finished.send(None)
    start("200 OK", [("Content-Type", "text/plain")])
    return [f"{words} {os.getpid()}".encode()]


class Holder:
    """A thread that holds locks whenever the process forks; it is not in the child."""

    def __init__(self) -> None:
        self._is_held, self._is_over = threading.Event(), threading.Event()

    def begin(self) -> None:
        """Before a fork."""
        self._is_held, self._is_over = threading.Event(), threading.Event()
        threading.Thread(target=self._hold, daemon=True).start()
        self._is_held.wait(10)

    def end(self) -> None:
        """After it, in the parent."""
        self._is_over.set()

    def _hold(self) -> None:
        from reliable_email.integrations import announcing, delivering
        from reliable_email.smtp.driver.pool import pool
        from reliable_email.store.memory import route_state

        with pool._condition, route_state.database_store()._lock, announcing._process._changed, delivering._lock:
            self._is_held.set()
            self._is_over.wait()


if not os.environ.get("FORKING_STEP"):
    django.setup()
    send("direct", "parent")
    send("queue", "parent-queued")
    if not os.environ.get("FORKING_GEVENT"):
        holder = Holder()
        os.register_at_fork(before=holder.begin, after_in_parent=holder.end)
