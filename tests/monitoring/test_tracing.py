"""Traces from a request to the delivery, across the outbox, in OpenTelemetry's own exporter."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core import mail
from django.core.management import call_command
from django.db.utils import OperationalError
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from reliable_email.monitoring.tracing import instrument, uninstrument
from reliable_email.store.tables.messages import OutboxMessage
from reliable_email.testing.server import Script, ScriptedServer
from tests.monitoring.conftest import SMTP

_ROOT = Path(__file__).parents[2]
MakeSite = Callable[..., None]


@pytest.fixture
def provider() -> Iterator[TracerProvider]:
    """Where spans are made."""
    provider = TracerProvider(shutdown_on_exit=False)
    instrument(provider)
    yield provider
    uninstrument()
    provider.shutdown()


@pytest.fixture
def spans(provider: TracerProvider) -> Callable[[], dict[str, ReadableSpan]]:
    """Every finished span by its name."""
    exporter = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))

    def found() -> dict[str, ReadableSpan]:
        finished = exporter.get_finished_spans()
        names = [one.name for one in finished]
        assert len(set(names)) == len(names), names
        return dict(zip(names, finished, strict=True))

    return found


def send(provider: TracerProvider, *to: str, body: str = "secret-of-the-body") -> None:
    """As a request would."""
    with provider.get_tracer("web").start_as_current_span("GET /order"):
        mail.send_mail("secret-of-the-subject", body, "site@example.org", list(to) or ["ada@example.com"])


def work(using: str) -> None:
    """As a worker's process would: in threads that know nothing of the request."""
    call_command("email_worker", "--database", using, "--until-empty", "--connections", "1", verbosity=0)


def test_one_trace_spans_request_and_worker(
    site: str, provider: TracerProvider, spans: Callable[[], dict[str, ReadableSpan]], server: ScriptedServer
) -> None:
    """Request, enqueue, delivery: each is the parent of the next; the worker's own span is linked with them."""
    send(provider)
    row = OutboxMessage.objects.using(site).get()
    work(site)
    found = spans()
    request, enqueue = found["GET /order"], found["enqueue routes"]
    deliver, process = found["deliver first"], found["process outbox"]
    assert enqueue.parent is not None
    assert deliver.parent is not None
    assert (enqueue.parent.span_id, deliver.parent.span_id) == (request.context.span_id, enqueue.context.span_id)
    assert request.context.trace_id == enqueue.context.trace_id == deliver.context.trace_id
    assert row.traceparent.startswith(f"00-{enqueue.context.trace_id:032x}-{enqueue.context.span_id:016x}-")
    assert process.context.trace_id != request.context.trace_id
    assert [link.context.span_id for link in process.links] == [enqueue.context.span_id]
    assert [link.context.span_id for link in deliver.links] == [process.context.span_id]
    assert [one.kind for one in (enqueue, process, deliver)] == [SpanKind.PRODUCER, SpanKind.CONSUMER, SpanKind.CLIENT]
    assert dict(deliver.attributes or {}) == {
        "messaging.system": "reliable_email",
        "messaging.operation.name": "deliver",
        "messaging.operation.type": "send",
        "messaging.destination.name": "first",
        "messaging.message.id": row.message_id,
        "reliable_email.route": "first",
        "reliable_email.stage": "final_reply",
        "reliable_email.outcome": ("accepted",),
        "reliable_email.recipients.accepted": 1,
        "reliable_email.reply.code": 250,
        "network.peer.address": "127.0.0.1",
        "network.peer.port": server.port,
        "network.protocol.name": "smtp",
    }
    assert deliver.status.status_code is StatusCode.UNSET
    assert process.start_time is not None
    assert deliver.start_time is not None
    assert process.start_time <= deliver.start_time


def test_a_refusal_is_an_error_with_its_cause_and_nobodys_words(
    using: str, make_site: MakeSite, provider: TracerProvider, spans: Callable[[], dict[str, ReadableSpan]]
) -> None:
    """Two recipients of a direct send: below the request's own span."""
    reply = "550 5.1.1 <nobody@example.net> no such user"
    with ScriptedServer(Script(rcpt={"nobody@example.net": reply})) as server:
        make_site({"default": {"BACKEND": SMTP, "OPTIONS": {"host": "127.0.0.1", "port": server.port}}})
        send(provider, "ada@example.com", "nobody@example.net")
    found = spans()
    sent, deliver = found["send default"], found["deliver default"]
    assert sent.parent is not None
    assert deliver.parent is not None
    assert (sent.parent.span_id, deliver.parent.span_id) == (
        found["GET /order"].context.span_id,
        sent.context.span_id,
    )
    attributes = dict(deliver.attributes or {})
    assert attributes["reliable_email.outcome"] == ("accepted", "rejected")
    assert attributes["error.type"] == "mailbox_unknown"
    assert deliver.status.status_code is StatusCode.ERROR
    for span in found.values():
        told = span.to_json()
        for secret in ("nobody@", "ada@", "site@", "secret-of-the", "no such user"):
            assert secret not in told


def test_a_message_without_a_trace_is_delivered_below_the_workers_span(
    site: str, provider: TracerProvider, spans: Callable[[], dict[str, ReadableSpan]]
) -> None:
    """It was queued before tracing was switched on; or its text is none."""
    uninstrument()
    send(provider)
    assert OutboxMessage.objects.using(site).get().traceparent == ""
    instrument(provider)
    work(site)
    found = spans()
    assert found["deliver first"].parent is not None
    assert found["deliver first"].parent.span_id == found["process outbox"].context.span_id


def test_a_database_that_fails_is_told_by_its_class_alone(
    site: str, provider: TracerProvider, spans: Callable[[], dict[str, ReadableSpan]], make_site: MakeSite
) -> None:
    """Its words may hold the row that it did not take."""
    OutboxMessage.objects.using(site).all().delete()
    from reliable_email.delivery.telling.tracing import tracing_enqueue

    with pytest.raises(OperationalError), tracing_enqueue(mailer="routes", message_ids=["<1@example.org>"]):
        raise OperationalError("secret-of-the-row")
    span = spans()["enqueue routes"]
    assert (span.status.status_code, dict(span.attributes or {})["error.type"]) == (
        StatusCode.ERROR,
        "OperationalError",
    )
    assert "secret-of-the-row" not in span.to_json()


_PROGRAM = """
import sys
if "absent" in sys.argv:
    sys.modules["opentelemetry"] = None
from django.conf import settings
settings.configure(
    SECRET_KEY="x", USE_TZ=True, INSTALLED_APPS=["reliable_email"],
    RELIABLE_EMAIL={"TRACING": "traced" in sys.argv},
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
)
import django
django.setup()
from django.core.management import call_command
call_command("migrate", verbosity=0)
from django.core.mail import EmailMessage
from reliable_email.delivery.content.building import build_submission
from reliable_email.outbox.intake.enqueue import QueueOptions, enqueue
submission = build_submission(EmailMessage("a", "b", "a@example.org", ["b@example.net"]))
[row] = enqueue([submission], QueueOptions(mailer="m"))
print(sorted({name.split(".")[0] for name in sys.modules if name.startswith("opentelemetry")}), repr(row.traceparent))
"""


def run(*arguments: str) -> tuple[int, str]:
    """Exit code and output of a process of its own."""
    command: list[Any] = [sys.executable, "-W", "ignore", "-c", _PROGRAM, *arguments]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, timeout=50)
    return done.returncode, done.stdout + done.stderr


def test_nothing_is_imported_where_it_is_not_asked_for() -> None:
    """OpenTelemetry is here, and stays on the disk."""
    assert run() == (0, "[] ''\n")


def test_the_setting_switches_it_on() -> None:
    """Without an SDK nothing is recorded, and there is nothing to keep in the row."""
    assert run("traced") == (0, "['opentelemetry'] ''\n")


def test_a_missing_extra_is_named() -> None:
    """Whoever asks for traces is told what to install; whoever does not needs nothing."""
    assert run("absent")[0] == 0
    code, output = run("absent", "traced")
    assert code == 1
    assert "pip install 'django-reliable-email[otel]'" in output
