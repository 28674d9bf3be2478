"""The rows that a worker has in hand, whose leases it renews."""

from collections.abc import Iterable
from threading import Lock

from reliable_email.outbox.rows.claim import Claim
from reliable_email.outbox.rows.settle import Settlement


class InHand:
    """Rows by id, each with the number of its claim. For any thread."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._claims: dict[int, int] = {}

    def take(self, taken: Claim) -> None:
        """Add what was claimed."""
        with self._lock:
            self._claims.update(dict.fromkeys((row.id for row in taken.rows), taken.number))

    def settle(self, settlements: Iterable[Settlement]) -> None:
        """Remove what is settled: renewals would look for it, again and again."""
        over = (one.claimed for one in settlements if not one.claimed.delivery.state.is_in_hand)
        self._remove((one.id, one.delivery.claim) for one in over)

    def leave(self, taken: Claim) -> None:
        """Remove what is left of a claim."""
        self._remove((row.id, taken.number) for row in taken.rows)

    def ids(self) -> list[int]:
        """Return the ids of all rows."""
        with self._lock:
            return list(self._claims)

    def _remove(self, rows: Iterable[tuple[int, int]]) -> None:
        with self._lock:
            for identity, number in rows:
                # What was given back may be in another line's hand by now, under another claim.
                if self._claims.get(identity) == number:
                    del self._claims[identity]
