"""Celery as the fleet that delivers: set `RELIABLE_EMAIL = {"ANNOUNCE": "celery"}` and let beat run the rest.

    app.conf.imports = ["reliable_email.integrations.celery"]
    app.conf.beat_schedule = {
        "sweep the outbox": {"task": "reliable_email.sweep", "schedule": 60.0, "options": {"expires": 60}},
        "look after the outbox": {"task": "reliable_email.maintain", "schedule": 3600.0},
    }

Tasks carry ids. They are acknowledged when they are done, and one that runs twice (a worker killed, a visibility
time-out) sends nothing twice, since the claim in the database decides. When a worker is told to shut down its tasks
finish what is in hand and give back the rest; before a time limit they begin nothing more.
"""

import mmap
from typing import Any

try:
    from celery import shared_task
    from celery.signals import worker_init, worker_process_shutdown, worker_shutting_down
except ImportError as error:  # pragma: no cover - the tests have it
    raise ImportError(
        "reliable_email.integrations.celery needs Celery: pip install 'django-reliable-email[celery]'"
    ) from error

from reliable_email.integrations.delivering import deliver_messages, process_ends
from reliable_email.integrations.delivering import maintain as look_after
from reliable_email.integrations.delivering import sweep as deliver_everything

# Shared with the children that a prefork pool forks from here on: only their parent hears of the end.
_is_shutting_down = mmap.mmap(-1, 1)
_limits: dict[str, float | None] = {"hard": None, "soft": None}


class BrokerURLUnreadable(Exception):
    """An unreadable URL of a broker. Its error quotes the URL, which may have a password, so that error is not told."""


@shared_task(  # type: ignore[untyped-decorator]
    name="reliable_email.deliver", bind=True, acks_late=True, reject_on_worker_lost=True, ignore_result=True
)
def deliver(self: Any, ids: list[int]) -> None:
    """Deliver these messages of the outbox."""
    deliver_messages(ids, limit_seconds=_limit(self), is_over=_is_over)


@shared_task(name="reliable_email.sweep", bind=True, ignore_result=True)  # type: ignore[untyped-decorator]
def sweep(self: Any) -> None:
    """Deliver whatever is due: retries, and what was never announced. For beat."""
    deliver_everything(limit_seconds=_limit(self), is_over=_is_over)


@shared_task(name="reliable_email.maintain", ignore_result=True)  # type: ignore[untyped-decorator]
def maintain() -> None:
    """Prune, and probe routes that carry no mail. For beat, where no `email_worker` runs."""
    look_after()


def announce(ids: list[int]) -> None:
    """Send a task that delivers these; it is not repeated, since a sweep finds what is lost.

    Raises:
        BrokerURLUnreadable: the broker's URL is none.
    """
    try:
        deliver.apply_async((ids,), retry=False)
    except ValueError:
        _connection()  # says the same without the URL
        raise


def prepare() -> None:
    """Import what speaks to the broker, as its URL says.

    Raises:
        BrokerURLUnreadable: it is no URL.
    """
    _connection().get_transport_cls()


def _connection() -> Any:
    try:
        return deliver.app.connection_for_write()
    except ValueError:
        words = "write what is no letter or digit in its user and password as %XX (/ as %2F)"
        raise BrokerURLUnreadable(f"the URL of the broker cannot be read: {words}") from None


def _limit(task: Any) -> float | None:
    """The shortest of the limits on this task's time: its message's, its own, its worker's."""
    given = task.request.timelimit or (None, None)
    known = (*given, task.time_limit, task.soft_time_limit, _limits["hard"], _limits["soft"])
    return min((float(one) for one in known if one), default=None)


def _is_over() -> bool:
    return _is_shutting_down[0] != 0


@worker_init.connect(weak=False)  # type: ignore[untyped-decorator]
def _begin(sender: Any = None, **kwargs: Any) -> None:
    """Before the pool is forked: what its children are to know."""
    _is_shutting_down[0] = 0
    _limits["hard"] = getattr(sender, "time_limit", None)
    _limits["soft"] = getattr(sender, "soft_time_limit", None)


@worker_shutting_down.connect(weak=False)  # type: ignore[untyped-decorator]
def _end(**kwargs: Any) -> None:
    _is_shutting_down[0] = 1


@worker_process_shutdown.connect(weak=False)  # type: ignore[untyped-decorator]
def _process_ends(**kwargs: Any) -> None:
    process_ends()
