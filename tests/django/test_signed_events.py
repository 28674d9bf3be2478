"""Signed events of six providers through django-anymail's own views: the right doubt ends, and nothing else happens."""

from collections.abc import Iterator

import pytest
from anymail.signals import tracking
from anymail.webhooks import amazon_ses
from django.core.mail import EmailMessage
from django.test import Client, modify_settings, override_settings
from django.urls import include, path

from reliable_email.delivery.content.building import build_submission
from reliable_email.integrations import anymail
from reliable_email.outbox.intake.enqueue import QueueOptions, enqueue
from reliable_email.outbox.operations.suppressed import allow
from reliable_email.outbox.operations.suppression_list import suppressed
from reliable_email.store.sql.clock import DatabaseNow
from reliable_email.store.tables.attempts import Attempt
from reliable_email.store.tables.events import ProviderEvent
from reliable_email.store.tables.messages import OutboxMessage
from reliable_email.store.tables.recipients import OutboxRecipient
from reliable_email.store.tables.states import State
from tests.django.conftest import SMTP
from tests.django.post import A, B
from tests.django.signed_events import ANYMAIL, PROVIDERS, SIGNED, Post, changed, event, forged, provider_id

# anymail serves SendGrid's webhook still, and says that it is not tested against SendGrid any more.
pytestmark = pytest.mark.filterwarnings("ignore:django-anymail has dropped official support")

urlpatterns = [path("anymail/", include("anymail.urls"))]
ROUTES = {
    name: {"BACKEND": SMTP, "OPTIONS": {"provider": name, "username": "u", "password": "p"}} for name in PROVIDERS
}
MAILERS = {
    "default": {"BACKEND": "reliable_email.backends.OutboxBackend", "OPTIONS": {"using": "routes"}},
    "routes": {"BACKEND": "reliable_email.backends.FailoverBackend", "OPTIONS": {"using": [*ROUTES, "relay"]}},
    "relay": {"BACKEND": SMTP, "OPTIONS": {"host": "mail.example.org"}},
    "api": {"BACKEND": "anymail.backends.postmark.EmailBackend"},
    **ROUTES,
}


@pytest.fixture
def client(db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """A site that all six report to."""
    # Of boto3 its view uses what subscribes to a topic and reads inbound mail; neither is needed for an event.
    monkeypatch.setattr(amazon_ses, "_get_anymail_boto3_params", lambda kwargs: ({}, {}))
    with (
        modify_settings(INSTALLED_APPS={"append": "anymail"}),
        override_settings(ROOT_URLCONF=__name__, ANYMAIL=ANYMAIL, MAILERS=MAILERS),
    ):
        anymail.connect()
        yield Client()
    tracking.disconnect(dispatch_uid="reliable_email.events")


def sent_by(route: str, provider: str) -> OutboxMessage:
    """A queued message to two, about whom nobody knows whether the route took it; its id is the provider's."""
    mail = EmailMessage("Your order", "Thank you.", "shop@example.org", [A, B])
    [message] = enqueue([build_submission(mail)], QueueOptions(mailer="routes"))
    Attempt.objects.create(
        message=message,
        claim=1,
        worker="w",
        route=route,
        finished_at=DatabaseNow(),
        seconds=0.1,
        stage="final_reply",
        outcomes={},
        provider_message_id=provider_id(provider),
    )
    OutboxRecipient.objects.update(
        state=State.UNKNOWN,
        unknowns=1,
        due_at=None,
        authorized_at=DatabaseNow(),
        authorized_route=route,
        settled_at=DatabaseNow(),
    )
    return message


def post(client: Client, what: Post) -> int:
    """Post it; the answer's status."""
    answer = client.post(what.path, what.body, content_type="application/json", headers=dict(what.headers))
    return answer.status_code


def states() -> tuple[State, State]:
    """Of the two recipients."""
    found = dict(OutboxRecipient.objects.values_list("address", "state"))
    return State(found[A]), State(found[B])


UNKNOWN = (State.UNKNOWN, State.UNKNOWN)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_delivery_ends_the_doubt_about_its_recipient(client: Client, provider: str) -> None:
    """And no other's; nobody is suppressed."""
    message = sent_by(provider, provider)
    assert post(client, event(provider, "delivered", message.message_id, A)) == 200
    assert states() == (State.ACCEPTED, State.UNKNOWN)
    assert suppressed("default", [A, B]) == set()


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_bounce_ends_the_doubt_and_suppresses(client: Client, provider: str) -> None:
    """The one that bounced."""
    message = sent_by(provider, provider)
    assert post(client, event(provider, "bounced", message.message_id, B)) == 200
    assert states() == (State.UNKNOWN, State.REJECTED)
    assert suppressed("default", [A, B]) == {B}


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_forged_event_is_refused(client: Client, provider: str) -> None:
    """It settles and suppresses nothing."""
    message = sent_by(provider, provider)
    for kind in ("delivered", "bounced"):
        assert post(client, forged(event(provider, kind, message.message_id, A), provider)) == 400
    assert states() == UNKNOWN
    assert suppressed("default", [A, B]) == set()
    assert not ProviderEvent.objects.exists()


@pytest.mark.parametrize("provider", ["sendgrid", "resend"])
def test_a_signature_holds_for_its_own_content_alone(client: Client, provider: str) -> None:
    """Who has seen one event cannot make another of it."""
    message = sent_by(provider, provider)
    assert provider in SIGNED
    assert post(client, changed(event(provider, "bounced", message.message_id, A), A, B)) == 400
    assert states() == UNKNOWN
    assert suppressed("default", [A, B]) == set()


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_replayed_event_does_nothing(client: Client, provider: str) -> None:
    """An address that somebody has taken off the list stays off it, and a doubt that came later stays."""
    message = sent_by(provider, provider)
    bounce = event(provider, "bounced", message.message_id, A)
    assert post(client, bounce) == 200
    assert suppressed("default", [A]) == {A}
    allow([A])
    OutboxRecipient.objects.filter(address=A).update(state=State.UNKNOWN, unknowns=1, authorized_at=DatabaseNow())
    assert post(client, bounce) == 200
    assert states() == UNKNOWN
    assert suppressed("default", [A, B]) == set()
    assert ProviderEvent.objects.count() == 1


@pytest.mark.parametrize("other", PROVIDERS)
@pytest.mark.parametrize("provider", PROVIDERS)
def test_only_the_provider_that_had_the_message_is_believed(client: Client, provider: str, other: str) -> None:
    """Whoever can post another one's events ends no doubt by them, and puts nobody on the list."""
    if provider == other:
        return
    message = sent_by(provider, other)
    for kind in ("delivered", "bounced"):
        assert post(client, event(other, kind, message.message_id, A)) == 200
    assert states() == UNKNOWN
    assert suppressed("default", [A, B]) == set()
    assert not ProviderEvent.objects.exists()


@pytest.mark.parametrize(("route", "ends"), [("relay", True), ("api", False), ("gone", True)])
def test_a_route_whose_provider_nobody_knows_may_lead_to_any(client: Client, route: str, ends: bool) -> None:
    """A relay of one's own may hand on to SendGrid; another provider's API does not."""
    message = sent_by(route, "sendgrid")
    assert post(client, event("sendgrid", "delivered", message.message_id, A)) == 200
    assert states()[0] is (State.ACCEPTED if ends else State.UNKNOWN)


def test_a_bounce_of_a_message_that_was_sent_directly_suppresses(client: Client) -> None:
    """No row says by whom it went."""
    assert post(client, event("sendgrid", "bounced", "<direct@example.org>", A)) == 200
    assert suppressed("default", [A]) == {A}
