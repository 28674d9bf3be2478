"""A message class with `recipients()` of its own: each door's envelope is what that says, as Django's is."""

import json
from typing import Any

import pytest
from anymail.backends.sendgrid import EmailBackend as SendGrid
from anymail.exceptions import AnymailCancelSend
from anymail.signals import pre_send
from django.core.mail import EmailMessage

from reliable_email.exceptions import DeliveryError
from reliable_email.mailers import mailers
from reliable_email.testing import delivery_of
from reliable_email.testing.outbox import deliver_outbox
from reliable_email.testing.server import ScriptedServer
from tests.content.anymail_posts import Network
from tests.django.conftest import SMTP, use_mailers
from tests.django.post import A, B, C, received

FAILOVER = "reliable_email.backends.FailoverBackend"
OUTBOX = "reliable_email.backends.OutboxBackend"
DJANGO = "django.core.mail.backends.smtp.EmailBackend"
DOORS = ("direct", "failover", "queue", "failover over Django's", "queue over Django's")
BY_API = ("failover over API", "queue over API")
POSTS: list[Any] = []
pytestmark = [
    pytest.mark.filterwarnings("ignore:django-anymail has dropped"),
    pytest.mark.django_db,
    pytest.mark.filterwarnings("ignore::PendingDeprecationWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


class API(SendGrid):  # type: ignore[misc]
    """SendGrid's, with a network that only writes down."""

    def create_session(self) -> Any:
        """See anymail."""
        session = super().create_session()
        session.mount("https://", Network(POSTS))
        return session


API.__module__ = "anymail.of_the_tests"


class LeavesOut(EmailMessage):
    """Writes to nobody who has left."""

    def recipients(self) -> list[str]:
        """See Django."""
        return [one for one in super().recipients() if one != B]


class Adds(EmailMessage):
    """Writes to the archive, too."""

    def recipients(self) -> list[str]:
        """See Django."""
        return [*super().recipients(), C]


class Redirects(EmailMessage):
    """Writes to somebody else."""

    def recipients(self) -> list[str]:
        """See Django."""
        return [C] if super().recipients() else []


class Nobody(EmailMessage):
    """Writes to nobody."""

    def recipients(self) -> list[str]:
        """See Django."""
        return []


ENVELOPES = [(LeavesOut, (A,)), (Adds, (A, B, C)), (Redirects, (C,)), (Nobody, ())]


@pytest.fixture
def by(server: ScriptedServer, overrides: list[Any]) -> Any:
    """Sends by a door."""
    POSTS.clear()
    options = {"host": server.host, "port": server.port, "timeout": 5}
    entries: dict[str, Any] = {
        "default": {"BACKEND": SMTP, "OPTIONS": options},
        "direct": {"BACKEND": SMTP, "OPTIONS": options},
        "Django's": {"BACKEND": DJANGO, "OPTIONS": options},
        "API": {"BACKEND": f"{__name__}.API", "OPTIONS": {"api_key": "key", "generate_message_id": False}},
        "failover": {"BACKEND": FAILOVER, "OPTIONS": {"using": ["direct"]}},
        "queue": {"BACKEND": OUTBOX, "OPTIONS": {"using": "direct"}},
    }
    for name in ("Django's", "API"):
        entries[f"failover over {name}"] = {"BACKEND": FAILOVER, "OPTIONS": {"using": [name]}}
        entries[f"queue over {name}"] = {"BACKEND": OUTBOX, "OPTIONS": {"using": name}}
    override = use_mailers(entries)
    override.enable()
    overrides.append(override)

    def send(door: str, message: EmailMessage) -> int:
        count: int = mailers[door].send_messages([message]) or 0
        if "queue" in door:
            deliver_outbox()
        return count

    return send


def posted() -> list[str]:
    """Whom the API was asked to write to."""
    found = []
    for *_, body in POSTS:
        said = json.loads(body) if isinstance(body, bytes | str) else body
        for person in said["personalizations"]:
            found += [one["email"] for field in ("to", "cc", "bcc") for one in person.get(field, [])]
    return sorted(found)


@pytest.mark.parametrize("door", ["Django's", *DOORS])
@pytest.mark.parametrize(("cls", "envelope"), ENVELOPES)
def test_the_envelope_is_what_the_class_says(
    door: str, cls: type[EmailMessage], envelope: tuple[str, ...], by: Any, server: ScriptedServer
) -> None:
    """And the header To shows whom the message names."""
    count = by(door, cls("s", "b", "me@example.org", [A, B]))
    assert [tuple(sorted(one)) for one in received(server)] == ([envelope] if envelope else [])
    assert bool(count) is bool(envelope)
    if envelope:
        assert f"To: {A}, {B}\r\n".encode() in server.messages[0].content


@pytest.mark.parametrize("door", BY_API)
@pytest.mark.parametrize(("cls", "envelope"), ENVELOPES)
def test_an_api_is_asked_for_the_envelope(
    door: str, cls: type[EmailMessage], envelope: tuple[str, ...], by: Any
) -> None:
    """An API knows no envelope, so the fields are the envelope's."""
    one = cls("s", "b", "me@example.org", [A, B])
    by(door, one)
    assert posted() == list(envelope)
    if door.startswith("failover") and envelope:
        assert sorted(delivery_of(one).accepted) == list(envelope)


@pytest.mark.parametrize("door", BY_API)
@pytest.mark.parametrize("field", ["to", "cc", "bcc"])
@pytest.mark.parametrize("entry", [f"{B},", f"{B} ,", f"Bob <{B}>,", f"<{B}> , ", f"{B} (Bob),"])
def test_an_api_is_asked_for_the_one_address_in_an_entry(door: str, field: str, entry: str, by: Any) -> None:
    """Anymail refuses the comma of a copied list, and with it everybody beside it."""
    one = EmailMessage("s", "b", "me@example.org", [f"Ann <{A}>"])
    getattr(one, field).append(entry)
    by(door, one)
    assert posted() == [A, B]


def test_what_a_receiver_of_pre_send_cancels_goes_by_no_route(by: Any, server: ScriptedServer, overrides: Any) -> None:
    """It is the site's own decision, and another route would ignore it."""

    def cancel(sender: Any, message: EmailMessage, **options: Any) -> None:
        raise AnymailCancelSend

    override = use_mailers(
        {
            "default": {"BACKEND": FAILOVER, "OPTIONS": {"using": ["API", "server"]}},
            "API": {"BACKEND": f"{__name__}.API", "OPTIONS": {"api_key": "key", "generate_message_id": False}},
            "server": {"BACKEND": SMTP, "OPTIONS": server.options(timeout=5)},
        }
    )
    override.enable()
    overrides.append(override)
    one = EmailMessage("s", "b", "me@example.org", [A])
    pre_send.connect(cancel)
    try:
        with pytest.raises(DeliveryError, match="cancelled"):
            one.send()
    finally:
        pre_send.disconnect(cancel)
    assert (received(server), POSTS) == ([], [])
    assert delivery_of(one).rejected == [A]
