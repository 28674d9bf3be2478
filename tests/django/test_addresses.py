"""Addresses at the door that sends at once: one identity, names of the machine, domains as DNS has them."""

from typing import Any

import django
import pytest
from django.core.mail import EmailMessage

from reliable_email.classification import Cause
from reliable_email.delivery.content.building import envelope_address
from reliable_email.delivery.report import Outcome
from reliable_email.exceptions import DeliveryError
from reliable_email.outbox.operations.suppressed import suppress
from reliable_email.testing import delivery_of
from reliable_email.testing.outbox import deliver_outbox
from reliable_email.testing.script import Script
from reliable_email.testing.server import ScriptedServer
from tests.django.conftest import SMTP, use_mailers
from tests.django.post import A, backend_for, message, received

SPELLINGS = [
    "victim@ｅxample.net",
    "victim@exam\u00adple.net",
    "victim@e\u200dxample.net",
    '"victim"@example.net',
    "VICTIM@EXAMPLE.NET",
    "Vic <victim@example.net>",
]


@pytest.mark.django_db
@pytest.mark.parametrize("spelled", SPELLINGS)
def test_no_spelling_passes_the_suppression_list(server: ScriptedServer, spelled: str) -> None:
    """Django's own field takes each of them for an address."""
    suppress(["victim@example.net"], source="by hand")
    one = message(spelled)
    with pytest.raises(DeliveryError):
        backend_for(server).send_messages([one])
    assert server.messages == []
    found = delivery_of(one).recipients["victim@example.net"]
    assert (found.outcome, found.cause) == (Outcome.REJECTED, Cause.SUPPRESSED)


def test_of_two_spellings_the_first_goes_out_and_both_find_the_outcome(server: ScriptedServer) -> None:
    """One copy, by one path."""
    one = message("Victim@Bücher.example", '"victim"@xn--bcher-kva.example', *SPELLINGS[:2])
    assert backend_for(server).send_messages([one]) == 1
    assert received(server) == [("Victim@xn--bcher-kva.example", "victim@example.net")]
    report = delivery_of(one)
    assert list(report.recipients) == ["Victim@bücher.example", "victim@ｅxample.net"]
    assert len({report.recipients[spelled] for spelled in one.recipients()[:2]}) == 1
    assert report.recipients["VICTIM@xn--bcher-kva.example"].outcome is Outcome.ACCEPTED
    assert "nobody@example.net" not in report.recipients


@pytest.mark.parametrize(
    ("spelled", "path"),
    [
        ("u@faß.test", "u@xn--fa-hia.test"),
        ("Max Groß <u@faß.test>", "u@xn--fa-hia.test"),
        ('"Groß, Max" <u@FAß.test>', "u@xn--fa-hia.test"),
        ("u@under_score.test", "u@under_score.test"),
        ("u@-a--b-.test", "u@-a--b-.test"),
        ("postmaster", "postmaster"),
        ("Boss <root>", "root"),
        (f"{'token-' * 30}@example.net", f"{'token-' * 30}@example.net"),
    ],
)
def test_envelope_and_headers_name_the_same_mailbox(server: ScriptedServer, spelled: str, path: str) -> None:
    """As sender, as recipient and as the address for answers, however Django itself would write the domain."""
    one = EmailMessage("Hello", "Text.", spelled, [spelled], cc=[A], reply_to=[spelled], headers={"Sender": spelled})
    assert backend_for(server).send_messages([one]) == 1
    (got,) = server.messages
    assert (got.sender, got.recipients) == (path, (path, A))
    for header in ("From", "To", "Reply-To", "Sender"):
        assert path in "".join((got.header(header) or "").split()), header
    assert one.from_email == spelled
    assert delivery_of(one).recipients[spelled].outcome is Outcome.ACCEPTED


@pytest.mark.parametrize("door", ["direct", "failover", "queue"])
@pytest.mark.parametrize("spelled", ["a@example.net,", "a@example.net , ", "a @example.net", "a@ example.net"])
@pytest.mark.django_db
def test_an_entry_that_django_reads_as_one_address_is_one(
    door: str, spelled: str, server: ScriptedServer, overrides: list[Any]
) -> None:
    """A comma from a copied list, and white space beside the @; before 6.0 Django itself refuses or mangles them."""
    if django.VERSION < (6, 0):
        pytest.skip("Django 6 reads addresses so")
    route = {"BACKEND": SMTP, "OPTIONS": {"host": server.host, "port": server.port, "timeout": 5}}
    entries: dict[str, Any] = {
        "direct": {"default": route},
        "failover": {
            "default": {"BACKEND": "reliable_email.backends.FailoverBackend", "OPTIONS": {"using": ["a"]}},
            "a": {**route, "BACKEND": "django.core.mail.backends.smtp.EmailBackend"},
        },
        "queue": {
            "default": {"BACKEND": "reliable_email.backends.OutboxBackend", "OPTIONS": {"using": "a"}},
            "a": route,
        },
    }
    override = use_mailers(entries[door])
    override.enable()
    overrides.append(override)
    one = EmailMessage("s", "b", "me@example.org", [spelled, "b@example.net"])
    assert one.send() == 1
    if door == "queue":
        deliver_outbox()
    assert received(server) == [("a@example.net", "b@example.net")]
    assert delivery_of(one).recipients[spelled].outcome is (Outcome.QUEUED if door == "queue" else Outcome.ACCEPTED)
    suppress(["a@example.net"], source="by hand")
    again = EmailMessage("other", "b", "me@example.org", [spelled, "b@example.net"])
    again.send()
    if door == "queue":
        deliver_outbox()
    assert received(server)[1:] == [("b@example.net",)]


@pytest.mark.parametrize("spelled", ["a@example.net, b@example.net", "a b@example.net", ",", "crew: a@example.net;"])
def test_what_is_not_one_address_is_refused(spelled: str, server: ScriptedServer) -> None:
    """As by Django, which takes a group of one for its address."""
    with pytest.raises(ValueError, match="address|domain|SMTP"):
        backend_for(server).send_messages([message(spelled)])
    assert server.messages == []


def test_a_refusal_is_told_under_the_callers_spelling(server: ScriptedServer) -> None:
    """Whatever the server called it."""
    server.behave(Script(rcpt={"u@xn--fa-hia.test": "550 5.1.1 no such user"}))
    one = message("u@faß.test", A)
    assert backend_for(server).send_messages([one]) == 1
    assert delivery_of(one).rejected == ["u@faß.test"]
    assert delivery_of(one).recipients["U@xn--fa-hia.test"].cause is Cause.MAILBOX_UNKNOWN


@pytest.mark.parametrize("shape", ["(", "<(", "a(", '"(', "a,(", "\\("])
def test_what_is_no_address_is_said_so_however_deep_it_is(shape: str) -> None:
    """A `ValueError`, before Python's parser runs out of stack or time."""
    for length in (900, 60_000):
        with pytest.raises(ValueError, match="address"):
            envelope_address(shape * length)
