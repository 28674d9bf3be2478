"""A site whose outbox is delivered by the tasks of a fleet: `python -m bench.fleet.site STEP …`.

`migrate`; `queue COUNT [COPIES]` queues in commits of ten and announces each message COPIES times; `sweep`.
"""

import os
import sys

import django

# One for all processes: what is known of a route is marked by it.
SECRET_KEY = "only for a benchmark"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["django.contrib.contenttypes", "reliable_email"]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": "127.0.0.1",
        "USER": "postgres",
        "NAME": os.environ["FLEET_DATABASE"],
    }
}
MAILERS = {
    "default": {"BACKEND": "reliable_email.backends.OutboxBackend", "OPTIONS": {"using": "smtp"}},
    "smtp": {
        "BACKEND": "reliable_email.backends.ReliableSMTPBackend",
        "OPTIONS": {"host": "127.0.0.1", "port": int(os.environ["FLEET_PORT"])},
    },
}
if django.VERSION < (6, 1):
    EMAIL_BACKEND = "reliable_email.backends.DefaultMailer"
RELIABLE_EMAIL = {"ANNOUNCE": os.environ["FLEET_ANNOUNCE"], "LEASE_SECONDS": 5, "FINAL_REPLY_SECONDS": 60}
if RELIABLE_EMAIL["ANNOUNCE"] == "tasks":
    INSTALLED_APPS += ["django_tasks_db"]
    TASKS = {"default": {"BACKEND": "django_tasks_db.DatabaseBackend"}}

if os.environ.get("FLEET_BROKER"):
    from celery import Celery

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "bench.fleet.site")
    app = Celery("fleet", broker=os.environ["FLEET_BROKER"], set_as_current=True)
    app.conf.update(
        task_ignore_result=True,
        task_default_queue=os.environ["FLEET_QUEUE"],
        broker_connection_retry_on_startup=True,
        broker_transport_options={"socket_timeout": 5, "socket_connect_timeout": 2, "visibility_timeout": 20},
        worker_hijack_root_logger=False,
        imports=["reliable_email.integrations.celery"],
        beat_schedule={"sweep": {"task": "reliable_email.sweep", "schedule": 3.0, "options": {"expires": 3}}},
    )


def main(step: str, *words: str) -> None:
    """One step."""
    from django.core.management import call_command
    from django.db import transaction

    django.setup()
    match step:
        case "migrate":
            call_command("migrate", verbosity=0)
        case "queue":
            from django.core.mail import send_mail

            from reliable_email.integrations.announcing import announce
            from reliable_email.store.tables.messages import OutboxMessage

            for start in range(0, int(words[0]), 10):
                with transaction.atomic():
                    for number in range(start, min(start + 10, int(words[0]))):
                        send_mail("subject", "body", "a@example.org", [f"user{number}@example.net"])
            for _ in range(int(words[1]) - 1 if len(words) > 1 else 0):
                announce(OutboxMessage.objects.values_list("pk", flat=True))
        case "sweep":
            from reliable_email.integrations.delivering import sweep

            sweep()


if __name__ == "__main__":
    os.environ["DJANGO_SETTINGS_MODULE"] = "bench.fleet.site"
    main(*sys.argv[1:])
