"""Backends of somebody else's as routes: who gets a copy, and what their answers mean."""

import smtplib
import ssl
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from anymail.message import AnymailMessage, AnymailRecipientStatus, AnymailStatus
from django.core import mail
from django.core.exceptions import ImproperlyConfigured
from django.core.mail import EmailMessage
from django.core.mail.backends import locmem
from django.core.mail.backends.base import BaseEmailBackend
from django.core.mail.backends.smtp import EmailBackend as SMTPBackend

from reliable_email.classification import Cause, classify
from reliable_email.delivery.content.building import build_submission
from reliable_email.delivery.direct import Delivery
from reliable_email.delivery.report import DeliveryReport, Outcome
from reliable_email.delivery.route import Route
from reliable_email.delivery.route_memory import MemoryRouteStateStore
from reliable_email.delivery.transports.foreign import ForeignTransport
from reliable_email.smtp.deadline import Deadline
from reliable_email.smtp.failures import FailureKind
from reliable_email.smtp.stages import Stage
from reliable_email.smtp.transaction import Aside, Ask, Grant, Job, Transaction, Verdict
from reliable_email.testing.script import Script
from reliable_email.testing.server import ScriptedServer
from tests.delivery.model import TAKEN, World

A, B, C = "a@example.net", "b@example.net", "c@example.net"


class Backend(BaseEmailBackend):
    """Does what the test says with each message."""

    def __init__(self, act: Callable[[EmailMessage], Any]) -> None:
        super().__init__()
        self._act = act
        self.seen: list[EmailMessage] = []

    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        """See Django."""
        count = 0
        for message in email_messages:
            self.seen.append(message)
            count += 0 if self._act(message) is False else 1
        return count


class Status:
    """What django-anymail hangs on a message."""

    def __init__(self, **statuses: str | None) -> None:
        self.message_id = "id-of-the-provider"
        one = type("RecipientStatus", (), {})
        self.recipients = {}
        for name, word in statuses.items():
            self.recipients[f"{name}@Example.net"] = one()
            self.recipients[f"{name}@Example.net"].status = word


def message() -> EmailMessage:
    """To, Cc and Bcc have one recipient each."""
    return EmailMessage("Subject", "Text", "site@example.org", [f"Ann <{A}>"], cc=[B], bcc=[C])


def deliver(one: EmailMessage, *routes: Route) -> DeliveryReport:
    """Over these routes, alone."""
    delivery = Delivery(routes, store=MemoryRouteStateStore(), sleep=lambda seconds: None)
    return delivery.deliver([build_submission(one)])[0]


def route(backend: BaseEmailBackend, alias: str = "foreign") -> Route:
    """To this backend."""
    return Route(alias=alias, transport=ForeignTransport(lambda: backend, alias=alias), max_attempts=1, is_foreign=True)


def fails_with(error: Exception) -> Backend:
    """Raises it."""

    def act(message: EmailMessage) -> None:
        raise error

    return Backend(act)


def test_djangos_own_backend_takes_the_message_once() -> None:
    """A count of one, with nothing else said, is an acceptance for every recipient."""
    mail.outbox = []
    report = deliver(message(), route(locmem.EmailBackend()))
    assert sorted(report.accepted) == [A, B, C]
    assert len(mail.outbox) == 1


def test_the_callers_message_is_not_written_to() -> None:
    """The backend gets a copy."""
    one = message()
    before = dict(vars(one)), list(one.to), dict(one.extra_headers)
    backend = Backend(lambda copy: copy.to.clear() or copy.extra_headers.update({"X-Was": "here"}))
    deliver(one, route(backend))
    assert (dict(vars(one)), list(one.to), dict(one.extra_headers)) == before
    assert backend.seen[0] is not one


def test_only_those_who_are_left_get_the_copy_and_the_header_still_shows_everybody() -> None:
    """A first route took one of three."""
    world = World()
    first = Backend(lambda message: setattr(message, "anymail_status", Status(a="sent", b="failed", c="failed")))
    second = Backend(lambda message: None)
    report = deliver(message(), route(first, "first"), route(second, "second"))
    assert world.asked == []
    (copy,) = second.seen
    assert copy.recipients() == [B, C]
    assert copy.message()["To"] == f"Ann <{A}>"
    assert sorted(report.accepted) == [A, B, C]
    assert report.recipients[A].route == "first"


@pytest.mark.parametrize(
    ("word", "outcome"),
    [
        ("sent", Outcome.ACCEPTED),
        ("queued", Outcome.ACCEPTED),
        ("rejected", Outcome.REJECTED),
        ("invalid", Outcome.REJECTED),
        ("failed", Outcome.DEFERRED),
        ("unknown", Outcome.UNKNOWN),
        (None, Outcome.UNKNOWN),
        ("a word of next year", Outcome.UNKNOWN),
    ],
)
def test_anymails_word_for_each_recipient_is_that_recipients_outcome(word: str | None, outcome: Outcome) -> None:
    """Addresses are found whatever the case of their domain."""
    backend = Backend(lambda message: setattr(message, "anymail_status", Status(a="sent", b=word, c="sent")))
    report = deliver(message(), route(backend))
    assert report.recipients[B].outcome is outcome


def test_a_recipient_of_whom_the_provider_says_nothing_is_unknown() -> None:
    """What it took for others proves nothing for this one, and nobody sends it a second copy."""
    backend = Backend(lambda message: setattr(message, "anymail_status", Status(a="sent", c="sent")))
    second = Backend(lambda message: None)
    report = deliver(message(), route(backend), route(second, "second"))
    assert sorted(report.accepted) == [A, C]
    assert report.unknown == [B]
    assert "did not say whether it took the message for this address" in report.recipients[B].failure.detail  # type: ignore[union-attr]
    assert second.seen == []


def test_a_recipient_whom_the_sites_own_receiver_took_out_gets_nothing_by_any_route() -> None:
    """Anymail's `pre_send` is where sites keep unwanted addresses away."""

    def act(message: EmailMessage) -> None:
        message.cc = []
        message.anymail_status = Status(a="sent", c="sent")  # type: ignore[attr-defined]

    second = Backend(lambda message: None)
    report = deliver(message(), route(Backend(act)), route(second, "second"))
    assert sorted(report.accepted) == [A, C]
    assert report.rejected == [B]
    assert report.recipients[B].cause is Cause.SUPPRESSED
    assert second.seen == []


@pytest.mark.parametrize(
    ("word", "outcome"), [("sent", Outcome.ACCEPTED), ("rejected", Outcome.REJECTED), ("unknown", Outcome.UNKNOWN)]
)
def test_a_message_that_the_sites_own_receiver_redirects_has_the_answer_for_its_substitute(
    word: str, outcome: Outcome
) -> None:
    """A staging site sends all mail to its developers so, and its views raise no error for it."""

    def act(message: EmailMessage) -> None:
        message.to, message.cc, message.bcc = ["developer@example.net"], [], []
        message.anymail_status = Status(developer=word)  # type: ignore[attr-defined]

    second = Backend(lambda message: None)
    report = deliver(message(), route(Backend(act)), route(second, "second"))
    assert {address: one.outcome for address, one in report.recipients.items()} == dict.fromkeys([A, B, C], outcome)
    assert second.seen == []


def test_a_backend_that_never_fills_the_status_has_taken_the_message_by_its_count() -> None:
    """An empty status is no word about anybody."""
    backend = Backend(lambda message: setattr(message, "anymail_status", AnymailStatus()))
    assert sorted(deliver(message(), route(backend)).accepted) == [A, B, C]


def test_the_providers_id_is_kept() -> None:
    """For its events, which name it."""
    backend = Backend(lambda message: setattr(message, "anymail_status", Status(a="sent", b="sent", c="sent")))
    one = build_submission(message())
    job = Job(sender=one.sender, recipients=one.recipients, content=one.content, key=one)
    transport = ForeignTransport(lambda: backend, alias="foreign")
    (transaction,) = transport.transact(
        [job], deadline=Deadline(5.0), authorize=lambda grants, settled: [grant.job for grant in grants]
    )
    assert transaction.provider_message_id == "id-of-the-provider"


def statuses(**words: str) -> AnymailStatus:
    """As anymail's backends set it."""
    status = AnymailStatus()
    status.set_recipient_status(
        {f"{name}@example.net": AnymailRecipientStatus(f"id-{name}", word) for name, word in words.items()}
    )
    return status


def test_anymails_status_is_where_code_for_anymail_looks_for_it() -> None:
    """On the caller's own message; of two routes, each has the status of its recipients."""
    one = AnymailMessage("Subject", "Text", "site@example.org", [A], cc=[B])
    first = Backend(lambda message: setattr(message, "anymail_status", statuses(a="sent", b="failed")))
    second = Backend(lambda message: setattr(message, "anymail_status", statuses(b="queued")))
    deliver(one, route(first, "first"), route(second, "second"))
    found = one.anymail_status
    assert {address: part.status for address, part in found.recipients.items()} == {A: "sent", B: "queued"}
    assert (found.status, found.message_id) == ({"sent", "queued"}, {"id-a", "id-b"})
    one.subject = "Another"
    deliver(one, route(Backend(lambda message: setattr(message, "anymail_status", statuses(a="sent", b="sent")))))
    assert one.anymail_status.status == {"sent"}


class ReadTimeout(OSError):
    """As requests names it."""


class ConnectTimeout(OSError):
    """As requests names it."""


@pytest.mark.parametrize("error", [TimeoutError("read"), ReadTimeout("read"), ConnectionResetError(), ValueError("?")])
def test_silence_and_surprises_are_unknown_and_no_other_route_is_asked(error: Exception) -> None:
    """The provider may have it."""
    second = Backend(lambda message: None)
    report = deliver(message(), route(fails_with(error), "first"), route(second, "second"))
    assert sorted(report.unknown) == [A, B, C]
    assert second.seen == []


@pytest.mark.parametrize(
    "error",
    [
        ConnectionRefusedError(),
        ConnectTimeout("connect"),
        smtplib.SMTPAuthenticationError(535, b"5.7.8 no"),
        smtplib.SMTPConnectError(421, b"4.3.2 later"),
    ],
)
def test_what_surely_was_not_sent_goes_by_the_next_route(error: Exception) -> None:
    """A connection or a login that never was took nothing."""
    second = Backend(lambda message: None)
    report = deliver(message(), route(fails_with(error), "first"), route(second, "second"))
    assert sorted(report.accepted) == [A, B, C]


def test_a_backend_that_counts_nothing_has_taken_nothing() -> None:
    """It swallowed its failure; the next route is asked."""
    second = Backend(lambda message: None)
    report = deliver(message(), route(Backend(lambda message: False), "first"), route(second, "second"))
    assert sorted(report.accepted) == [A, B, C]


def test_a_backend_that_gives_no_count_at_all_has_taken_the_message() -> None:
    """Django asks for none, so many backends of sites give none; another route would send it again."""

    class Countless(Backend):
        def send_messages(self, email_messages: Sequence[EmailMessage]) -> None:  # type: ignore[override]
            super().send_messages(email_messages)

    first, second = Countless(lambda message: None), Backend(lambda message: None)
    report = deliver(message(), route(first, "first"), route(second, "second"))
    assert sorted(report.accepted) == [A, B, C]
    assert (len(first.seen), second.seen) == (1, [])


def test_smtplibs_refusal_of_the_message_is_read_like_a_reply() -> None:
    """The same words mean the same, whoever heard them."""
    report = deliver(message(), route(fails_with(smtplib.SMTPDataError(550, b"5.4.5 Daily sending quota exceeded"))))
    assert {one.cause for one in report.recipients.values()} == {Cause.QUOTA_EXCEEDED}


def test_a_backend_that_cannot_be_built_takes_nothing_and_raises_nothing() -> None:
    """A wrong setting of the first route does not keep the second from its work."""

    def broken() -> BaseEmailBackend:
        raise ConnectionRefusedError("no such service")

    first = Route(alias="first", transport=ForeignTransport(broken, alias="first"), max_attempts=1)
    report = deliver(message(), first, route(Backend(lambda message: None), "second"))
    assert sorted(report.accepted) == [A, B, C]


class Asked:
    """An `authorize` that counts how often it was asked."""

    def __init__(self) -> None:
        self.jobs: list[Job] = []

    def __call__(self, grants: Sequence[Grant], settled: Sequence[Transaction]) -> list[Job]:
        self.jobs += [grant.job for grant in grants]
        return [grant.job for grant in grants]


def transact(
    make_backend: Callable[[], BaseEmailBackend], *messages: EmailMessage, asked: Asked | None = None
) -> list[Transaction]:
    """What becomes of each by this transport alone."""
    built = map(build_submission, messages)
    jobs = [Job(sender=one.sender, recipients=one.recipients, content=one.content, key=one) for one in built]
    transport = ForeignTransport(make_backend, alias="foreign")
    return list(transport.transact(jobs, deadline=Deadline(5.0), authorize=asked or Asked()))


def only_kind(transaction: Transaction) -> FailureKind:
    """The kind of failure of all its recipients, who were surely not sent to."""
    assert {one.verdict for one in transaction.results.values()} == {Verdict.NOT_SENT}
    assert transaction.failure is not None
    assert not transaction.terminator_sent
    return transaction.failure.kind


class AnymailConfigurationError(Exception):
    """As django-anymail names it."""


BROKEN = [
    ImproperlyConfigured("EMAIL_KEY is missing"),
    RuntimeError("broken"),
    TypeError("an integer is required"),
    AnymailConfigurationError("no key"),
    FileNotFoundError("client.pem"),
    ModuleNotFoundError("no module named provider"),
    RecursionError(),
]


@pytest.mark.parametrize("error", BROKEN, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("place", ["constructor", "open"])
def test_a_backend_that_cannot_be_made_or_opened_sent_nothing_and_was_permitted_nothing(
    place: str, error: Exception
) -> None:
    """It is the route's matter, told for each message, with the error's own words."""
    asked = Asked()
    backend = Backend(lambda message: None)

    def fail(*args: object) -> BaseEmailBackend:
        raise error

    def make() -> BaseEmailBackend:
        if place == "constructor":
            fail()
        backend.open = fail  # type: ignore[method-assign]
        return backend

    transactions = transact(make, message(), message(), asked=asked)
    assert [only_kind(one) for one in transactions] == [FailureKind.CANNOT_BE_BUILT] * 2
    assert {one.stage for one in transactions} == {Stage.CONNECT}
    assert asked.jobs == []
    assert backend.seen == []
    assert all(type(error).__name__ in one.failure.detail for one in transactions if one.failure)


def test_what_cannot_be_made_is_not_made_again_for_each_message() -> None:
    """One look is enough for a batch."""
    calls: list[int] = []

    def make() -> BaseEmailBackend:
        calls.append(1)
        raise ImproperlyConfigured("no key")

    assert len(transact(make, message(), message(), message())) == 3
    assert calls == [1]


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (ConnectionRefusedError("no"), Cause.CONNECT_FAILED),
        (TimeoutError("timed out"), Cause.TIMEOUT),
        (ReadTimeout("read"), Cause.TIMEOUT),
        (smtplib.SMTPServerDisconnected("Connection unexpectedly closed"), None),
        (ConnectionResetError("reset"), None),
        (OSError("something"), None),
        (smtplib.SMTPAuthenticationError(535, b"5.7.8 no"), Cause.AUTH_FAILED),
        (ssl.SSLCertVerificationError("certificate verify failed"), Cause.TLS_FAILED),
    ],
)
def test_a_network_that_fails_while_the_backend_opens_is_never_unknown(error: Exception, cause: Cause | None) -> None:
    """Nothing was handed over, whatever such an error would mean later."""
    backend = Backend(lambda message: None)

    def fail() -> None:
        raise error

    backend.open = fail  # type: ignore[method-assign,assignment]
    (transaction,) = transact(lambda: backend, message())
    only_kind(transaction)
    found = classify(transaction.failure).cause  # type: ignore[arg-type]
    assert found is not Cause.OUTCOME_UNKNOWN
    assert cause is None or found is cause


def test_code_that_raises_about_one_message_before_it_is_sent_stops_no_other() -> None:
    """The copy cannot be made; no permission was asked for it."""

    class Odd(EmailMessage):
        def __getattribute__(self, name: str) -> Any:
            if name == "extra_headers" and getattr(Odd, "is_armed", False):
                raise LookupError("odd")
            return super().__getattribute__(name)

    odd, asked = Odd("Subject", "Text", "site@example.org", [A]), Asked()
    submissions = [build_submission(one) for one in (message(), odd, message())]
    jobs = [Job(sender=one.sender, recipients=one.recipients, content=one.content, key=one) for one in submissions]
    Odd.is_armed = True  # type: ignore[attr-defined]
    transport = ForeignTransport(lambda: Backend(lambda message: None), alias="foreign")
    first, second, third = transport.transact(jobs, deadline=Deadline(5.0), authorize=asked)
    assert only_kind(second) is FailureKind.RAISED
    assert first.with_verdict(Verdict.ACCEPTED) == third.with_verdict(Verdict.ACCEPTED) == (A, B, C)
    assert asked.jobs == [jobs[0], jobs[2]]


def test_each_message_is_sent_over_an_open_backend_that_is_closed_again() -> None:
    """As Django does it; also where it was not permitted, or raised."""
    log: list[str] = []

    class Counting(Backend):
        def open(self) -> bool:
            log.append("open")
            return True

        def close(self) -> None:
            log.append("close")
            raise OSError("nobody cares")

    assert len(transact(lambda: Counting(lambda message: log.append("send")), message(), message())) == 2
    assert log == ["open", "send", "close"] * 2


@pytest.mark.parametrize(
    ("refused", "verdicts"),
    [
        ({A: (550, b"5.1.1 no such user"), B: (450, b"4.2.0 later"), C: (550, b"5.2.1 disabled")}, "RRR"),
        ({B: (421, b"4.3.2 closing")}, "NRN"),
        ({"A@EXAMPLE.NET".lower(): (550, b"5.1.1 no\n5.1.1 really")}, "RNN"),
        ({A: (-1, b"nonsense")}, "NNN"),
    ],
)
def test_smtplibs_refusals_by_name_are_those_recipients_own(
    refused: dict[str, tuple[int, bytes]], verdicts: str
) -> None:
    """Nobody else was sent to, and nobody else was refused."""
    (transaction,) = transact(lambda: fails_with(smtplib.SMTPRecipientsRefused(refused)), message())
    found = "".join("R" if one.verdict is Verdict.REFUSED else "N" for one in transaction.results.values())
    assert found == verdicts
    for address, (code, _) in refused.items():
        reply = transaction.results[address].reply
        assert reply is None or reply.code == code


@pytest.mark.parametrize(
    "refused",
    [
        {"zoe@example.net": (550, b"5.1.1 no such user")},
        {"zoe@example.net": (550, b"5.1.1 no such user"), "yan@example.net": (550, b"5.1.1 no such user")},
        {A: "550 5.1.1 no such user"},
    ],
)
def test_a_refusal_of_somebody_else_is_nobodys_own(refused: Any) -> None:
    """P7: a recipient is rejected by smtplib's own entry for it; another route is asked."""
    healthy = Backend(lambda message: None)
    first = route(fails_with(smtplib.SMTPRecipientsRefused(refused)), "first")
    report = deliver(EmailMessage("Subject", "Text", "site@example.org", [A]), first, route(healthy, "second"))
    assert report.accepted == [A]
    assert len(healthy.seen) == 1


async def _coroutine(messages: Sequence[EmailMessage]) -> int:
    return 1


async def _asynchronous_generator(messages: Sequence[EmailMessage]) -> Any:
    yield 1


def _generator(messages: Sequence[EmailMessage]) -> Any:
    yield 1


@pytest.mark.parametrize("way", [_coroutine, _generator, _asynchronous_generator])
@pytest.mark.filterwarnings("error")
def test_a_backend_whose_sending_has_not_begun_when_it_returns_has_sent_nothing(way: Callable[..., Any]) -> None:
    """A coroutine, or a generator, that nobody runs: the route cannot be used, and the next one is asked."""
    healthy = Backend(lambda message: None)
    backend = Backend(lambda message: None)
    backend.send_messages = way  # type: ignore[method-assign]
    (transaction,) = transact(lambda: backend, message())
    assert only_kind(transaction) is FailureKind.CANNOT_BE_BUILT
    report = deliver(message(), route(backend, "first"), route(healthy, "second"))
    assert sorted(report.accepted) == [A, B, C]
    assert len(healthy.seen) == 1


def test_who_is_refused_by_djangos_backend_while_others_are_taken_is_known() -> None:
    """Django drops what smtplib returns; it is heard all the same, in the server's own words."""
    script = Script(rcpt={B: "550 5.1.1 no such user"})
    with ScriptedServer(script, Script()) as server:
        make = lambda: SMTPBackend(alias="x", host="127.0.0.1", port=server.port, timeout=5)  # noqa: E731
        first, second = transact(make, message(), message())
        assert [one.recipients for one in server.messages] == [(A, C), (A, B, C)]
    assert first.with_verdict(Verdict.ACCEPTED) == (A, C)
    assert first.with_verdict(Verdict.REFUSED) == (B,)
    assert str(first.results[B].reply) == "550 5.1.1 no such user"
    assert second.with_verdict(Verdict.ACCEPTED) == (A, B, C)


def test_a_foreign_backend_is_called_in_calls_of_its_own() -> None:
    """So that a worker's thread that drives many connections never waits for it."""
    one = build_submission(message())
    job = Job(sender=one.sender, recipients=one.recipients, content=one.content, key=one)
    seen = []
    for step in ForeignTransport(lambda: Backend(lambda message: None), alias="f").steps([job], deadline=Deadline(5)):
        seen.append(type(step))
        if isinstance(step, Aside):
            step.make()
        elif isinstance(step, Ask):
            step.allowed = [job]
    assert seen == [Aside, Ask, Aside, Transaction]


def test_without_permission_nothing_is_handed_over() -> None:
    """The journal's word comes before the backend."""
    backend = Backend(lambda message: None)
    one = build_submission(message())
    job = Job(sender=one.sender, recipients=one.recipients, content=one.content, key=one)

    def refuse(grants: Sequence[Grant], settled: Sequence[Transaction]) -> list[Job]:
        return []

    transport = ForeignTransport(lambda: backend, alias="foreign")
    (transaction,) = transport.transact([job], deadline=Deadline(5.0), authorize=refuse)
    assert transaction.with_verdict(Verdict.NOT_SENT) == one.recipients
    assert backend.seen == []


def test_an_smtp_route_goes_on_with_what_a_foreign_one_left() -> None:
    """Both kinds stand in one list."""
    world = World()
    world.add(TAKEN, alias="smtp")
    foreign = Backend(lambda message: setattr(message, "anymail_status", Status(a="sent", b="failed", c="sent")))
    report = deliver(message(), route(foreign), *world.routes)
    assert [one.recipients for one in world.log] == [(B,)]
    assert sorted(report.accepted) == [A, B, C]
