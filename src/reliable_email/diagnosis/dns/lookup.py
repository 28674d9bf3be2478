"""DNS look-ups, in bounded time and without exceptions: what cannot be asked is an answer of its own.

dnspython is imported when the first question is asked; it comes with the extra `[dns]`.
"""

import time
from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from reliable_email.records import dataclass

if TYPE_CHECKING:
    from dns.resolver import Resolver

QUERY_SECONDS = 3.0
ALL_SECONDS = 20.0
# A resolver that is silent so often in a row is not asked any more.
_SILENCES = 2


class DNSMissing(ImportError):
    """The extra is not installed; the text says how to."""


class AnswerKind(StrEnum):
    """The kind of an answer."""

    FOUND = "found"
    EMPTY = "empty"  # the name exists, and has no record of this type
    MISSING = "missing"  # there is no such name
    UNASKED = "unasked"  # nobody knows: the resolver failed or was silent


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One question's answer.

    Attributes:
        values: the records; TXT as one text, MX as "10 host.example.".
        canonical_name: where the CNAMEs of the name have led to, without the last dot.
        reason: why it could not be asked.
    """

    name: str
    type: str
    kind: AnswerKind
    values: tuple[str, ...] = ()
    canonical_name: str = ""
    reason: str = ""

    @property
    def is_void(self) -> bool:
        """True for a void lookup (RFC 7208 section 4.6.4)."""
        return self.kind in (AnswerKind.EMPTY, AnswerKind.MISSING)

    @property
    def is_unasked(self) -> bool:
        """True if nothing is known."""
        return self.kind is AnswerKind.UNASKED


Ask = Callable[[str, str], Answer]


class Lookup:
    """The questions of one examination; each is asked once."""

    def __init__(
        self,
        nameserver: tuple[str, int] | None = None,
        *,
        query_seconds: float = QUERY_SECONDS,
        all_seconds: float = ALL_SECONDS,
    ) -> None:
        """Ask `nameserver` (address and port), or whom the system asks.

        Raises:
            DNSMissing: dnspython is not installed.
        """
        self._query_seconds = query_seconds
        self._ends_at = time.monotonic() + all_seconds
        self._answers: dict[tuple[str, str], Answer] = {}
        self._silences = 0
        self._trouble = ""
        self._resolver = self._make(nameserver)

    def ask(self, name: str, record_type: str) -> Answer:
        """The records of that type; of any name, also one that cannot exist."""
        name = name.rstrip(".").lower()
        key = (name, record_type)
        if key not in self._answers:
            self._answers[key] = self._asked(name, record_type)
        return self._answers[key]

    def _make(self, nameserver: tuple[str, int] | None) -> "Resolver | None":
        try:
            import dns.exception
            import dns.resolver
        except ImportError as error:
            raise DNSMissing("The DNS check needs dnspython: pip install 'django-reliable-email[dns]'") from error
        try:
            resolver = dns.resolver.Resolver(configure=nameserver is None)
        except (dns.exception.DNSException, OSError) as error:
            self._trouble = f"this machine names no resolver ({error})"
            return None
        if nameserver is not None:
            resolver.nameservers = [nameserver[0]]
            resolver.port = nameserver[1]
        return resolver

    def _asked(self, name: str, record_type: str) -> Answer:
        import dns.exception
        import dns.name
        import dns.resolver

        def unasked(reason: str) -> Answer:
            return Answer(name=name, type=record_type, kind=AnswerKind.UNASKED, reason=reason)

        left = self._ends_at - time.monotonic()
        if self._resolver is None or self._silences >= _SILENCES:
            return unasked(self._trouble)
        if left <= 0:
            return unasked("the time for all questions was over")
        try:
            found = self._resolver.resolve(
                dns.name.from_text(f"{name}."), record_type, search=False, lifetime=min(self._query_seconds, left)
            )
        except dns.resolver.NXDOMAIN:
            self._silences = 0
            return Answer(name=name, type=record_type, kind=AnswerKind.MISSING)
        except dns.resolver.NoAnswer:
            self._silences = 0
            return Answer(name=name, type=record_type, kind=AnswerKind.EMPTY)
        except dns.exception.Timeout:
            self._silences += 1
            self._trouble = "the resolver did not answer in time"
            return unasked(self._trouble)
        except dns.resolver.NoNameservers as error:
            return unasked(_refusal(error))
        except (dns.exception.DNSException, OSError, UnicodeError) as error:
            return unasked(f"{type(error).__name__}: {error}")
        self._silences = 0
        return Answer(
            name=name,
            type=record_type,
            kind=AnswerKind.FOUND,
            values=tuple(_text(record) for record in found),
            canonical_name=found.canonical_name.to_text(omit_final_dot=True).lower(),
        )


def _text(record: Any) -> str:
    if hasattr(record, "strings"):
        return b"".join(record.strings).decode("utf-8", "replace")
    return str(record.to_text())


def _refusal(error: Any) -> str:
    """ "The resolver answered SERVFAIL", from a list of (server, tcp, port, what, response)."""
    errors = error.kwargs.get("errors") or ()
    said = {str(one[3]) for one in errors if len(one) > 3}
    words = ", ".join(sorted(said)) or "nothing that can be read"
    return f"the resolver answered {words}"
