"""The serializer against Django itself: whatever it writes says the same as Django's own message."""

import email
import email.policy
from email.message import EmailMessage as ParsedMessage
from email.utils import parseaddr
from typing import Any

import django
import pytest
from django.core.mail import EmailMessage, EmailMultiAlternatives
from django.utils.functional import lazystr
from hypothesis import given, settings
from hypothesis import strategies as st

from reliable_email.delivery.content.serializer import serialized
from tests.thoroughness import examples

MESSAGE_ID = "<fixed@example.org>"
ADDRESSED = ("from", "to", "cc", "reply-to")


def addresses(message: ParsedMessage, header: str) -> list[tuple[str, str]]:
    """Names and addresses of a header."""
    value = message[header]
    return [] if value is None else [(one.display_name, one.addr_spec) for one in value.addresses]


def wanted(message: EmailMessage, header: str) -> list[tuple[str, str]]:
    """Names and addresses that the caller asked for."""
    values = {
        "from": [message.extra_headers.get("From", message.from_email)],
        "to": message.to,
        "cc": message.cc,
        "reply-to": message.reply_to,
    }[header]
    return [parseaddr(str(value)) for value in values]


def ours(message: EmailMessage) -> bytes | None:
    """What the serializer writes."""
    return serialized(message, message_id=MESSAGE_ID, localtime=False, charset="utf-8")


def djangos(message: EmailMessage) -> bytes:
    """What Django writes."""
    if django.VERSION >= (6, 0):
        return bytes(message.message(policy=email.policy.SMTP).as_bytes())
    return bytes(message.message().as_bytes(linesep="\r\n"))  # type: ignore[call-arg]


def parsed(data: bytes) -> ParsedMessage:
    """The message as a reader sees it."""
    message = email.message_from_bytes(data, policy=email.policy.default)
    assert isinstance(message, ParsedMessage)
    return message


def lines(text: str) -> list[str]:
    """Text as lines: what MIME keeps of it. Whether the last one ends is the version's question."""
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def leaf(part: Any) -> tuple[str, str | None, str | None, object]:
    """A part's type, disposition, name and content."""
    kind = part.get_content_type()
    name = part.get_filename()
    disposition = part.get_content_disposition()
    content: object
    if part.get_content_maintype() == "text":
        content = lines(part.get_payload(decode=True).decode("utf-8"))
    else:
        content = part.get_payload(decode=True)
    return kind, disposition, name, content


Said = tuple[dict[str, list[str]], list[str], list[tuple[str, str | None, str | None, object]]]
NOT_COMPARED = ("content-type", "content-transfer-encoding", "date", "message-id", "mime-version", *ADDRESSED)


def said(message: ParsedMessage) -> Said:
    """Everything that a reader can tell but the addresses: headers, structure, leaves.

    Django 5.2 begins some folded subjects with a space.
    """
    headers: dict[str, list[str]] = {}
    for name, value in message.items():
        if name.lower() not in NOT_COMPARED:
            headers.setdefault(name.lower(), []).append(str(value).strip())
    structure = [part.get_content_type() for part in message.walk()]
    leaves = [leaf(part) for part in message.walk() if not part.is_multipart()]
    return headers, structure, leaves


def same(message: EmailMessage) -> bool:
    """Compare; False where the message is left to Django."""
    data = ours(message)
    if data is None:
        return False
    assert data.isascii()
    assert data.count(b"\n") == data.count(b"\r\n") == data.count(b"\r")
    assert max(map(len, data.split(b"\r\n"))) <= 998
    mine, theirs = parsed(data), parsed(djangos(message))
    assert not mine.defects
    assert said(mine) == said(theirs)
    for header in ADDRESSED:
        assert addresses(mine, header) == wanted(message, header)
        # Python before 3.12.5 loses addresses when it folds some lists; ours are the ones that were asked for.
        if len(addresses(theirs, header)) == len(addresses(mine, header)):
            assert addresses(mine, header) == addresses(theirs, header)
    assert mine["Message-ID"] == MESSAGE_ID or "message-id" in {name.lower() for name in message.extra_headers}
    assert mine["Date"] is not None
    return True


def text_message(**changes: Any) -> EmailMultiAlternatives:
    """An everyday message."""
    fields: dict[str, Any] = {
        "subject": "Your order no. 17",
        "body": "Hello Maria,\n\nthank you for your order.\n",
        "from_email": "Shop <shop@example.org>",
        "to": ["maria@example.net"],
    }
    return EmailMultiAlternatives(**(fields | changes))


COMMON = {
    "plain": {},
    "html alternative": {"alternatives": [("<p>Hällo</p>", "text/html")]},
    "two alternatives": {"alternatives": [("<p>a</p>", "text/html"), ("# a", "text/markdown")]},
    "attachment": {"attachments": [("a.pdf", b"%PDF\x00\xff", "application/pdf")]},
    "two of one name": {"attachments": [("a.txt", "one\n", "text/plain"), ("a.txt", "two\n", "text/plain")]},
    "alternative and attachment": {
        "alternatives": [("<p>a</p>", "text/html")],
        "attachments": [("rechnung.csv", "ä;ö\n1;2\n", "text/csv")],
    },
    "attachment without a name": {"attachments": [(None, b"data", "application/octet-stream")]},
    "attachment with a name in German": {"attachments": [("Größe.pdf", b"x", "application/pdf")]},
    "attachment alone": {"body": "", "attachments": [("a.bin", b"x" * 500, "application/octet-stream")]},
    "html alone as alternative": {"body": "", "alternatives": [("<p>a</p>", "text/html")]},
    "subject beyond ASCII": {"subject": "Größe und Übung, ein ziemlich langer Betreff mit vielen Umlauten: äöüß" * 3},
    "long subject": {"subject": "word " * 60 + "end"},
    "subject of emoji": {"subject": "🎉" * 40},
    "names": {
        "to": ["Maria Schmidt <maria@example.net>", '"Doe, John" <john@example.net>', "Jörg <joerg@example.net>"]
    },
    "name with a dot": {"from_email": "John Q. Public <john@example.org>"},
    "many recipients": {"to": [f"user{n}@example.net" for n in range(50)], "cc": ["cc@example.net"]},
    "reply to": {"reply_to": ["Help <help@example.org>", "b@example.org"]},
    "extra headers": {
        "headers": {"X-Campaign": "spring", "List-Unsubscribe": "<mailto:u@example.org>", "Precedence": "bulk"}
    },
    "From header": {"headers": {"From": "Shop <other@example.org>"}},
    "own Message-ID and Date": {
        "headers": {"Message-ID": "<own@example.org>", "Date": "Mon, 1 Jan 2024 00:00:00 +0000"}
    },
    "empty body": {"body": ""},
    "empty subject": {"subject": ""},
    "long lines": {"body": "x" * 5000 + "\n" + "ä" * 3000},
    "dots and From lines": {"body": ".\n..\nFrom here\n.x"},
    "trailing spaces": {"body": "a \nb\t\n= ö = \n"},
    "lazy": {"subject": lazystr("Lazy"), "body": lazystr("lazy ö")},
    "carriage returns": {"body": "a\r\nb\rc\n"},
    "Chinese": {"body": "你好，世界。" * 200, "alternatives": [("<p>你好</p>", "text/html")]},
}


@pytest.mark.parametrize("changes", COMMON.values(), ids=COMMON.keys())
def test_an_everyday_message_says_the_same(changes: dict[str, Any]) -> None:
    """Headers, structure and content, after parsing; and the fast way was taken."""
    assert same(text_message(**changes))


def test_ascii_bytes_are_the_same_as_djangos_where_there_is_one_way_to_write_them() -> None:
    """The text part of a plain ASCII message."""
    message = text_message()
    data = ours(message)
    assert data is not None
    assert data.partition(b"\r\n\r\n")[2] == djangos(message).partition(b"\r\n\r\n")[2]


class Own(EmailMessage):
    """A subclass."""


UNCOMMON = {
    "subclass": lambda: Own("s", "b", "a@example.org", ["b@example.net"]),
    "other encoding": lambda: _with(text_message(), encoding="iso-8859-1"),
    "MIME part": lambda: text_message(attachments=[_part()]),
    "attached message": lambda: text_message(attachments=[("m.eml", b"Subject: x\r\n\r\nx", "message/rfc822")]),
    "To header": lambda: text_message(headers={"To": "list@example.org"}),
    "Content-Type header": lambda: text_message(headers={"Content-Type": "text/html"}),
    "encoded word in the subject": lambda: text_message(subject="=?utf-8?q?a?="),
    "newline in the subject": lambda: text_message(subject="a\nBcc: x@example.org"),
    "surrogate": lambda: text_message(subject="\ud800"),
    "group address": lambda: text_message(to=["friends: a@example.org, b@example.org;"]),
    "non-ASCII local part": lambda: text_message(to=["jörg@example.net"]),
    "non-ASCII domain": lambda: text_message(to=["a@exämple.net"]),
    "header that is a number": lambda: text_message(headers={"X-N": 5}),
}


def _with(message: EmailMessage, **attributes: Any) -> EmailMessage:
    vars(message).update(attributes)
    return message


def _part() -> Any:
    part = ParsedMessage()
    part.set_content("x")
    if django.VERSION < (6, 0):
        from email.mime.text import MIMEText

        return MIMEText("x")
    return part


@pytest.mark.parametrize("make", UNCOMMON.values(), ids=UNCOMMON.keys())
def test_what_is_not_common_is_left_to_django(make: Any) -> None:
    """None, never a guess."""
    assert ours(make()) is None


def test_a_patched_django_is_left_to_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever replaces `message()` gets what it writes."""
    assert ours(text_message()) is not None
    monkeypatch.setattr(EmailMessage, "message", lambda self, **kwargs: None)
    assert ours(text_message()) is None


CHARACTERS = st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="\u2028\u2029\x85")
LINE = st.text(CHARACTERS, max_size=60)
TEXT = st.lists(LINE, max_size=6).map("\n".join)
NAME = st.text(st.sampled_from("abc äöü.,-_'ßé你"), min_size=1, max_size=12).map(lambda name: " ".join(name.split()))
LOCAL = st.from_regex(r"[a-z0-9]{1,8}(\.[a-z0-9]{1,8})?", fullmatch=True)
ADDRESS = st.builds(
    lambda name, local: f'"{name}" <{local}@example.net>' if name else f"{local}@example.net",
    st.one_of(st.just(""), NAME),
    LOCAL,
)
ATTACHMENT = st.one_of(
    st.tuples(
        st.from_regex(r"[a-zA-Z0-9 _.-]{1,20}", fullmatch=True).map(str.strip).filter(bool),
        st.binary(max_size=200),
        st.just("application/pdf"),
    ),
    st.tuples(NAME.filter(bool), TEXT, st.just("text/csv")),
)


@settings(max_examples=examples(300), deadline=None)
@given(
    subject=st.text(CHARACTERS, max_size=120),
    body=TEXT,
    html=st.one_of(st.none(), TEXT),
    to=st.lists(ADDRESS, min_size=1, max_size=4),
    attachments=st.lists(ATTACHMENT, max_size=3),
)
def test_any_message_says_the_same_or_is_left_to_django(
    subject: str, body: str, html: str | None, to: list[str], attachments: list[Any]
) -> None:
    """Differential property: text, HTML, attachments, names and subjects of all kinds."""
    message = text_message(subject=subject, body=body, to=to, attachments=attachments)
    if html is not None:
        message.attach_alternative(html, "text/html")
    same(message)
