"""Addresses that are texts only when somebody reads them: a translated sender, a name with a lazy part."""

from collections.abc import Sequence
from typing import Any

import pytest
from django.core.mail import EmailMessage
from django.core.mail.backends.base import BaseEmailBackend
from django.core.management import call_command
from django.utils.functional import lazystr

from reliable_email.diagnosis.dns.routes import domain_of
from reliable_email.testing import delivery_of
from reliable_email.testing.server import ScriptedServer
from tests.django.conftest import SMTP, use_mailers
from tests.django.post import A, B, received

FAILOVER = "reliable_email.backends.FailoverBackend"
OUTBOX = "reliable_email.backends.OutboxBackend"


class Recorder(BaseEmailBackend):
    """Notes whom it was given."""

    seen: list[list[str]]

    def __init__(self, *, alias: str | None = None, **options: Any) -> None:
        super().__init__()
        self.alias = alias

    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        """Take everything."""
        Recorder.seen += [list(map(str, one.to)) for one in email_messages]
        return len(email_messages)


def message() -> EmailMessage:
    """To one by a lazy text, and to another."""
    return EmailMessage("s", "b", lazystr("Shop <shop@example.org>"), [lazystr(f"Ann <{A}>")], bcc=[B])


@pytest.mark.parametrize("way", ["failover", "queue"])
@pytest.mark.django_db(transaction=True)
def test_another_packages_backend_is_given_them(way: str) -> None:
    """It was not, and they were reported as accepted."""
    Recorder.seen = []
    route = {"BACKEND": f"{__name__}.Recorder"}
    failover = {"BACKEND": FAILOVER, "OPTIONS": {"using": ["route"]}}
    entries = {"default": failover, "route": route}
    if way == "queue":
        entries |= {"default": {"BACKEND": OUTBOX, "OPTIONS": {"using": "route"}}}
    with use_mailers(entries):
        one = message()
        assert one.send() == 1
        if way == "queue":
            call_command("email_worker", until_empty=True, verbosity=0)
    assert Recorder.seen == [[f"Ann <{A}>"]]


def test_a_server_is_given_them(server: ScriptedServer) -> None:
    """And reports know them by every spelling."""
    with use_mailers({"default": {"BACKEND": SMTP, "OPTIONS": server.options()}}):
        one = message()
        assert one.send() == 1
        assert one.send() == 1
    assert received(server) == [(A, B)]
    assert delivery_of(one).recipients[lazystr(f"Ann <{A}>")].outcome == "accepted"


def test_the_records_of_a_lazy_senders_domain_are_looked_up() -> None:
    """A translated DEFAULT_FROM_EMAIL."""
    assert domain_of(lazystr("Shop <shop@Example.org>")) == "example.org"
