"""`FailoverBackend` over real sockets: the next route takes what the first cannot, and never what may have arrived."""

from collections.abc import Callable
from typing import Any

import pytest
from django.core.mail import EmailMessage

from reliable_email.classification import Cause
from reliable_email.delivery.report import Outcome
from reliable_email.exceptions import DeliveryError, OutcomeUnknown, RecipientsRefused
from reliable_email.mailers import mailers
from reliable_email.testing import delivery_of
from reliable_email.testing.script import Script
from reliable_email.testing.server import ScriptedServer, accept_then, close
from tests.django.conftest import SMTP, use_mailers
from tests.django.post import A, B, C, closed_port, message, received

FAILOVER = "reliable_email.backends.FailoverBackend"
Failover = Callable[..., Any]


@pytest.fixture
def failover(overrides: list[Any]) -> Failover:
    """A failover over these servers, as "first", "second", and so on; an entry of MAILERS may stand for a server."""

    def over(*routes: ScriptedServer | dict[str, Any], **options: Any) -> Any:
        names = ("first", "second", "third")[: len(routes)]
        entries: dict[str, Any] = {"default": {"BACKEND": FAILOVER, "OPTIONS": {"using": list(names), **options}}}
        for name, route in zip(names, routes, strict=True):
            if isinstance(route, ScriptedServer):
                route = {"BACKEND": SMTP, "OPTIONS": route.options(timeout=5)}
            entries[name] = route
        override = use_mailers(entries)
        override.enable()
        overrides.append(override)
        return mailers["default"]

    return over


def dead() -> dict[str, Any]:
    """A route that nobody answers on."""
    return {"BACKEND": SMTP, "OPTIONS": {"host": "127.0.0.1", "port": closed_port()}}


def test_the_first_route_is_used_while_it_works(failover: Failover, serve: Any) -> None:
    """The second one hears nothing."""
    first, second = serve(), serve()
    one = message(A)
    assert failover(first, second).send_messages([one]) == 1
    assert delivery_of(one).recipients[A].route == "first"
    assert second.connections == []


@pytest.mark.parametrize(
    "script",
    [
        Script(greeting="421 4.3.2 not now"),
        Script(ehlo=close()),
        Script(mail="451 4.3.0 trouble"),
        Script(mail="421 4.3.2 closing"),
        Script(data="451 4.3.0 trouble"),
        Script(final_reply="451 4.3.0 trouble"),
        Script(final_reply="550 5.4.5 Daily user sending limit exceeded"),
    ],
)
def test_what_the_first_cannot_do_the_second_does_at_once(failover: Failover, serve: Any, script: Script) -> None:
    """One copy, and the report tells of both."""
    first, second = serve(script), serve()
    one = message(A)
    assert failover(first, second).send_messages([one]) == 1
    assert [attempt.route for attempt in delivery_of(one).attempts] == ["first", "second"]
    assert delivery_of(one).recipients[A].route == "second"
    assert (received(first), received(second)) == ([], [(A,)])


def test_a_refused_login_is_passed_over_from_then_on(failover: Failover, serve: Any) -> None:
    """Two messages, one AUTH."""
    first, second = serve(tls="starttls", login={"user": "right"}), serve()
    wrong = {"BACKEND": SMTP, "OPTIONS": first.options(password="wrong")}
    backend = failover(wrong, second)
    assert [backend.send_messages([message(one)]) for one in (A, B)] == [1, 1]
    assert sum(command.startswith("AUTH") for command in first.commands) == 1
    assert received(second) == [(A,), (B,)]


def test_a_recipient_that_does_not_exist_is_not_offered_to_the_next(failover: Failover, serve: Any) -> None:
    """That would only spoil the other route's reputation."""
    first, second = serve(Script(rcpt="550 5.1.1 no such user")), serve()
    one = message(A)
    with pytest.raises(RecipientsRefused):
        failover(first, second).send_messages([one])
    assert delivery_of(one).rejected == [A]
    assert second.connections == []


def test_an_unknown_outcome_is_not_offered_to_the_next(failover: Failover, serve: Any) -> None:
    """The first one may have it."""
    first, second = serve(Script(final_reply=accept_then(close()))), serve()
    one = message(A)
    with pytest.raises(OutcomeUnknown):
        failover(first, second).send_messages([one])
    assert delivery_of(one).unknown == [A]
    assert (received(first), received(second)) == ([(A,)], [])


def test_only_those_who_have_not_got_it_go_on(failover: Failover, serve: Any) -> None:
    """One has it, one does not exist, and one is taken by the second route."""
    first = serve(Script(rcpt={B: "550 5.1.1 no such user", C: "451 4.7.1 Daily message quota exceeded"}))
    second = serve()
    one = message(A, B, C)
    assert failover(first, second).send_messages([one]) == 1
    report = delivery_of(one)
    assert {address: result.outcome for address, result in report.recipients.items()} == {
        A: Outcome.ACCEPTED,
        B: Outcome.REJECTED,
        C: Outcome.ACCEPTED,
    }
    assert (received(first), received(second)) == ([(A,)], [(C,)])
    ids = {copy.header("Message-ID") for server in (first, second) for copy in server.messages}
    assert ids == {report.message_id}


def test_when_all_fail_the_error_tells_of_each(failover: Failover, serve: Any) -> None:
    """ "All routes failed" alone helps nobody."""
    first, second = serve(Script(mail="451 4.3.0 the first one's trouble")), dead()
    one = message(A)
    with pytest.raises(DeliveryError) as caught:
        failover(first, second).send_messages([one])
    assert delivery_of(one).deferred == [A]
    assert {attempt.route for attempt in delivery_of(one).attempts} == {"first", "second"}
    assert "the first one's trouble" in str(caught.value)
    assert "connection refused" in str(caught.value)


def test_a_batch_is_divided_among_the_routes(failover: Failover, serve: Any) -> None:
    """The quota of the first ends in the middle; every message arrives once."""
    quota = "550 5.4.5 Daily user sending limit exceeded"
    first, second = serve(Script(final_reply=[None, None, *[quota] * 20])), serve()
    batch = [message(f"user{n}@example.net") for n in range(6)]
    assert failover(first, second).send_messages(batch) == 6
    everybody = [address for server in (first, second) for one in received(server) for address in one]
    assert sorted(everybody) == [f"user{n}@example.net" for n in range(6)]
    assert len(received(first)) == 2


def test_django_s_own_backend_is_a_route_like_any_other(failover: Failover, serve: Any) -> None:
    """As anymail's or anybody's."""
    second = serve()
    foreign = {
        "BACKEND": "django.core.mail.backends.smtp.EmailBackend",
        "OPTIONS": {"host": second.host, "port": second.port, "timeout": 5},
    }
    one = message(A, B)
    assert failover(dead(), foreign).send_messages([one]) == 1
    assert delivery_of(one).accepted == [A, B]
    assert received(second) == [(A, B)]


def test_what_the_console_printed_is_not_delivered(failover: Failover, capsys: Any) -> None:
    """It is shown to a developer, and deferred."""
    console = {"BACKEND": "django.core.mail.backends.console.EmailBackend"}
    one = message(A)
    with pytest.raises(DeliveryError):
        failover(dead(), console).send_messages([one])
    assert delivery_of(one).deferred == [A]
    assert "Subject: hello" in capsys.readouterr().out


def test_open_takes_the_first_route_that_answers(failover: Failover, serve: Any) -> None:
    """And raises the first one's error where none does."""
    backend = failover(dead(), serve())
    assert backend.open() is True
    assert backend.open() is False
    backend.close()
    with pytest.raises(ConnectionRefusedError):
        failover(dead(), dead()).open()


def test_fail_silently_is_the_failovers_own(failover: Failover) -> None:
    """No route has it, and each failure is in the report."""
    one = message(A)
    assert failover(dead(), dead(), fail_silently=True).send_messages([one]) == 0
    assert delivery_of(one).recipients[A].cause is Cause.CONNECT_FAILED


def test_messages_leave_by_send_as_always(failover: Failover, serve: Any) -> None:
    """Nobody has to name the failover."""
    server = serve()
    failover(dead(), server)
    assert EmailMessage("s", "b", "me@example.org", [A]).send() == 1
    assert received(server) == [(A,)]


def test_open_goes_on_where_somebody_elses_backend_cannot_be_opened(
    failover: Failover, serve: Callable[..., ScriptedServer]
) -> None:
    """Django's own backend raises what the socket raised, and the next route is asked all the same."""
    foreign = {
        "BACKEND": "django.core.mail.backends.smtp.EmailBackend",
        "OPTIONS": {"host": "127.0.0.1", "port": closed_port()},
    }
    assert failover(foreign, serve()).open() is True
    with pytest.raises(OSError):
        failover(foreign, foreign | {"OPTIONS": foreign["OPTIONS"] | {"timeout": 1}}).open()
