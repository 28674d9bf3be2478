"""The conversion of an `EmailMessage` to a submission: envelope, content with fixed Message-ID and Date, and options.

Everything that makes a message impossible to send is found here, before any connection, and raised as `ValueError`.
Nothing is written on the caller's message.
"""

import copy
import email
import email.policy
import inspect
import os
import re
import time
from collections.abc import Iterator
from email.charset import Charset
from email.encoders import encode_base64
from email.errors import HeaderParseError, ObsoleteHeaderDefect
from email.headerregistry import AddressHeader
from email.message import Message, MIMEPart
from email.mime.base import MIMEBase
from itertools import count
from typing import Any

import django
from django.core.mail import EmailMessage
from django.core.mail import message as django_message
from django.utils.functional import Promise

from reliable_email import conf
from reliable_email.delivery.content.serializer import serialized
from reliable_email.delivery.report import bare_address
from reliable_email.delivery.submission import NO_WISHES, DeliveryOptions, Submission
from reliable_email.patterns import pattern
from reliable_email.smtp.protocol.wire_content import BytesContent
from reliable_email.smtp.syntax.mime import has_signed_headers, is_signed, written
from reliable_email.smtp.syntax.paths import deduplicate, domain_identity, forward_path, reverse_path, with_ascii_domain

# Before 6.0 Django's documentation has callers catch a class of its own for header injection.
BadHeaderError: type[ValueError] = ValueError if django.VERSION >= (6, 0) else django_message.BadHeaderError
# What could end a header line for some reader, and what no header may hold (RFC 5322 §2.2). Django 5.2 looks for CR
# and LF alone. A tab is white space.
_CONTROL = pattern("[\x00-\x08\x0a-\x1f\x7f\x85\u2028\u2029]")
_SURROGATE = pattern("[\ud800-\udfff]")
_COMMON_WRITERS = frozenset(
    cls.as_bytes for cls in (Message, MIMEPart, getattr(django_message, "MIMEMixin", None)) if cls is not None
)
_FIELD_NAME = pattern(r"[!-9;-~]+")  # RFC 5322 §2.2
_PLAIN = pattern(r"[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+")
_NAMED = pattern(rf'(?:"[^"\\]*"|[^"<>()\[\],:;@\\]*)<({_PLAIN.pattern})>')
# Django allows a mailbox of the machine; RFC 6532 allows more than ASCII. Python's text has that stray bracket.
# Python's grammar of addresses costs the square of what it reads.
_MAX_WRITTEN_CHARACTERS = 4096
_NO_DOMAIN = "addr-spec local part with no domain"
# A name in quotes may be one that a program has encoded already: Django 5.2 and every API send it as it is.
_ENCODED_NAME = frozenset({"encoded word inside quoted string", "missing trailing whitespace after encoded-word"})
_ALLOWED_DEFECTS = _ENCODED_NAME | {_NO_DOMAIN, "local-part contains non-ASCII characters)"}
_ADDRESS_HEADERS = frozenset(
    ("from", "to", "cc", "reply-to", "sender", "resent-from", "resent-to", "resent-cc", "resent-sender")
)
_BLIND_COPY = pattern(rb"^(?:Resent-)?Bcc:.*\r?\n(?:[ \t].*\r?\n)*", re.IGNORECASE | re.MULTILINE)
_FIELD_START = pattern(rb"^(?=[^ \t\r\n])", re.MULTILINE)
_HEADER_END = pattern(rb"\r?\n\r?\n")
_message_ids = count()


def build_submission(message: EmailMessage, *, message_id: str = "") -> Submission:
    """The submission that a message makes.

    Args:
        message: not changed.
        message_id: the Message-ID to use where the message's own headers name none; "" makes a new one.

    Raises:
        ValueError: an address, a header or the content cannot go on the wire.
        TypeError: `message.delivery_options` is not `DeliveryOptions`.
    """
    options = getattr(message, "delivery_options", None) or NO_WISHES
    if not isinstance(options, DeliveryOptions):
        raise TypeError(f"message.delivery_options must be DeliveryOptions, not {type(options).__name__}")
    recipients = deduplicate(map(_addr_spec, message.recipients()))
    paths = [forward_path(recipient) for recipient in recipients]
    sender = _addr_spec(message.from_email) if message.from_email else ""
    paths.append(reverse_path(sender))
    _check(message)
    headers = {name.lower(): value for name, value in message.extra_headers.items()}
    if "bcc" in headers:
        raise ValueError("Bcc cannot be a header of a message: use the message's `bcc` for blind copies.")
    from_domain = _first_domain(headers.get("from", message.from_email))
    named = str(headers["message-id"]) if "message-id" in headers else message_id or new_message_id(from_domain)
    needs_utf8 = any(path_needs_utf8 for _, path_needs_utf8 in paths)
    return Submission(
        message=message,
        sender=sender,
        recipients=recipients,
        content=BytesContent.from_bytes(_bytes(message, named, needs_utf8=needs_utf8)),
        message_id=named,
        from_domain=from_domain,
        options=options,
    )


def new_message_id(domain: str) -> str:
    """A Message-ID in the sender's domain.

    Not in the machine's own name, as Django has it: to learn that may take the resolver for ever.
    """
    stamp = f"{time.time_ns():x}.{os.getpid():x}.{next(_message_ids):x}.{os.urandom(6).hex()}"
    return f"<{stamp}@{domain if domain.isascii() and domain else 'localhost'}>"


def envelope_address(written: str) -> str:
    """The bare address in what people write ("Jane Roe <jane@example.com>"), as MAIL and RCPT say it.

    Raises:
        ValueError: it is not one address, or may not go on the wire.
    """
    address = _addr_spec(written)
    forward_path(address)
    return address


def _addr_spec(address: object) -> str:
    """The one address in a text, "" for the null path."""
    text = str(address)
    if _PLAIN.fullmatch(text):
        return text
    _check_text("an address", text)
    text = text.strip()
    if "<" not in text and "(" not in text:
        # Whether it may go on the wire is `paths`' question. Django 6 takes "a@b.example," for the one address in it.
        bare = bare_address(text)
        return bare if bare != text and ":" not in text and _is_one(text) else text
    if text == "<>":
        return ""
    if match := _NAMED.fullmatch(text):
        return match[1]
    found = _mailboxes(text)
    if len(found) != 1:
        raise ValueError(f"not one e-mail address: {text!r}")
    return found[0]


def _is_one(text: str) -> bool:
    try:
        return len(_mailboxes(text)) == 1
    except ValueError:
        return False


def _mailboxes(text: str) -> list[str]:
    if len(text) > _MAX_WRITTEN_CHARACTERS:
        raise ValueError(f"not an e-mail address: {text[:100]!r} … has {len(text)} characters")
    try:
        parsed: Any = AddressHeader.value_parser(text)
        # They are gathered by recursion, as deep as the parser went.
        defects = [one for one in parsed.all_defects if not isinstance(one, ObsoleteHeaderDefect)]
        every = [str(mailbox.addr_spec) for mailbox in parsed.all_mailboxes]
    except (HeaderParseError, IndexError, ValueError, RecursionError) as error:
        raise ValueError(f"not an e-mail address: {text!r}") from error
    unexpected = {str(one) for one in defects} - _ALLOWED_DEFECTS
    # A bare name is no valid mailbox for Python, and one of the machine for SMTP (RFC 5321 §4.5.1).
    is_readable = len(parsed.mailboxes) == len(every) or ({_NO_DOMAIN, *_ENCODED_NAME} & set(map(str, defects)))
    if unexpected or not is_readable:
        raise ValueError(f"not an e-mail address: {text!r} ({'; '.join(sorted(unexpected)) or 'it cannot be read'})")
    return every


def _first_domain(address: object) -> str:
    """A From header may name several authors (RFC 5322 §3.6.2); the first one's domain is the message's."""
    text = str(address or "")
    _check_text("the header From", text)
    try:
        found = _addr_spec(text)
    except ValueError:
        found = next(iter(_mailboxes(text)), "")
    return domain_identity(found.rpartition("@")[2]) if "@" in found else ""


def _check(message: EmailMessage) -> None:
    """Raise ValueError for values that Django or the email package reject late, differently, or not at all."""
    for name, value in (("Subject", message.subject), *message.extra_headers.items()):
        if not _FIELD_NAME.fullmatch(str(name)):
            raise ValueError(f"{str(name)!r} cannot be the name of a header")
        _check_text(f"the header {name}", str(value))
    for name, values in (("To", message.to), ("Cc", message.cc), ("Reply-To", message.reply_to or ())):
        for value in values:
            _check_text(f"the header {name}", str(value))
    _check_text("content_subtype", str(message.content_subtype))
    for what, kind, name, content in _parts(message):
        _check_text(f"the type of {what}", str(kind or ""))
        _check_text(f"the file name of {what}", str(name or ""))
        if isinstance(content, str) and str(kind or "").startswith("text/"):
            _check_body(what, content, may_have_nul=what == "an attachment")
    _check_body("the body", str(message.body))


def _parts(message: EmailMessage) -> Iterator[tuple[str, object, object, object]]:
    for one in getattr(message, "alternatives", None) or ():  # Django takes None for none of any
        if isinstance(one, tuple) and len(one) == 2:
            yield "an alternative", one[1], None, one[0]
    for one in message.attachments or ():
        if isinstance(one, tuple) and len(one) == 3:
            yield "an attachment", one[2], one[0], one[1]


def _check_text(what: str, text: str) -> None:
    if _CONTROL.search(text):
        raise BadHeaderError(f"{what} contains a control character: {text!r}")
    if not text.isascii() and _SURROGATE.search(text):
        raise ValueError(f"{what} contains half a character (a lone surrogate): {text!r}")


def _check_body(what: str, text: str, *, may_have_nul: bool = False) -> None:
    if "\0" in text and not may_have_nul:
        raise ValueError(f"{what} contains a NUL character, which text cannot have")
    if not text.isascii() and (match := _SURROGATE.search(text)):
        raise ValueError(f"{what} contains half a character (a lone surrogate), at character {match.start()}")


def _bytes(message: EmailMessage, message_id: str, *, needs_utf8: bool) -> bytes:
    if not needs_utf8:
        common = serialized(
            message, message_id=message_id, localtime=conf.uses_localtime(), charset=conf.default_charset()
        )
        if common is not None:
            return common
    try:
        return _without_blind_copies(_by_django(_prepared(message, message_id), needs_utf8=needs_utf8))
    except UnicodeEncodeError as error:
        raise ValueError(f"the message cannot be written in its charset: {error}") from error
    except HeaderParseError as error:  # of Python's generator, and no ValueError
        raise ValueError(f"the message has a header that would be read as two: {error}") from error


def _prepared(message: EmailMessage, message_id: str) -> EmailMessage:
    """A copy to write on: writing a MIME part sets its boundary, for one."""
    prepared = copy.copy(message)
    prepared.extra_headers = {
        name: str(value) if isinstance(value, int | float) else value for name, value in message.extra_headers.items()
    }
    for name, value in list(prepared.extra_headers.items()):
        if str(name).lower() in _ADDRESS_HEADERS:
            prepared.extra_headers[name] = _with_ascii_domains(str(value))
        elif str(name).lower() == "subject":  # as with From and To, a header wins; written beside, there would be two
            prepared.subject = prepared.extra_headers.pop(name)
        elif str(name).lower() == "mime-version":
            del prepared.extra_headers[name]
    if isinstance(prepared.encoding, Charset) and django.VERSION >= (6, 0):
        prepared.encoding = str(prepared.encoding.input_charset)  # what Django 6 understands of it
    if not any(name.lower() == "message-id" for name in prepared.extra_headers):
        prepared.extra_headers["Message-ID"] = message_id
    prepared.from_email = _with_ascii_domains(str(message.from_email))
    for field in ("to", "cc", "reply_to"):
        setattr(prepared, field, [_with_ascii_domains(str(one)) for one in getattr(message, field) or ()])
    charset = str(prepared.encoding or conf.default_charset())
    prepared.attachments = [_as_data(_own(one), charset) for one in message.attachments or ()]
    if getattr(message, "alternatives", None):
        prepared.alternatives = [_own(one) for one in message.alternatives]  # type: ignore[attr-defined]
    return prepared


def _with_ascii_domains(text: str) -> str:
    """Addresses of a header as they go on the wire. Django would write them by IDNA 2003, where ß is ss."""
    if text.isascii() or _NAMED.fullmatch(text):
        return text
    try:
        named = _mailboxes(text) if any(char in text for char in "<(,;") else [text.strip()]
    except ValueError:
        return text  # what that may mean is Django's question
    for address in named:
        text = with_ascii_domain(text, address)
    return text


def _own(part: Any) -> Any:
    """An attachment or alternative that may be written on, its lazy texts forced, which Python's email cannot do."""
    if isinstance(part, Message):
        return copy.deepcopy(part)
    if not isinstance(part, tuple) or not any(isinstance(one, Message | Promise) for one in part):
        return part
    fields = [str(one) if isinstance(one, Promise) else _own(one) for one in part]
    return part._make(fields) if hasattr(part, "_make") else tuple(fields)


def _as_data(attachment: Any, charset: str) -> Any:
    """A text attachment as it is, or, where it holds what no text part may (RFC 5321 §2.3.1), as a part of base64.

    Django takes every file of a text type for text that can be read as UTF-8, some UTF-16 among them.
    """
    if not isinstance(attachment, tuple) or len(attachment) != 3:
        return attachment
    name, text, kind = attachment
    if not isinstance(text, str) or "\0" not in text or not str(kind).startswith("text/"):
        return attachment
    part = MIMEBase("text", str(kind).partition("/")[2], charset=charset)
    part.set_payload(text.encode(charset))
    encode_base64(part)
    if name:
        shown = str(name)
        part.add_header(
            "Content-Disposition", "attachment", filename=shown if shown.isascii() else ("utf-8", "", shown)
        )
    return part


def _by_django(message: EmailMessage, *, needs_utf8: bool) -> bytes:
    """Django's own way: for messages of uncommon form, and for subclasses with a `message()` of their own."""
    if django.VERSION >= (6, 0) and _takes_policy(message):
        # The policy of the message decides how Django writes its own parts, that of the writer how parts of others are.
        policy = email.policy.SMTPUTF8 if needs_utf8 else email.policy.SMTP.clone(cte_type="7bit")
        built = message.message(policy=policy)
        if _is_common(built) and is_signed(built) and not written(built, policy.clone(cte_type="8bit")).isascii():
            # Written with this policy, it would encode anew what somebody else has signed inside of it.
            built = message.message(policy=email.policy.SMTP)
        data = _written(built, policy.clone(cte_type="8bit"))
    else:
        built = message.message()
        data = _written(built, email.policy.compat32.clone(linesep="\r\n"))
        if needs_utf8 and not has_signed_headers(built):
            data = _with_utf8_addresses(message, data)
    # Content that is 7-bit clean goes by every route unchanged.
    return data if needs_utf8 else BytesContent.from_bytes(data).cleaned().data


def _written(built: Any, policy: Any) -> bytes:
    """The bytes of what `message()` gave: by its own writer, where it has one or has been signed as a whole."""
    if _is_common(built) and not is_signed(built):
        return written(built, policy)
    return bytes(built.as_bytes())


def _is_common(built: Any) -> bool:
    return getattr(type(built), "as_bytes", None) in _COMMON_WRITERS


def _takes_policy(message: EmailMessage) -> bool:
    """Return whether `message()` accepts Django 6.0's argument `policy`, which older subclasses do not."""
    parameters = inspect.signature(message.message).parameters.values()
    return any(one.name == "policy" or one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters)


def _with_utf8_addresses(message: EmailMessage, data: bytes) -> bytes:
    """The address headers in raw UTF-8 (RFC 6532): a local part has no other way to be more than ASCII.

    All else stays as it was written.
    """
    policy = email.policy.SMTPUTF8
    wanted: dict[bytes, bytes] = {}
    for name, values in (
        ("From", [message.from_email]),
        ("To", message.to),
        ("Cc", message.cc),
        ("Reply-To", message.reply_to or ()),
    ):
        text = str(message.extra_headers.get(name) or ", ".join(map(str, values)))
        if not text.isascii():
            wanted[name.lower().encode()] = policy.fold_binary(*policy.header_store_parse(name, text))
    end = _HEADER_END.search(data)
    size = len(data) if end is None else end.start() + len(end[0]) // 2
    fields = (wanted.get(field.partition(b":")[0].strip().lower(), field) for field in _FIELD_START.split(data[:size]))
    return b"".join(fields) + data[size:]


def _without_blind_copies(data: bytes) -> bytes:
    """Remove Bcc headers, which a caller's own `message()` may have written."""
    end = _HEADER_END.search(data)
    size = len(data) if end is None else end.start() + 2
    head = data[:size]
    return _BLIND_COPY.sub(b"", head) + data[size:] if b"cc:" in head.lower() else data
