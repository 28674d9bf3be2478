"""One message of a batch that raises stops no other, whatever it raises, by each door; and what is behind delivery
raises nothing."""

import logging
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from django.core.mail import EmailMessage
from django.db import connections

from reliable_email.delivery.report import Outcome
from reliable_email.exceptions import InvalidMessage
from reliable_email.mailers import mailers
from reliable_email.store.tables.recipients import OutboxRecipient
from reliable_email.testing import delivery_of
from reliable_email.testing.script import Script
from reliable_email.testing.server import ScriptedServer
from tests.django.conftest import SMTP, use_mailers
from tests.django.post import A, B, C, message, received


class Odd(Exception):
    """Of a class that cannot be derived from in the ordinary way."""

    def __new__(cls, one: int, two: int) -> "Odd":
        return super().__new__(cls, one, two)


class Bad(EmailMessage):
    """Raises in one of its methods."""

    def __init__(self, error: Exception, method: str = "message") -> None:
        super().__init__("the bad one", "b", "me@example.org", [B])
        self._error = error
        self._method = method

    def message(self, **options: Any) -> Any:
        """Raise, if it is this method's turn."""
        if self._method == "message":
            raise self._error
        return super().message(**options)

    def recipients(self) -> list[str]:
        """Raise, if it is this method's turn."""
        if self._method == "recipients":
            raise self._error
        return super().recipients()


ERRORS: list[Exception] = [
    KeyError("name"),
    AttributeError("no body"),
    LookupError("unknown encoding: x"),
    OSError(2, "No such file"),
    RecursionError("maximum recursion depth exceeded"),
    RuntimeError("anything"),
    ValueError("a line end"),
    TypeError("not text"),
    UnicodeEncodeError("ascii", "ż", 0, 1, "ordinal not in range"),
    Odd(1, 2),
]
Door = Callable[[], Any]


@pytest.fixture
def direct(server: ScriptedServer, overrides: list[Any]) -> Door:
    """Sends at once."""
    override = use_mailers({"default": {"BACKEND": SMTP, "OPTIONS": server.options(timeout=5)}})
    override.enable()
    overrides.append(override)
    return lambda: received(server)


@pytest.fixture
def queue(server: ScriptedServer, overrides: list[Any], db: None) -> Door:
    """Queues."""
    outbox = {"BACKEND": "reliable_email.backends.OutboxBackend", "OPTIONS": {"using": "routes"}}
    override = use_mailers({"default": outbox, "routes": {"BACKEND": SMTP, "OPTIONS": server.options()}})
    override.enable()
    overrides.append(override)
    return lambda: [(one.address,) for one in OutboxRecipient.objects.order_by("id")]


@pytest.fixture(params=["direct", "queue"])
def door(request: pytest.FixtureRequest) -> Door:
    """Each door; calling it tells whom the messages went to."""
    found: Door = request.getfixturevalue(request.param)
    return found


@pytest.mark.parametrize("method", ["message", "recipients"])
@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_the_others_go(door: Door, error: Exception, method: str) -> None:
    """And one error names the bad one; it is a ValueError, and of the class that was raised."""
    first, bad, last = message(A), Bad(error, method), message(C)
    with pytest.raises(ValueError) as caught:
        mailers["default"].send_messages([first, bad, last])
    assert door() == [(A,), (C,)]
    assert isinstance(caught.value, InvalidMessage)
    assert "Message 2 of 3" in str(caught.value)
    assert "the bad one" in str(caught.value)
    assert error in (caught.value.__cause__, getattr(caught.value.__cause__, "__cause__", None))
    if not isinstance(error, (Odd, UnicodeEncodeError)):  # the latter is put into words before
        assert isinstance(caught.value, type(error))
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    assert delivery_of(first).recipients[A].outcome in (Outcome.ACCEPTED, Outcome.QUEUED)
    if method == "message":
        assert delivery_of(bad).recipients[B].outcome in (Outcome.REJECTED, Outcome.DEFERRED)


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"to": ["(" * 3000 + "@example.net"]}, id="an address too deep"),
        pytest.param({"encoding": "no-such-codec", "body": "ż"}, id="a codec that does not exist"),
        pytest.param({"subject": "two\nlines"}, id="a header of two lines"),
        pytest.param({"to": ["no address"]}, id="no address"),
        pytest.param({"delivery_options": "soon"}, id="wishes of a wrong type"),
    ],
)
def test_real_messages_that_cannot_be_made(door: Door, fields: dict[str, Any]) -> None:
    """Also without a class of anybody's."""
    bad = message(B)
    for name, value in fields.items():
        setattr(bad, name, value)
    with pytest.raises(ValueError, match="Message 2 of 3"):
        mailers["default"].send_messages([message(A), bad, message(C)])
    assert door() == [(A,), (C,)]


def test_what_the_outbox_cannot_store_stops_no_other(queue: Door) -> None:
    """An attribute for anymail that is no JSON."""
    bad = message(B)
    bad.metadata = {"of": object()}  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="Message 2 of 3"):
        mailers["default"].send_messages([message(A), bad, message(C)])
    assert queue() == [(A,), (C,)]


def test_no_message_is_lost_in_the_error_of_another(overrides: list[Any]) -> None:
    """The bad one and the one that nobody took are both named, fail_silently or not."""
    with ScriptedServer(Script(rcpt={C: "550 5.1.1 no such user"})) as picky:
        override = use_mailers({"default": {"BACKEND": SMTP, "OPTIONS": picky.options(timeout=5)}})
        override.enable()
        overrides.append(override)
        with pytest.raises(InvalidMessage) as caught:
            mailers["default"].send_messages([message(A), Bad(KeyError("name")), message(C)])
        assert "the bad one" in str(caught.value)
        assert C in str(caught.value)
        assert received(picky) == [(A,)]


def test_an_earlier_acceptance_outlives_a_send_that_raised(
    overrides: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that the same letter does not arrive twice when its attachment can be read again."""
    with ScriptedServer(Script(rcpt={B: "451 4.3.0 later"})) as picky:
        override = use_mailers({"default": {"BACKEND": SMTP, "OPTIONS": picky.options(timeout=5, max_attempts=1)}})
        override.enable()
        overrides.append(override)
        one = message(A, B)
        assert mailers["default"].send_messages([one]) == 1

        def cannot_be_read(self: EmailMessage, **options: Any) -> Any:
            raise OSError(5, "Input/output error")

        monkeypatch.setattr(EmailMessage, "message", cannot_be_read)
        with pytest.raises(OSError):
            mailers["default"].send_messages([one])
        assert delivery_of(one).recipients[A].outcome is Outcome.ACCEPTED
        monkeypatch.undo()
        mailers["default"].send_messages([one])
        assert received(picky) == [(A,)]


def test_a_closing_database_connection_raises_nothing_when_mail_is_out(
    direct: Door, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The message was delivered: the caller is told so."""
    wrapper = connections["default"]
    monkeypatch.setattr(connections, "all", lambda initialized_only=False: [wrapper])
    monkeypatch.setattr(wrapper, "connection", None)

    def refuse() -> None:
        raise OSError("the server has gone away")

    monkeypatch.setattr(wrapper, "close_if_unusable_or_obsolete", refuse)
    one = message(A)
    with caplog.at_level(logging.WARNING, logger="reliable_email"):
        assert mailers["default"].send_messages([one]) == 1
    assert delivery_of(one).accepted == [A]
    assert "close a database connection" in caplog.text


def test_a_log_filter_that_raises_does_not_undo_a_delivery(direct: Door) -> None:
    """Logging is anybody's code, too."""

    def refuse(record: logging.LogRecord) -> bool:
        raise RuntimeError("no such field")

    log = logging.getLogger("reliable_email.delivery")
    log.addFilter(refuse)
    log.setLevel(logging.DEBUG)
    try:
        one = message(A)
        assert mailers["default"].send_messages([one]) == 1
    finally:
        log.removeFilter(refuse)
        log.setLevel(logging.NOTSET)
    assert delivery_of(one).accepted == [A]
