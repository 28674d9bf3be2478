"""Which letter a message object is: the same one is not sent twice to anybody, another one is sent to everybody."""

import copy
import pickle
import warnings
from collections.abc import Callable
from email.mime.image import MIMEImage
from typing import Any

import pytest
from django.core.mail import EmailAlternative, EmailMessage, EmailMultiAlternatives
from django.utils.functional import lazystr
from hypothesis import given
from hypothesis import strategies as st

from reliable_email.delivery.report import letter_digest
from reliable_email.testing import delivery_of
from reliable_email.testing.server import ScriptedServer
from tests.django.conftest import Configure
from tests.django.post import A, B, backend_for, received

pytestmark = pytest.mark.filterwarnings("ignore:The EMAIL_")


class Rendered(EmailMessage):
    """A class with a way of its own to write what it holds."""

    context: object = None

    def message(self, **arguments: Any) -> Any:
        """The context is the body."""
        plain = EmailMessage(self.subject, f"Dear {self.context}", self.from_email, self.to)
        return plain.message(**arguments)


def image(data: bytes) -> MIMEImage:
    """A part as Django 5.2 wants it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return MIMEImage(data, _subtype="png")


def letter(cls: type[EmailMessage] = EmailMultiAlternatives) -> Any:
    """Something of everything."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MIMEBase is deprecated from Django 6.0 on
        one = cls(
            "Your order",
            "It is on its way.",
            "Shop <shop@example.org>",
            [A],
            reply_to=["help@example.org"],
            headers={"X-Campaign": "spring", "Date": "Mon, 30 Nov 2026 08:00:00 +0000"},
            attachments=[("a.csv", "1,2", "text/csv"), ("b.bin", b"\0\1", "application/octet-stream"), image(b"1")],
        )
    if isinstance(one, EmailMultiAlternatives):
        one.attach_alternative("<p>It is on its way.</p>", "text/html")
    return one


def set_to(name: str, value: object) -> Callable[[Any], None]:
    """A change of one attribute."""
    return lambda one: setattr(one, name, value)


ANOTHER: dict[str, Callable[[Any], Any]] = {
    "subject": set_to("subject", "Your invoice"),
    "lazy subject": set_to("subject", lazystr("Your invoice")),
    "body": set_to("body", "It has arrived."),
    "subtype": set_to("content_subtype", "markdown"),
    "encoding": set_to("encoding", "iso-8859-1"),
    "sender": set_to("from_email", "Shop <orders@example.org>"),
    "sender's name": set_to("from_email", "The shop <shop@example.org>"),
    "reply to": set_to("reply_to", []),
    "header": lambda one: one.extra_headers.update({"X-Campaign": "summer"}),
    "new header": lambda one: one.extra_headers.update({"X-Order": "17"}),
    "From header": lambda one: one.extra_headers.update({"From": "boss@example.org"}),
    "alternative": lambda one: one.attach_alternative("BEGIN:VCALENDAR", "text/calendar"),
    "other alternative": lambda one: one.alternatives.__setitem__(0, EmailAlternative("<p>No</p>", "text/html")),
    "attachment": lambda one: one.attach("c.txt", "3", "text/plain"),
    "attachment's bytes": lambda one: one.attachments.__setitem__(1, ("b.bin", b"\0\2", "application/octet-stream")),
    "attachment's name": lambda one: one.attachments.__setitem__(1, ("c.bin", b"\0\1", "application/octet-stream")),
    "part": lambda one: one.attachments.__setitem__(2, image(b"2")),
    "template of an API": set_to("template_id", "welcome"),
    "tags of an API": set_to("tags", ["spring"]),
}
SAME: dict[str, Callable[[Any], Any]] = {
    "nothing": lambda one: None,
    "date": lambda one: one.extra_headers.update({"Date": "Tue, 01 Dec 2026 08:00:00 +0000"}),
    "message id": lambda one: one.extra_headers.update({"message-id": "<own@example.org>"}),
    "recipients": lambda one: one.to.append(B),
    "blind copy": lambda one: one.bcc.append(B),
    "shown recipients": lambda one: one.extra_headers.update({"To": "undisclosed-recipients:;"}),
    "lazy subject": set_to("subject", lazystr("Your order")),
    "lazy body": set_to("body", lazystr("It is on its way.")),
    "a note of the caller's": set_to("retries", 2),
}


@pytest.mark.parametrize("name", ANOTHER)
def test_a_message_object_that_says_something_else_is_sent_to_everybody(server: ScriptedServer, name: str) -> None:
    """And with a Message-ID of its own, or a reader's program would drop it as a copy."""
    backend, one = backend_for(server), letter()
    assert backend.send_messages([one]) == 1
    ANOTHER[name](one)
    assert backend.send_messages([one]) == 1
    first, second = server.messages
    assert first.recipients == second.recipients == (A,)
    assert first.header("Message-ID") != second.header("Message-ID")
    assert delivery_of(one).message_id == second.header("Message-ID")


@pytest.mark.parametrize("name", SAME)
def test_the_same_letter_goes_to_nobody_twice(server: ScriptedServer, name: str) -> None:
    """Whatever else about the object has changed."""
    backend, one = backend_for(server), letter()
    backend.send_messages([one])
    SAME[name](one)
    assert backend.send_messages([one]) == 1
    assert [rcpt for got in received(server) for rcpt in got] == one.recipients()
    assert sorted(delivery_of(one).accepted) == sorted(one.recipients())


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy])
def test_a_copy_of_a_message_is_a_message_of_its_own(server: ScriptedServer, duplicate: Any) -> None:
    """A site makes one and changes copies of it; it may also send a copy as it is."""
    backend, one = backend_for(server), letter()
    backend.send_messages([one])
    again = duplicate(one)
    assert delivery_of(again).accepted == []
    assert backend.send_messages([again]) == 1
    assert received(server) == [(A,), (A,)]
    assert len({got.header("Message-ID") for got in server.messages}) == 2
    assert delivery_of(one).message_id != delivery_of(again).message_id
    backend.send_messages([one, again])
    assert len(server.messages) == 2


def test_a_deep_copy_has_no_report_and_a_report_can_be_copied(server: ScriptedServer) -> None:
    """By itself it is a value like others."""
    one = letter()
    backend_for(server).send_messages([one])
    assert copy.deepcopy(one).delivery is None
    report = copy.deepcopy(delivery_of(one))
    assert report == delivery_of(one)
    assert report.accepted == [A]


def test_a_message_that_was_pickled_is_the_same_letter(server: ScriptedServer) -> None:
    """A task queue stores the object and tries again."""
    backend, one = backend_for(server), letter()
    backend.send_messages([one])
    again = pickle.loads(pickle.dumps(one))
    assert delivery_of(again).accepted == [A]
    assert backend.send_messages([again]) == 1
    assert received(server) == [(A,)]
    again.subject = "Your invoice"
    backend.send_messages([again])
    assert received(server) == [(A,), (A,)]


@pytest.mark.parametrize("context", [{"name": "Bob"}, "Bob", ["Bob"], object()])
def test_what_a_class_of_the_callers_own_writes_counts(server: ScriptedServer, context: object) -> None:
    """It may write everything it holds, in ways that nobody here knows."""
    backend, one = backend_for(server), letter(Rendered)
    one.context = "Ann"
    backend.send_messages([one])
    backend.send_messages([one])
    assert len(server.messages) == 1
    one.context = context
    backend.send_messages([one])
    assert len(server.messages) == 2


def test_the_two_doors_agree(configure: Configure, server: ScriptedServer) -> None:
    """Also by Django's own functions, on both ways of configuring."""
    configure(server.options())
    one = letter()
    for subject in ("one", "two", "two", "one"):
        one.subject = subject
        assert one.send() == 1
    assert [got.header("Subject") for got in server.messages] == ["one", "two", "one"]


TEXTS = st.lists(st.sampled_from(["", "a", "ab", "b", "\0", "ü", "a\ud800"]), max_size=3)


@given(st.tuples(TEXTS, TEXTS, TEXTS), st.tuples(TEXTS, TEXTS, TEXTS))
def test_only_equal_fields_have_equal_digests(left: tuple[list[str], ...], right: tuple[list[str], ...]) -> None:
    """However the values stand side by side."""

    def digest(parts: tuple[list[str], ...]) -> str:
        one = EmailMessage("".join(parts[0]), "".join(parts[1]), "me@example.org", [A])
        one.attachments = [(text, text.encode("utf-8", "surrogatepass"), "a/b") for text in parts[2]]
        return letter_digest(one)

    joined = [("".join(one[0]), "".join(one[1]), one[2]) for one in (left, right)]
    assert (digest(left) == digest(right)) == (joined[0] == joined[1])


def test_the_digest_is_taken_without_writing_on_the_message() -> None:
    """A part's boundary is drawn when it is written; drawn here, it would change the caller's."""
    from email.mime.multipart import MIMEMultipart

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        related = MIMEMultipart("related")
        related.attach(image(b"1"))
        one = letter()
        one.attach(related)
    before, headers = dict(vars(one)), related.items()
    first = letter_digest(one)
    assert (vars(one), related.items()) == (before, headers)
    related.set_boundary("drawn")
    assert letter_digest(one) == first
