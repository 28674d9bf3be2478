"""Messages that a provider's API alone can make, by a failover that has SMTP routes, too."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar

import pytest
from anymail.exceptions import AnymailAPIError
from anymail.message import AnymailMessage
from django.core.mail import EmailMessage
from django.core.mail.backends.base import BaseEmailBackend

from reliable_email.exceptions import DeliveryError
from reliable_email.mailers import mailers
from reliable_email.testing import delivery_of
from reliable_email.testing.server import ScriptedServer
from tests.django.conftest import SMTP, use_mailers
from tests.django.post import A, B, message, received

FAILOVER = "reliable_email.backends.FailoverBackend"
OUTBOX = "reliable_email.backends.OutboxBackend"


class API(BaseEmailBackend):
    """A provider's, which is away or takes everything."""

    is_away = True
    taken: ClassVar[list[str]] = []

    def __init__(self, *, alias: str | None = None, **options: Any) -> None:
        super().__init__()
        self.alias = alias

    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        """Refuse, or take."""
        if API.is_away:
            raise AnymailAPIError("not posted") from ConnectionRefusedError("the provider is away")
        API.taken += [str(one.subject) for one in email_messages]
        return len(email_messages)


@pytest.fixture(autouse=True)
def _away() -> None:
    API.is_away = True
    API.taken.clear()


def entries(server: ScriptedServer, *using: str) -> dict[str, Any]:
    """A failover over an API and a server."""
    return {
        "default": {"BACKEND": FAILOVER, "OPTIONS": {"using": list(using)}},
        "api": {"BACKEND": f"{__name__}.API"},
        "smtp": {"BACKEND": SMTP, "OPTIONS": server.options(timeout=5)},
    }


def for_apis(name: str, value: object) -> Any:
    """A message with such an attribute, to two who must not see each other."""
    one = AnymailMessage("for an API", "Hello {{name}}", "me@example.org", [A, B])
    setattr(one, name, value)
    return one


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("template_id", "welcome"),
        ("merge_data", {A: {"name": "Ann"}, B: {"name": "Bob"}}),
        ("merge_global_data", {"name": "you"}),
        ("merge_data", {}),  # a batch as well, in which each recipient sees nobody else
        ("merge_metadata", {}),
        ("merge_headers", {}),
        ("send_at", datetime(2100, 1, 1, tzinfo=UTC)),
    ],
)
@pytest.mark.parametrize("using", [("api", "smtp"), ("smtp", "api")])
def test_what_only_an_api_can_make_goes_by_no_smtp_route(
    server: ScriptedServer, name: str, value: object, using: tuple[str, ...]
) -> None:
    """It went out unfilled, at once, and with everybody's address for all to see. Other mail of the batch goes."""
    with use_mailers(entries(server, *using)):
        one, other = for_apis(name, value), message(A)
        with pytest.raises(DeliveryError, match="away"):
            mailers["default"].send_messages([one, other])
        assert received(server) == [(A,)]
        assert (delivery_of(one).deferred, delivery_of(other).accepted) == ([A, B], [A])


def test_where_an_api_takes_it_all_is_well(server: ScriptedServer) -> None:
    """Whichever route is the first."""
    API.is_away = False
    with use_mailers(entries(server, "smtp", "api")):
        assert mailers["default"].send_messages([for_apis("template_id", "welcome"), message(A)]) == 2
    assert (API.taken, received(server)) == (["for an API"], [(A,)])


def test_what_an_api_adds_keeps_no_message_from_a_server(server: ScriptedServer) -> None:
    """Tags, metadata, and wishes for tracking."""
    with use_mailers(entries(server, "api", "smtp")):
        assert for_apis("tags", ["spring"]).send() == 1
    assert received(server) == [(A, B)]


def test_without_an_api_such_a_message_is_sent_as_djangos_backend_does(server: ScriptedServer) -> None:
    """A developer's site may have servers alone."""
    with use_mailers(entries(server, "smtp")):
        assert for_apis("template_id", "welcome").send() == 1
    assert received(server) == [(A, B)]


def test_an_exception_of_anymails_is_told_in_its_words(server: ScriptedServer) -> None:
    """By a DeliveryError, for code that catches AnymailError to catch."""
    with use_mailers(entries(server, "api")), pytest.raises(DeliveryError, match="the provider is away") as caught:
        message(A).send()
    assert caught.value.report is not None
    assert [one.route for one in caught.value.report.attempts] == ["api"]


class Odd(AnymailMessage):
    """Raises what nobody expects."""

    def recipients(self) -> list[str]:
        """Raise."""
        raise TypeError("odd")


def test_a_message_for_an_api_that_cannot_be_built_ends_no_other(server: ScriptedServer) -> None:
    """The rest of the batch is sent, and the error names the place that the message has in it."""
    API.is_away = False
    odd = Odd("for an API", "Text", "me@example.org", [A])
    odd.template_id = "welcome"
    others = [message(A), for_apis("template_id", "welcome")]
    with use_mailers(entries(server, "api", "smtp")):
        with pytest.raises(TypeError):
            mailers["default"].send_messages([odd, *others])
        assert [delivery_of(one).accepted for one in others] == [[A], [A, B]]
        bad = EmailMessage("Bad\nsubject", "Text", "me@example.org", [A])
        with pytest.raises(ValueError, match="3 of 3"):
            mailers["default"].send_messages([for_apis("template_id", "x"), message(A), bad])


def test_a_message_that_is_deferred_is_told_beside_one_that_cannot_be_built(server: ScriptedServer) -> None:
    """Each has its report, whatever is raised."""
    one = for_apis("template_id", "welcome")
    bad = EmailMessage("Bad\nsubject", "Text", "me@example.org", [A])
    with use_mailers(entries(server, "api", "smtp")), pytest.raises(ValueError):
        mailers["default"].send_messages([one, bad])
    assert delivery_of(one).deferred == [A, B]


@pytest.mark.django_db
def test_the_queue_refuses_a_time_that_its_smtp_route_would_not_keep(server: ScriptedServer) -> None:
    """It was sent at once; the error says how a queued message waits."""
    site = entries(server, "api", "smtp")
    site |= {"routes": site["default"], "default": {"BACKEND": OUTBOX, "OPTIONS": {"using": "routes"}}}
    with use_mailers(site), pytest.raises(ValueError, match=r"DeliveryOptions\(send_at"):
        for_apis("send_at", datetime(2100, 1, 1, tzinfo=UTC)).send()
