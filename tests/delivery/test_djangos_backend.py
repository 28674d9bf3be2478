"""Django's own SMTP backend as a route: what it, or a class derived from it, makes of a message that it cannot send."""

from collections.abc import Callable
from typing import Any

import django
import pytest
from django.core.mail import EmailMessage
from django.core.mail.backends.smtp import EmailBackend

from reliable_email.classification import Cause
from reliable_email.delivery.content.building import build_submission
from reliable_email.delivery.direct import Delivery
from reliable_email.delivery.report import DeliveryReport, Outcome
from reliable_email.delivery.route import Route
from reliable_email.delivery.route_memory import MemoryRouteStateStore
from reliable_email.delivery.transports.foreign import ForeignTransport
from reliable_email.testing.script import Script
from reliable_email.testing.server import ScriptedServer, close

A = "a@example.net"


class Prepares(EmailBackend):
    """Raises before it speaks to the server, as Django 6 does for an address that it does not like."""

    def _prepare(self, address: object, *rest: Any) -> str:
        if "unsendable" in str(address):
            raise ValueError(f"Invalid address {address!r}")
        return str(address)

    prep_address = _prepare  # type: ignore[assignment]


@pytest.fixture(autouse=True)
def _prepares_by_a_method(monkeypatch: pytest.MonkeyPatch) -> None:
    """Django 5.2 has a function where Django 6 has a method."""
    if django.VERSION < (6, 0):
        monkeypatch.setattr(
            "django.core.mail.backends.smtp.sanitize_address",
            lambda address, encoding: Prepares._prepare(None, address),  # type: ignore[arg-type]
        )


class SendsElsewhere(Prepares):
    """Nobody can tell how far its own way of sending came."""

    def _send(self, email_message: EmailMessage) -> bool:
        raise ValueError("after it was sent, for all that is known")


def message(sender: str = "site@example.org") -> EmailMessage:
    """To one."""
    return EmailMessage("Subject", "Text", sender, [A])


def delivery(server: ScriptedServer, cls: type[EmailBackend] = Prepares) -> Callable[[EmailMessage], DeliveryReport]:
    """Sends by such a route alone, whose state is kept from message to message."""
    options: dict[str, Any] = {"alias": "x"} if django.VERSION >= (6, 1) else {}
    make = lambda: cls(host=server.host, port=server.port, timeout=5, **options)  # noqa: E731
    route = Route(alias="djangos", transport=ForeignTransport(make, alias="djangos"), max_attempts=1, is_foreign=True)
    found = Delivery([route], store=MemoryRouteStateStore(), sleep=lambda seconds: None)
    return lambda one: found.deliver([build_submission(one)])[0]


def test_what_it_refuses_before_it_speaks_to_the_server_was_not_sent() -> None:
    """Nobody has to find out whether it arrived, and the route stays open for others, however many there are."""
    with ScriptedServer() as server:
        send = delivery(server)
        for _ in range(4):
            report = send(message("unsendable@example.org"))
            assert report.recipients[A].outcome is Outcome.DEFERRED
            assert report.recipients[A].cause is Cause.CODE_RAISED
            assert "Invalid address" in str(report.recipients[A].failure)
        assert send(message()).accepted == [A]
        assert [one.sender for one in server.messages] == ["site@example.org"]


def test_what_it_raises_once_the_message_is_on_its_way_may_have_been_sent() -> None:
    """A server that closes after the content has perhaps taken it."""
    with ScriptedServer(Script(final_reply=close())) as server:
        assert delivery(server)(message()).unknown == [A]


def test_a_class_that_sends_in_its_own_way_may_have_sent() -> None:
    """What it did before it raised is nowhere to be seen."""
    with ScriptedServer() as server:
        assert delivery(server, SendsElsewhere)(message()).unknown == [A]


class Reconnects(Prepares):
    """Sends nothing over a connection that was idle."""

    def open(self) -> bool | None:
        """Open a new one, whatever there is."""
        if self.connection is not None:
            self.close()
        return super().open()


def test_a_class_that_opens_another_connection_may_have_sent_by_it() -> None:
    """What is said on a connection that was opened while it sends is not seen."""
    with ScriptedServer(Script(final_reply=close())) as server:
        assert delivery(server, Reconnects)(message()).unknown == [A]
