"""The delivery report: the outcome of a message for every recipient, found at `message.delivery`.

It is about one letter: a digest of what its readers get tells a changed message from a repetition. The digest covers
sender, subject, bodies, attachments and headers. Date and Message-ID are new at every building; To, Cc and Bcc say who
gets the letter, not what it says. Lazy values count as what they say now. What is drawn by chance when a message is
written (boundaries) or says when (signatures) is never part of it, so no message is written for this.
"""

import hashlib
import re
import struct
import sys
import weakref
from collections.abc import ItemsView, Iterator, Mapping, Sequence, Set, ValuesView
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from email.message import Message
from email.utils import parseaddr
from typing import Any, Final

from django.core.mail import EmailMessage, EmailMultiAlternatives
from django.utils.functional import Promise

from reliable_email.classification import Cause, Failure
from reliable_email.delivery.words import Outcome
from reliable_email.patterns import pattern
from reliable_email.records import dataclass, field, replace
from reliable_email.smtp.stages import Stage
from reliable_email.smtp.syntax.paths import identity
from reliable_email.smtp.syntax.replies import Reply

__all__ = [
    "Attempt", "DeliveryReport", "Outcome", "RecipientOutcome", "Recipients", "address_key", "attach_report",
    "bare_address", "delivery_of", "letter_digest", "report_of",
]  # fmt: skip

# https://anymail.dev/en/stable/sending/anymail_additions/: what a provider's API makes of a message.
API_ATTRIBUTES: Final = (
    "envelope_sender", "metadata", "send_at", "tags", "track_clicks", "track_opens", "template_id", "merge_data",
    "merge_global_data", "merge_headers", "merge_metadata", "esp_extra",
)  # fmt: skip
_LEFT_OUT: Final = frozenset({"date", "message-id", "to", "cc", "bcc"})
_FIELDS: Final = (
    "from_email", "subject", "body", "content_subtype", "encoding", "mixed_subtype", "alternative_subtype",
    "alternatives", "attachments", "reply_to", *API_ATTRIBUTES,
)  # fmt: skip
# Of a message whose class writes it in its own way, everything counts but these.
_NOT_OF_THE_LETTER: Final = frozenset(
    {"to", "cc", "bcc", "extra_headers", "connection", "_connection", "delivery", "delivery_options", "anymail_status"}
)
_BOUNDARY: Final = pattern(r';\s*boundary=(?:"[^"]*"|[^\s;]*)', re.I)
_WRITERS: Final = ("message", "_create_message", "_add_bodies", "_add_attachments", "_add_attachment")


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipientOutcome:
    """One recipient's outcome, with the evidence for it.

    Attributes:
        outcome: the result, an `Outcome`.
        cause: the meaning of the failure; None if there was none.
        reply: the server's last reply about this recipient.
        route: the alias of the last route.
        attempts: the number of transactions with this recipient.
        failure: the full classification; its `help` says what to do.
    """

    outcome: Outcome
    cause: Cause | None = None
    reply: Reply | None = None
    route: str | None = None
    attempts: int = 0
    failure: Failure | None = None

    def __str__(self) -> str:
        from reliable_email.classification import wording  # few print it

        return wording.outcome_text(self.outcome, self.route, self.failure, self.cause, self.reply)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One transaction on one route: a line of the report's history.

    Attributes:
        route: the alias of the mailer.
        stage: the last stage that was reached.
        started_at: the time of the start.
        seconds: the duration.
        outcomes: the outcome of each recipient, by address.
        failure: the failure of the whole transaction, if any.
        reply: the server's last reply.
        peer: the address of the server.
    """

    route: str
    stage: Stage
    started_at: datetime
    seconds: float
    outcomes: Mapping[str, Outcome]
    failure: Failure | None = None
    reply: Reply | None = None
    peer: str | None = None


def address_key(address: str) -> str:
    """Return the identity of an address: equal for all its spellings, also with a display name."""
    return identity(bare_address(address))


_NEEDS_PARSER = frozenset("<(, ")


def bare_address(address: str) -> str:
    """Return the addr-spec of an address that may have a display name."""
    stripped = address.strip()
    if _NEEDS_PARSER.isdisjoint(stripped):
        return stripped  # nearly all do; parsing one costs more than all the rest of a report
    return parseaddr(str(stripped))[1] or stripped  # which takes no lazy text


def _shown(address: str) -> str:
    """Return an address as reports show it: the addr-spec as the caller wrote it, with the domain in lower case."""
    bare = bare_address(address)
    local, at, domain = bare.rpartition("@")
    return f"{local}@{domain.lower()}" if at else bare


class Recipients(Mapping[str, RecipientOutcome]):
    """A mapping from addresses to outcomes that finds any spelling of an address."""

    __slots__ = ("_outcomes", "_shown")

    def __init__(self, outcomes: Mapping[str, RecipientOutcome]) -> None:
        self._shown: dict[str, str] = {}  # by identity
        self._outcomes: dict[str, RecipientOutcome] = {}
        for address, outcome in outcomes.items():
            self._outcomes[self._shown.setdefault(address_key(address), _shown(address))] = outcome

    def __getitem__(self, address: str) -> RecipientOutcome:
        found = self._outcomes.get(address)
        return found if found is not None else self._outcomes[self._shown[address_key(address)]]

    def __iter__(self) -> Iterator[str]:
        return iter(self._outcomes)

    def __len__(self) -> int:
        return len(self._outcomes)

    # Mapping's own would look every address up again by its spelling.

    def items(self) -> ItemsView[str, RecipientOutcome]:
        """Addresses and outcomes."""
        return self._outcomes.items()

    def values(self) -> ValuesView[RecipientOutcome]:
        """Outcomes alone."""
        return self._outcomes.values()

    def __repr__(self) -> str:
        return f"Recipients({self._outcomes!r})"


class _Bond:
    """The link from a report to its message, since Python also copies the report when it copies a message.

    An unpickled report belongs to the message that it was pickled with, which is the first to ask.
    """

    __slots__ = ("_is_free", "_owner")

    def __init__(self, *, is_free: bool = True) -> None:
        self._owner: weakref.ReferenceType[Any] | None = None
        self._is_free = is_free

    def tie(self, message: object) -> None:
        self._owner, self._is_free = weakref.ref(message), False

    def holds(self, message: object) -> bool:
        if self._is_free:
            self.tie(message)
        return self._owner is not None and self._owner() is message

    def is_copied_with_owner(self, memo: dict[int, Any]) -> bool:
        owner = self._owner() if self._owner is not None else None
        return owner is not None and id(owner) in memo

    def __reduce__(self) -> tuple[type["_Bond"], tuple[()]]:
        return _Bond, ()

    def __copy__(self) -> "_Bond":
        return _Bond(is_free=False)

    def __deepcopy__(self, memo: dict[int, Any]) -> "_Bond":
        return _Bond(is_free=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryReport:
    """The outcome of one message. As text, it has a line for each recipient.

    Attributes:
        recipients: an outcome for each recipient.
        attempts: all transactions, in order.
        message_id: the Message-ID of the content that was sent.
        letter: a digest of what was sent, which tells a changed message from a repeated one.
    """

    recipients: Recipients
    attempts: tuple[Attempt, ...] = field(default=())
    message_id: str = ""
    letter: str = field(default="", repr=False, compare=False)
    _bond: _Bond = field(default_factory=_Bond, init=False, repr=False, compare=False)

    def __deepcopy__(self, memo: dict[int, Any]) -> "DeliveryReport | None":
        if self._bond.is_copied_with_owner(memo):
            return None  # the copy of a message was not sent
        return replace(self, recipients=Recipients(dict(self.recipients)))

    def __str__(self) -> str:
        return "\n".join(f"{_shown(address)}: {one}" for address, one in self.recipients.items())

    def _with(self, outcome: Outcome) -> list[str]:
        return [address for address, one in self.recipients.items() if one.outcome is outcome]

    @property
    def accepted(self) -> list[str]:
        """Addresses for which a provider took the message."""
        return self._with(Outcome.ACCEPTED)

    @property
    def rejected(self) -> list[str]:
        """Addresses that were permanently refused."""
        return self._with(Outcome.REJECTED)

    @property
    def deferred(self) -> list[str]:
        """Addresses that were not accepted now, but may be later."""
        return self._with(Outcome.DEFERRED)

    @property
    def unknown(self) -> list[str]:
        """Addresses for which a server may or may not have the message."""
        return self._with(Outcome.UNKNOWN)


def attach_report(message: object, report: DeliveryReport) -> None:
    """Set `message.delivery`, the only attribute of this package on a caller's message.

    Past a property or a `__setattr__` of its class: the message has been sent, and no code of theirs may undo that.
    """
    report._bond.tie(message)
    vars(message)["delivery"] = report


def delivery_of(message: object) -> DeliveryReport:
    """Return a message's delivery report; an empty report if this package has not sent the message.

    It equals `message.delivery` unless the message's class has a `delivery` of its own; type checkers know its type.
    """
    return report_of(message) or DeliveryReport(recipients=Recipients({}))


def report_of(message: object) -> DeliveryReport | None:
    """Return the report of this message object, or of the one it was unpickled from; None for a copy of a sent one."""
    report = getattr(message, "__dict__", {}).get("delivery")
    return report if isinstance(report, DeliveryReport) and report._bond.holds(message) else None


# Which letter.


def letter_digest(message: EmailMessage) -> str:
    """The same for messages that say the same, in this process and in any other; the message is not changed."""
    digest = hashlib.blake2b(digest_size=32)
    _feed_letter(digest, message)
    return digest.hexdigest()


def _feed_letter(digest: Any, message: EmailMessage) -> None:
    names = {name for name in _FIELDS if hasattr(message, name)}
    if writes_by_itself(message):
        names |= vars(message).keys() - _NOT_OF_THE_LETTER
    for name in sorted(names):
        value = getattr(message, name)
        if value is None or (name in API_ATTRIBUTES and is_unset(value)):
            continue
        _feed_text(digest, b"n", name)
        _feed(digest, value)
    headers = message.extra_headers
    for header, value in sorted((str(name).lower(), value) for name, value in headers.items()):
        if header not in _LEFT_OUT:
            _feed_text(digest, b"h", header)
            _feed_text(digest, b"t", str(value))


def is_unset(value: object) -> bool:
    """Return whether the value is django-anymail's UNSET, which is neither None nor false."""
    anymail = sys.modules.get("anymail.utils")
    return anymail is not None and value is anymail.UNSET


def writes_by_itself(message: EmailMessage) -> bool:
    """Return whether the class has its own way to write a message, which this package cannot inspect."""
    cls = type(message)
    return "message" in vars(message) or any(
        getattr(cls, name, None) not in (getattr(EmailMessage, name, None), getattr(EmailMultiAlternatives, name, None))
        for name in _WRITERS
    )


def _feed_text(digest: Any, kind: bytes, text: str) -> None:
    _feed_bytes(digest, kind, text.encode("utf-8", "surrogatepass"))


def _feed_bytes(digest: Any, kind: bytes, data: bytes | bytearray | memoryview) -> None:
    # With its length, so that no two values read alike when they stand side by side.
    digest.update(kind + struct.pack(">Q", memoryview(data).nbytes))
    digest.update(data)


def _feed(digest: Any, value: Any) -> None:
    match value:
        case str() | Promise():
            _feed_text(digest, b"t", str(value))
        case bytes() | bytearray() | memoryview():
            _feed_bytes(digest, b"b", value)
        case EmailMessage():
            digest.update(b"m")
            _feed_letter(digest, value)
        case Message():
            digest.update(b"p")
            _feed_part(digest, value)
        case Mapping():
            digest.update(b"d" + struct.pack(">Q", len(value)))
            for key, one in sorted(value.items(), key=lambda item: str(item[0])):
                _feed(digest, key)
                _feed(digest, one)
        case Set() | Sequence():
            digest.update(b"l" + struct.pack(">Q", len(value)))
            for one in sorted(value, key=str) if isinstance(value, Set) else value:
                _feed(digest, one)
        case None | bool() | int() | float() | Decimal() | datetime() | date() | time() | timedelta():
            _feed_text(digest, b"v", repr(value))
        case _:
            _feed_text(digest, b"o", f"{type(value).__qualname__} {_name_of(value)}")


def _name_of(value: Any) -> str:
    """Return a name for an object that is not data: it differs within its class and is the same in every process."""
    if hasattr(value, "pk") and hasattr(value, "_meta"):  # a row of a table
        return f"{value._meta.label} {value.pk}"
    cls: Any = type(value)
    if cls.__str__ is object.__str__ and cls.__repr__ is object.__repr__:
        return ""  # Python would name its place in memory
    return str(value)


def _feed_part(digest: Any, part: Message) -> None:
    for name, value in part.raw_items():
        if name.lower() not in _LEFT_OUT:
            _feed_text(digest, b"h", name.lower())
            _feed_text(digest, b"t", _BOUNDARY.sub("", str(value)))
    _feed(digest, part.get_payload())
