"""Generated messages by Django's backend and by ours are one to receivers and signatures (`make message-tests`)."""

import warnings
from collections.abc import Callable
from typing import Any

import django
import pytest
from django.core.mail.backends.smtp import EmailBackend

from reliable_email.backends import ReliableSMTPBackend
from reliable_email.mailers import mailers
from reliable_email.testing.outbox import deliver_outbox, outbox_over
from reliable_email.testing.server import ScriptedServer
from tools.message_tests.case import marker
from tools.message_tests.generated import cases
from tools.message_tests.run import arrived, unexplained

pytestmark = pytest.mark.filterwarnings("ignore:MIMEBase attachments are deprecated")
CASES = list(cases(40, seed=7))


def compare(send_all: Callable[[ScriptedServer, list[Any]], None]) -> None:
    """Send them by Django's backend, and by this."""
    options = {"alias": "django"} if django.VERSION >= (6, 1) else {}
    with (
        ScriptedServer(accepts_bare_line_ends=True) as wanted,
        ScriptedServer(accepts_bare_line_ends=True) as got,
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        sent = []
        for number, case in enumerate(CASES):
            try:
                EmailBackend(host=wanted.host, port=wanted.port, **options).send_messages([case.marked(number)[0]])
                sent.append(number)
            except Exception:  # noqa: BLE001 - what Django cannot send
                continue
        assert len(sent) > 20
        send_all(got, [CASES[number].marked(number)[0] for number in sent])
        theirs, ours = arrived(wanted), arrived(got)
        for number in sent:
            found = unexplained(CASES[number], number, theirs, ours, "")
            assert not found, (CASES[number].name, marker(number), found)


def test_a_direct_send_says_what_django_says() -> None:
    """Structure, texts, headers, names, and the bytes of what is signed."""

    def send_all(server: ScriptedServer, messages: list[Any]) -> None:
        backend = ReliableSMTPBackend(alias="ours", **server.options())
        for message in messages:
            backend.send_messages([message])

    compare(send_all)


@pytest.mark.django_db
def test_the_queue_says_what_django_says() -> None:
    """After it was stored."""

    def send_all(server: ScriptedServer, messages: list[Any]) -> None:
        with outbox_over(server):
            mailers["default"].send_messages(messages)
            deliver_outbox()

    compare(send_all)
