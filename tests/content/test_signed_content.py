"""What somebody has signed goes out byte for byte: at any depth, from every kind of message, on every Django."""

import email
import email.policy
import hashlib
import re
import warnings
from email.charset import QP, Charset
from email.message import EmailMessage as ParsedMessage
from email.message import Message, MIMEPart
from email.mime.base import MIMEBase
from typing import Any

import django
import pytest
from anymail.message import AnymailMessage
from django.core.mail import EmailMessage, EmailMultiAlternatives

from reliable_email.delivery.content.building import build_submission
from reliable_email.smtp.protocol.wire_content import BytesContent
from reliable_email.smtp.syntax.mime import encoded

LONG = "a-word " * 20
FORWARDED = (
    f"DKIM-Signature: v=1; a=rsa-sha256; c=simple/simple; b={'x' * 100}\r\n"
    f"Subject: {LONG}end\r\n"
    "MIME-Version: 1.0\r\n"
    "Content-Type: text/plain; charset=utf-8\r\n"
    "Content-Transfer-Encoding: 8bit\r\n"
    "\r\n"
    "Grün, was gesigned wurde.\r\n"
    "From the beginning.\r\n"
).encode()
UNSIGNED = FORWARDED.partition(b"\r\n")[2]
SIGNED_PART = (
    f"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\nX-Long: {LONG}end\r\n\r\nGrüße\r\n"
).encode()
SIGNED = (
    b'Content-Type: multipart/signed; protocol="application/pkcs7-signature"; micalg=sha-256; boundary="s"\r\n\r\n'
    b"--s\r\n" + SIGNED_PART + b"\r\n--s\r\n"
    b"Content-Type: application/pkcs7-signature\r\nContent-Transfer-Encoding: base64\r\n\r\nAAEC\r\n--s--\r\n"
)
NESTED = b"Subject: outer\r\nMIME-Version: 1.0\r\nContent-Type: message/rfc822\r\n\r\n" + FORWARDED


class Own(EmailMultiAlternatives):
    """A class with a way of its own."""

    def message(self, *args: Any, **kwargs: Any) -> Any:
        """Django's, and a header."""
        built = super().message(*args, **kwargs)
        built["X-Own"] = "yes"
        return built


def old(data: bytes) -> Message:
    """As Django 5.2 takes a part that was read."""
    parsed = email.message_from_bytes(data)
    part = MIMEBase.__new__(MIMEBase)
    part.__dict__.update(parsed.__dict__)
    return part


def new(data: bytes) -> Any:
    """As Django 6.0 does."""
    return email.message_from_bytes(data, _class=MIMEPart, policy=email.policy.default)  # type: ignore[type-var]


FORMS: dict[str, tuple[Any, bytes]] = {
    "forwarded bytes": (("m.eml", FORWARDED, "message/rfc822"), FORWARDED),
    "forwarded and not signed": (("m.eml", UNSIGNED, "message/rfc822"), UNSIGNED),
    "nested": (("m.eml", NESTED, "message/rfc822"), FORWARDED),
    "forwarded message": (("m.eml", email.message_from_bytes(FORWARDED), "message/rfc822"), FORWARDED),
    "signed part": (old(SIGNED), SIGNED_PART),
}
if django.VERSION >= (6, 0):
    FORMS["signed part of Django 6"] = (new(SIGNED), SIGNED_PART)
    FORMS["forwarded message of Python"] = (
        ("m.eml", email.message_from_bytes(FORWARDED, policy=email.policy.default), "message/rfc822"),
        FORWARDED,
    )


def with_attached(cls: type[EmailMessage], attached: Any, **fields: Any) -> Any:
    """With a body that needs an encoding."""
    one = cls("Grüße", "Text, grün.", "s@example.org", fields.pop("to", ["a@example.com"]), **fields)
    one.attachments.append(attached)
    return one


def bytes_of(one: EmailMessage) -> bytes:
    """The content."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MIMEBase is deprecated from Django 6.0 on
        return b"".join(build_submission(one).content.chunks())


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("cls", [EmailMessage, EmailMultiAlternatives, AnymailMessage, Own])
@pytest.mark.parametrize("to", ["a@example.com", "jörg@example.com"])
def test_signed_bytes_go_out_as_they_are(name: str, cls: type[EmailMessage], to: str) -> None:
    """And what is around them is 7-bit clean where addresses let it be."""
    attached, wanted = FORMS[name]
    data = bytes_of(with_attached(cls, attached, to=[to]))
    assert wanted in data
    if to.isascii():
        assert data.replace(wanted, b"").isascii()
        read = email.message_from_bytes(data, policy=email.policy.default)
        assert isinstance(read, ParsedMessage)
        body = read.get_body(("plain",))
        assert body is not None
        assert body.get_content().strip() == "Text, grün."


def test_a_server_without_8bitmime_gets_an_encoding_of_what_nobody_has_signed() -> None:
    """The rest is refused, and says why; sent on as it is, it might be cut to seven bits."""
    unsigned = build_submission(with_attached(EmailMessage, FORMS["forwarded and not signed"][0])).content.downgraded()
    assert unsigned is not None
    assert unsigned.is_7bit
    for name in ("forwarded bytes", "nested"):
        assert build_submission(with_attached(EmailMessage, FORMS[name][0])).content.downgraded() is None


def test_beside_a_signed_part_that_is_clean_others_are_encoded() -> None:
    """One signature does not keep the whole message from a server."""
    clean = SIGNED.replace("Grüße".encode(), b"Greetings")
    data = (
        (
            b'MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\n'
            b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\ngr\xc3\xbcn\r\n--b\r\n"
        )
        + clean
        + b"\r\n--b--\r\n"
    )
    down = BytesContent.from_bytes(data).downgraded()
    assert down is not None
    assert down.is_7bit
    assert clean in down.data


class Signer(EmailMultiAlternatives):
    """Signs what it is about to write, as packages for DKIM do it."""

    def message(self, *args: Any, **kwargs: Any) -> Any:
        """Django's, and the digest of its bytes."""
        built: Any = super().message(*args, **kwargs)
        data = built.as_bytes() if django.VERSION >= (6, 0) else built.as_bytes(linesep="\r\n")
        built["DKIM-Signature"] = "v=1; b=" + hashlib.sha256(data.partition(b"\r\n\r\n")[2].rstrip()).hexdigest()
        return built


@pytest.mark.parametrize("name", FORMS)
def test_a_class_that_signs_has_signed_what_goes_out(name: str) -> None:
    """And what somebody else has signed inside of it is not encoded before that."""
    attached, wanted = FORMS[name]
    data = bytes_of(with_attached(Signer, attached))
    assert wanted.partition(b"\r\n\r\n")[2].rstrip() in data
    head, _, body = data.partition(b"\r\n\r\n")
    assert hashlib.sha256(body.rstrip()).hexdigest() in email.message_from_bytes(head)["DKIM-Signature"]


class HeadSigner(EmailMultiAlternatives):
    """Signs its addresses, too."""

    def message(self, *args: Any, **kwargs: Any) -> Any:
        """Django's, and the digest of what To says."""
        built: Any = super().message(*args, **kwargs)
        data = built.as_bytes() if django.VERSION >= (6, 0) else built.as_bytes(linesep="\r\n")
        built["DKIM-Signature"] = f"v=1; h=to; b={self.digest(data)}"
        return built

    @staticmethod
    def digest(data: bytes) -> str:
        """Of the field as it is written, where it is folded aside."""
        (field,) = re.findall(rb"(?m)^To:(?:.*\r?\n)(?:[ \t].*\r?\n)*", data)
        return hashlib.sha256(b" ".join(field.split())).hexdigest()


def test_a_signed_address_beyond_ascii_goes_out_as_it_was_signed() -> None:
    """Django 5.2 writes it as an encoded word; who is meant says the envelope."""
    one = HeadSigner("Subject", "Text", "site@example.org", ["jörg@example.net"])
    data = bytes_of(one)
    head = email.message_from_bytes(data.partition(b"\r\n\r\n")[0])
    assert HeadSigner.digest(data) in head["DKIM-Signature"]
    assert build_submission(one).recipients == ("jörg@example.net",)


@pytest.mark.skipif(django.VERSION < (6, 0), reason="Django 5.2 has 8-bit text, and takes no policy")
def test_a_class_that_signs_writes_seven_bits_where_nothing_else_is_attached() -> None:
    """So that every server takes it as it was signed."""
    assert bytes_of(with_attached(Signer, ("a.txt", "Grün", "text/plain"))).isascii()


@pytest.mark.parametrize(
    "field", [b"Subject:  two  spaces ", b"subject:none", b"X-Tab:\tvalue", b"X-Fold:\r\n\tbehind", b"X-Empty:"]
)
def test_what_is_read_is_written_with_its_white_space(field: bytes) -> None:
    """Signatures of the form simple/simple count it, in attached messages and beside a header that is too long."""
    inner = b"DKIM-Signature: v=1; c=simple/simple; b=x\r\n" + field + b"\r\n\r\nText\r\n"
    data = (
        b'MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="b"\r\n' + field + b"\r\n\r\n--b\r\n"
        b"Content-Type: text/plain; charset=utf-8\r\n\r\ngr\xc3\xbcn\r\n--b\r\n"
        b"Content-Type: message/rfc822\r\n\r\n" + inner + b"\r\n--b--\r\n"
    )
    down = BytesContent.from_bytes(data).downgraded()
    assert down is not None
    assert inner in down.data
    assert field + b"\r\n" in down.data.partition(b"\r\n\r\n")[0] + b"\r\n"
    long = BytesContent.from_bytes(b"X-Long: " + b"word " * 400 + b"\r\n" + inner)
    assert inner.partition(b"\r\n\r\n")[0] in long.data


def test_a_long_header_opens_no_attached_message() -> None:
    """It is folded; what is attached needs no encoding for that."""
    attached, wanted = FORMS["forwarded and not signed"]
    assert wanted in bytes_of(with_attached(EmailMessage, attached, headers={"X-Long": "x" * 2000}))


@pytest.mark.parametrize("name", ["Subject", "subject", "SUBJECT"])
@pytest.mark.parametrize("cls", [EmailMessage, AnymailMessage, Own])
def test_a_subject_among_the_headers_is_the_subject(name: str, cls: type[EmailMessage]) -> None:
    """Once; a From or To among them wins in the same way."""
    one = cls("Hello", "Text", "s@example.org", ["a@example.com"], headers={name: "Grün", "MIME-Version": "1.0"})
    read = email.message_from_bytes(bytes_of(one), policy=email.policy.default)
    assert read.get_all("Subject") == ["Grün"]
    assert read.get_all("MIME-Version") == ["1.0"]
    assert (one.subject, one.extra_headers[name]) == ("Hello", "Grün")


@pytest.mark.parametrize("charset", ["utf-8", "iso-8859-1", "koi8-r"])
def test_a_charset_object_is_an_encoding(charset: str) -> None:
    """The way to ask for quoted-printable on older versions of Django."""
    encoding = Charset(charset)
    encoding.body_encoding = QP
    text = "Привет" if charset == "koi8-r" else "Grün"
    one = EmailMultiAlternatives("Hello", text, "s@example.org", ["a@example.com"])
    one.encoding = encoding  # type: ignore[assignment]
    one.attach_alternative(f"<p>{text}</p>", "text/html")
    read = email.message_from_bytes(bytes_of(one), policy=email.policy.default)
    parts: Any = [part for part in read.walk() if not part.is_multipart()]
    assert [part.get_content().strip() for part in parts] == [text, f"<p>{text}</p>"]
    assert {part.get_content_charset() for part in parts} == {charset}


@pytest.mark.parametrize("word", ["ab ", "ab\t", "x" * 700 + " ", "x" * 20_000 + " "])
def test_a_huge_header_is_folded_where_it_may_be(word: str) -> None:
    """No line is longer than SMTP has it where there is white space, and unfolding brings the header back."""
    header = f"X-Long: a {word * (40_000 // len(word))}z"
    raw = f"{header}\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nü\r\n".encode()
    lines = encoded(raw, max_line_bytes=998, opens_messages=True).split(b"\r\nContent-")[0].split(b"\r\n")
    assert b"".join(lines).decode() == header
    assert max(map(len, lines)) <= max(998, len(word))
    assert all(line.strip() for line in lines)
