"""Hostile mails in a real browser that could reach who listens: a hundred constructs, and nobody hears of any."""

import base64
import contextlib
import socket

import pytest
from django.core.mail import EmailMultiAlternatives

from reliable_email.outbox.operations.letters import Letter
from reliable_email.views.parts.preview import _TAGS, preview
from tests.browser.chromium import Browser
from tests.browser.hostile import CONSTRUCTS
from tests.views.letters import queue_message

_ESCAPES = """
    const seen = new DOMParser().parseFromString(arguments[0], 'text/html');
    const allowed = new Set(arguments[1]);
    return [...seen.querySelectorAll('*')].flatMap((one) => [
        ...(allowed.has(one.localName) && one.namespaceURI.endsWith('xhtml') ? [] : [`<${one.localName}>`]),
        ...[...one.attributes].filter((two) => /^on|^(href|src|srcset|background|action|ping|poster)$/.test(two.name))
            .map((two) => `${two.name}=${two.value.slice(0, 40)}`),
    ]);
"""


@pytest.mark.timeout(300)
def test_nothing_in_a_hostile_mail_contacts_anybody_or_runs(browser: Browser) -> None:
    """In the frame of the page, and bare: what is written anew is harmless without any policy around it."""
    with socket.create_server(("127.0.0.1", 0), backlog=500) as listener:
        host = f"127.0.0.1:{listener.getsockname()[1]}"
        bare: dict[str, str] = {}
        for number, (name, construct) in enumerate(CONSTRUCTS.items()):
            html = construct.replace("EVIL", f"http://{host}/{number}").replace("HOST", f"{host}/{number}")
            if "\0" not in html:  # no queue takes that; imported and older rows may have it
                message = EmailMultiAlternatives("Hostile", "Hello", "shop@example.com", ["ann@example.com"])
                message.attach_alternative(html, "text/html")
                browser.visit(f"/mail/messages/{queue_message(message).pk}/content/")
                assert browser.find("iframe"), name
            bare[name] = preview(Letter(headers=(), text=None, html=html, attachments=(), source=b"")).html
            assert browser.driver.execute_script(_ESCAPES, bare[name], [*_TAGS, "style"]) == [], name
        for html in bare.values():
            browser.driver.get(f"data:text/html;charset=utf-8;base64,{base64.b64encode(html.encode()).decode()}")
        browser.visit("/mail/")
        assert _callers(listener, list(CONSTRUCTS)) == []
        # Whoever listens is in reach: one that is not written anew is heard.
        browser.driver.get(f"data:text/html,<img src=http://{host}/0>")
        browser.until(lambda: _callers(listener, list(CONSTRUCTS)))


def _callers(listener: socket.socket, names: list[str]) -> list[str]:
    """The constructs that have made a connection, by what they asked for."""
    found = []
    listener.setblocking(False)
    while True:
        try:
            connection, _ = listener.accept()
        except BlockingIOError:
            return found
        asked = ""
        with connection:
            connection.settimeout(1)
            with contextlib.suppress(TimeoutError):  # a connection that was only opened counts as well
                asked = connection.recv(200).decode("latin-1")
            number = asked.partition(" /")[2].partition("/")[0].partition(" ")[0]
            is_known = number.isdecimal() and int(number) < len(names)
            found.append(f"{names[int(number)] if is_known else ''}: {asked.partition(chr(13))[0]}")
