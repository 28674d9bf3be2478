"""Notices that are asked for (RFC 3461): where the server announces DSN, in its words, and nowhere else."""

from typing import Any

import pytest
from django.core.mail import EmailMessage

from reliable_email import DeliveryOptions
from reliable_email.backends import ReliableSMTPBackend
from reliable_email.backends.reading.route_options import smtp_options
from reliable_email.exceptions import InvalidMailer
from reliable_email.smtp.dsn import DSN, Notify, Return, dsn_from, original_recipient, xtext
from reliable_email.testing.reset import reset
from reliable_email.testing.server import ScriptedServer

KEYWORDS = ("PIPELINING", "8BITMIME", "SMTPUTF8", "DSN")


def commands(
    keywords: tuple[str, ...] = KEYWORDS, wishes: Any = None, *recipients: str, **options: Any
) -> tuple[str, list[str]]:
    """MAIL and the RCPTs that a server got for a message with these wishes, by a route with these options."""
    reset()
    message = EmailMessage("s", "b", "a@example.com", list(recipients) or ["b@example.net"])
    if wishes is not None:
        message.delivery_options = DeliveryOptions(dsn=wishes)  # type: ignore[attr-defined]
    with ScriptedServer(keywords=keywords, size_limit=None) as server:
        ReliableSMTPBackend(alias="x", **server.options(**options)).send_messages([message])
        (connection,) = server.connections
        said = list(connection.commands)
        assert len(server.messages) == 1
    reset()
    (mail,) = (line for line in said if line.startswith("MAIL"))
    return mail.removeprefix("MAIL FROM:<a@example.com>"), [
        line.partition(">")[2] for line in said if line.startswith("RCPT")
    ]


FULL = {"notify": "failure, delay", "ret": "headers", "envid": "order 17+4=21", "orcpt": True}


@pytest.mark.parametrize("by", ["route", "message"])
def test_all_of_it_goes_out_where_it_is_announced(by: str) -> None:
    """As an option of the route and of the message."""
    said = commands(dsn=FULL) if by == "route" else commands(KEYWORDS, FULL)
    assert said == (
        " RET=HDRS ENVID=order+2017+2B4+3D21",
        [" NOTIFY=FAILURE,DELAY ORCPT=rfc822;b@example.net"],
    )


def test_nothing_is_added_where_the_server_has_no_dsn() -> None:
    """The message goes out as ever."""
    assert commands(("PIPELINING",), FULL, dsn=FULL) == ("", [""])


def test_nothing_is_added_unless_asked_for() -> None:
    """The server's own habit is left alone."""
    assert commands() == ("", [""])


def test_the_message_comes_before_the_route() -> None:
    """Each wish by itself; what the message leaves open is the route's."""
    said = commands(KEYWORDS, {"notify": "never", "envid": "m1"}, dsn={"notify": "success", "ret": "full"})
    assert said == (" RET=FULL ENVID=m1", [" NOTIFY=NEVER"])


def test_each_recipient_has_its_original_address() -> None:
    """Its own, or the one that it had before."""
    wishes = {"orcpt": {"b@example.net": "old+b@example.org"}}
    assert commands(KEYWORDS, wishes, "b@example.net", "c@example.net")[1] == [
        " ORCPT=rfc822;old+2Bb@example.org",
        "",
    ]
    assert commands(KEYWORDS, {"orcpt": True}, "b+x=y@example.net", "c@example.net")[1] == [
        " ORCPT=rfc822;b+2Bx+3Dy@example.net",
        " ORCPT=rfc822;c@example.net",
    ]


def test_a_recipient_beyond_ascii_is_of_another_type() -> None:
    """RFC 6533 §3: utf-8, in ASCII characters."""
    assert original_recipient("jürgen@example.net") == "utf-8;j\\x{FC}rgen@example.net"
    assert original_recipient("a+b\\@bücher.example") == "utf-8;a\\x{2B}b\\x{5C}@b\\x{FC}cher.example"
    (said,) = commands(KEYWORDS, {"orcpt": True}, "jürgen@example.net")[1]
    assert said == " ORCPT=utf-8;j\\x{FC}rgen@example.net"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("abc", "abc"),
        ("a b", "a+20b"),
        ("+=", "+2B+3D"),
        ("a\tb", "a+09b"),
        ("~!", "~!"),
        ("ü", "+C3+BC"),
        ("\x7f", "+7F"),
    ],
)
def test_xtext(text: str, said: str) -> None:
    """RFC 3461 §4."""
    assert xtext(text) == said


@pytest.mark.parametrize(
    "value",
    [
        "yes",
        {"notify": "always"},
        {"notify": "never,failure"},
        {"ret": "all"},
        {"envid": "a\r\nRCPT TO:<x@y>"},
        {"envid": "ü"},
        {"envid": "x" * 101},
        {"envid": "+" * 50},
        {"orcpt": "b@example.net"},
        {"orcpt": {"b@example.net": "nobody"}},
        {"orcpt": {"b@example.net": "a@b.test\r\nDATA"}},
        {"return": "full"},
    ],
)
def test_what_cannot_be_said_is_refused_at_both_doors(value: Any) -> None:
    """Before any connection; never left out in silence."""
    with pytest.raises(InvalidMailer, match="dsn"):
        smtp_options({"host": "h", "dsn": value}, alias="x")
    with pytest.raises(ValueError, match="."):
        DeliveryOptions(dsn=value)


def test_the_words_may_be_lists_and_of_any_case() -> None:
    """And a `DSN` is taken as it is."""
    wishes = dsn_from({"notify": ["SUCCESS", "Delay"], "ret": "HDRS"})
    assert wishes == DSN(notify=(Notify.SUCCESS, Notify.DELAY), ret=Return.HEADERS)
    assert dsn_from(wishes) is wishes


def test_an_original_that_is_too_long_is_left_out() -> None:
    """RFC 3461 §4.2 has a bound; the rest is said."""
    wishes = DSN(notify=(Notify.FAILURE,), originals=(("b@example.net", "x" * 600 + "@example.net"),))
    assert wishes.recipient_parameters("b@example.net") == " NOTIFY=FAILURE"
