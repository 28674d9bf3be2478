"""The peer without tables: a Celery task that sends one message by Django's own backend, with Redis for a broker."""

import os
import warnings

warnings.simplefilter("ignore")
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "bench.speed.settings")

import django  # noqa: E402
from celery import Celery  # noqa: E402

django.setup()
app = Celery("speed", broker=os.environ["SPEED_BROKER"])
app.conf.task_ignore_result = True


@app.task  # type: ignore[untyped-decorator]
def send(number: int) -> None:
    """Build and send message `number`."""
    from bench.speed.sample import message

    message(number).send()
