"""Short ways to queue, to run a worker, and to look at rows."""

from collections.abc import Sequence
from typing import Any

from django.core.mail import EmailMessage

from reliable_email.delivery.content import build_submission
from reliable_email.delivery.memory import MemoryRouteStateStore
from reliable_email.delivery.route import Route
from reliable_email.delivery.state import RouteStateStore
from reliable_email.delivery.submission import DeliveryOptions, Submission
from reliable_email.outbox.enqueue import QueueOptions, enqueue
from reliable_email.outbox.worker import Worker, WorkerOptions
from reliable_email.store.clock import DatabaseNow
from reliable_email.store.messages import OutboxMessage
from reliable_email.store.recipients import OutboxRecipient
from reliable_email.store.states import State


def submission(body: str = "Hello.", *, to: Sequence[str] = ("ok@example.com",), **wishes: Any) -> Submission:
    """A small message."""
    message = EmailMessage("Greetings", body, "site@example.org", list(to))
    message.delivery_options = DeliveryOptions(**wishes)  # type: ignore[attr-defined]
    return build_submission(message)


def queue(using: str, *to: str, mailer: str = "routes", **wishes: Any) -> OutboxMessage:
    """Queue one message to these."""
    [message] = enqueue([submission(to=to or ("ok@example.com",), **wishes)], QueueOptions(mailer=mailer, using=using))
    return message


def worker(using: str, *routes: Route, store: RouteStateStore | None = None, **options: Any) -> Worker:
    """A worker that delivers every mailer by these routes, until nothing is left."""
    defaults: dict[str, Any] = {"connections": 1, "until_empty": True, "lease_seconds": 30.0, "poll_seconds": 0.05}
    return Worker(
        WorkerOptions(using=using, **defaults | options),
        routes_of=lambda mailer: list(routes),
        store=store or MemoryRouteStateStore(),
    )


def rows(using: str) -> list[OutboxRecipient]:
    """Every recipient in the order of queueing."""
    return list(OutboxRecipient.objects.using(using).order_by("id"))


def row(using: str) -> OutboxRecipient:
    """The only recipient."""
    return OutboxRecipient.objects.using(using).get()


def states(using: str) -> list[State]:
    """Every recipient's state."""
    return [State(one.state) for one in rows(using)]


def let_time_pass(using: str) -> None:
    """Whatever waits for its time has waited."""
    OutboxRecipient.objects.using(using).exclude(due_at=None).update(due_at=DatabaseNow(-1))


def let_leases_end(using: str) -> None:
    """Every lease is over, as if its worker had been suspended or had died."""
    OutboxRecipient.objects.using(using).exclude(lease_until=None).update(lease_until=DatabaseNow(-1))
