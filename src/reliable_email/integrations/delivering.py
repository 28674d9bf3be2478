"""The work of delivering tasks: deliver some messages, deliver whatever is due, look after the rest.

A task is not a worker. `deliver_messages` takes what can be claimed at once and ends, without a keeper, and all tasks
of a process share one row among the workers. A sweep is a worker for some seconds, and there is one at a time: whoever
comes meanwhile leaves at once, so that sweeps do not fill a fleet.
"""

import threading
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import timedelta

from django.db import DEFAULT_DB_ALIAS, router

from reliable_email import conf
from reliable_email.backends.failover import routes_for
from reliable_email.backends.routes import outbox_mailers
from reliable_email.delivery.route_memory import store_in_use
from reliable_email.integrations.announcing import announce_soon
from reliable_email.integrations.registration import ProcessRegistration, SweepRegistration, SweepUnderWay
from reliable_email.outbox.keyring import configured_keyring
from reliable_email.outbox.operations.prune import Pruned, prune
from reliable_email.outbox.upkeep.counters import Tallies
from reliable_email.outbox.upkeep.duties import Upkeep
from reliable_email.outbox.upkeep.registration import Registration
from reliable_email.outbox.worker.process import Worker, WorkerOptions
from reliable_email.outbox.worker.stopping import Stopping
from reliable_email.process_state import remember
from reliable_email.store.tables.messages import OutboxMessage

SWEEP_SECONDS = 30.0
# Claimed at once. Somebody else may end the process: little is in hand then, and lines share what little is due.
_MOST_OF_A_TASK = 25
_MOST_OF_A_SWEEP = 10
_TASK_SECONDS = 300.0  # then another one may go on: a database that is away for hours takes no slots of the fleet
_LIMIT_SHARE = 0.5  # of somebody else's limit on time: the rest is for replies that are awaited
_END_SHARE, _MOST_END_SECONDS = 0.25, 15.0  # of it, to end in order: who is killed leaves all that it holds to rescue
_registrations: dict[str, ProcessRegistration] = {}
_lock = threading.Lock()


def deliver_messages(
    ids: Iterable[int],
    *,
    using: str | None = None,
    limit_seconds: float | None = None,
    is_over: Callable[[], bool] = lambda: False,
) -> int:
    """Deliver these messages, if they are due and not claimed; return the number of transactions.

    Args:
        limit_seconds: after so long the caller will be interrupted; None for never.
        is_over: asked again and again whether to stop: finish what is in hand, and give back the rest.

    Raises:
        ValueError: one of these is no number of a message.
    """
    wanted = tuple(dict.fromkeys(map(_id_of, ids)))
    if not wanted:
        return 0
    options = _options(using, limit_seconds, _MOST_OF_A_TASK)
    options = replace(
        options,
        max_seconds=min(_TASK_SECONDS, options.max_seconds or _TASK_SECONDS),
        only_messages=wanted,
        connections=1,
        is_task=True,
        until_empty=False,
    )
    with _lock:
        process = _registrations.setdefault(options.using, ProcessRegistration())
    worker = _run(options, process.of(options), is_over)
    if worker.is_out_of_time and worker.transactions:
        announce_soon(wanted)  # what is left need not wait for a sweep
    return worker.transactions


def sweep(
    *,
    using: str | None = None,
    seconds: float = SWEEP_SECONDS,
    max_transactions: int | None = None,
    limit_seconds: float | None = None,
    is_over: Callable[[], bool] = lambda: False,
) -> int:
    """Deliver everything that is due, and take back what the dead held; how many transactions that were.

    Returns 0 at once where another process sweeps.

    Args:
        seconds: after so long nothing more is begun.
        max_transactions: nor after so many.
        limit_seconds, is_over: as of `deliver_messages`.
    """
    options = _options(using, limit_seconds, _MOST_OF_A_SWEEP)
    most = seconds if options.max_seconds is None else min(seconds, options.max_seconds)
    options = replace(options, max_seconds=most, max_transactions=max_transactions, is_sweep=True)
    try:
        return _run(options, SweepRegistration(options), is_over).transactions
    except SweepUnderWay:
        return 0


def maintain(*, using: str | None = None) -> Pruned:
    """Prune as the settings say, and probe routes that carry no mail: what `email_worker` does beside delivering."""
    settings = conf.get()
    options = _options(using, None, _MOST_OF_A_SWEEP)
    worker = Worker(options, routes_of=routes_for, store=store_in_use())
    if settings.probe_seconds is not None:
        Upkeep(worker, store_in_use(), Tallies(), {}).probe_standby(settings.probe_seconds)
    return prune(
        using=options.using,
        content_after=timedelta(days=settings.content_days),
        journal_after=timedelta(days=settings.journal_days),
        environment=settings.environment,
    )


def process_ends() -> None:
    """Forget this process's rows among the workers."""
    for using, process in list(_registrations.items()):
        process.leave(using)


def reset() -> None:
    """Forget which rows stand for this process."""
    _registrations.clear()


def _id_of(given: object) -> int:
    """Return the number of a message out of a task.

    Raises:
        ValueError: it is none; a task would ask the database for it again and again.
    """
    is_number = type(given) is int or (isinstance(given, str) and given.isdecimal())
    number = int(str(given)) if is_number else 0
    if not 0 < number < 2**63:
        raise ValueError(f"{given!r} is no number of a message")
    return number


def _options(using: str | None, limit_seconds: float | None, batch: int) -> WorkerOptions:
    settings = conf.get()
    stop_seconds = settings.stop_seconds
    max_seconds = wait_seconds = None
    if limit_seconds is not None:
        max_seconds = limit_seconds * _LIMIT_SHARE
        wait_seconds = limit_seconds - min(limit_seconds * _END_SHARE, _MOST_END_SECONDS)
        stop_seconds = min(stop_seconds, limit_seconds * _LIMIT_SHARE / 2)
    return WorkerOptions(
        using=using or router.db_for_write(OutboxMessage) or DEFAULT_DB_ALIAS,
        environment=settings.environment,
        connections=settings.connections,
        batch=min(settings.batch, batch),
        lease_seconds=settings.lease_seconds,
        poll_seconds=settings.poll_seconds,
        final_reply_seconds=settings.final_reply_seconds,
        domain_connections=settings.domain_connections,
        stop_seconds=stop_seconds,
        crash_limit=settings.crash_limit,
        until_empty=True,
        listen=False,
        max_seconds=max_seconds,
        wait_seconds=wait_seconds,
        standby_mailers=outbox_mailers(),
        keyring=configured_keyring(),
    )


def _run(options: WorkerOptions, registration: Registration, is_over: Callable[[], bool]) -> Worker:
    """The worker, when it has ended."""
    worker = Worker(options, routes_of=routes_for, store=store_in_use(), registration=registration)
    # In a process that is somebody else's, who hears its signals too.
    with Stopping(worker, options.stop_seconds, is_guest=True):
        worker.run(is_over=is_over)
    return worker


def _after_fork() -> None:
    """The rows stand for the parent."""
    global _lock
    _lock = threading.Lock()
    _registrations.clear()


remember(__name__, after_fork=_after_fork, reset=reset)
