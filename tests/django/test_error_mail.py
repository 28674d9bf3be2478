"""Error mail that cannot hurt: `AdminEmailHandler` over `ErrorMailBackend`, and a mail server that is dead."""

import logging
import socket
from collections.abc import Callable, Iterator
from typing import Any

import django
import pytest
from django.test import override_settings
from django.utils.log import AdminEmailHandler

from reliable_email.backends import error_mail
from reliable_email.delivery.telling.floods import Pause, after_failure, fingerprint
from reliable_email.testing.script import Script
from reliable_email.testing.server import ScriptedServer, close, hang
from tests.thoroughness import examples

Serve = Callable[..., ScriptedServer]
FLOOD = examples(1000)  # how many errors: for each, Django writes a report
ADMINS = ["admin@example.org"] if django.VERSION >= (6, 0) else [("Admin", "admin@example.org")]


@pytest.fixture(autouse=True)
def nothing_remembered() -> Iterator[None]:
    """No flood and no pause of another test."""
    error_mail.reset()
    yield
    error_mail.reset()


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time that the backend reads, which a test moves."""
    seconds = [1000.0]
    monkeypatch.setattr("reliable_email.backends.error_mail.time.monotonic", lambda: seconds[0])
    return seconds


def mailers(options: dict[str, Any], **error_options: Any) -> dict[str, Any]:
    """A site's mailers."""
    return {
        "default": {"BACKEND": "reliable_email.backends.ReliableSMTPBackend", "OPTIONS": options},
        "errors": {
            "BACKEND": "reliable_email.backends.ErrorMailBackend",
            "OPTIONS": {"using": "default"} | error_options,
        },
    }


@pytest.fixture
def site() -> Iterator[Callable[..., logging.Logger]]:
    """A logger that mails its errors to ADMINS, with the mailers given."""
    logger = logging.getLogger("site")
    logger.propagate = False
    overrides: list[Any] = []

    def make(entries: dict[str, Any]) -> logging.Logger:
        if django.VERSION >= (6, 1):
            override = override_settings(MAILERS=entries, ADMINS=ADMINS)
            handler = AdminEmailHandler(using="errors")
        else:
            override = override_settings(
                MAILERS=entries, ADMINS=ADMINS, EMAIL_BACKEND="reliable_email.backends.DefaultMailer"
            )
            handler = AdminEmailHandler(email_backend="reliable_email.backends.ErrorMailBackend")
        override.enable()
        overrides.append(override)
        # The package's own errors go the same way: it must not answer to itself.
        for name in ("site", "reliable_email"):
            logging.getLogger(name).addHandler(handler)
        logger.handlers[-1].setLevel(logging.ERROR)
        return logger

    yield make
    for name in ("site", "reliable_email"):
        for handler in list(logging.getLogger(name).handlers):
            logging.getLogger(name).removeHandler(handler)
    for override in overrides:
        override.disable()


def closed_port() -> int:
    """Nobody listens there."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def test_an_error_is_mailed(serve: Serve, site: Callable[..., logging.Logger]) -> None:
    """The ordinary way."""
    server = serve()
    site(mailers(server.options())).error("the shop is on fire")
    assert "the shop is on fire" in (server.messages[0].header("Subject") or "")


@pytest.mark.parametrize("is_silent", [False, True], ids=["refuses", "is silent"])
def test_a_flood_with_a_dead_server_raises_nothing_and_costs_few_attempts(
    serve: Serve, site: Callable[..., logging.Logger], is_silent: bool
) -> None:
    """Different errors, too: after a failure nothing is tried for 5 s, then for 10 s, and so on."""
    server = serve(Script(greeting=hang()))
    options = server.options() if is_silent else {"host": "127.0.0.1", "port": closed_port()}
    logger = site(mailers(options | {"max_attempts": 1}, timeout=0.3))
    for n in range(FLOOD):
        logger.error("error of kind %s", chr(ord("a") + n % 26) * 3)
    assert len(server.connections) <= 5  # Django takes its time to write so many reports


def test_a_flood_is_one_mail_and_a_count(serve: Serve, site: Callable[..., logging.Logger], now: list[float]) -> None:
    """All alike: one at once, and the next one after the window tells of the others."""
    server = serve()
    logger = site(mailers(server.options()))
    for n in range(FLOOD):
        logger.error("order %s failed at 0x%x", n, n)
    assert len(server.messages) == 1
    logger.error("another thing")
    assert len(server.messages) == 2
    now[0] += 301
    logger.error("order 7 failed at 0xff")
    assert f"(and {FLOOD - 1} more like it)" in (server.messages[-1].header("Subject") or "")


def test_a_flood_of_errors_that_all_differ_ends_as_well(
    serve: Serve, site: Callable[..., logging.Logger], now: list[float]
) -> None:
    """Twenty in a window, whatever they say; the next one tells of the others."""
    server = serve()
    logger = site(mailers(server.options()))
    for n in range(200):
        logger.error("no such thing: %s", "".join(chr(ord("a") + int(digit)) for digit in str(n)))
    assert len(server.messages) == 20
    now[0] += 301
    logger.error("another thing")
    assert "(and 180 others)" in (server.messages[-1].header("Subject") or "")
    assert len(server.messages) == 21


def test_a_server_that_refuses_now_and_then_gets_no_more_of_them(
    serve: Serve, site: Callable[..., logging.Logger], now: list[float]
) -> None:
    """A failure begins no new window: twenty in all, and the next window tells of all others."""
    server = serve(*[Script(mail=close()) if n % 4 == 3 else Script(idle=close()) for n in range(400)])
    logger = site(mailers(server.options() | {"max_attempts": 1}))
    for n in range(200):
        logger.error("no such thing: %s", "".join(chr(ord("a") + int(digit)) for digit in str(n)))
        now[0] += 1
    assert len(server.messages) <= 20
    now[0] += 301
    for _ in range(3):  # some are refused
        logger.error("another thing")
        now[0] += 60
    assert any("others)" in (one.header("Subject") or "") for one in server.messages[-3:])


def test_it_does_not_answer_to_itself(serve: Serve, site: Callable[..., logging.Logger]) -> None:
    """An error that is logged while it sends is not sent."""
    server = serve(Script(mail="550 5.7.1 no"), Script())
    logger = site(mailers(server.options()))

    class Echo(logging.Handler):
        """Makes an error of every warning of the package."""

        def emit(self, record: logging.LogRecord) -> None:
            logger.error("the mail package said: %s", record.getMessage())

    echo = Echo(logging.WARNING)
    logging.getLogger("reliable_email").addHandler(echo)
    logger.error("the shop is on fire")
    assert sum(record.verbs.count("MAIL") for record in server.connections) <= 3


def test_when_the_server_is_back_the_next_error_is_mailed(
    serve: Serve, site: Callable[..., logging.Logger], now: list[float]
) -> None:
    """The pause ends by itself, and the mail tells what was missed."""
    server = serve(Script(greeting="421 4.3.0 later"), Script())
    logger = site(mailers(server.options() | {"max_attempts": 1}))
    logger.error("boom")
    assert server.messages == []
    now[0] += 400
    logger.error("boom")
    assert "(and 1 more like it)" in (server.messages[0].header("Subject") or "")


def test_pauses_double_and_are_bounded() -> None:
    """5 s, 10 s, 20 s … five minutes."""
    pause, lengths = Pause(), []
    for _ in range(9):
        pause = after_failure(pause, now=0.0)
        lengths.append(pause.until)
    assert lengths == [5, 10, 20, 40, 80, 160, 300, 300, 300]


def test_alike_is_what_a_person_would_call_the_same() -> None:
    """Numbers, addresses and quoted values do not count."""
    assert fingerprint("order 17 of 'Maria' at 0xff") == fingerprint("order 18 of 'Jörg' at 0xa0")
    assert fingerprint("order 17 failed") != fingerprint("payment 17 failed")


@pytest.mark.timeout(30)
@pytest.mark.parametrize("by", ["default", "routes"])
def test_a_server_that_hangs_after_the_final_dot_costs_no_minute(
    serve: Serve, site: Callable[..., logging.Logger], by: str
) -> None:
    """The route would wait a minute for the final reply; an error mail waits for its own time."""
    server = serve(Script(final_reply=hang()))
    entries = mailers(server.options() | {"final_reply_timeout": 60, "max_attempts": 1}, using=by, timeout=0.3)
    entries["routes"] = {"BACKEND": "reliable_email.backends.FailoverBackend", "OPTIONS": {"using": ["default"]}}
    site(entries).error("it broke")
    assert len(server.connections) == 1
