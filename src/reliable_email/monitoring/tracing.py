"""OpenTelemetry spans from a request to the delivery (extra `[otel]`): `RELIABLE_EMAIL = {"TRACING": True}`.

A message that is queued keeps the `traceparent` of its request, so that the attempts of a worker, in another process
and maybe hours later, belong to the request's trace:

    request (yours) ── enqueue MAILER ── deliver ROUTE, deliver ROUTE …     (in the worker)
    process outbox, of the worker: linked with each message's trace, and each attempt with it

A direct send is `send MAILER` with its attempts below. Attributes follow the semantic conventions for messaging and
networks where these have a name; there are no addresses of people, no subjects, no words of replies, and no secrets.
Which spans are kept and where they go is the SDK's business, as in every program.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

try:
    from opentelemetry import trace
    from opentelemetry.context import Context
    from opentelemetry.trace import Link, SpanKind, Status, StatusCode, TracerProvider
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
    from opentelemetry.util.types import AttributeValue
except ImportError as error:
    raise ImportError(
        "RELIABLE_EMAIL['TRACING'] needs opentelemetry-api: pip install 'django-reliable-email[otel]'"
    ) from error

from reliable_email.delivery.report import Outcome
from reliable_email.delivery.telling.tracing import AttemptTrace, register_tracer

_SYSTEM = "reliable_email"
_PROPAGATOR = TraceContextTextMapPropagator()
_MAX_LINKS = 128  # the SDK's own limit


def instrument(tracer_provider: TracerProvider | None = None) -> None:
    """Make spans from now on; the setting does it when the app is ready. None means the global provider."""
    register_tracer(_OpenTelemetry(tracer_provider))


def uninstrument() -> None:
    """Make none any more."""
    register_tracer(None)


class _OpenTelemetry:
    """A tracer that creates OpenTelemetry spans."""

    def __init__(self, tracer_provider: TracerProvider | None) -> None:
        self._tracer = trace.get_tracer("reliable_email", tracer_provider=tracer_provider)

    @contextmanager
    def enqueue(self, *, mailer: str, message_ids: Sequence[str]) -> Iterator[str]:
        """A producer's span; its context goes into the rows."""
        attributes = _messaging("enqueue", "send", mailer, message_ids)
        with self._span(f"enqueue {mailer}", SpanKind.PRODUCER, attributes):
            carrier: dict[str, str] = {}
            _PROPAGATOR.inject(carrier)
            yield carrier.get("traceparent", "")

    @contextmanager
    def round(self, *, worker: str, traceparents: Sequence[str]) -> Iterator[None]:
        """A consumer's span, linked with the messages'."""
        contexts = [_span_context(one) for one in dict.fromkeys(filter(None, traceparents))]
        links = [Link(one) for one in contexts if one.is_valid][:_MAX_LINKS]
        attributes = _messaging("process", "process", "outbox", [""] * len(traceparents))
        attributes["messaging.client.id"] = worker
        with self._span("process outbox", SpanKind.CONSUMER, attributes, links):
            yield

    @contextmanager
    def send(self, *, mailer: str, message_ids: Sequence[str]) -> Iterator[None]:
        """The span of a direct send; attempts are below it."""
        attributes = _messaging("send", "send", mailer, message_ids)
        with self._span(f"send {mailer}", SpanKind.INTERNAL, attributes):
            yield

    @contextmanager
    def _span(
        self, name: str, kind: SpanKind, attributes: dict[str, AttributeValue], links: Sequence[Link] = ()
    ) -> Iterator[None]:
        """A span that notes the class of an error alone: a database's words may hold a row."""
        with self._tracer.start_as_current_span(
            name, kind=kind, attributes=attributes, links=links, record_exception=False, set_status_on_exception=False
        ) as span:
            try:
                yield
            except BaseException as error:
                span.set_attribute("error.type", type(error).__qualname__)
                span.set_status(Status(StatusCode.ERROR))
                raise

    def attempt(self, told: AttemptTrace) -> None:
        """A client's span, made afterwards: on a pipelined wire attempts overlap."""
        current = trace.get_current_span().get_span_context()
        parent: Context | None = None
        links = []
        if told.traceparent:
            parent = _context(told.traceparent)
            links = [Link(current)] if current.is_valid else []
        end = time.time_ns()
        span = self._tracer.start_span(
            f"deliver {told.route}",
            context=parent,
            kind=SpanKind.CLIENT,
            attributes=_attempt_attributes(told),
            links=links,
            start_time=end - int(told.seconds * 1e9),
        )
        if set(told.outcomes) != {Outcome.ACCEPTED}:
            span.set_status(Status(StatusCode.ERROR, told.cause))
        span.end(end)


def _messaging(name: str, operation: str, destination: str, message_ids: Sequence[str]) -> dict[str, AttributeValue]:
    attributes: dict[str, AttributeValue] = {
        "messaging.system": _SYSTEM,
        "messaging.operation.name": name,
        "messaging.operation.type": operation,
        "messaging.destination.name": destination,
    }
    if len(message_ids) == 1 and message_ids[0]:
        attributes["messaging.message.id"] = message_ids[0]
    else:
        attributes["messaging.batch.message_count"] = len(message_ids)
    return attributes


def _attempt_attributes(told: AttemptTrace) -> dict[str, AttributeValue]:
    attributes = _messaging("deliver", "send", told.route, [told.message_id])
    attributes |= {"reliable_email.route": told.route, "reliable_email.stage": told.stage}
    attributes["reliable_email.outcome"] = sorted(outcome.value for outcome in told.outcomes)
    for outcome, count in told.outcomes.items():
        attributes[f"reliable_email.recipients.{outcome.value}"] = count
    if told.cause:
        attributes |= {"reliable_email.cause": told.cause, "error.type": told.cause}
    if told.reply_code is not None:
        attributes["reliable_email.reply.code"] = told.reply_code
    host, _, port = told.peer.rpartition(":")
    if host and port.isdecimal():
        attributes |= {"network.peer.address": host.strip("[]"), "network.peer.port": int(port)}
        attributes["network.protocol.name"] = "smtp"
    return attributes


def _context(traceparent: str) -> Context:
    # An empty one to begin with: the worker's own span must not become the parent where the text cannot be read.
    return _PROPAGATOR.extract({"traceparent": traceparent}, context=Context())


def _span_context(traceparent: str) -> trace.SpanContext:
    return trace.get_current_span(_context(traceparent)).get_span_context()
