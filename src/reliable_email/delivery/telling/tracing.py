"""Tracing of messages: the protocol that a tracer implements, and the tracer in use.

Nobody is told unless somebody registers (`monitoring.tracing` does, for OpenTelemetry); then this costs a comparison.
Addresses, subjects and the words of replies are not told.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

from reliable_email.delivery.report import Outcome
from reliable_email.records import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptTrace:
    """One transaction on one route that has just ended.

    Attributes:
        traceparent: of the message (W3C Trace Context), as it was queued; "" where there is none.
        outcomes: how many recipients came to what.
        peer: "address:port" of the server.
    """

    route: str
    stage: str
    seconds: float
    outcomes: Mapping[Outcome, int] = field(default_factory=dict)
    cause: str = ""
    reply_code: int | None = None
    peer: str = ""
    message_id: str = ""
    traceparent: str = ""


class Tracer(Protocol):
    """A receiver of traces. Its methods raise nothing."""

    def enqueue(self, *, mailer: str, message_ids: Sequence[str]) -> AbstractContextManager[str]:
        """Messages are being queued; gives what their rows keep."""

    def round(self, *, worker: str, traceparents: Sequence[str]) -> AbstractContextManager[None]:
        """A worker takes what it has claimed over the routes."""

    def send(self, *, mailer: str, message_ids: Sequence[str]) -> AbstractContextManager[None]:
        """Messages are being sent at once."""

    def attempt(self, told: AttemptTrace) -> None:
        """An attempt has ended."""


tracer: Tracer | None = None


def register_tracer(following: Tracer | None) -> None:
    """Set the tracer that is told from now on; None for none."""
    global tracer
    tracer = following


def tracing_enqueue(*, mailer: str, message_ids: Sequence[str]) -> AbstractContextManager[str]:
    """Trace the queueing of messages; the context gives the value to store, "" without a tracer."""
    return tracer.enqueue(mailer=mailer, message_ids=message_ids) if tracer is not None else nullcontext("")


def tracing_round(*, worker: str, traceparents: Sequence[str]) -> AbstractContextManager[None]:
    """Trace the work on one claim; does nothing without a tracer."""
    return tracer.round(worker=worker, traceparents=traceparents) if tracer is not None else nullcontext()
