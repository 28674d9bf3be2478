# ruff: noqa: S608 - see tables
"""The write-ahead note "about to send the terminator": one commit that settles what is finished and journals the next.

The UPDATE names the claim and demands a live lease by the database's clock; it is committed, durably, before the
permission is given. No database transaction is open while anything is on the wire.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from django.db import transaction

from reliable_email.outbox.claim import Claimed
from reliable_email.outbox.faultpoints import point
from reliable_email.outbox.keyring import Keyring
from reliable_email.outbox.settle import AttemptRow, Settlement, follow, unwritten, write_attempts, write_settlement
from reliable_email.outbox.tables import Tables, marks
from reliable_email.outbox.transitions import RULES, Event, apply
from reliable_email.store.states import State


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """A request to hand one job's terminator to a route, for these recipients."""

    recipients: Sequence[Claimed]
    route: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What a commit did.

    Attributes:
        permitted: for each intent, whether the terminator may be sent.
        settled: for each settlement, whether the row was still this claim's.
    """

    permitted: list[bool]
    settled: list[bool]


def commit(
    using: str,
    *,
    settlements: Sequence[Settlement] = (),
    attempts: Sequence[AttemptRow] = (),
    intents: Sequence[Intent] = (),
    keyring: Keyring,
    is_repeat: bool = False,
) -> Written:
    """Settle, append and permit, in one durable transaction; nothing of it where it raises.

    Args:
        is_repeat: the same was tried before, and may have been committed although the answer was lost.
    """
    tables = Tables(using)
    point("journal:begin")
    with transaction.atomic(using, durable=True):
        _make_durable(tables)
        settled = [write_settlement(tables, one, keyring) for one in settlements]
        write_attempts(tables, unwritten(tables, attempts) if is_repeat else attempts, keyring)
        permitted = [_permit(tables, intent) for intent in intents]
        point("journal:commit")
    point("journal:end")
    for settlement, after in zip(settlements, settled, strict=True):
        if after is not None:
            follow(settlement, after)
    for intent, is_permitted in zip(intents, permitted, strict=True):
        if is_permitted:
            for claimed in intent.recipients:
                after = apply(claimed.delivery, Event.AUTHORIZE, claim=claimed.delivery.claim, is_lease_live=True)
                assert after is not None, "the database permitted what the rules forbid"
                claimed.delivery = after
    return Written(permitted=permitted, settled=[after is not None for after in settled])


def _permit(tables: Tables, intent: Intent) -> bool:
    ids = [one.id for one in intent.recipients]
    if not ids:
        return False
    number = intent.recipients[0].delivery.claim
    states = RULES[Event.AUTHORIZE].states
    changed = tables.run(
        "journal:authorize",
        f"UPDATE {tables.recipient} SET state = %s, authorized_at = {tables.now()}, authorized_route = %s "
        f"WHERE id IN ({marks(ids)}) AND claim = %s AND state IN ({marks(states)}) AND lease_until > {tables.now()}",
        [State.AUTHORIZED.value, intent.route, *ids, number, *states],
    )
    if changed == len(ids):
        return True
    if changed:
        # Some were cancelled or rescued: the server would deliver to all that it took at RCPT, so none may go.
        tables.run(
            "journal:withdraw",
            f"UPDATE {tables.recipient} SET state = %s, authorized_at = NULL, authorized_route = '' "
            f"WHERE id IN ({marks(ids)}) AND claim = %s AND state = %s",
            [State.CLAIMED.value, *ids, number, State.AUTHORIZED.value],
        )
    return False


def _make_durable(tables: Tables) -> None:
    """The permission must survive the machine, whatever the session's setting is."""
    if tables.vendor == "postgresql":
        with tables.connection.cursor() as cursor:
            cursor.execute("SET LOCAL synchronous_commit = on")
