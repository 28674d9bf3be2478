"""Acts on the holds of incoming messages: to hold and to release. `holds` says what a hold is."""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from itertools import product

from django.db import connections, transaction

from reliable_email.outbox.operations.holds import Hold, standing_holds
from reliable_email.outbox.operations.operate import note
from reliable_email.store.questions.filters import Filter, outbox_database
from reliable_email.store.sql.clock import DatabaseNow, database_now
from reliable_email.store.sql.texts import storable
from reliable_email.store.tables.holds import IncomingHold
from reliable_email.store.tables.states import PriorityRank

_WORDS_CHARACTERS = 2000


def can_be_held(chosen: Filter) -> bool:
    """Return whether a filter speaks only of what is known of a message that has not come yet."""
    about = Filter(
        mailers=chosen.mailers, accounts=chosen.accounts, streams=chosen.streams, priorities=chosen.priorities
    )
    return chosen == about


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


def _words(chosen: Filter) -> str:
    parts: Iterable[tuple[str, Sequence[object]]] = (
        ("mailers", chosen.mailers),
        ("accounts", chosen.accounts),
        ("streams", chosen.streams),
        ("priorities", [PriorityRank(one).priority for one in chosen.priorities]),
    )
    return "; ".join(f"{name} {', '.join(map(str, values))}" for name, values in parts if values) or "all mail"
