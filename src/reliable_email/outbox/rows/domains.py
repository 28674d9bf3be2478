# ruff: noqa: S608 - see tables
"""The limit of connections to one recipient domain, for all workers of one database together."""

import threading
from collections import Counter, defaultdict
from collections.abc import Iterable

from reliable_email.outbox.rows.claim import Claim
from reliable_email.outbox.rows.sql import Tables, marks
from reliable_email.smtp.protocol.exchange import domain_of
from reliable_email.store.tables.states import State


class DomainCap:
    """Counts the lines that deliver to a domain.

    A line's claim is in the rows that it holds, so the lines of other workers are found there: before a claim, to pass
    over what is full, and after it, since two may have claimed at once. Of those the one with the lower number stays.

    Args:
        limit: lines that one domain may have at once; 0 for any number.
        using: alias of the database in which other workers are; None for none.
        worker: whose lines are counted here.
    """

    def __init__(self, limit: int, *, using: str | None = None, worker: str = "") -> None:
        self._limit = limit
        self._using = using
        self._worker = worker
        self._lock = threading.Lock()
        self._lines: Counter[str] = Counter()
        self._by_claim: dict[int, frozenset[str]] = {}
        self._earlier: dict[str, set[int]] = {}  # claims of others, by domain, before the last own claim
        self._others: dict[str, set[int]] = {}

    @property
    def full(self) -> list[str]:
        """Domains that no further line should claim for, sorted."""
        if not self._limit:
            return []
        with self._lock:
            domains = self._lines.keys() | self._others.keys()
            return sorted(one for one in domains if self._lines[one] + len(self._others.get(one, ())) >= self._limit)

    def look(self) -> list[str]:
        """`full`, by what all workers hold now."""
        if self._limit and self._using is not None:
            self._earlier = self._others = self._held_by_others()
        return self.full

    def look_again(self) -> None:
        """Count the claims of other workers again, after a claim."""
        if self._limit and self._using is not None:
            self._others = self._held_by_others()

    def enter(self, taken: Claim) -> frozenset[int]:
        """Count a claim; the rows that it has to give back, since other lines were quicker with their domains."""
        if not self._limit:
            return frozenset()
        with self._lock:
            wanted = {domain_of(row.address) for row in taken.rows}
            given = frozenset(one for one in wanted if self._before(one, taken.number) < self._limit)
            self._lines.update(given)
            self._by_claim[taken.number] = given
        return frozenset(row.id for row in taken.rows if domain_of(row.address) not in given)

    def leave(self, taken: Claim) -> bool:
        """Note the end of a claim; return whether a domain that was full has room again."""
        with self._lock:
            given: Iterable[str] = self._by_claim.pop(taken.number, ())
            was_full = any(self._before(domain, 0) >= self._limit for domain in given)
            self._lines.subtract(given)
            self._lines += Counter()  # forgets the zeros
            return was_full

    def _before(self, domain: str, number: int) -> int:
        """Lines that have the domain before a claim of this number; 0 counts all of them."""
        earlier = self._earlier.get(domain, set())
        others = sum(1 for one in self._others.get(domain, ()) if not number or one in earlier or one < number)
        return self._lines[domain] + others

    def _held_by_others(self) -> dict[str, set[int]]:
        assert self._using is not None
        tables = Tables(self._using)
        states = [state.value for state in State if state.is_in_hand]
        sql = (
            f"SELECT address, claim FROM {tables.recipient} "
            f"WHERE state IN ({marks(states)}) AND lease_until > {tables.now()} AND claimed_by <> %s"
        )
        found: defaultdict[str, set[int]] = defaultdict(set)
        for address, claim in tables.rows("domains", sql, [*states, self._worker]):
            found[domain_of(address)].add(claim)
        return dict(found)
