"""The content of a queued message, for a person with permission to read it. Each reading leaves an `Action`.

Mail holds what opens accounts: links that reset passwords, codes, invoices. So nothing here is called for a list, and
what cannot be read is said, not passed over: `ContentGone` where it was pruned, `KeyMissing` where its key is not here.
"""

import email
import email.policy
from collections.abc import Iterator
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from email.message import Message
from email.parser import BytesHeaderParser
from mimetypes import guess_extension

from reliable_email.outbox.keyring import KeyMissing, Keyring
from reliable_email.outbox.operations.operate import note
from reliable_email.outbox.rows.loading import ContentGone
from reliable_email.records import dataclass, field
from reliable_email.store.questions.filters import outbox_database
from reliable_email.store.tables.messages import OutboxMessage

READ = "read_content"
# Mail may hold no NUL, and the library raises where one stands in a parameter.
_NO_NUL = "\ufffd".encode()
# Of one header; decoding costs the square of the number of its encoded words.
_SHOWN_CHARACTERS = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """A part that is not shown as text.

    Attributes:
        number: its place among the message's parts.
        content_id: what `cid:` links name; "" for none.
    """

    number: int
    name: str
    content_type: str
    data: bytes = field(repr=False)
    content_id: str = ""

    @property
    def size(self) -> int:
        """The number of bytes, decoded."""
        return len(self.data)


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """A message's content in the parts that people look at; `text` and `html` are None where there is none."""

    headers: tuple[tuple[str, str], ...]
    text: str | None = field(repr=False)
    html: str | None = field(repr=False)
    attachments: tuple[Attachment, ...]
    source: bytes = field(repr=False)


def read_letter(message_id: int, *, part: str, actor: str, keyring: Keyring, using: str | None = None) -> Letter | None:
    """The content, and a record that `actor` has read `part` of it; None where there is no such message.

    Raises:
        ContentGone: it was pruned.
        KeyMissing: it is encrypted, and the key is not here.
    """
    alias = outbox_database(using)
    rows = OutboxMessage._base_manager.using(alias).filter(pk=message_id)
    found = rows.values_list("content", "encryption_key", "message_id").first()
    if found is None:
        return None
    sealed, key, name = found
    if sealed is None:
        raise ContentGone(f"the content of message {message_id} was pruned")
    source = keyring.open(bytes(sealed), key)
    note(READ, actor=actor, target=f"message {message_id}", detail={"part": part, "id": name}, using=alias)
    return letter(source)


def open_or_say(text: str, key: str, keyring: Keyring) -> str:
    """Text that may be sealed, or words that say that it cannot be opened."""
    try:
        return keyring.open_text(text, key)
    except KeyMissing:
        return "(encrypted with a key that is not here)"


def open_reply(reply: str, key: str, keyring: Keyring) -> str:
    """Decrypt a reply, of which code and enhanced status are never encrypted."""
    head, _, sealed = reply.rpartition(" ")
    if not key or not sealed.startswith("gAAAA"):  # a Fernet token
        return reply
    return f"{head} {open_or_say(sealed, key, keyring)}".strip()


def letter(source: bytes) -> Letter:
    """Take bytes apart; what cannot be decoded is shown with replacement characters, and nothing raises."""
    # The older policy of the two: it reads parameters without parsing every header by its grammar, and so reads on
    # where a header is not as it should be.
    readable = source.replace(b"\0", _NO_NUL)
    try:
        return _letter(email.message_from_bytes(readable, policy=email.policy.compat32), source)
    except RecursionError:  # parts inside of parts, thousands deep: no mail is, and nobody has to read it part by part
        mime = BytesHeaderParser(policy=email.policy.compat32).parsebytes(readable)
        headers = tuple((name, _decoded(str(value))) for name, value in mime.raw_items())
        text = readable.decode("utf-8", "replace")
        return Letter(headers=headers, text=text, html=None, attachments=(), source=source)


def _letter(mime: Message, source: bytes) -> Letter:
    text = html = None
    attachments = []
    for number, part in enumerate(_leaves(mime)):
        kind = part.get_content_type()
        name = part.get_filename()
        is_shown = part.get_content_disposition() != "attachment" and not name
        if is_shown and kind == "text/plain" and text is None:
            text = _text(part)
        elif is_shown and kind == "text/html" and html is None:
            html = _text(part)
        else:
            attachments.append(
                Attachment(
                    number=number,
                    name=_decoded(name) if name else f"part-{number}{guess_extension(kind) or ''}",
                    content_type=kind,
                    data=_data(part),
                    content_id=str(part.get("Content-ID", "")).strip().strip("<>"),
                )
            )
    headers = tuple((name, _decoded(str(value))) for name, value in mime.raw_items())
    return Letter(headers=headers, text=text, html=html, attachments=tuple(attachments), source=source)


def _leaves(part: Message) -> Iterator[Message]:
    """The parts that have content; a message that is attached stays in one piece."""
    if part.get_content_maintype() == "multipart" and part.is_multipart():
        for one in _inner(part):
            yield from _leaves(one)
    else:
        yield part


def _inner(part: Message) -> list[Message]:
    inner = part.get_payload()
    return [one for one in inner if isinstance(one, Message)] if isinstance(inner, list) else []


def _data(part: Message) -> bytes:
    if part.is_multipart():  # an attached message
        return b"".join(one.as_bytes() for one in _inner(part))
    try:
        data = part.get_payload(decode=True)
    except (LookupError, ValueError):  # the library asks for the charset, which is none
        del part["Content-Type"]
        data = part.get_payload(decode=True)
    return data if isinstance(data, bytes) else b""


def _text(part: Message) -> str:
    try:
        return _data(part).decode(part.get_content_charset() or "utf-8", "replace")
    except (LookupError, ValueError):  # a charset that Python does not know, or that is none
        return _data(part).decode("utf-8", "replace")


def _decoded(value: str) -> str:
    """A header's words on one line, with encoded words decoded."""
    words = " ".join(value.encode("utf-8", "surrogateescape").decode("utf-8", "replace").split())
    if len(words) > _SHOWN_CHARACTERS:
        words = words[:_SHOWN_CHARACTERS].rpartition(" ")[0] or words[:_SHOWN_CHARACTERS]
        return f"{_decoded(words)} …"
    try:
        return str(make_header(decode_header(words)))
    except (HeaderParseError, LookupError, ValueError):
        return words
