"""django.tasks (Django 6.0 and later) as the fleet that delivers, by any of its backends: RQ, SQS, a database.

Set `RELIABLE_EMAIL = {"ANNOUNCE": "tasks"}`. Something has to run the sweep now and then (cron, or any worker of this
package): `python manage.py email_worker --until-empty`, or `sweep.enqueue()`; and `maintain` once an hour, where no
`email_worker` runs for long. A signal that ends the process of the tasks lets them finish what is in hand.
"""

try:
    from django.tasks import task
except ImportError as error:  # pragma: no cover - depends on the version of Django
    raise ImportError("reliable_email.integrations.tasks needs django.tasks, which Django has from 6.0 on") from error

from reliable_email.integrations.delivering import deliver_messages
from reliable_email.integrations.delivering import maintain as look_after
from reliable_email.integrations.delivering import sweep as deliver_everything


@task()
def deliver(ids: list[int]) -> None:
    """Deliver these messages of the outbox."""
    deliver_messages(ids)


@task()
def sweep() -> None:
    """Deliver whatever is due: retries, and what was never announced."""
    deliver_everything()


@task()
def maintain() -> None:
    """Prune, and probe routes that carry no mail."""
    look_after()


def announce(ids: list[int]) -> None:
    """Enqueue a task that delivers these."""
    deliver.enqueue(ids)


def prepare() -> None:
    """Prepare nothing: the task backend is imported with its settings."""
