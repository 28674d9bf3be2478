# ruff: noqa: S608 - see tables
"""The rescue of recipients that dead workers had claimed. The journal decides (`transitions`, rule 3)."""

from collections.abc import Callable, Mapping
from typing import Any

from django.db import transaction

from reliable_email.delivery.report import Outcome
from reliable_email.delivery.submission import OnUnknown
from reliable_email.outbox.faultpoints import point
from reliable_email.outbox.keyring import Keyring
from reliable_email.outbox.rows.settle import AttemptRow, Evidence, plan_attempts
from reliable_email.outbox.rows.sql import Tables, marks
from reliable_email.outbox.rows.transitions import Delivery, Event, apply
from reliable_email.records import dataclass, field
from reliable_email.smtp.stages import Stage
from reliable_email.store.tables.states import State

# A resend that is lost as well says something about the route; after so many a person looks.
MAX_RESENDS = 2
_ROWS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class RescuePolicy:
    """The limits that a rescue obeys.

    Attributes:
        environment: rows of another are never touched.
        worker: the rescuer's name, for the journal.
        final_reply_seconds: a resend waits until no late reply can come any more.
        crash_limit: a recipient in hand at so many crashes is parked.
        route_on_unknown: the wish of a route, for messages that name none.
    """

    environment: str
    worker: str
    final_reply_seconds: float = 600.0
    crash_limit: int = 5
    route_on_unknown: Callable[[str], OnUnknown] = field(default=lambda alias: OnUnknown.HOLD)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rescued:
    """The numbers of rescued recipients, their messages, and the attempts that were written for dead workers.

    Attributes:
        messages: of those whose outcome is unknown now.
        resent: of those among them that are sent again by themselves.
        names: their Message-IDs.
        workers: who held them.
    """

    requeued: int = 0
    parked: int = 0
    unknown: int = 0
    messages: frozenset[int] = frozenset()
    attempts: tuple[AttemptRow, ...] = ()
    resent: frozenset[int] = frozenset()
    names: Mapping[int, str] = field(default_factory=dict)
    workers: frozenset[str] = frozenset()

    @property
    def count(self) -> int:
        """Number of all rescued recipients."""
        return self.requeued + self.parked + self.unknown


def rescue(using: str, policy: RescuePolicy) -> Rescued:
    """Take back up to a few hundred rows whose lease is over."""
    tables = Tables(using)
    counts = {"requeued": 0, "parked": 0, "unknown": 0}
    point("rescue:begin")
    # Rows and journal in one transaction: an UNKNOWN without its attempt would be a doubt that nobody can explain, and
    # an attempt without its UNKNOWN would be written again by the next rescue.
    with transaction.atomic(using):
        attempts = []
        names = {}
        resent = set()
        workers = set()
        for *row, worker, name in _expired(tables, policy):
            found = _rescue_row(tables, policy, tuple(row), counts)
            workers.add(worker)
            if found is not None:
                attempt, is_resent = found
                attempts.append(attempt)
                names[attempt.message_id] = name
                if is_resent:
                    resent.add(attempt.message_id)
        for step in plan_attempts(tables, attempts, Keyring()):
            tables.run("rescue:attempts", step.sql, step.parameters)
        point("rescue:commit")
    point("rescue:end")
    return Rescued(
        **counts,
        messages=frozenset(attempt.message_id for attempt in attempts),
        attempts=tuple(attempts),
        resent=frozenset(resent),
        names=names,
        workers=frozenset(workers),
    )


def _expired(tables: Tables, policy: RescuePolicy) -> list[tuple[Any, ...]]:
    states = [state.value for state in State if state.is_in_hand]
    r, m = tables.recipient, tables.message
    # Rows that another rescue, a renewal or a late settlement holds are theirs: skipped, and looked at next time.
    lock = f" FOR UPDATE OF {r} SKIP LOCKED" if tables.vendor == "postgresql" else ""
    if tables.vendor == "mysql":
        # MariaDB knows no OF; the messages' rows are locked too for this short while.
        lock = " FOR UPDATE SKIP LOCKED"
    where = f"{r}.state IN ({marks(states)}) AND {r}.lease_until < {tables.now()} AND {r}.environment = %s"
    parameters = [*states, policy.environment]
    look = f"SELECT 1 FROM {r} WHERE {where} LIMIT 1"
    # InnoDB locks what it scans, if only for a moment, and a claim would skip those rows: look without a lock first.
    if tables.vendor == "mysql" and not tables.rows("rescue:look", look, parameters):
        return []
    return tables.rows(
        "rescue:select",
        f"SELECT {r}.id, {r}.message_id, {r}.position, {r}.state, {r}.claim, {r}.unknowns, {r}.crashes, "
        f"{r}.started_at IS NOT NULL, {r}.authorized_route, {tables.age(f'{r}.authorized_at')}, {m}.on_unknown, "
        f"{r}.claimed_by, {m}.message_id FROM {r} JOIN {m} ON {m}.id = {r}.message_id "
        f"WHERE {where} LIMIT {_ROWS}{lock}",
        parameters,
    )


def _rescue_row(
    tables: Tables, policy: RescuePolicy, row: tuple[Any, ...], counts: dict[str, int]
) -> tuple[AttemptRow, bool] | None:
    """Take one back; the journal's row for one that may have been sent, and whether it is sent again."""
    identity, message_id, position, state, number, unknowns, crashes, was_started, route, age, on_unknown = row
    before = Delivery(state=State(state), claim=number, unknowns=unknowns)
    was_sent = before.state is State.AUTHORIZED
    # The first crash makes everything that the worker had a suspect; from then on only what was in hand is counted.
    crashes += not was_sent and (crashes == 0 or bool(was_started))
    event = Event.RESCUE_SENT if was_sent else Event.RESCUE_UNSENT
    if not was_sent and crashes >= policy.crash_limit:
        event = Event.RESCUE_POISON
    # The message's wish before the route's: whoever wrote it knows what a second copy would do.
    wish = OnUnknown(on_unknown) if on_unknown else policy.route_on_unknown(route)
    resend = wish is OnUnknown.RESEND and unknowns < MAX_RESENDS
    after = apply(before, event, resend=resend)
    assert after is not None
    words = {
        Event.RESCUE_SENT: "the worker was lost after it was permitted to send, and before it noted a reply",
        Event.RESCUE_POISON: f"{crashes} workers were lost while they had this in hand",
        Event.RESCUE_UNSENT: "",
    }[event]
    # Counted from the permission, by the database's clock: the server may still be at work on the message.
    wait = max(0.0, policy.final_reply_seconds - float(age or 0.0)) if was_sent else 0.0
    is_due = after.state is State.QUEUED or after.is_resend_due
    due = tables.earlier(tables.now(wait), "gives_up_at") if is_due else "NULL"
    settled = tables.now() if after.state is State.UNKNOWN else "NULL"
    changes = "state = %s, unknowns = %s, crashes = %s, lease_until = NULL, started_at = NULL"
    parameters: list[Any] = [after.state.value, after.unknowns, crashes]
    if words:
        changes += ", cause = %s, detail = %s, stage = %s, reply_code = NULL, reply_enhanced = '', reply_text = ''"
        parameters += ["outcome_unknown" if was_sent else "crashed", words, Stage.FINAL_REPLY.value if was_sent else ""]
    if was_sent:
        changes += ", attempts = attempts + 1, pinned_route = authorized_route, route = authorized_route"
    # The conditions once more, as in every write of a row: that it is still what was judged rests on no lock alone, and
    # SQLite has none for rows.
    changed = tables.run(
        "rescue:update",
        f"UPDATE {tables.recipient} SET {changes}, due_at = {due}, settled_at = {settled} "
        f"WHERE id = %s AND claim = %s AND state = %s AND lease_until < {tables.now()}",
        [*parameters, identity, number, state],
    )
    if not changed:
        return None
    counts["unknown" if was_sent else "parked" if event is Event.RESCUE_POISON else "requeued"] += 1
    if not was_sent:
        return None
    evidence = Evidence(route=route, stage=Stage.FINAL_REPLY.value, cause="outcome_unknown", detail=words)
    attempt = AttemptRow(
        message_id=message_id,
        claim=number,
        worker=policy.worker,
        evidence=evidence,
        seconds=float(age or 0.0),
        outcomes={position: Outcome.UNKNOWN},
    )
    return attempt, after.is_resend_due
