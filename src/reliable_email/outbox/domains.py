"""Keeps one recipient domain from having more of a worker's connections than it should."""

import threading
from collections import Counter
from collections.abc import Iterable

from reliable_email.outbox.claim import Claim, Claimed


class DomainCap:
    """Counts the lines of one worker that deliver to a domain.

    Args:
        limit: lines that one domain may have at once; 0 for any number.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._lines: Counter[str] = Counter()
        self._by_claim: dict[int, frozenset[str]] = {}

    @property
    def full(self) -> list[str]:
        """Domains that no further line should claim for, sorted."""
        with self._lock:
            return sorted(domain for domain, count in self._lines.items() if self._limit and count >= self._limit)

    def enter(self, taken: Claim) -> frozenset[int]:
        """Count a claim; the rows that it has to give back, since other lines were quicker with their domains."""
        if not self._limit:
            return frozenset()
        with self._lock:
            wanted = {_domain(row) for row in taken.rows}
            given = frozenset(domain for domain in wanted if self._lines[domain] < self._limit)
            self._lines.update(given)
            self._by_claim[taken.number] = given
        return frozenset(row.id for row in taken.rows if _domain(row) not in given)

    def leave(self, taken: Claim) -> bool:
        """The claim is done; whether a domain that was full is so no more."""
        with self._lock:
            given: Iterable[str] = self._by_claim.pop(taken.number, ())
            was_full = any(self._lines[domain] >= self._limit for domain in given)
            self._lines.subtract(given)
            self._lines += Counter()  # forgets the zeros
            return was_full


def _domain(row: Claimed) -> str:
    return row.address.rpartition("@")[2].lower()
