"""Holds what comes: messages that match an operator's hold are parked when a worker takes them, until a release.

Nothing is asked at enqueue, which stays two INSERTs: a worker reads the holds with every claim. So a hold stops what is
claimed after it was committed; what a worker has in hand at that moment may still go.
"""

from collections.abc import Sequence
from datetime import datetime

from django.db.models import Q

from reliable_email.outbox.rows.claim import Claimed
from reliable_email.outbox.rows.loading import StoredMessage
from reliable_email.records import dataclass
from reliable_email.store.questions.filters import Filter
from reliable_email.store.sql.clock import DatabaseNow
from reliable_email.store.tables.holds import IncomingHold
from reliable_email.store.tables.states import PriorityRank


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """A hold on incoming messages; an empty value matches any message."""

    id: int
    mailer: str
    account: str
    stream: str
    priority: PriorityRank | None
    actor: str
    reason: str
    created_at: datetime

    @property
    def words(self) -> str:
        """A description of the hold, for people."""
        named = (("mailer", self.mailer), ("account", self.account), ("stream", self.stream))
        words = [f"{name} {value}" for name, value in named if value]
        if self.priority is not None:
            words.append(f"priority {self.priority.priority}")
        return ", ".join(words) or "all mail"

    @property
    def holds_all(self) -> bool:
        """True if it matches any message."""
        return self.values == ("", "", "", None)

    @property
    def values(self) -> tuple[str, str, str, int | None]:
        """The values that two equal holds share."""
        return self.mailer, self.account, self.stream, self.priority

    def stops(self, claimed: Claimed, message: StoredMessage) -> bool:
        """Return whether this recipient is held."""
        return (
            (not self.mailer or self.mailer in (claimed.mailer, message.entry_mailer))
            and (not self.account or self.account == message.account)
            and (not self.stream or self.stream == message.stream)
            and (self.priority is None or self.priority == claimed.priority)
        )

    def is_within(self, chosen: Filter) -> bool:
        """Return whether all that it holds is meant by a filter, so that releasing the filter ends it."""
        return (
            (not chosen.mailers or self.mailer in chosen.mailers)
            and (not chosen.accounts or self.account in chosen.accounts)
            and (not chosen.streams or self.stream in chosen.streams)
            and (not chosen.priorities or self.priority in chosen.priorities)
        )


def standing_holds(using: str) -> list[Hold]:
    """The holds that are in force, the oldest first."""
    rows = IncomingHold._base_manager.using(using).filter(Q(expires_at=None) | Q(expires_at__gt=DatabaseNow()))
    return [
        Hold(
            id=row.pk,
            mailer=row.mailer,
            account=row.account,
            stream=row.stream,
            priority=PriorityRank(row.priority) if row.priority is not None else None,
            actor=row.actor,
            reason=row.reason,
            created_at=row.created_at,
        )
        for row in rows.order_by("pk")
    ]


def held_by(holds: Sequence[Hold], claimed: Claimed, message: StoredMessage | None) -> Hold | None:
    """The first hold that stops a recipient."""
    if not holds or message is None:
        return None
    return next((one for one in holds if one.stops(claimed, message)), None)
