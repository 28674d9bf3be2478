"""A class that signs its message as DKIM does (RFC 6376), with a digest in the place of a signature."""

import base64
import hashlib
import re
from typing import Any

import django
from django.core.mail import EmailMultiAlternatives

_SIGNED = ("from", "to", "subject", "date", "message-id", "mime-version", "content-type")


class Signing(EmailMultiAlternatives):
    """Signs what Django is about to write, as packages for DKIM do it."""

    canonicalization = "relaxed/simple"

    def message(self, **options: Any) -> Any:
        """Django's message with a signature on top."""
        built: Any = super().message(**options)
        data = built.as_bytes() if django.VERSION >= (6, 0) else built.as_bytes(linesep="\r\n")
        head, _, body = _normal(data).partition(b"\r\n\r\n")
        name, value = "DKIM-Signature", _signature(head, body, self.canonicalization)
        if django.VERSION >= (6, 0):
            built._headers.insert(0, built.policy.header_store_parse(name, value))
        else:
            built._headers.insert(0, (name, value))
        return built


def verified(data: bytes) -> list[str]:
    """What is wrong with the signature; empty for a good one."""
    head, _, body = data.partition(b"\r\n\r\n")
    fields = _fields(head)
    values = [value for name, value in fields if name == b"dkim-signature"]
    if len(values) != 1:
        return [f"{len(values)} signatures"]
    tags = {
        name.strip().decode(): re.sub(rb"\s", b"", value).decode()
        for name, _, value in (tag.partition(b"=") for tag in values[0].split(b";"))
    }
    if tags.get("a") != "x":
        return ["another's signature"]
    unsigned = b"\r\n".join(b"%b:%b" % field for field in fields if field[0] != b"dkim-signature")
    wanted = _digests(unsigned, body, tags["c"])
    found = (tags["b"], tags["bh"])
    return [
        f"the {what} was changed"
        for what, one, two in zip(("header", "body"), found, wanted, strict=True)
        if one != two
    ]


def _signature(head: bytes, body: bytes, canonicalization: str) -> str:
    head_digest, body_digest = _digests(head, body, canonicalization)
    names = ":".join(_SIGNED)
    return f"v=1; a=x; c={canonicalization}; d=example.org; h={names}; bh={body_digest}; b={head_digest}"


def _digests(head: bytes, body: bytes, canonicalization: str) -> tuple[str, str]:
    of_head, _, of_body = canonicalization.partition("/")
    lines = []
    fields = _fields(head)
    for wanted in _SIGNED:
        for name, value in fields:
            if name == wanted.encode():
                lines.append(
                    b"%b:%b" % (name, re.sub(rb"[ \t\r\n]+", b" ", value).strip() if of_head == "relaxed" else value)
                )
    return _digest(b"\r\n".join(lines)), _digest(_body(body, of_body))


def _digest(data: bytes) -> str:
    return base64.b64encode(hashlib.sha256(data).digest()).decode()


def _body(body: bytes, way: str) -> bytes:
    if way == "relaxed":
        body = re.sub(rb"[ \t]+(?=\r\n)", b"", re.sub(rb"[ \t]+", b" ", body))
    return re.sub(rb"(?:\r\n)*\Z", b"\r\n", body, count=1)


def _fields(head: bytes) -> list[tuple[bytes, bytes]]:
    found = []
    for field in re.split(rb"\r\n(?![ \t])", head):
        name, _, value = field.partition(b":")
        found.append((name.strip().lower(), value))
    return found


def _normal(data: bytes) -> bytes:
    return re.sub(rb"\r\n|\r|\n", b"\r\n", data)
