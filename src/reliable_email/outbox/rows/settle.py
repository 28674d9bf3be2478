# ruff: noqa: S608 - see tables
"""Settlements: a recipient's new state and its evidence, fenced by the claim.

What a row becomes is computed by the table of transitions; the UPDATE repeats the rule's conditions, so that a row
which is not what this worker believes is left alone. A final reply that comes after the row was rescued may resolve
the `unknown` that rescue declared, and nothing else.
"""

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache

from django.db.backends.base.base import BaseDatabaseWrapper

from reliable_email.delivery.report import Outcome
from reliable_email.outbox.keyring import Keyring
from reliable_email.outbox.rows.claim import Claimed
from reliable_email.outbox.rows.pipeline import Step
from reliable_email.outbox.rows.sql import Tables, is_one_of
from reliable_email.outbox.rows.transitions import LATE, RULES, Delivery, Event, apply
from reliable_email.records import field, record, replace
from reliable_email.smtp.syntax.replies import Reply
from reliable_email.store.sql.inserts import FEW, MAX_ROWS, Raw, Value, adapted, batched, insert_sql
from reliable_email.store.sql.texts import escaped, storable
from reliable_email.store.tables.attempts import Attempt
from reliable_email.store.tables.states import State

_SETTLED = frozenset({State.ACCEPTED, State.REJECTED, State.EXPIRED, State.CANCELLED, State.UNKNOWN})
_STATES = {state: Raw(f"'{state}'") for state in State}
_REPLY_CHARACTERS = 2048
_DIALOGUE_CHARACTERS = 8192
_ATTEMPT_COLUMNS = (
    "message_id", "claim", "worker", "route", "peer", "finished_at", "seconds", "stage", "cause", "reply_code",
    "reply_enhanced", "reply_text", "detail", "outcomes", "provider_message_id", "dialogue",
)  # fmt: skip


@record(frozen=True, slots=True, kw_only=True)
class Evidence:
    """The reason for a state: the last reply about a recipient, with its route, stage and cause."""

    route: str = ""
    stage: str = ""
    cause: str = ""
    reply: Reply | None = None
    detail: str = ""
    provider_message_id: str = ""
    encryption_key: str = ""


@record(frozen=True, slots=True, kw_only=True)
class Settlement:
    """The change of one claimed recipient.

    Attributes:
        event: see `transitions`.
        in_seconds: when it is due again, where it is.
        spends_attempt: whether it counts against the message.
        resend: whether an unknown outcome is sent again by itself.
        pinned_route: the only route that may have it from now on; None leaves that as it is.
        notes: what is remembered of routes that refused the message, see `passage`; None leaves that as it is.
        keeps_evidence: whether the row keeps the words that it has: nothing new was said.
    """

    claimed: Claimed
    event: Event
    evidence: Evidence
    in_seconds: float = 0.0
    spends_attempt: bool = False
    resend: bool = False
    pinned_route: str | None = None
    notes: Sequence[str] | None = None
    keeps_evidence: bool = False


@record(frozen=True, slots=True, kw_only=True)
class AttemptRow:
    """One transaction for the journal.

    Attributes:
        outcomes: by the recipient's position.
        causes: by the same; those that are not accepted.
        stage_seconds: what each stage took, as far as that was measured.
        dialogue: what was said on the wire, where something failed.
    """

    message_id: int
    claim: int
    worker: str
    evidence: Evidence
    seconds: float
    peer: str = ""
    outcomes: dict[int, Outcome] = field(default_factory=dict)
    causes: Mapping[int, str] = field(default_factory=dict)
    stage_seconds: Mapping[str, float] = field(default_factory=dict)
    dialogue: str = ""


@record(frozen=True, slots=True, kw_only=True)
class Change:
    """One row's new values, and what it must be for them to be written.

    Attributes:
        states: one of these.
        unknowns: the doubts are part of what was believed: a row that somebody else declared unknown is not that row.
    """

    id: int
    claim: int
    unknowns: int
    states: tuple[str, ...]
    values: dict[str, Value]

    @property
    def shape(self) -> tuple[object, ...]:
        """Changes of one shape can be one statement: the same columns, and the same SQL where a value is SQL."""
        raw = [(column, value.sql if type(value) is Raw else None) for column, value in self.values.items()]
        return self.states, tuple(raw)


@record(frozen=True, slots=True)
class Planned:
    """A settlement's change, and what the row is once it has been written."""

    change: Change
    after: Delivery


def plan_settlement(tables: Tables, settlement: Settlement, keyring: Keyring) -> Planned | None:
    """The UPDATE of one; None where what the worker believes leaves nothing to write."""
    believed = settlement.claimed.delivery
    after = apply(believed, settlement.event, claim=believed.claim, resend=settlement.resend)
    if after is None:
        return None
    return Planned(_change(tables, settlement, believed, after, settlement.event, keyring), after)


def plan_late(tables: Tables, settlement: Settlement, keyring: Keyring) -> Planned | None:
    """The UPDATE of one whose row is not what was believed: rescue has declared it unknown, one more doubt."""
    late = LATE.get(settlement.event)
    if late is None:
        return None
    believed = settlement.claimed.delivery
    # Exactly one more doubt: a second one is a later attempt's, and this reply does not answer for that.
    rescued = replace(believed, state=State.UNKNOWN, unknowns=believed.unknowns + 1)
    after = apply(rescued, late, claim=believed.claim)
    if after is None:
        return None
    return Planned(_change(tables, settlement, rescued, after, late, keyring), after)


def follow(settlement: Settlement, after: Delivery) -> None:
    """Let the worker's own picture of the row be what was committed."""
    claimed = settlement.claimed
    claimed.delivery = after
    claimed.attempts += settlement.spends_attempt
    if settlement.pinned_route is not None:
        claimed.pinned_route = settlement.pinned_route
    if settlement.notes is not None:
        claimed.refused_by = list(settlement.notes)


def _change(
    tables: Tables, settlement: Settlement, before: Delivery, after: Delivery, event: Event, keyring: Keyring
) -> Change:
    claimed, evidence = settlement.claimed, settlement.evidence
    # Columns are left out where they keep their value, so that many settlements have one shape, and are one statement.
    is_due = after.state is State.QUEUED or after.is_resend_due
    changes: dict[str, Value] = {"state": _STATES[after.state]}
    if after.unknowns != before.unknowns:
        changes["unknowns"] = after.unknowns
    if event is not Event.RELEASE and not settlement.keeps_evidence:
        changes |= _evidence_columns(tables.connection, evidence, keyring)
    if settlement.spends_attempt:
        changes["attempts"] = claimed.attempts + 1
    if settlement.pinned_route is not None:
        changes["pinned_route"] = settlement.pinned_route
    if settlement.notes is not None:
        changes["refused_by"] = list(settlement.notes)
    if is_due:
        # Never behind the end of its life: the claim that finds it over says "expired", at that time and not later.
        changes["due_at"] = Raw(tables.earlier(tables.now(settlement.in_seconds), "gives_up_at"))
    else:
        changes["due_at"] = None
    changes["settled_at"] = Raw(tables.now()) if after.state in _SETTLED else None
    if after.state is State.CLAIMED:
        # Kept for another route: the old permission goes, or a crash now would call the message unknown by the old one.
        changes["authorized_at"], changes["authorized_route"] = None, ""
    else:
        changes["lease_until"] = None  # in nobody's hand: no rescue has to look at it
    return Change(
        id=claimed.id, claim=before.claim, unknowns=before.unknowns, states=RULES[event].states, values=changes
    )


def update(tables: Tables, change: Change) -> Step:
    """The statement that changes one row."""
    words, parameters = [], []
    for column, value in change.values.items():
        if isinstance(value, Raw):
            words.append(f"{column} = {value.sql}")
        elif value == "":
            words.append(f"{column} = ''")
        else:
            words.append(f"{column} = %s")
            parameters.append(adapted(tables.connection, value))
    sql = (
        f"UPDATE {tables.recipient} SET {', '.join(words)} "
        f"WHERE id = %s AND claim = %s AND unknowns = %s AND {is_one_of(change.states)}"
    )
    return Step(sql, [*parameters, change.id, change.claim, change.unknowns])


def update_many(tables: Tables, changes: Sequence[Change]) -> Step:
    """The statement that changes several rows of one shape, for databases that take arrays."""
    words: list[str] = []
    given: list[tuple[str, str, list[object]]] = [
        ("id_", "bigint", [one.id for one in changes]),
        ("claim_", "bigint", [one.claim for one in changes]),
        ("unknowns_", "smallint", [one.unknowns for one in changes]),
    ]
    scalars: list[object] = []
    for column, first in changes[0].values.items():
        if isinstance(first, Raw):
            words.append(f"{column} = {first.sql}")
            continue
        values = [one.values[column] for one in changes]
        if values.count(first) == len(values) and not isinstance(first, dict | list):
            words.append(f"{column} = %s")
            scalars.append(adapted(tables.connection, first))
        else:
            words.append(f"{column} = new_{column}")
            given.append((f"new_{column}", tables.type_of(column), [adapted(tables.connection, one) for one in values]))
    arrays = ", ".join(f"%s::{kind}[]" for _, kind, _ in given)
    names = ", ".join(name for name, _, _ in given)
    sql = (
        f"UPDATE {tables.recipient} AS held SET {', '.join(words)} FROM UNNEST({arrays}) AS given({names}) "
        "WHERE held.id = id_ AND held.claim = claim_ AND held.unknowns = unknowns_ "
        f"AND {is_one_of(changes[0].states, 'held.state')} RETURNING held.id"
    )
    return Step(sql, [*scalars, *(values for _, _, values in given)], returns_ids=True)


def _evidence_columns(connection: BaseDatabaseWrapper, evidence: Evidence, keyring: Keyring) -> dict[str, Value]:
    code, enhanced, text = reply_columns(connection, evidence, keyring)
    return {
        "route": evidence.route,
        "stage": evidence.stage,
        "cause": evidence.cause,
        "reply_code": code,
        "reply_enhanced": enhanced,
        "reply_text": text,
        "detail": storable(connection, evidence.detail[:_REPLY_CHARACTERS]),
        "provider_message_id": storable(connection, evidence.provider_message_id, 255),
    }


def reply_columns(connection: BaseDatabaseWrapper, evidence: Evidence, keyring: Keyring) -> tuple[int | None, str, str]:
    """Code, enhanced status and text as they are stored."""
    reply = evidence.reply
    if reply is None:
        return None, "", ""
    words = reply.text[:_REPLY_CHARACTERS]
    text = keyring.seal_text(escaped(words)) if evidence.encryption_key else storable(connection, words)
    return reply.code, reply.enhanced[:16], text


def plan_attempts(tables: Tables, attempts: Sequence[AttemptRow], keyring: Keyring) -> list[Step]:
    """Append to the journal."""
    rows: list[list[Value]] = []
    for attempt in attempts:
        evidence = attempt.evidence
        code, enhanced, text = reply_columns(tables.connection, evidence, keyring)
        rows.append(
            [
                attempt.message_id, attempt.claim, attempt.worker, evidence.route, attempt.peer[:100],
                Raw(tables.now()), attempt.seconds, evidence.stage, evidence.cause, code, enhanced, text,
                storable(tables.connection, evidence.detail[:_REPLY_CHARACTERS]),
                _outcomes(attempt.outcomes),
                storable(tables.connection, evidence.provider_message_id, 255),
                _dialogue(tables.connection, attempt, keyring),
            ]
        )  # fmt: skip
    # By arrays, however few: as one statement for any number, which stays prepared.
    few = 2 if tables.takes_arrays else FEW
    return [
        Step(*insert_sql(tables.connection, Attempt, _ATTEMPT_COLUMNS, chunk, few=few))
        for chunk in batched(rows, MAX_ROWS)
    ]


def _dialogue(connection: BaseDatabaseWrapper, attempt: AttemptRow, keyring: Keyring) -> str | None:
    if not attempt.dialogue:
        return None
    words = attempt.dialogue[:_DIALOGUE_CHARACTERS]
    return keyring.seal_text(escaped(words)) if attempt.evidence.encryption_key else storable(connection, words)


def _outcomes(outcomes: dict[int, Outcome]) -> str:
    """Return the outcomes as JSON."""
    if len(outcomes) == 1:
        [(position, outcome)] = outcomes.items()
        return _one_outcome(position, outcome)
    return json.dumps({str(position): outcome.value for position, outcome in outcomes.items()})


@lru_cache(256)  # most messages have one recipient
def _one_outcome(position: int, outcome: Outcome) -> str:
    return json.dumps({str(position): outcome.value})


def unwritten(tables: Tables, attempts: Sequence[AttemptRow]) -> list[AttemptRow]:
    """Return the attempts that the journal does not have yet; claim, message, route and seconds identify one."""
    claims = {attempt.claim for attempt in attempts}
    # By the claim, whose number no other worker ever had: nobody else can have written them.
    rows = Attempt._base_manager.using(tables.using).filter(claim__in=claims)
    known = set(rows.values_list("message_id", "claim", "route", "seconds"))
    return [one for one in attempts if (one.message_id, one.claim, one.evidence.route, one.seconds) not in known]
