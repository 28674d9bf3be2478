"""What a server announces by LIMITS (RFC 9422) is kept, by both doors, against one that holds to it."""

from collections import Counter
from typing import Any

import pytest
from django.core.mail import EmailMessage

from reliable_email.backends import ReliableSMTPBackend
from reliable_email.testing import deliver_outbox, outbox_over
from reliable_email.testing.reset import reset
from tests.smtp.plain_server import PlainServer

# MAILMAX, RCPTMAX, RCPTDOMAINMAX; each alone, and together.
LIMITS = [(2, 100, 100), (100, 2, 100), (100, 100, 1), (3, 2, 2), (1, 1, 1)]
LISTS = [
    ["a@x.test", "b@x.test", "c@x.test"],
    ["d@x.test", "e@y.test"],
    ["f@z.test"],
    ["g@X.test", "h@y.test", "i@z.test", "j@y.test", "k@x.test"],
    *([f"u{n}@d{n}.test"] for n in range(4)),
]


def entry(server: PlainServer) -> dict[str, Any]:
    """An entry of MAILERS."""
    backend = "reliable_email.backends.ReliableSMTPBackend"
    return {"BACKEND": backend, "OPTIONS": {"host": "127.0.0.1", "port": server.port, "timeout": 30}}


def letters() -> list[EmailMessage]:
    """Messages to lists of several domains."""
    return [EmailMessage(f"number {n}", "text", "shop@example.org", to) for n, to in enumerate(LISTS)]


@pytest.mark.django_db
@pytest.mark.parametrize("limits", LIMITS)
@pytest.mark.parametrize("door", ["direct", "queue"])
def test_no_announced_limit_is_ever_broken(door: str, limits: tuple[int, int, int]) -> None:
    """Everybody has the message once, and the server never has to refuse what it said that it would not take."""
    with PlainServer(limits=limits) as server:
        if door == "direct":
            reset()
            backend = ReliableSMTPBackend(alias="limited", **entry(server)["OPTIONS"])
            assert backend.send_messages(letters()) == len(LISTS)
            reset()
        else:
            with outbox_over(entry(server)):
                for letter in letters():
                    letter.send()
                rounds = 0
                while deliver_outbox(let_time_pass=True):
                    rounds += 1
                    assert rounds < 40
        assert server.broken == []
        assert server.taken == Counter(address.lower() for to in LISTS for address in to)
