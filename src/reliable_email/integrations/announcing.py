"""Announces queued messages to a task queue, after the commit; losing an announcement loses nothing."""

import logging
from collections.abc import Callable
from typing import Any

from reliable_email import signals

logger = logging.getLogger("reliable_email.outbox")


def connect() -> None:
    """Do as `RELIABLE_EMAIL["ANNOUNCE"]` says; called when the app is ready, and imports nothing until then."""
    signals.message_queued.connect(_on_queued, dispatch_uid="reliable_email.announcing", weak=False)


def _on_queued(*, outbox_id: int, **kwargs: Any) -> None:
    from reliable_email import conf

    announce = _announcer(conf.get().announce)
    if announce is None:
        return
    try:
        announce(outbox_id)
    except Exception:
        from reliable_email.delivery.logged import log_fields

        words = "A queued message could not be announced; a sweep or a worker will find it."
        logger.warning(words, exc_info=True, extra=log_fields(outbox_id=outbox_id))


def _announcer(name: str) -> Callable[[int], object] | None:
    match name:
        case "celery":
            from reliable_email.integrations.celery import deliver as deliver_by_celery

            return lambda pk: deliver_by_celery.delay([pk])
        case "tasks":
            from reliable_email.integrations.tasks import deliver as deliver_by_task

            return lambda pk: deliver_by_task.enqueue([pk])
        case _:
            return None
