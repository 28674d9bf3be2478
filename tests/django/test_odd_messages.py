"""Messages whose attributes hold what Django's backend puts up with: by every door they go out, too."""

from collections.abc import Callable
from typing import Any

import pytest
from django.core.mail import EmailMessage, EmailMultiAlternatives

from reliable_email import DeliveryOptions
from reliable_email.delivery.report import delivery_of
from reliable_email.mailers import mailers
from reliable_email.testing.outbox import deliver_outbox
from reliable_email.testing.server import ScriptedServer
from tests.django.conftest import SMTP, use_mailers
from tests.django.post import A, received

FAILOVER = "reliable_email.backends.FailoverBackend"
OUTBOX = "reliable_email.backends.OutboxBackend"
DJANGO = "django.core.mail.backends.smtp.EmailBackend"
DOORS = ("Django's", "direct", "failover", "queue", "failover over Django's", "queue over Django's")
pytestmark = pytest.mark.django_db


def _with(name: str, value: object, cls: type[EmailMessage] = EmailMessage) -> Callable[[], EmailMessage]:
    def make() -> EmailMessage:
        one = cls("s", "b\n", "me@example.org", [A])
        setattr(one, name, value)
        return one

    return make


MESSAGES: dict[str, Callable[[], EmailMessage]] = {
    "no reply_to": _with("reply_to", None),
    "no attachments": _with("attachments", None),
    "no alternatives": _with("alternatives", None, EmailMultiAlternatives),
    "a hole in to": _with("to", [A, None]),
    "a hole in cc": _with("cc", [None, ""]),
    "no reply_to, and what is not common": lambda: _uncommon(_with("reply_to", None)()),
    "no attachments, and what is not common": lambda: _uncommon(_with("attachments", None)()),
}


def _uncommon(message: EmailMessage) -> EmailMessage:
    message.encoding = "iso-8859-1"
    return message


@pytest.mark.parametrize("name", MESSAGES)
@pytest.mark.parametrize("door", DOORS)
def test_none_is_nothing_to_every_door(name: str, door: str, server: ScriptedServer, overrides: list[Any]) -> None:
    """Django's backend meets the same message first, so what it cannot write is nobody's fault here."""
    options = {"host": server.host, "port": server.port, "timeout": 5}
    entries: dict[str, Any] = {
        "default": {"BACKEND": SMTP, "OPTIONS": options},
        "direct": {"BACKEND": SMTP, "OPTIONS": options},
        "Django's": {"BACKEND": DJANGO, "OPTIONS": options},
        "failover": {"BACKEND": FAILOVER, "OPTIONS": {"using": ["direct"]}},
        "queue": {"BACKEND": OUTBOX, "OPTIONS": {"using": "direct"}},
        "failover over Django's": {"BACKEND": FAILOVER, "OPTIONS": {"using": ["Django's"]}},
        "queue over Django's": {"BACKEND": OUTBOX, "OPTIONS": {"using": "Django's"}},
    }
    override = use_mailers(entries)
    override.enable()
    overrides.append(override)
    try:
        mailers["Django's"].send_messages([MESSAGES[name]()])
    except (TypeError, AttributeError) as error:
        pytest.skip(f"this Django does not send it: {error}")
    if door != "Django's":
        mailers[door].send_messages([MESSAGES[name]()])
        if "queue" in door:
            deliver_outbox()
    assert received(server) == [(A,)] * (1 if door == "Django's" else 2)


class _Looks(EmailMessage):
    """Has a `delivery` of its own, whose order is gone."""

    @property
    def delivery(self) -> object:
        raise LookupError("no order")


class _Stores(EmailMessage):
    """Has a `delivery` of its own, which takes nothing but numbers."""

    @property
    def delivery(self) -> object:
        return 5

    @delivery.setter
    def delivery(self, number: int) -> None:
        self.number = number + 1


class _Frozen(EmailMessage):
    """Takes no attribute that it does not know."""

    def __setattr__(self, name: str, value: object) -> None:
        if name == "delivery":
            raise AttributeError(name)
        super().__setattr__(name, value)


@pytest.mark.parametrize("cls", [_Looks, _Stores, _Frozen])
@pytest.mark.parametrize("door", ["direct", "failover", "queue"])
def test_a_class_with_a_delivery_of_its_own_is_sent_once_and_not_written_over(
    cls: type[EmailMessage], door: str, server: ScriptedServer, overrides: list[Any]
) -> None:
    """An error after the sending would make a task send it again; `delivery_of()` knows what became of it."""
    options = {"host": server.host, "port": server.port, "timeout": 5}
    entries: dict[str, Any] = {
        "default": {"BACKEND": SMTP, "OPTIONS": options},
        "direct": {"BACKEND": SMTP, "OPTIONS": options},
        "failover": {"BACKEND": FAILOVER, "OPTIONS": {"using": ["direct"]}},
        "queue": {"BACKEND": OUTBOX, "OPTIONS": {"using": "direct"}},
    }
    override = use_mailers(entries)
    override.enable()
    overrides.append(override)
    one = cls("s", "b", "me@example.org", [A])
    assert mailers[door].send_messages([one]) == 1
    if door == "queue":
        deliver_outbox()
    else:
        assert mailers[door].send_messages([one]) == 1
    assert len(server.messages) == 1
    assert [outcome.outcome.value for outcome in delivery_of(one).recipients.values()] == [
        "queued" if door == "queue" else "accepted"
    ]
    assert not hasattr(one, "number")


@pytest.mark.parametrize(
    ("name", "value"),
    [("send_at", "tomorrow"), ("send_at", 0), ("expires_in", "1h"), ("expires_in", 3600)],
)
def test_an_option_of_another_type_is_named(name: str, value: object) -> None:
    """Where it is written, and not as an attribute that a string does not have."""
    with pytest.raises(TypeError, match=f"{name} must be .*not {type(value).__name__}"):
        DeliveryOptions(**{name: value})  # type: ignore[arg-type]
