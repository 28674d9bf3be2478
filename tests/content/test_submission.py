"""What a Django message makes: its envelope, its content, and the errors that come before any connection."""

import copy
import email
import email.policy
import warnings
from email.message import EmailMessage as ParsedMessage
from email.mime.image import MIMEImage
from email.mime.multipart import MIMEMultipart
from typing import Any

import django
import pytest
from django.core.mail import EmailMessage, EmailMultiAlternatives
from django.utils.translation import gettext_lazy

from reliable_email.delivery.content.building import build_submission
from reliable_email.delivery.submission import DeliveryOptions

CONTROL = ("\r", "\n", "\0", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\x85", "\u2028")


def message(cls: type[EmailMessage] = EmailMultiAlternatives, **changes: Any) -> Any:
    """A small message."""
    return cls(
        **{
            "subject": "hello",
            "body": "text",
            "from_email": "Shop <shop@example.org>",
            "to": ["b@example.net"],
            **changes,
        }
    )


def parsed(one: EmailMessage) -> ParsedMessage:
    """The content, as a reader sees it."""
    read: Any = email.message_from_bytes(build_submission(one).content.data, policy=email.policy.default)  # type: ignore[attr-defined]
    return read


def leaves(one: EmailMessage) -> list[tuple[str, str | None, object]]:
    """Type, file name and content of each part that is no container."""
    found: list[tuple[str, str | None, object]] = []
    for part in parsed(one).walk():
        if not part.is_multipart():
            content = part.get_content()  # type: ignore[attr-defined]
            found.append(
                (
                    part.get_content_type(),
                    part.get_filename(),
                    content.rstrip() if isinstance(content, str) else content,
                )
            )
    return found


class OwnMessage(EmailMessage):
    """A subclass as applications have them."""

    def message(self, **arguments: Any) -> Any:
        """Django's, and two headers."""
        built = super().message(**arguments)
        built["X-Own"] = "yes"
        built["Bcc"] = "secret@example.net"
        return built


class OldMessage(EmailMessage):
    """A subclass written before Django 6.0, when `message()` had no argument."""

    def message(self) -> Any:  # type: ignore[override]
        """Django's, and a header."""
        built = super().message()
        built["X-Own"] = "yes"
        return built


def test_the_envelope_has_each_recipient_once_and_blind_copies_only_there() -> None:
    """To, Cc and Bcc make the envelope; domains are compared without case; Bcc is not in the content."""
    submission = build_submission(
        message(to=["B <b@example.net>"], cc=["b@EXAMPLE.net", "c@example.net"], bcc=["hidden@example.net"])
    )
    assert submission.sender == "shop@example.org"
    assert submission.recipients == ("b@example.net", "c@example.net", "hidden@example.net")
    assert b"hidden" not in b"".join(submission.content.chunks())


def test_the_from_header_may_differ_from_the_envelope_sender() -> None:
    """`headers={"From": ...}` is what people see; `from_email` is where bounces go."""
    submission = build_submission(message(from_email="bounce@x.org", headers={"From": "A <a@y.org>, B <b@z.org>"}))
    assert (submission.sender, submission.from_domain) == ("bounce@x.org", "y.org")


def test_the_null_path_is_a_sender() -> None:
    """Automatic answers go out with an empty reverse-path (RFC 3834 §3.3)."""
    assert build_submission(message(from_email="<>", headers={"From": "a@example.org"})).sender == ""


@pytest.mark.parametrize("place", ["subject", "to", "cc", "from_email", "name", "value", "file", "type", "subtype"])
@pytest.mark.parametrize("char", CONTROL)
def test_a_control_character_in_any_header_is_a_value_error(place: str, char: str) -> None:
    """On every Django version alike, before any connection."""
    text = f"a{char}Bcc: x"
    one = message()
    match place:
        case "subject":
            one.subject = text
        case "to":
            one.to = [f"{text} <b@example.net>"]
        case "cc":
            one.cc = [f"{text} <b@example.net>"]
        case "from_email":
            one.from_email = f"{text} <b@example.net>"
        case "name":
            one.extra_headers = {f"X{char}Y": "1"}
        case "value":
            one.extra_headers = {"X-Y": text}
        case "file":
            one.attach(text, b"1", "application/octet-stream")
        case "type":
            one.attach("a.bin", b"1", f"application/x{char}y")
        case _:
            one.content_subtype = f"html{char}x"
    with pytest.raises(ValueError):
        build_submission(one)


@pytest.mark.parametrize("text", ["a\0b", "a\0ü", "a\ud800b", f"a{chr(0xDCE9)}b"])
def test_text_that_no_reader_could_get_is_a_value_error(text: str) -> None:
    """NUL and half a character, in the body or an alternative, whatever encoding would hide them."""
    with pytest.raises(ValueError):
        build_submission(message(body=text))
    one = message()
    one.attach_alternative(text, "text/html")
    with pytest.raises(ValueError):
        build_submission(one)


@pytest.mark.parametrize(
    "address",
    [
        "A <a@x.org>, B <b@x.org>",
        "<a@x.org>, <b@x.org>",
        "a@x.org, b@x.org",
        "a@x.org; b@x.org",
        "b@y> NOTIFY=NEVER",
        "A <b@y> SIZE=1",
        "A <a@x.org> b",
        "friends: a@x.org;",
        "A <a@x.org",
        "@x.org",
        "<>",
        "a b@x.org",
    ],
)
def test_what_is_not_one_address_is_a_value_error(address: str) -> None:
    """No recipient is dropped in silence, and nothing is added to a command."""
    with pytest.raises(ValueError):
        build_submission(message(to=[address]))


@pytest.mark.parametrize(
    ("address", "spec"),
    [
        ("Jörg <a@x.org>", "a@x.org"),
        ('"Doe, John" <a@x.org>', "a@x.org"),
        ('"a \\"b\\" c" <a@x.org>', "a@x.org"),
        ("John Q. Public <a@x.org>", "a@x.org"),
        ("=?utf-8?q?J=C3=B6rg?= <a@x.org>", "a@x.org"),
        ("a@x.org (Ann)", "a@x.org"),
        (' "a b"@x.org ', '"a b"@x.org'),
    ],
)
def test_an_address_may_be_written_in_every_usual_way(address: str, spec: str) -> None:
    """The envelope has the addr-spec alone."""
    assert build_submission(message(to=[address])).recipients == (spec,)


def test_a_name_that_somebody_has_encoded_already_is_a_name() -> None:
    """Programs put encoded words between quotes; Django 5.2 sends that, and so does every API."""
    one = message(to=['"=?utf-8?q?J=C3=B6rg?=" <j@example.net>'])
    assert build_submission(one).recipients == ("j@example.net",)
    assert "j@example.net" in str(parsed(one)["To"])


def test_a_bcc_header_is_a_value_error() -> None:
    """On every Django version, not on 6.1 alone: the older ones show it to everybody."""
    with pytest.raises(ValueError, match="Bcc"):
        build_submission(message(headers={"bCC": "hidden@example.net"}))


@pytest.mark.parametrize("cls", [OwnMessage, OldMessage])
def test_a_message_method_of_the_callers_own_is_honoured(cls: type[EmailMessage]) -> None:
    """What it adds is sent, except blind copies, and the content is 7-bit clean."""
    submission = build_submission(message(cls, body="grün " * 30))
    content = b"".join(submission.content.chunks())
    assert b"X-Own: yes" in content
    assert b"secret" not in content
    assert submission.content.is_7bit


@pytest.mark.parametrize("cls", [EmailMultiAlternatives, OwnMessage, OldMessage])
def test_a_local_part_beyond_ascii_makes_utf8_headers(cls: type[EmailMessage]) -> None:
    """RFC 6532 has no other way; the content says that it needs SMTPUTF8."""
    submission = build_submission(message(cls, to=["Jörg <jörg@example.net>"], body="grün"))
    assert submission.content.needs_smtputf8
    assert "To: Jörg <jörg@example.net>\r\n".encode() in b"".join(submission.content.chunks())


def test_beside_a_local_part_beyond_ascii_nothing_else_is_written_anew() -> None:
    """Django 5.2 writes it as another address; a subject, a file name and the order of headers are as without it."""
    subject = "mixed ascii und größer " * 9
    one = message(to=["jörg@example.net"], subject=subject, headers={"X-Long": "word " * 30})
    one.attach("x" * 120 + ".bin", b"\0\1", "application/octet-stream")
    other = copy.copy(one)
    other.to = ["joerg@example.net"]
    written, plain = (
        email.message_from_bytes(b"".join(build_submission(each).content.chunks())) for each in (one, other)
    )
    for each in (written, plain):
        del each["Message-ID"], each["Date"], each["Content-Type"]
    assert written["To"] != plain["To"]
    assert written.keys() == plain.keys()
    del written["To"], plain["To"]
    if django.VERSION < (6, 0):
        assert written.items() == plain.items()
    assert str(parsed(one)["Subject"]).split() == subject.split()
    assert written.get_payload()[-1].get_filename() == "x" * 120 + ".bin"


@pytest.mark.parametrize("spelling", ["UTF-8", "utf8", "utf-8"])
def test_however_the_charset_is_spelt_the_text_is_djangos(spelling: str) -> None:
    """Django 5.2 knows one spelling, and by any other it sends the very bytes of the text, a lone CR among them."""
    one = message(EmailMessage, body="mixed\r\nends\nhere\r")
    one.encoding = spelling
    theirs = email.message_from_bytes(one.message().as_bytes())
    ours = email.message_from_bytes(b"".join(build_submission(one).content.chunks()))
    if theirs["Content-Transfer-Encoding"] == "base64":
        assert ours.get_payload(decode=True) == theirs.get_payload(decode=True)
    else:
        assert ours.get_payload(decode=True).split() == theirs.get_payload(decode=True).split()


def test_message_id_and_date_are_fixed_once_and_the_callers_are_kept() -> None:
    """Every attempt sends the same ones; they are what a reader finds a second copy by."""
    submission = build_submission(message())
    content = b"".join(submission.content.chunks())
    assert content == b"".join(submission.content.chunks())
    assert f"Message-ID: {submission.message_id}\r\n".encode() in content
    assert content.count(b"\r\nDate: ") == 1
    own = build_submission(message(headers={"message-id": "<own@example.org>"}))
    assert own.message_id == "<own@example.org>"
    assert b"".join(own.content.chunks()).lower().count(b"message-id:") == 1
    assert build_submission(message(), message_id="<again@example.org>").message_id == "<again@example.org>"


def test_nothing_is_written_on_the_callers_message() -> None:
    """Not even on the parts that hang on it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MIMEBase is deprecated from Django 6.0 on
        related = MIMEMultipart("related")
        related.attach(MIMEImage(b"\x89PNG", _subtype="png"))
        one = message(headers={"X-Priority": 1}, attachments=[related])
        before, headers = dict(vars(one)), related.items()
        build_submission(one)
    assert vars(one) == before
    assert one.extra_headers == {"X-Priority": 1}
    assert related.items() == headers


def test_everything_that_a_django_message_can_hold_arrives() -> None:
    """HTML, several alternatives, two attachments of one name, a calendar, a message, lazy strings."""
    one = message(subject=gettext_lazy("hello"), body="text", headers={"X-Campaign": "grün"})
    one.attach_alternative("<p>html</p>", "text/html")
    one.attach_alternative("BEGIN:VCALENDAR", "text/calendar")
    one.attach("a.csv", "name,qty\nabc,12", "text/csv")
    one.attach("a.csv", "name,qty\nxyz,1", "text/csv")
    one.attach("ü.bin", b"\0\1\r\n", "application/octet-stream")
    one.attach("m.eml", message(EmailMessage, subject="inner", body="inside"), "message/rfc822")
    found = leaves(one)
    assert [kind for kind, _, _ in found] == [
        *("text/plain", "text/html", "text/calendar", "text/csv", "text/csv", "application/octet-stream", "text/plain")
    ]
    assert [name for _, name, _ in found if name] == ["a.csv", "a.csv", "ü.bin"]
    assert [content for _, _, content in found][-1] == "inside"
    assert b"\0\1\r\n" in [content for _, _, content in found]
    assert (parsed(one)["Subject"], parsed(one)["X-Campaign"]) == ("hello", "grün")


def test_an_html_only_message_stays_html() -> None:
    """`content_subtype` is part of the message."""
    one = message()
    one.content_subtype = "html"
    assert [kind for kind, _, _ in leaves(one)] == ["text/html"]


@pytest.mark.skipif(django.VERSION < (6, 0), reason="MIMEPart is Django 6.0's")
def test_an_inline_image_as_a_mime_part_arrives() -> None:
    """The way that Django 6.0 documents."""
    from email.message import MIMEPart

    image: Any = MIMEPart()
    image.set_content(b"\x89PNG", maintype="image", subtype="png", disposition="inline", cid="<logo>")
    one = message(attachments=[image])
    [part] = [part for part in parsed(one).walk() if part.get_content_type() == "image/png"]
    assert part["Content-ID"] == "<logo>"
    assert part.get_content() == b"\x89PNG"  # type: ignore[attr-defined]


def test_delivery_options_of_another_type_are_a_type_error() -> None:
    """A dict would be ignored in silence otherwise."""
    one = message()
    one.delivery_options = {"priority": "high"}
    with pytest.raises(TypeError, match="DeliveryOptions"):
        build_submission(one)
    one.delivery_options = DeliveryOptions(idempotency_key="order-1")
    assert build_submission(one).options.idempotency_key == "order-1"


@pytest.mark.parametrize("name", ["a.csv", "Größe.csv", None])
@pytest.mark.parametrize("text", ["a\0b\0\n\0", "ü\0\r\n"])
def test_a_text_attachment_with_nul_arrives_as_it_is(name: str | None, text: str) -> None:
    """Django takes UTF-16 for text, and hands it over raw; a part of base64 carries it past every server."""
    one = message()
    one.attach(name, text, "text/csv")
    data = b"".join(build_submission(one).content.chunks())
    assert b"\0" not in data
    (part,) = parsed(one).iter_attachments()
    assert isinstance(part, ParsedMessage)
    payload = part.get_payload(decode=True)
    assert isinstance(payload, bytes)
    assert payload.decode() == text
    assert (part.get_content_type(), part.get_filename()) == ("text/csv", name)
    assert one.attachments[0][1] == text
