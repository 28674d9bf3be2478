# ruff: noqa: S608 - see tables
"""The write-ahead note "about to send the terminator": one commit that settles what is finished and journals the next.

The UPDATE names the claim and demands a live lease by the database's clock; it is committed, durably, before the
permission is given. No database transaction is open while anything is on the wire.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from reliable_email.outbox.claim import Claimed
from reliable_email.outbox.keyring import Keyring
from reliable_email.outbox.settle import (
    AttemptRow,
    Planned,
    Settlement,
    follow,
    plan_attempts,
    plan_late,
    plan_settlement,
    unwritten,
)
from reliable_email.outbox.tables import Step, Tables, marks
from reliable_email.outbox.transitions import RULES, Event, apply
from reliable_email.store.states import State


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """A request to hand one job's terminator to a route, for these recipients; at least one."""

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
    planned = [plan_settlement(tables, one, keyring) for one in settlements]
    news = unwritten(tables, attempts) if is_repeat else attempts
    permits = [_permit(tables, intent) for intent in intents]
    steps = [one.step for one in planned if one is not None]
    steps += [*plan_attempts(tables, news, keyring), *permits]
    counts = tables.run_together("journal", steps)
    settled = _settled(tables, settlements, planned, counts, keyring)
    permitted = []
    for intent, count in zip(intents, counts[len(counts) - len(permits) :], strict=True):
        permitted.append(count == len(intent.recipients))
        if 0 < count < len(intent.recipients):
            _withdraw(tables, intent)
    for intent, is_permitted in zip(intents, permitted, strict=True):
        if is_permitted:
            for claimed in intent.recipients:
                after = apply(claimed.delivery, Event.AUTHORIZE, claim=claimed.delivery.claim, is_lease_live=True)
                assert after is not None, "the database permitted what the rules forbid"
                claimed.delivery = after
    return Written(permitted=permitted, settled=settled)


def _settled(
    tables: Tables,
    settlements: Sequence[Settlement],
    planned: Sequence[Planned | None],
    counts: Sequence[int],
    keyring: Keyring,
) -> list[bool]:
    """For each, whether a row was changed; where none was, a late reply may still resolve what rescue declared."""
    remaining = iter(counts)
    settled = []
    for settlement, plan in zip(settlements, planned, strict=True):
        count = next(remaining) if plan is not None else 0
        if not count:
            plan = plan_late(tables, settlement, keyring)
            count = tables.run("settle:late", plan.step.sql, plan.step.parameters) if plan is not None else 0
        if count and plan is not None:
            follow(settlement, plan.after)
        settled.append(bool(count))
    return settled


def _permit(tables: Tables, intent: Intent) -> Step:
    ids = [one.id for one in intent.recipients]
    number = intent.recipients[0].delivery.claim
    states = RULES[Event.AUTHORIZE].states
    return Step(
        f"UPDATE {tables.recipient} SET state = %s, authorized_at = {tables.now()}, authorized_route = %s "
        f"WHERE id IN ({marks(ids)}) AND claim = %s AND state IN ({marks(states)}) AND lease_until > {tables.now()}",
        [State.AUTHORIZED.value, intent.route, *ids, number, *states],
    )


def _withdraw(tables: Tables, intent: Intent) -> None:
    """Some were cancelled or rescued: the server would deliver to all that it took at RCPT, so none may go."""
    ids = [one.id for one in intent.recipients]
    tables.run(
        "journal:withdraw",
        f"UPDATE {tables.recipient} SET state = %s, authorized_at = NULL, authorized_route = '' "
        f"WHERE id IN ({marks(ids)}) AND claim = %s AND state = %s",
        [State.CLAIMED.value, *ids, intent.recipients[0].delivery.claim, State.AUTHORIZED.value],
    )
