"""The audit: a proof of P1 and P2 on the live tables, and of the invariants that `OutboxRecipient` names.

It reads in runs by primary key while workers go on. A recipient that changes between two reads can look wrong for a
moment, so whatever looks wrong is looked at again in one statement before it is reported.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator

from reliable_email.records import dataclass
from reliable_email.store.questions.filters import outbox_database
from reliable_email.store.questions.progress import UNTOLD, Progress
from reliable_email.store.questions.stories import each_message_id
from reliable_email.store.sql.clock import database_now
from reliable_email.store.tables.attempts import Attempt
from reliable_email.store.tables.messages import OutboxMessage
from reliable_email.store.tables.recipients import OutboxRecipient
from reliable_email.store.tables.states import State

_FINAL = frozenset({State.ACCEPTED, State.REJECTED, State.EXPIRED, State.CANCELLED})
_UNFINISHED = frozenset(State) - _FINAL
# Rescue looks at leases several times in a lease's time; one that is over for longer is nobody's.
_LEASE_GRACE_SECONDS = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that should not be."""

    message: int
    address: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """The numbers of an audit, and its findings.

    Attributes:
        copies: recipients that more than one accepted attempt names.
        unknown: recipients that are declared unknown.
    """

    messages: int
    recipients: int
    attempts: int
    copies: int
    unknown: int
    findings: list[Finding]

    @property
    def is_clean(self) -> bool:
        """True if nothing was found."""
        return not self.findings


def audit(using: str | None = None, *, limit: int = 1000, progress: Progress = UNTOLD) -> Audit:
    """Look at every message; at most `limit` findings are listed."""
    alias = outbox_database(using)
    counts: dict[str, int] = defaultdict(int)
    findings: list[Finding] = []
    progress.begin("messages", OutboxMessage._base_manager.using(alias).count)
    for ids in each_message_id(alias):
        suspicious = {finding.message for finding in _look(alias, ids, counts)}
        if suspicious:
            found = list(_look(alias, sorted(suspicious), defaultdict(int)))
            findings += found[: max(0, limit - len(findings))]
        progress.advance(len(ids))
    return Audit(
        messages=counts["messages"],
        recipients=counts["recipients"],
        attempts=counts["attempts"],
        copies=counts["copies"],
        unknown=counts["unknown"],
        findings=findings,
    )


def _look(using: str, ids: Iterable[int], counts: dict[str, int]) -> Iterator[Finding]:
    ids = list(ids)
    messages = OutboxMessage._base_manager.using(using).filter(pk__in=ids)
    has_content = set(messages.filter(content__isnull=False).values_list("pk", flat=True))
    attempts: dict[int, list[Attempt]] = defaultdict(list)
    for attempt in Attempt._base_manager.using(using).filter(message__in=ids).order_by("id"):
        attempts[attempt.message_id].append(attempt)
        counts["attempts"] += 1
    rows: dict[int, list[OutboxRecipient]] = defaultdict(list)
    for row in OutboxRecipient._base_manager.using(using).filter(message__in=ids).order_by("position"):
        rows[row.message_id].append(row)
    now = database_now(using)
    for pk in ids:
        counts["messages"] += 1
        if not rows[pk]:
            yield Finding(message=pk, address="", text="the message has no recipients")
        if [row.position for row in rows[pk]] != list(range(len(rows[pk]))):
            yield Finding(message=pk, address="", text="a recipient's row is missing")
        for row in rows[pk]:
            counts["recipients"] += 1
            counts["unknown"] += row.state == State.UNKNOWN
            history = [one.outcomes.get(str(row.position)) for one in attempts[pk]]
            accepted = history.count("accepted")
            counts["copies"] += max(0, accepted - 1)
            texts = [*_state_findings(row, pk in has_content), *_history_findings(row, history)]
            if row.lease_until is not None and (now - row.lease_until).total_seconds() > _LEASE_GRACE_SECONDS:
                texts.append("its lease expired long ago, and no worker took it back: is a worker running?")
            yield from (Finding(message=pk, address=row.address, text=text) for text in texts)


def _state_findings(row: OutboxRecipient, has_content: bool) -> Iterator[str]:
    state = State(row.state)
    is_due = row.due_at is not None
    if state is State.QUEUED and not is_due:
        yield "it is queued and never due, so it will not be sent"
    if is_due and state not in (State.QUEUED, State.UNKNOWN):
        yield f"it is {state} and due all the same"
    if state.is_in_hand is not (row.lease_until is not None):
        yield f"it is {state} and its lease says otherwise"
    if state in _FINAL and row.settled_at is None:
        yield f"it is {state} and has no time of it"
    if state in _UNFINISHED and state is not State.UNKNOWN and not has_content:
        yield f"it is {state} and its content is gone"
    if state is State.UNKNOWN and not row.unknowns:
        yield "it is unknown and no attempt is in doubt"
    if state in (State.REJECTED, State.EXPIRED, State.CANCELLED) and row.unknowns:
        yield f"it is {state} although a copy may have arrived"


def _history_findings(row: OutboxRecipient, history: list[str | None]) -> Iterator[str]:
    told = [outcome for outcome in history if outcome is not None]
    accepted, doubts = told.count("accepted"), told.count("unknown")
    if accepted > 1 + doubts:
        yield f"it was accepted {accepted} times, and {doubts} attempts before were in doubt"
    elif accepted and not doubts and row.state != State.ACCEPTED:
        # A worker that woke too late may have noted "deferred" behind it: it was not permitted to send.
        yield f"it was accepted and is {row.state}"
    if not accepted and row.state == State.ACCEPTED and row.cause != "resolved":
        yield "it is accepted and no attempt says so"
