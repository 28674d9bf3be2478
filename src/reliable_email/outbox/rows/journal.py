# ruff: noqa: S608 - see tables
"""The write-ahead note "about to send the terminator": one commit that settles what is finished and journals the next.

The UPDATE names the claim and demands a live lease by the database's clock; it is committed, durably, before the
permission is given. No database transaction is open while anything is on the wire.
"""

import selectors
from collections import Counter
from collections.abc import Generator, Sequence

from reliable_email.outbox.keyring import Keyring
from reliable_email.outbox.rows.claim import Claimed
from reliable_email.outbox.rows.pipeline import Reading, Step
from reliable_email.outbox.rows.reservations import Reservations, Reserve, condition
from reliable_email.outbox.rows.settle import (
    AttemptRow,
    Planned,
    Settlement,
    follow,
    plan_attempts,
    plan_late,
    plan_settlement,
    unwritten,
    update,
    update_many,
)
from reliable_email.outbox.rows.sql import Changed, Tables, is_one_of, marks
from reliable_email.outbox.rows.transitions import RULES, Event, apply
from reliable_email.records import record
from reliable_email.store.tables.states import State


@record(frozen=True, slots=True, kw_only=True)
class Intent:
    """A request to hand one job's terminator to a route, for these recipients; at least one.

    Attributes:
        reserve: what it takes from the route's quotas; None where that is nothing, or was taken before.
    """

    recipients: Sequence[Claimed]
    route: str
    reserve: Reserve | None = None


@record(frozen=True, slots=True, kw_only=True)
class Written:
    """The result of a commit.

    Attributes:
        permitted: for each intent, whether the terminator may be sent.
        settled: for each settlement, whether the row was still this claim's.
        reserved: for each intent, whether its `reserve` was taken; permitted is none that it was not taken for.
    """

    permitted: list[bool]
    settled: list[bool]
    reserved: Sequence[bool] = ()


@record(frozen=True, slots=True, kw_only=True)
class Request:
    """The writes of one line for the next commit.

    Attributes:
        is_repeat: the same was tried before, and may have been committed although the answer was lost.
    """

    settlements: Sequence[Settlement] = ()
    attempts: Sequence[AttemptRow] = ()
    intents: Sequence[Intent] = ()
    is_repeat: bool = False


def commit(
    using: str,
    *,
    settlements: Sequence[Settlement] = (),
    attempts: Sequence[AttemptRow] = (),
    intents: Sequence[Intent] = (),
    keyring: Keyring,
    is_repeat: bool = False,
) -> Written:
    """Settle, append and permit, in one durable transaction; nothing of it where it raises."""
    request = Request(settlements=settlements, attempts=attempts, intents=intents, is_repeat=is_repeat)
    [written] = commit_together(using, [request], keyring=keyring)
    return written


def commit_together(using: str, requests: Sequence[Request], *, keyring: Keyring) -> list[Written]:
    """Settle, append and permit for several lines, in one transaction."""
    committing = commit_in_steps(Tables(using), requests, keyring=keyring)
    while True:
        try:
            reading = next(committing)
        except StopIteration as end:
            written: list[Written] = end.value
            return written
        with selectors.DefaultSelector() as selector:
            selector.register(reading.handle, events(reading))
            selector.select()


def events(reading: Reading) -> int:
    """Return the events that a reading waits for, as `selectors` names them."""
    return selectors.EVENT_READ | (selectors.EVENT_WRITE if reading.for_write else 0)


def commit_in_steps(
    tables: Tables, requests: Sequence[Request], *, keyring: Keyring
) -> Generator[Reading, None, list[Written]]:
    """Do what `commit_together` does, and yield whenever the database is to be waited for."""
    settlements = [one for request in requests for one in request.settlements]
    intents = [one for request in requests for one in request.intents]
    planned = [plan_settlement(tables, one, keyring) for one in settlements]
    news: list[AttemptRow] = []
    for request in requests:
        # The first try may have been committed before its answer was lost: appended again, it would count twice.
        news += unwritten(tables, request.attempts) if request.is_repeat else request.attempts
    # Planned before anything is written: what raises here has written nothing, and its line is told.
    settling = _settling(tables, planned)
    appending = plan_attempts(tables, news, keyring)
    reserving = Reservations(tables, [intent.reserve for intent in intents])
    # What the ledger in memory refuses is not permitted either: a permission without its charge would exceed the quota.
    going = [number for number in range(len(intents)) if number not in reserving.refused]
    wanted, tokens = [intents[number] for number in going], [reserving.tokens.get(number) for number in going]
    is_one = bool(reserving.steps) and tables.takes_arrays
    charging = [] if is_one else reserving.steps
    permitting = (
        [_charge_and_permit(tables, reserving.steps, wanted, tokens)] if is_one else _permitting(tables, wanted, tokens)
    )
    # One transaction, in this order. A permission rests on the charge before it; and no permission is committed without
    # the outcomes of what this line sent before, so that a crash makes one message a line unknown and never two.
    steps = [*(step for step, _ in settling), *appending, *charging, *permitting]
    changed = yield from tables.run_together("journal", steps)
    behind = len(changed) - len(permitting)
    if is_one:
        reserving.written([Changed(int(-version in changed[behind].ids)) for version in reserving.versions])
    else:
        reserving.written(changed[behind - len(charging) : behind])
    # Behind the commit, each in a commit of its own: a late reply to what rescue has taken needs nothing of this one,
    # and taking a half permission back must not undo what was settled beside it.
    settled = _settled(tables, settlements, planned, _written(settling, planned, changed), keyring)
    permitted = [False] * len(intents)
    answers_to = _permitted(tables, wanted, permitting, changed[behind:])
    for number, is_permitted in zip(going, answers_to, strict=True):
        permitted[number] = is_permitted
    reserved = [reserving.is_taken(number) for number in range(len(intents))]
    answers = []
    for request in requests:
        ours, settled = settled[: len(request.settlements)], settled[len(request.settlements) :]
        may, permitted = permitted[: len(request.intents)], permitted[len(request.intents) :]
        taken, reserved = reserved[: len(request.intents)], reserved[len(request.intents) :]
        answers.append(Written(permitted=may, settled=ours, reserved=taken))
    return answers


def _settling(tables: Tables, planned: Sequence[Planned | None]) -> list[tuple[Step, list[int]]]:
    """Statements, and which settlements each is for: those of one shape are one statement where that can be."""
    plans = {number: plan.change for number, plan in enumerate(planned) if plan is not None}
    times = Counter(change.id for change in plans.values())
    by_shape: dict[object, list[int]] = {}
    for number, change in plans.items():
        # A row that changes twice does so in order, in statements of its own: one UPDATE would take either value.
        is_alone = not tables.takes_arrays or times[change.id] > 1
        by_shape.setdefault(number if is_alone else change.shape, []).append(number)
    steps = []
    for numbers in by_shape.values():
        changes = [plans[number] for number in numbers]
        steps.append((update_many(tables, changes) if len(changes) > 1 else update(tables, changes[0]), numbers))
    return steps


def _written(
    settling: Sequence[tuple[Step, list[int]]], planned: Sequence[Planned | None], changed: Sequence[Changed]
) -> list[bool]:
    written = [False] * len(planned)
    for (step, numbers), one in zip(settling, changed, strict=False):
        for number in numbers:
            plan = planned[number]
            assert plan is not None
            # By id where several share a statement: its count would not say whose row another claim has taken.
            written[number] = plan.change.id in one.ids if step.returns_ids else bool(one.count)
    return written


def _settled(
    tables: Tables,
    settlements: Sequence[Settlement],
    planned: Sequence[Planned | None],
    written: Sequence[bool],
    keyring: Keyring,
) -> list[bool]:
    """Return for each settlement whether a row was changed; if not, a late reply may resolve what rescue declared."""
    settled = []
    for settlement, plan, is_written in zip(settlements, planned, written, strict=True):
        if not is_written:
            # The row has another claim: this one was taken for dead. It may still bring the reply that resolves its own
            # unknown, and nothing else.
            plan = plan_late(tables, settlement, keyring)
            step = update(tables, plan.change) if plan is not None else None
            is_written = step is not None and bool(tables.run("settle:late", step.sql, step.parameters))
        if (
            is_written and plan is not None
        ):  # the picture follows the row, never the wish: the next write is fenced by it
            follow(settlement, plan.after)
        settled.append(is_written)
    return settled


def _permitting(tables: Tables, intents: Sequence[Intent], tokens: Sequence[int | None]) -> list[Step]:
    """One statement for all where that can be, else one for each.

    Args:
        tokens: of each intent: the version of its route's row that says that its quota was charged.
    """
    if len(intents) > 1 and tables.takes_arrays:
        return [_permit_many(tables, intents, tokens)]
    return [_permit(tables, intent, token) for intent, token in zip(intents, tokens, strict=True)]


def _permit(tables: Tables, intent: Intent, token: int | None) -> Step:
    ids = [one.id for one in intent.recipients]
    number = intent.recipients[0].delivery.claim
    # Each condition stops one way to send twice: `claim`, a worker that was taken for dead and woke up; the state, what
    # was cancelled meanwhile; the lease, what rescue may take at this moment. The clock is the database's alone, since
    # two machines' clocks would disagree about whose the row is. `_permit_many` has the same four.
    return Step(
        f"UPDATE {tables.recipient} SET state = '{State.AUTHORIZED}', authorized_at = {tables.now()}, "
        f"authorized_route = %s WHERE id IN ({marks(ids)}) AND claim = %s "
        f"AND {is_one_of(RULES[Event.AUTHORIZE].states)} AND lease_until > {tables.now()}"
        + ("" if token is None else f" AND {condition(tables, '%s', '%s')}"),
        [intent.route, *ids, number, *([] if token is None else [intent.route, token])],
    )


def _charge_and_permit(
    tables: Tables, charging: Sequence[Step], intents: Sequence[Intent], tokens: Sequence[int | None]
) -> Step:
    """Charge the quotas and permit in one statement; its ids are those of the permitted, and negative versions.

    A part of a statement does not see the rows that another part has changed, so the permission asks for what the
    charging parts return.
    """
    names = [f"charged{number}" for number in range(len(charging))]
    charged = " UNION ALL ".join(f"SELECT version FROM {name}" for name in names)
    permit = _permit_many(tables, intents, tokens, is_charged=f"version_ IN ({charged})")
    parts = [f"{name} AS ({step.sql} RETURNING version)" for name, step in zip(names, charging, strict=True)]
    return Step(
        f"WITH {', '.join(parts)}, permitted AS ({permit.sql}) "
        f"SELECT -version FROM ({charged}) AS charged UNION ALL SELECT id FROM permitted",
        [*(value for step in charging for value in step.parameters), *permit.parameters],
        returns_ids=True,
    )


def _permit_many(
    tables: Tables, intents: Sequence[Intent], tokens: Sequence[int | None], *, is_charged: str = ""
) -> Step:
    wanted = [
        (one.id, one.delivery.claim, intent.route, token or 0)
        for intent, token in zip(intents, tokens, strict=True)
        for one in intent.recipients
    ]
    ids, claims, routes, versions = (list(column) for column in zip(*wanted, strict=True))
    given, arrays, is_paid = "id_, claim_, route_", "%s::bigint[], %s::bigint[], %s::text[]", ""
    if any(versions):
        given, arrays = f"{given}, version_", f"{arrays}, %s::bigint[]"
        is_paid = f"AND (version_ = 0 OR {is_charged or condition(tables, 'route_', 'version_')}) "
    return Step(
        f"UPDATE {tables.recipient} AS held SET state = '{State.AUTHORIZED}', authorized_at = {tables.now()}, "
        f"authorized_route = route_ FROM UNNEST({arrays}) AS given({given}) "
        f"WHERE held.id = id_ AND held.claim = claim_ AND {is_one_of(RULES[Event.AUTHORIZE].states, 'held.state')} "
        f"AND held.lease_until > {tables.now()} {is_paid}RETURNING held.id",
        [ids, claims, routes, *([versions] if any(versions) else [])],
        returns_ids=True,
    )


def _permitted(
    tables: Tables, intents: Sequence[Intent], steps: Sequence[Step], changed: Sequence[Changed]
) -> list[bool]:
    """Return for each intent whether it is permitted: only if all of its recipients are."""
    permitted = []
    for number, intent in enumerate(intents):
        if steps[0].returns_ids:
            count = sum(one.id in changed[0].ids for one in intent.recipients)
        else:
            count = changed[number].count
        permitted.append(count == len(intent.recipients))
        if 0 < count < len(intent.recipients):
            _withdraw(tables, intent)
    for intent, is_permitted in zip(intents, permitted, strict=True):
        if is_permitted:
            # The rules that the SQL was made from are asked once more: if both ever differ, nothing is sent.
            for claimed in intent.recipients:
                after = apply(claimed.delivery, Event.AUTHORIZE, claim=claimed.delivery.claim, is_lease_live=True)
                assert after is not None, "the database permitted what the rules forbid"
                claimed.delivery = after
    return permitted


def _withdraw(tables: Tables, intent: Intent) -> None:
    """Some were cancelled or rescued: the server would deliver to all that it took at RCPT, so none may go."""
    ids = [one.id for one in intent.recipients]
    tables.run(
        "journal:withdraw",
        f"UPDATE {tables.recipient} SET state = %s, authorized_at = NULL, authorized_route = '' "
        f"WHERE id IN ({marks(ids)}) AND claim = %s AND {is_one_of((State.AUTHORIZED.value,))}",
        [State.CLAIMED.value, *ids, intent.recipients[0].delivery.claim],
    )
