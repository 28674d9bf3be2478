"""Celery as the fleet that delivers: set `RELIABLE_EMAIL = {"ANNOUNCE": "celery"}` and let beat run the sweep.

    app.conf.beat_schedule = {
        "sweep the outbox": {"task": "reliable_email.sweep", "schedule": 60.0},
    }

Tasks carry ids. They are acknowledged when they are done, and one that runs twice (a worker killed, a visibility
time-out) sends nothing twice, since the claim in the database decides.
"""

try:
    from celery import shared_task
except ImportError as error:  # pragma: no cover - the tests have it
    raise ImportError(
        "reliable_email.integrations.celery needs Celery: pip install django-reliable-email[celery]"
    ) from error

from reliable_email.integrations.delivering import deliver_messages
from reliable_email.integrations.delivering import sweep as deliver_everything


@shared_task(name="reliable_email.deliver", acks_late=True, reject_on_worker_lost=True, ignore_result=True)  # type: ignore[untyped-decorator]
def deliver(ids: list[int]) -> None:
    """Deliver these messages of the outbox."""
    deliver_messages(ids)


@shared_task(name="reliable_email.sweep", ignore_result=True)  # type: ignore[untyped-decorator]
def sweep() -> None:
    """Deliver whatever is due: retries, and what was never announced. For beat."""
    deliver_everything()
