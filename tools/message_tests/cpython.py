"""CPython's own test messages, out of the interpreter's test suite, in each form in which a site may send one."""

import email
import email.policy
import subprocess
import sysconfig
from collections.abc import Iterator
from email.mime.base import MIMEBase
from pathlib import Path
from typing import Any

import django
from django.core.mail import EmailMessage, EmailMultiAlternatives

from tools.message_tests.case import Case, Whole

ROOT = Path(__file__).parent.parent.parent


def folder() -> Path | None:
    """Where the messages are; distributions leave them out, so that another interpreter's serve as well."""
    library = Path(sysconfig.get_path("stdlib"))
    found = [library]
    for version in ("3.14", "3.13", "3.12", "3.11"):
        done = subprocess.run(
            [str(ROOT / "tools/find-python"), version], capture_output=True, text=True, check=False, cwd=ROOT
        )
        if interpreter := done.stdout.strip():
            found.append(Path(interpreter).resolve().parent.parent / "lib" / f"python{version}")
    return next((path for one in found if (path := one / "test/test_email/data").is_dir()), None)


def cases(where: Path) -> Iterator[Case]:
    """Each message in each form."""
    for path in sorted(where.glob("msg_*.txt")):
        data = path.read_bytes()
        for form, make in _FORMS.items():
            kept = (data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"),)
            yield Case(f"{path.name} {form}", lambda data=data, make=make, kept=kept: (make(data), kept))  # type: ignore[misc]
    for path in sorted(where.iterdir()):
        if path.suffix != ".txt" and path.is_file():
            yield Case(f"{path.name} as a file", lambda path=path: (_with_file(path), ()))  # type: ignore[misc]


def _letter(cls: type[EmailMessage] = EmailMessage, **fields: Any) -> EmailMessage:
    known = {
        "subject": "Forwarded",
        "body": "See below.\n",
        "from_email": "Ann <ann@example.org>",
        "to": ["b@example.net"],
    }
    return cls(**{**known, **fields})


def _with_file(path: Path) -> EmailMessage:
    message = _letter()
    message.attach_file(str(path))
    return message


def _as_bytes(data: bytes) -> EmailMessage:
    message = _letter()
    message.attach("forwarded.eml", data, "message/rfc822")
    return message


def _as_text(data: bytes) -> EmailMessage:
    message = _letter()
    message.attach("forwarded.eml", data.decode("utf-8", "replace"), "message/rfc822")
    return message


def _as_parsed(data: bytes) -> EmailMessage:
    message = _letter()
    message.attach("forwarded.eml", email.message_from_bytes(data), "message/rfc822")  # type: ignore[arg-type]
    return message


def _as_parsed_anew(data: bytes) -> EmailMessage:
    message = _letter()
    message.attach("forwarded.eml", email.message_from_bytes(data, policy=email.policy.default), "message/rfc822")  # type: ignore[arg-type]
    return message


def _as_part(data: bytes) -> EmailMessage:
    message = _letter()
    message.attach(_part(data))
    return message


def _part(data: bytes) -> Any:
    if django.VERSION >= (6, 0):
        return email.message_from_bytes(data, _class=email.message.MIMEPart, policy=email.policy.default)
    parsed = email.message_from_bytes(data)
    part = MIMEBase.__new__(MIMEBase)
    part.__dict__.update(parsed.__dict__)
    return part


def _as_whole(data: bytes) -> EmailMessage:
    message = Whole("Whole", "", "ann@example.org", ["b@example.net"])
    message.data = data
    return message


def _as_fields(data: bytes) -> EmailMessage:
    """As a site that sends on what it has read."""
    read: Any = email.message_from_bytes(data, policy=email.policy.default)
    message = EmailMultiAlternatives("", "", "ann@example.org", ["b@example.net"])
    message.subject = str(read.get("subject", ""))
    message.from_email = str(read.get("from", "ann@example.org"))
    message.extra_headers = {
        name: str(value)
        for name, value in read.items()
        if name.lower().startswith(("x-", "list-", "in-reply-to", "references", "organization", "sender"))
    }
    for part in read.walk():
        payload = part.get_payload(decode=True)
        if part.is_multipart() or not isinstance(payload, bytes):
            continue
        text = payload.decode("utf-8", "replace")
        if part.get_content_type() == "text/plain" and not message.body and not part.get_filename():
            message.body = text
        elif part.get_content_type() == "text/html" and not part.get_filename():
            message.attach_alternative(text, "text/html")
        elif part.get_content_maintype() not in ("multipart", "message"):
            message.attach(part.get_filename(), payload, part.get_content_type())
    return message


_FORMS = {
    "attached as bytes": _as_bytes,
    "attached as text": _as_text,
    "attached as a message": _as_parsed,
    "attached as a message of the new kind": _as_parsed_anew,
    "attached as a part": _as_part,
    "as a whole": _as_whole,
    "by its fields": _as_fields,
}
