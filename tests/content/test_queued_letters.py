"""A queued message comes back whole: by its fields for anymail, by its bytes for whoever asks for MIME."""

import copy
import email
import email.policy
import json
import warnings
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from email.message import Message, MIMEPart
from email.mime.application import MIMEApplication
from email.mime.base import MIMEBase
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from typing import Any

import django
import pytest
from anymail.message import AnymailMessage, attach_inline_image
from anymail.utils import UNSET
from django.core.mail import EmailMessage, EmailMultiAlternatives
from django.utils import timezone
from django.utils.functional import lazystr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reliable_email.delivery.content.building import build_submission
from reliable_email.delivery.submission import Submission
from reliable_email.delivery.transports.foreign import message_for
from reliable_email.outbox.intake.foreign_fields import NotStorable, foreign_fields
from reliable_email.outbox.rows.rebuilding import rebuild_message
from reliable_email.smtp.transaction import Job
from tests.content.anymail_posts import PROVIDERS, posts_of
from tests.thoroughness import examples

pytestmark = pytest.mark.filterwarnings("ignore:MIMEBase attachments are deprecated")


class Own(AnymailMessage):
    """A subclass as sites have them."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.tags = ["own"]


def queued(message: EmailMessage, *, keeps_all: bool = True) -> EmailMessage:
    """The message as a worker has it, after a database that sorts the keys of JSON."""
    built = build_submission(message)
    fields = foreign_fields(message, keeps_all=keeps_all)
    stored = json.loads(json.dumps(fields, sort_keys=True, allow_nan=False))
    assert "\\u0000" not in json.dumps(stored)
    return rebuild_message(b"".join(built.content.chunks()), stored, built.recipients, sender=built.sender)


def assert_whole(message: EmailMessage, provider: str) -> None:
    """Every provider is posted the same, directly and out of the queue."""
    direct = outcome(provider, copy.deepcopy(message))
    assert direct
    assert outcome(provider, queued(message)) == direct


def outcome(provider: str, message: EmailMessage) -> Any:
    """What is posted; anymail itself cannot post everything, and then says so both times."""
    try:
        return posts_of(provider, message)
    except (TypeError, KeyError, ValueError) as error:
        return type(error)


ADDRESSES = st.sampled_from(
    [
        "a@example.com",
        "Ann <ann@example.com>",
        "Jörg Müller <j@example.com>",
        '"Doe, John" <d@example.com>',
        "u@bücher.de",
    ]
)
TEXTS = st.sampled_from(
    ["", "Hello", "Grüße", "two\nlines", "two\r\nlines\r\n", "x" * 1200, "{{ name }} %recipient%", lazystr("lazy")]
)
DATA: Any = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-9, 9), st.sampled_from(["", "ü", "a b"]), st.just(1.5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=2), st.dictionaries(st.sampled_from(["b", "a", "ü"]), inner, max_size=3)
    ),
    max_leaves=4,
)
PER_RECIPIENT = st.dictionaries(
    st.sampled_from(["a@example.com", "ann@example.com", "j@example.com"]),
    st.dictionaries(st.sampled_from(["name", "code"]), st.sampled_from(["Bob", "ü", 17]), max_size=2),
    max_size=2,
)
ATTRIBUTES = {
    "envelope_sender": st.sampled_from(["bounces@example.org", "Bounces <b@example.org>"]),
    "metadata": st.dictionaries(st.sampled_from(["order", "when"]), st.sampled_from(["1", 7, "ü"]), max_size=2),
    "send_at": st.sampled_from(
        [
            datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC),
            datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC).replace(tzinfo=None),
            date(2030, 1, 2),
            1893553445,
        ]
    ),
    "tags": st.lists(st.sampled_from(["one", "two words", lazystr("lazy")]), max_size=2),
    "track_clicks": st.sampled_from([True, False, None]),
    "track_opens": st.sampled_from([True, False, None]),
    "template_id": st.sampled_from(["welcome", 17]),
    "merge_data": PER_RECIPIENT,
    "merge_metadata": PER_RECIPIENT,
    "merge_headers": st.dictionaries(
        st.just("ann@example.com"),
        st.dictionaries(st.just("List-Unsubscribe"), st.just("<https://x.test/1>")),
        max_size=1,
    ),
    "merge_global_data": st.dictionaries(st.sampled_from(["shop", "year"]), st.sampled_from(["Ü", 2026]), max_size=2),
    "esp_extra": st.dictionaries(st.sampled_from(["category", "asm"]), DATA, max_size=2),
}


def attach_file(message: EmailMessage) -> None:
    """Bytes, a large one among them."""
    message.attach("ü.pdf", b"\0\1\xff" * 3000, "application/pdf")
    message.attach("small.bin", b"\0", "application/octet-stream")


def attach_text(message: EmailMessage) -> None:
    """Text has its own line ends."""
    message.attach("a.csv", "name,qty\nü,12", "text/csv")
    message.attach("a.csv", "name,qty\r\nabc,12\r\n", "text/csv")


def attach_calendar(message: EmailMessage) -> None:
    """With a method, which its type says."""
    part = MIMEText("BEGIN:VCALENDAR\nEND:VCALENDAR\n", "calendar", "utf-8")
    part.set_param("method", "REQUEST")
    message.attachments.append(part)


def attach_image(message: EmailMessage) -> None:
    """Anymail's own helper, for this version of Django."""
    attach_inline_image(message, b"\x89PNG\r\n\x1a\n" * 400, "logo.png", "png", idstring="fixed")


def attach_named_image(message: EmailMessage) -> None:
    """As Django 6 documents it; some Python writes no header that is not ASCII, unless it was set as one."""
    if django.VERSION >= (6, 0):
        part: Any = MIMEPart(policy=email.policy.default)
        part.set_content(b"\x89PNG", "image", "png", disposition="inline", cid="<fixed>", filename="lögo.png")
        message.attach(part)


def attach_message(message: EmailMessage) -> None:
    """Django's, Python's and bytes."""
    inner = EmailMessage(
        "Inner", "Grün.", "i@example.org", ["x@example.org"], headers={"Date": "now", "Message-ID": "<1@x>"}
    )
    plain = MIMEText("inside", "plain", "utf-8")
    plain["Subject"] = "Grün"
    message.attachments.append(("m.eml", inner, "message/rfc822"))
    message.attachments.append(("n.eml", plain, "message/rfc822"))
    message.attachments.append(("o.eml", b"Subject: bytes\r\n\r\nText\r\n", "message/rfc822"))


def attach_large_message(message: EmailMessage) -> None:
    """Bytes that Django reads as a message, and its writer writes in its own way."""
    message.attachments.append(("l.eml", b"Subject: bytes\r\n\r\n" + b"A line of text.\r\n" * 300, "message/rfc822"))


def attach_digest(message: EmailMessage) -> None:
    """Its parts are messages without saying so; before, between and behind them stands more."""
    data = (
        b'Subject: Digest\r\nMIME-Version: 1.0\r\nContent-Type: multipart/digest; boundary="d"\r\n\r\nbefore\r\n'
        b"--d\r\n\r\nSubject: one\r\n\r\nFirst\r\n--d\r\n\r\nSubject: two\r\n\r\nSecond\r\n--d--\r\nbehind\r\n"
    )
    message.attachments.append(("d.eml", email.message_from_bytes(data), "message/rfc822"))
    if django.VERSION >= (6, 0):
        read = email.message_from_bytes(data, policy=email.policy.default)
        message.attachments.append(("e.eml", read, "message/rfc822"))


def attach_signature(message: EmailMessage) -> None:
    """S/MIME, whose parameters say what it is."""
    part = MIMEApplication(b"\x30\x82" * 50, "pkcs7-mime", smime_type="signed-data", name="smime.p7m")
    message.attachments.append(part)


EVERY_KIND = [
    *(attach_file, attach_text, attach_calendar, attach_image, attach_named_image),
    *(attach_message, attach_large_message, attach_digest, attach_signature),
]
ATTACHED = st.lists(
    st.sampled_from(EVERY_KIND),
    max_size=3,
    unique=True,
)


@st.composite
def messages(draw: Any) -> EmailMessage:
    """Anything that anymail understands."""
    cls = draw(st.sampled_from([AnymailMessage, Own, EmailMultiAlternatives, EmailMessage]))
    message = cls(
        draw(st.sampled_from(["Hello", "Grüße an alle", lazystr("lazy")])),
        draw(TEXTS),
        draw(st.sampled_from(["Shop <shop@example.org>", "Größe <g@example.org>", "s@example.org"])),
        draw(st.lists(ADDRESSES, min_size=1, max_size=3, unique=True)),
        cc=draw(st.lists(ADDRESSES, max_size=1)),
        bcc=draw(st.lists(st.just("hidden@example.com"), max_size=1)),
        reply_to=draw(st.lists(st.sampled_from(["Help <help@example.org>"]), max_size=1)),
        headers=draw(
            st.dictionaries(
                st.sampled_from(["X-Order", "X-Ünit"[:2] + "A", "From", "Reply-To"]),
                st.just("r@example.org"),
                max_size=2,
            )
        ),
    )
    message.content_subtype = draw(st.sampled_from(["plain", "html"]))
    if isinstance(message, EmailMultiAlternatives):
        for kind in draw(st.lists(st.sampled_from(["text/html", "text/x-amp-html"]), max_size=2, unique=True)):
            message.attach_alternative(str(draw(TEXTS)) or "x", kind)
    for name in draw(st.lists(st.sampled_from(sorted(ATTRIBUTES)), max_size=4, unique=True)):
        setattr(message, name, draw(ATTRIBUTES[name]))
    return message


@pytest.mark.parametrize("provider", PROVIDERS)
@given(messages(), ATTACHED)
@settings(max_examples=examples(25), deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_provider_is_posted_the_same_out_of_the_queue(
    provider: str, message: EmailMessage, attached: list[Any]
) -> None:
    """Whatever the message says, and without a byte of pickle."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for attach in attached:
            attach(message)
        assert_whole(message, provider)


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("attach", EVERY_KIND)
def test_every_kind_of_attachment_comes_back(provider: str, attach: Any) -> None:
    """Each alone, where there is a body and where there is none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for body in ("Text", ""):
            message = AnymailMessage("Hello", body, "s@example.org", ["a@example.com"])
            attach(message)
            assert_whole(message, provider)


def test_what_nobody_set_stays_unset_and_what_somebody_cleared_stays_cleared() -> None:
    """Anymail's word for the first is true, and None takes away what its settings add."""
    message = AnymailMessage("Hello", "Text", "s@example.org", ["a@example.com"], tags=None)
    found: Any = queued(message, keeps_all=False)
    assert isinstance(found, AnymailMessage)
    assert found.tags is None
    assert found.metadata is UNSET
    assert not found.anymail_status.recipients


NOON = datetime(2030, 1, 2, 12, tzinfo=UTC).replace(tzinfo=None)


def test_an_hour_without_a_time_zone_is_the_callers() -> None:
    """The worker may live in another one."""
    message = AnymailMessage("Hello", "Text", "s@example.org", ["a@example.com"], send_at=NOON)
    with timezone.override("Asia/Tokyo"):
        found: Any = queued(message)
    assert found.send_at == datetime(2030, 1, 2, 3, tzinfo=UTC)


VALUES = [
    *("a\0b", "half \ud800", "", 1, 1.5, float("inf"), True, None, b"\0\xff", Decimal("1.10"), timedelta(hours=1)),
    *(
        date(2030, 1, 2),
        datetime(2030, 1, 2, tzinfo=UTC),
        ("a", 1),
        ["a", ["b"]],
        {"z": 1, "a": {1: ("x",)}},
        {"$bytes": 1},
    ),
    {"a", "b"},
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_every_value_that_is_data_comes_back_as_it_was(value: object) -> None:
    """Its type and the order of its keys included."""
    message: Any = EmailMessage("Hello", "Text", "s@example.org", ["a@example.com"])
    message.esp_extra = {"value": value}
    message.of_another_package = value
    found: Any = queued(message)
    assert repr(found.esp_extra["value"]) == repr(value) or found.esp_extra["value"] == value
    assert type(found.of_another_package) is type(value)


def test_what_is_no_data_is_refused_where_a_provider_would_miss_it() -> None:
    """At the call; what only hangs on the message is left behind."""
    message: Any = EmailMessage("Hello", "Text", "s@example.org", ["a@example.com"])
    message.of_another_package = object()
    assert not hasattr(queued(message), "of_another_package")
    message.metadata = {"order": object()}
    with pytest.raises(NotStorable, match="metadata"):
        foreign_fields(message)


def test_a_message_for_smtp_alone_costs_nothing_more() -> None:
    """Nor is a large attachment stored twice for an API."""
    message = EmailMessage("Hello", "Text", "s@example.org", ["a@example.com"])
    message.attach("a.bin", b"\0" * 1_000_000, "application/octet-stream")
    assert foreign_fields(message) is None
    assert len(json.dumps(foreign_fields(message, keeps_all=True))) < 2000


# By MIME alone: queued while all routes were SMTP.


def rich() -> EmailMultiAlternatives:
    """All that gave trouble."""
    message = EmailMultiAlternatives(
        "Grüße", "Hallo\n", "bounces@example.org", ["Ann <a@example.com>"], headers={"From": "Shop <shop@example.org>"}
    )
    message.attach_alternative("<p>Hallo</p>", "text/html")
    for attach in (attach_file, attach_text, attach_calendar, attach_image, attach_message, attach_signature):
        attach(message)
    signed = MIMEMultipart("signed", protocol="application/pkcs7-signature", micalg="sha-256")
    signed.attach(MIMEText("signed", "plain", "us-ascii"))
    signed.attach(MIMEApplication(b"1", "pkcs7-signature"))
    message.attachments.append(signed)
    return message


def test_out_of_mime_alone_nothing_is_lost_and_nothing_fails() -> None:
    """Also on Django 5.2, which takes MIMEBase only."""
    found: Any = queued(rich(), keeps_all=False)
    assert (found.subject, found.body, found.from_email) == ("Grüße", "Hallo\n", "bounces@example.org")
    assert found.extra_headers["From"] == "Shop <shop@example.org>"
    assert [one[1] for one in found.alternatives] == ["text/html"]
    parts = [one for one in found.attachments if isinstance(one, Message)]
    assert [part.get_content_type() for part in parts] == [
        *("text/calendar", "image/png", "message/rfc822", "message/rfc822", "message/rfc822"),
        *("application/pkcs7-mime", "multipart/signed"),
    ]
    assert parts[0].get_param("method") == "REQUEST"
    assert parts[-2].get_param("smime-type") == "signed-data"
    assert [one[1] for one in found.attachments if isinstance(one, tuple)][2:3] == [
        "name,qty\nü,12\n"[:-1] + ("\n" if django.VERSION >= (6, 0) else "")
    ]
    for part in parts:
        assert isinstance(part, MIMEPart if django.VERSION >= (6, 0) and not part.is_multipart() else MIMEBase)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for provider in PROVIDERS:
            assert posts_of(provider, copy.deepcopy(found))
        found.message().as_bytes()


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("Jörg Müller <jörg@example.com>", ["Jörg Müller <jörg@example.com>"]),
        ("=?utf-8?q?M=C3=BCller=2C_J=C3=B6rg?= <j@example.com>", ['"Müller, Jörg" <j@example.com>']),
        ('"a b"@example.com, friends: c@example.com;', ['"a b"@example.com', "c@example.com"]),
        ("=?utf-8?q?=C3=9C_<a@example.com>,?= b@example.com", None),
        ("ü, <>, @@", None),
    ],
)
def test_out_of_mime_alone_every_address_is_text(written: str, read: list[str] | None) -> None:
    """Names as they read, local parts beyond ASCII, and what some Python has folded so that nobody can read it."""
    content = f"From: s@example.org\r\nTo: {written}\r\nSubject: Hello\r\n\r\nText\r\n".encode()
    found = rebuild_message(content, None, ["a@example.com"], sender="s@example.org")
    if read is not None:
        assert found.to == read
    assert all("=?" not in one and "\udcc3" not in one for one in found.to)


# SMTP-like backends.


class Foreign:
    """Somebody's backend."""


@pytest.mark.parametrize("is_queued", [True, False])
@pytest.mark.parametrize("keeps_all", [True, False])
def test_a_backend_that_asks_for_mime_gets_the_stored_bytes(is_queued: bool, keeps_all: bool) -> None:
    """As Django's own asks on this version, and for these recipients alone."""
    from django.core.mail.backends.smtp import EmailBackend

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        built = build_submission(rich())
        message = queued(rich(), keeps_all=keeps_all) if is_queued else rich()
    data = b"".join(built.content.chunks())
    submission = Submission(
        message=message,
        sender=built.sender,
        recipients=built.recipients,
        content=built.content,
        message_id=built.message_id,
        from_domain=built.from_domain,
    )
    job = Job(sender=built.sender, recipients=("u@faß.test",), content=built.content, key=submission)
    given_to = message_for(submission, job, Foreign())  # type: ignore[arg-type]
    calls: list[Any] = []

    class Connection:
        def sendmail(self, *arguments: Any) -> None:
            calls.append(arguments)

    backend = EmailBackend(host="localhost", port=1, **({"alias": "x"} if django.VERSION >= (6, 1) else {}))
    backend.connection = Connection()  # type: ignore[assignment]
    assert backend._send(given_to)
    assert calls == [("bounces@example.org", ["u@xn--fa-hia.test"], data)]
    assert copy.copy(given_to).message().as_bytes(**({} if django.VERSION >= (6, 0) else {"linesep": "\r\n"})) == data
    changed: Any = given_to.message()
    changed["X-Added"] = "by somebody"
    assert b"X-Added: by somebody" in changed.as_bytes()
