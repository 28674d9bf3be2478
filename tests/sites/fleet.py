"""A site whose outbox is delivered by a task queue's workers; what it is made of comes from the environment.

Run as a program it queues messages: `python -m tests.sites.fleet queue COUNT`, or sweeps: `… sweep`.
"""

import os
import sys

# One for all processes: what is known of a route is marked by it.
SECRET_KEY = "only for tests"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["django.contrib.contenttypes", "reliable_email"]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ["FLEET_DATABASE"],
        "OPTIONS": {"transaction_mode": "IMMEDIATE", "timeout": 30, "init_command": "PRAGMA journal_mode=WAL;"},
    }
}
MAILERS = {
    "default": {"BACKEND": "reliable_email.backends.OutboxBackend", "OPTIONS": {"using": "smtp"}},
    "smtp": {
        "BACKEND": "reliable_email.backends.ReliableSMTPBackend",
        "OPTIONS": {"host": "127.0.0.1", "port": int(os.environ["FLEET_PORT"])},
    },
}
EMAIL_BACKEND = "reliable_email.backends.DefaultMailer"
RELIABLE_EMAIL = {"ANNOUNCE": os.environ.get("FLEET_ANNOUNCE", ""), "LEASE_SECONDS": 5, "FINAL_REPLY_SECONDS": 60}
if RELIABLE_EMAIL["ANNOUNCE"] == "tasks":
    INSTALLED_APPS += ["django_tasks_db"]
    TASKS = {"default": {"BACKEND": "django_tasks_db.DatabaseBackend"}}

import django  # noqa: E402

if django.VERSION >= (6, 1):
    del EMAIL_BACKEND

if os.environ.get("FLEET_BROKER"):
    from celery import Celery

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.sites.fleet")
    app = Celery("fleet", broker=os.environ["FLEET_BROKER"], set_as_current=True)
    app.conf.update(
        task_ignore_result=True,
        task_default_queue=os.environ["FLEET_QUEUE"],
        broker_connection_retry_on_startup=True,
        broker_transport_options={"socket_timeout": 5, "socket_connect_timeout": 2, "max_retries": 1},
        task_publish_retry=False,
        worker_hijack_root_logger=False,
        imports=["reliable_email.integrations.celery"],
    )


def main(step: str, *arguments: str) -> None:
    """One step."""
    from django.core.management import call_command

    django.setup()
    match step:
        case "migrate":
            call_command("migrate", verbosity=0)
        case "queue":
            from django.core.mail import send_mail

            for n in range(int(arguments[0])):
                send_mail(f"message {n}", "body", "a@example.org", [f"user{n}@example.net"])
        case "announce-again":
            from reliable_email.integrations.celery import deliver
            from reliable_email.store.tables.messages import OutboxMessage

            for pk in OutboxMessage.objects.values_list("pk", flat=True):
                deliver.delay([pk])
        case "sweep":
            from reliable_email.integrations.delivering import sweep

            sweep()
        case "states":
            from reliable_email.store.tables.recipients import OutboxRecipient

            for address, state in OutboxRecipient.objects.order_by("pk").values_list("address", "state"):
                sys.stdout.write(f"{address} {state}\n")


if __name__ == "__main__":
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.sites.fleet"
    main(*sys.argv[1:])
