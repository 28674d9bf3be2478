"""Short ways to queue, to run a worker, and to look at rows."""

from collections.abc import Sequence
from typing import Any

from django.core.mail import EmailMessage

from reliable_email.delivery.content.building import build_submission
from reliable_email.delivery.route import Route
from reliable_email.delivery.route_memory import MemoryRouteStateStore, RouteStateStore
from reliable_email.delivery.submission import DeliveryOptions, Submission
from reliable_email.outbox.intake.enqueue import QueueOptions, enqueue
from reliable_email.outbox.rows.claim import Claimed, Wanted, claim
from reliable_email.outbox.rows.journal import Intent, Request
from reliable_email.outbox.rows.settle import AttemptRow, Evidence, Settlement
from reliable_email.outbox.rows.transitions import Event
from reliable_email.outbox.worker.process import Worker, WorkerOptions
from reliable_email.smtp.driver.transport import SMTPTransport
from reliable_email.smtp.options import ConnectionOptions, TLSMode, TLSPolicy
from reliable_email.smtp.syntax.replies import parse_reply
from reliable_email.store.sql.clock import DatabaseNow
from reliable_email.store.tables.messages import OutboxMessage
from reliable_email.store.tables.recipients import OutboxRecipient
from reliable_email.store.tables.states import State
from reliable_email.testing.server import ScriptedServer


def submission(
    body: str = "Hello.",
    *,
    to: Sequence[str] = ("ok@example.com",),
    sender: str = "site@example.org",
    **wishes: Any,
) -> Submission:
    """A small message."""
    message = EmailMessage("Greetings", body, sender, list(to))
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


def smtp_route(server: ScriptedServer) -> Route:
    """A route to a server, by the transport that works in steps."""
    options = ConnectionOptions(host="127.0.0.1", port=server.port, tls=TLSPolicy(mode=TLSMode.NONE))
    return Route(alias="route", transport=SMTPTransport(options))


def claimed(using: str, count: int) -> list[Claimed]:
    """So many recipients in hand, each of a message of its own."""
    for number in range(count):
        queue(using, f"user{number}@example.com")
    return claim(using, Wanted(environment=""), worker="w", limit=count, lease_seconds=60).rows


def asks(*recipients: Claimed) -> Request:
    """A line that wants to hand a message over to these."""
    return Request(intents=[Intent(recipients=recipients, route="route")])


def settles(one: Claimed, reply: str) -> Request:
    """A line that has read a final reply."""
    evidence = Evidence(route="route", stage="final_reply", reply=parse_reply(reply))
    attempt = AttemptRow(
        message_id=one.message_id, claim=one.delivery.claim, worker="w", evidence=evidence, seconds=0.1
    )
    settlement = Settlement(claimed=one, event=Event.ACCEPT, evidence=evidence, spends_attempt=True)
    return Request(settlements=[settlement], attempts=[attempt])


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
