"""Holds what comes: messages that match an operator's hold are parked when a worker takes them, until a release.

Nothing is asked at enqueue, which stays two INSERTs: a worker reads the holds with every claim. So a hold stops what is
claimed after it was committed; what a worker has in hand at that moment may still go.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from itertools import product

from django.db import connections, transaction
from django.db.models import Q

from reliable_email.outbox.operations.operate import note
from reliable_email.outbox.rows.claim import Claimed
from reliable_email.outbox.rows.loading import StoredMessage
from reliable_email.records import dataclass
from reliable_email.store.questions.filters import Filter, outbox_database
from reliable_email.store.sql.clock import DatabaseNow, database_now
from reliable_email.store.sql.texts import storable
from reliable_email.store.tables.holds import IncomingHold
from reliable_email.store.tables.states import PriorityRank

_WORDS_CHARACTERS = 2000


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


def can_be_held(chosen: Filter) -> bool:
    """Return whether a filter speaks only of what is known of a message that has not come yet."""
    about = Filter(
        mailers=chosen.mailers, accounts=chosen.accounts, streams=chosen.streams, priorities=chosen.priorities
    )
    return chosen == about


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


def hold_incoming(
    chosen: Filter, *, actor: str, reason: str = "", lifetime: timedelta | None = None, using: str | None = None
) -> int:
    """Hold what comes and matches; how many holds are new.

    Args:
        chosen: see `can_be_held`; an empty one holds all mail.
        lifetime: for how long; None until it is released. What was parked by then waits for the release.
    """
    assert can_be_held(chosen), "a hold knows mailers, accounts, streams and priorities"
    alias = outbox_database(using)
    connection = connections[alias]
    known = {one.values for one in standing_holds(alias)}
    wanted = product(
        chosen.mailers or ("",), chosen.accounts or ("",), chosen.streams or ("",), chosen.priorities or (None,)
    )
    with transaction.atomic(alias):
        until = database_now(alias) + lifetime if lifetime is not None else None
        new = [
            IncomingHold(
                mailer=mailer,
                account=account,
                stream=stream,
                priority=priority,
                actor=storable(connection, actor, 150),
                reason=storable(connection, reason, _WORDS_CHARACTERS),
                created_at=DatabaseNow(),
                expires_at=until,
            )
            for mailer, account, stream, priority in wanted
            if (mailer, account, stream, priority) not in known
        ]
        IncomingHold._base_manager.using(alias).bulk_create(new)
        note("hold_incoming", actor=actor, target=_words(chosen), reason=reason, count=len(new), using=alias)
    return len(new)


def release_incoming(chosen: Filter, *, actor: str, reason: str = "", using: str | None = None) -> list[Hold]:
    """End the holds that are within a filter, so that mail goes again; the ones that stay in force."""
    alias = outbox_database(using)
    standing = standing_holds(alias)
    ended = [one for one in standing if can_be_held(chosen) and one.is_within(chosen)]
    if ended:
        with transaction.atomic(alias):
            IncomingHold._base_manager.using(alias).filter(pk__in=[one.id for one in ended]).delete()
            note("release_incoming", actor=actor, target=_words(chosen), reason=reason, count=len(ended), using=alias)
    return [one for one in standing if one not in ended]


def release_one(hold: Hold, *, actor: str, reason: str = "", using: str | None = None) -> int:
    """End this hold alone; the id of the record."""
    alias = outbox_database(using)
    with transaction.atomic(alias):
        count, _ = IncomingHold._base_manager.using(alias).filter(pk=hold.id).delete()
        return note("release_incoming", actor=actor, target=hold.words, reason=reason, count=count, using=alias)


def held_by(holds: Sequence[Hold], claimed: Claimed, message: StoredMessage | None) -> Hold | None:
    """The first hold that stops a recipient."""
    if not holds or message is None:
        return None
    return next((one for one in holds if one.stops(claimed, message)), None)


def _words(chosen: Filter) -> str:
    parts: Iterable[tuple[str, Sequence[object]]] = (
        ("mailers", chosen.mailers),
        ("accounts", chosen.accounts),
        ("streams", chosen.streams),
        ("priorities", [PriorityRank(one).priority for one in chosen.priorities]),
    )
    return "; ".join(f"{name} {', '.join(map(str, values))}" for name, values in parts if values) or "all mail"
