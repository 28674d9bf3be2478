"""Messages by chance, and the same ones again from the same seed."""

import email
import email.policy
import random
from collections.abc import Callable, Iterator
from email.charset import QP, Charset
from email.message import MIMEPart
from email.mime.application import MIMEApplication
from email.mime.base import MIMEBase
from email.mime.image import MIMEImage
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from typing import Any

import django
from django.core.mail import EmailMessage, EmailMultiAlternatives

from tools.message_tests.case import Case, Made, Whole
from tools.message_tests.material import (
    ADDRESSES,
    BODIES,
    DATA,
    ENCODINGS,
    FILE_NAMES,
    FORWARDED,
    HEADERS,
    KINDS,
    NAMES,
    SIGNED_INNER,
    SUBJECTS,
)
from tools.message_tests.signing import Signing


def cases(count: int, seed: int = 1) -> Iterator[Case]:
    """So many of them."""
    for number in range(count):
        yield Case(f"generated {seed}.{number}", lambda number=number: _made(random.Random(f"{seed}.{number}")))  # type: ignore[misc]


def _made(chance: random.Random) -> Made:
    if chance.random() < 0.06:
        return _whole(chance)
    cls = chance.choice((EmailMessage, EmailMessage, EmailMultiAlternatives, EmailMultiAlternatives, Signing))
    encoding = chance.choice(list(ENCODINGS)) if chance.random() < 0.25 else None
    bodies = ENCODINGS[encoding] if encoding else BODIES
    message = cls(
        chance.choice(SUBJECTS if encoding in (None, "utf-8", "UTF-8") else ("", "Hello", "word " * 40)),
        chance.choice(bodies),
        _address(chance, named=encoding is None),
        [_address(chance, named=encoding is None) for _ in range(chance.choice((1, 1, 1, 2, 6)))],
        cc=[_address(chance, named=encoding is None) for _ in range(chance.choice((0, 0, 0, 2)))],
        reply_to=[_address(chance, named=encoding is None) for _ in range(chance.choice((0, 0, 1)))],
        headers=_headers(chance),
    )
    if encoding:
        message.encoding = encoding
        if chance.random() < 0.3 and encoding != "utf-16":
            charset = Charset(encoding)
            charset.body_encoding = QP
            message.encoding = charset  # type: ignore[assignment]
    message.content_subtype = chance.choice(("plain", "plain", "plain", "html"))
    sources: list[bytes] = []
    if isinstance(message, EmailMultiAlternatives):
        for kind in chance.sample(
            ("text/html", "text/x-amp-html", "text/calendar", "text/markdown"), chance.choice((0, 1, 1, 2))
        ):
            message.attach_alternative(str(chance.choice(bodies)), kind)
    if isinstance(message, Signing):
        message.canonicalization = chance.choice(("relaxed/simple", "relaxed/relaxed", "simple/simple"))
    for _ in range(chance.choice((0, 0, 1, 1, 2, 3))):
        chance.choice(_ATTACHMENTS)(chance, message, sources, bodies)
    return message, tuple(sources)


def _address(chance: random.Random, *, named: bool) -> str:
    address = chance.choice(ADDRESSES) if chance.random() > 0.01 else "jörg@example.com"
    name = chance.choice(NAMES if named else ("", "Ann", "Doe, John"))
    if not name or chance.random() < 0.3:
        return address
    if name.isascii() and not all(char.isalnum() or char in " '" for char in name):
        return '"{}" <{}>'.format(name.replace("\\", "\\\\").replace('"', '\\"'), address)
    if any(char in '",;@()' for char in name):
        return '"{}" <{}>'.format(name.replace('"', '\\"'), address)
    return f"{name} <{address}>"


def _headers(chance: random.Random) -> dict[str, Any]:
    """Of each name one."""
    found = {name.lower(): (name, value) for name, value in chance.sample(HEADERS, chance.choice((0, 0, 1, 2, 3)))}
    return dict(found.values())


def _file(chance: random.Random, message: EmailMessage, sources: list[bytes], bodies: tuple[str, ...]) -> None:
    message.attach(chance.choice(FILE_NAMES), chance.choice(DATA), chance.choice(KINDS))


def _text_file(chance: random.Random, message: EmailMessage, sources: list[bytes], bodies: tuple[str, ...]) -> None:
    message.attach(
        chance.choice(FILE_NAMES),
        str(chance.choice(bodies)),
        chance.choice(("text/plain", "text/csv", "text/html", "text/calendar")),
    )


def _text_as_bytes(chance: random.Random, message: EmailMessage, sources: list[bytes], bodies: tuple[str, ...]) -> None:
    message.attach(
        "a.txt", chance.choice((b"plain\n", "Grün\n".encode(), b"\xff\xfe latin", b"crlf\r\n")), "text/plain"
    )


def _guessed(chance: random.Random, message: EmailMessage, sources: list[bytes], bodies: tuple[str, ...]) -> None:
    message.attach(
        chance.choice(("a.png", "a.csv", "a.unknown", "a.html", "a.eml.zip")), chance.choice((b"\0\1", b"text\n"))
    )


def _str_as_data(chance: random.Random, message: EmailMessage, sources: list[bytes], bodies: tuple[str, ...]) -> None:
    message.attach("data.json", chance.choice(('{"a": 1}', '{"a": "plain"}\n')), "application/json")


def _forwarded(chance: random.Random, message: EmailMessage, sources: list[bytes], bodies: tuple[str, ...]) -> None:
    data = chance.choice(FORWARDED)
    sources.append(data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))
    content: Any = chance.choice(
        (
            data,
            email.message_from_bytes(data),
            *([email.message_from_bytes(data, policy=email.policy.default)] if django.VERSION >= (6, 0) else []),
        )
    )
    message.attach(chance.choice(("m.eml", "Grüße.eml", None)), content, "message/rfc822")


def _djangos_own(chance: random.Random, message: EmailMessage, sources: list[bytes], bodies: tuple[str, ...]) -> None:
    inner = EmailMultiAlternatives(
        chance.choice(("Inner", "Grün")),
        str(chance.choice(BODIES)),
        "i@example.org",
        ["x@example.org"],
        headers={"Date": "Fri, 09 Nov 2001 01:08:47 -0000", "Message-ID": "<inner@example.org>"},
    )
    message.attach("inner.eml", inner, "message/rfc822")  # type: ignore[arg-type]


def _image(chance: random.Random, message: EmailMessage, sources: list[bytes], bodies: tuple[str, ...]) -> None:
    data = b"\x89PNG\r\n\x1a\n" * 50
    if django.VERSION >= (6, 0) and chance.random() < 0.7:
        part: Any = MIMEPart(policy=email.policy.default)
        part.set_content(
            data,
            maintype="image",
            subtype="png",
            disposition="inline",
            cid="<logo>",
            filename=chance.choice(("l.png", "lögo.png")),
        )
    else:
        part = MIMEImage(data, "png")
        part.add_header("Content-ID", "<logo>")
        part.add_header("Content-Disposition", "inline", filename="l.png")
    message.attach(part)


def _calendar(chance: random.Random, message: EmailMessage, sources: list[bytes], bodies: tuple[str, ...]) -> None:
    part = MIMEText(chance.choice(("BEGIN:VCALENDAR\r\nEND:VCALENDAR\r\n", "SUMMARY:Grün\n")), "calendar", "utf-8")
    part.set_param("method", "REQUEST")
    message.attach(part)


def _smime(chance: random.Random, message: EmailMessage, sources: list[bytes], bodies: tuple[str, ...]) -> None:
    message.attach(MIMEApplication(b"\x30\x82" * 50, "pkcs7-mime", smime_type="signed-data", name="smime.p7m"))


def _signed(chance: random.Random, message: EmailMessage, sources: list[bytes], bodies: tuple[str, ...]) -> None:
    inner = chance.choice(SIGNED_INNER)
    sources.append(inner)
    message.attach(_part(_multipart_signed(inner)))


def _related(chance: random.Random, message: EmailMessage, sources: list[bytes], bodies: tuple[str, ...]) -> None:
    part = MIMEMultipart("related", type="text/html")
    part.attach(MIMEText("<img src=cid:x> grün", "html", "utf-8"))
    image = MIMEImage(b"\0\1", "png")
    image.add_header("Content-ID", "<x>")
    part.attach(image)
    message.attach(part)


def _multipart_signed(inner: bytes) -> bytes:
    return (
        b'Content-Type: multipart/signed; protocol="application/pgp-signature"; micalg=pgp-sha256; boundary="sig"'
        b"\r\n\r\n--sig\r\n"
        + inner
        + b"\r\n--sig\r\nContent-Type: application/pgp-signature; name=signature.asc\r\n\r\n"
        b"-----BEGIN PGP SIGNATURE-----\r\n\r\nAAEC\r\n"
        b"-----END PGP SIGNATURE-----\r\n\r\n--sig--\r\n"
    )


def _part(data: bytes) -> Any:
    if django.VERSION >= (6, 0):
        return email.message_from_bytes(data, _class=MIMEPart, policy=email.policy.default)  # type: ignore[type-var]
    part = MIMEBase.__new__(MIMEBase)
    part.__dict__.update(email.message_from_bytes(data).__dict__)
    return part


def _whole(chance: random.Random) -> Made:
    """Signed as a whole by a class of the caller's."""
    head = (
        b"From: ann@example.org\r\nTo: b@example.net\r\nSubject: whole\r\nMessage-ID: <w@example.org>\r\n"
        b"Date: Fri, 09 Nov 2001 01:08:47 -0000\r\nMIME-Version: 1.0\r\n"
    )
    message = Whole("Whole", "", "ann@example.org", ["b@example.net"])
    inner = chance.choice(SIGNED_INNER)
    signature = b"DKIM-Signature: v=1; c=relaxed/relaxed;\r\n  b=abc  def\r\n" if chance.random() < 0.5 else b""
    message.data = signature + head + _multipart_signed(inner)
    return message, (inner,)


_ATTACHMENTS: tuple[Callable[[random.Random, EmailMessage, list[bytes], tuple[str, ...]], None], ...] = (
    _file,
    _file,
    _file,
    _text_file,
    _text_file,
    _text_as_bytes,
    _guessed,
    _str_as_data,
    _forwarded,
    _forwarded,
    _djangos_own,
    _image,
    _calendar,
    _smime,
    _signed,
    _signed,
    _related,
)
