"""The life of one recipient's delivery, as a table. The SQL of this package takes its conditions from here.

                      .----------- release, defer, rescue -----------.
                      v                                              |
    (enqueue) -> QUEUED -- claim --> CLAIMED -- authorize --> AUTHORIZED
                   | ^                  |                        |
        expire,    | | requeue          | reject, park           | accept, reject, defer, park
        cancel,    | |                  v                        v
        hold       '-+--> PARKED   EXPIRED  CANCELLED   REJECTED   ACCEPTED
                                                                 |
                     lose, or rescue after the journal --------> UNKNOWN -- resend: claim --> CLAIMED

1. *Claiming* takes a number that no claim ever had. Whoever writes as the holder names it; a worker that lost its
   row to another claim can write nothing.
2. *Authorizing* is the only permission to send the terminator. It is committed first, and only while the lease is
   live. So a row that is CLAIMED was surely not taken by any server under this claim, and a row that is AUTHORIZED
   may have been.
3. *Rescue* needs no guess: CLAIMED goes back to the queue, AUTHORIZED becomes UNKNOWN.
4. A worker that wakes after its lease finds its row CLAIMED no more and writes nothing, with one exception: a final
   reply that it reads late resolves the UNKNOWN that rescue declared, as long as nobody claimed the row since.
5. *Doubt* is for ever: once an attempt may have left a copy and a resend then fails for good, the recipient's outcome
   is not "rejected" or "expired" (that would say that nothing arrived) but stays UNKNOWN, now for a person.
6. A person may cancel, hold or requeue what no server can have; what is UNKNOWN is *resolved* instead.
7. A provider's later *report* speaks only where there is a doubt: that it has the message ends every doubt, also one
   whose resend is claimed already and not yet permitted; that it could not deliver it answers for one copy, so it
   settles a recipient only where no other attempt may have left another.
"""

from enum import Enum, StrEnum, auto

from reliable_email.records import dataclass, field, record, replace
from reliable_email.store.tables.states import State


class Event(StrEnum):
    """The events in the life of a recipient's row."""

    # By whoever claims.
    CLAIM = "claim"
    # By the holder.
    RELEASE = "release"
    AUTHORIZE = "authorize"
    KEEP = "keep"
    ACCEPT = "accept"
    REJECT = "reject"
    DEFER = "defer"
    PARK = "park"
    LOSE = "lose"
    GIVE_UP = "give_up"
    # By the holder of a claim whose lease is over and whose row was rescued.
    LATE_ACCEPT = "late_accept"
    LATE_REJECT = "late_reject"
    LATE_DEFER = "late_defer"
    # By any worker, when a lease is over.
    RESCUE_UNSENT = "rescue_unsent"
    RESCUE_POISON = "rescue_poison"
    RESCUE_SENT = "rescue_sent"
    # By time.
    EXPIRE = "expire"
    # By a person or a policy.
    CANCEL = "cancel"
    HOLD = "hold"
    REQUEUE = "requeue"
    RESOLVE_ACCEPTED = "resolve_accepted"
    RESOLVE_REJECTED = "resolve_rejected"
    RESOLVE_RESEND = "resolve_resend"
    # By the provider, afterwards.
    REPORT_TAKEN = "report_taken"
    REPORT_REFUSED = "report_refused"


class Guard(Enum):
    """The further condition of a transition, besides the state."""

    NOTHING = auto()
    HOLDS_CLAIM = auto()  # the row names the writer's claim
    HOLDS_LIVE_LEASE = auto()  # and the database's clock has not passed its lease
    LEASE_IS_OVER = auto()
    IS_DOUBTED = auto()  # an attempt may have left a copy
    HAS_ONE_DOUBT = auto()  # exactly one may have


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A transition from any of `sources` to `target`, or to `doubted` if an earlier attempt may have left a copy.

    Attributes:
        states: the sources in a fixed order, for SQL.
    """

    sources: frozenset[State]
    target: State
    guard: Guard = Guard.NOTHING
    doubted: State | None = None
    states: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "states", tuple(sorted(state.value for state in self.sources)))


_IN_HAND = frozenset({State.CLAIMED, State.AUTHORIZED})
_UNKNOWN = frozenset({State.UNKNOWN})

RULES: dict[Event, Rule] = {
    # UNKNOWN only where it has a time at which to send it again; see `is_claimable`.
    Event.CLAIM: Rule(sources=frozenset({State.QUEUED, State.UNKNOWN}), target=State.CLAIMED),
    # AUTHORIZED only where the transport says that the terminator was not sent.
    Event.RELEASE: Rule(sources=_IN_HAND, target=State.QUEUED, guard=Guard.HOLDS_CLAIM, doubted=State.UNKNOWN),
    Event.AUTHORIZE: Rule(sources=frozenset({State.CLAIMED}), target=State.AUTHORIZED, guard=Guard.HOLDS_LIVE_LEASE),
    # This route said no, and the next one is tried at once.
    Event.KEEP: Rule(sources=_IN_HAND, target=State.CLAIMED, guard=Guard.HOLDS_CLAIM),
    Event.ACCEPT: Rule(sources=frozenset({State.AUTHORIZED}), target=State.ACCEPTED, guard=Guard.HOLDS_CLAIM),
    Event.REJECT: Rule(sources=_IN_HAND, target=State.REJECTED, guard=Guard.HOLDS_CLAIM, doubted=State.UNKNOWN),
    Event.DEFER: Rule(sources=_IN_HAND, target=State.QUEUED, guard=Guard.HOLDS_CLAIM, doubted=State.UNKNOWN),
    Event.PARK: Rule(sources=_IN_HAND, target=State.PARKED, guard=Guard.HOLDS_CLAIM, doubted=State.UNKNOWN),
    Event.LOSE: Rule(sources=frozenset({State.AUTHORIZED}), target=State.UNKNOWN, guard=Guard.HOLDS_CLAIM),
    Event.GIVE_UP: Rule(sources=_IN_HAND, target=State.EXPIRED, guard=Guard.HOLDS_CLAIM, doubted=State.UNKNOWN),
    Event.LATE_ACCEPT: Rule(sources=_UNKNOWN, target=State.ACCEPTED, guard=Guard.HOLDS_CLAIM),
    # The refusal is about this attempt alone: with an older doubt the row stays unknown.
    Event.LATE_REJECT: Rule(sources=_UNKNOWN, target=State.REJECTED, guard=Guard.HOLDS_CLAIM, doubted=State.UNKNOWN),
    Event.LATE_DEFER: Rule(sources=_UNKNOWN, target=State.QUEUED, guard=Guard.HOLDS_CLAIM, doubted=State.UNKNOWN),
    Event.RESCUE_UNSENT: Rule(
        sources=frozenset({State.CLAIMED}), target=State.QUEUED, guard=Guard.LEASE_IS_OVER, doubted=State.UNKNOWN
    ),
    Event.RESCUE_POISON: Rule(
        sources=frozenset({State.CLAIMED}), target=State.PARKED, guard=Guard.LEASE_IS_OVER, doubted=State.UNKNOWN
    ),
    Event.RESCUE_SENT: Rule(sources=frozenset({State.AUTHORIZED}), target=State.UNKNOWN, guard=Guard.LEASE_IS_OVER),
    # For these three an UNKNOWN row, always doubted, only loses the time of its resend.
    Event.EXPIRE: Rule(
        sources=frozenset({State.QUEUED, State.PARKED, State.UNKNOWN}), target=State.EXPIRED, doubted=State.UNKNOWN
    ),
    Event.CANCEL: Rule(
        sources=frozenset({State.QUEUED, State.PARKED, State.CLAIMED, State.UNKNOWN}),
        target=State.CANCELLED,
        doubted=State.UNKNOWN,
    ),
    Event.HOLD: Rule(
        sources=frozenset({State.QUEUED, State.CLAIMED, State.UNKNOWN}), target=State.PARKED, doubted=State.UNKNOWN
    ),
    Event.REQUEUE: Rule(
        sources=frozenset({State.PARKED, State.REJECTED, State.EXPIRED, State.CANCELLED}), target=State.QUEUED
    ),
    Event.RESOLVE_ACCEPTED: Rule(sources=_UNKNOWN, target=State.ACCEPTED),
    Event.RESOLVE_REJECTED: Rule(sources=_UNKNOWN, target=State.REJECTED),
    # It stays unknown, which it is, until the new attempt is claimed.
    Event.RESOLVE_RESEND: Rule(sources=_UNKNOWN, target=State.UNKNOWN),
    Event.REPORT_TAKEN: Rule(
        sources=frozenset({State.UNKNOWN, State.CLAIMED}), target=State.ACCEPTED, guard=Guard.IS_DOUBTED
    ),
    Event.REPORT_REFUSED: Rule(sources=_UNKNOWN, target=State.REJECTED, guard=Guard.HAS_ONE_DOUBT),
}

# What a server's word, or our own that it was not asked, becomes where it comes after the row was rescued.
LATE: dict[Event, Event] = {
    Event.ACCEPT: Event.LATE_ACCEPT,
    Event.REJECT: Event.LATE_REJECT,
    Event.DEFER: Event.LATE_DEFER,
    Event.KEEP: Event.LATE_DEFER,
    Event.PARK: Event.LATE_DEFER,
    Event.RELEASE: Event.LATE_DEFER,
}


@record(frozen=True, slots=True, kw_only=True)
class Delivery:
    """The part of a recipient's row that the rules look at.

    Attributes:
        claim: the number of the last claim; 0 where there was none.
        unknowns: attempts so far that may have left a copy. The one under way is not counted until it is declared.
        is_resend_due: whether an UNKNOWN row may be claimed again.
    """

    state: State = State.QUEUED
    claim: int = 0
    unknowns: int = 0
    is_resend_due: bool = False

    @property
    def is_claimable(self) -> bool:
        """True if a claim may take it, its time having come."""
        return self.state is State.QUEUED or (self.state is State.UNKNOWN and self.is_resend_due)


def apply(
    delivery: Delivery, event: Event, *, claim: int = 0, is_lease_live: bool = False, resend: bool = False
) -> Delivery | None:
    """Return the row after the event; None if the write is void.

    Args:
        claim: the number that the writer names; for CLAIM, the new one.
        is_lease_live: what the database's clock says of the row's lease.
        resend: whether the message's policy sends an unknown recipient again.
    """
    rule = RULES[event]
    if delivery.state not in rule.sources:
        return None
    match rule.guard:
        case Guard.NOTHING:
            pass
        case Guard.HOLDS_CLAIM:
            if delivery.claim != claim:
                return None
        case Guard.HOLDS_LIVE_LEASE:
            if delivery.claim != claim or not is_lease_live:
                return None
        case Guard.LEASE_IS_OVER:
            if is_lease_live:
                return None
        case Guard.IS_DOUBTED:
            if not delivery.unknowns:
                return None
        case Guard.HAS_ONE_DOUBT:
            if delivery.unknowns != 1:
                return None
    return _applied(delivery, event, rule, claim=claim, resend=resend)


def _applied(delivery: Delivery, event: Event, rule: Rule, *, claim: int, resend: bool) -> Delivery | None:
    unknowns = delivery.unknowns
    if event in (Event.LATE_REJECT, Event.LATE_DEFER):
        unknowns -= 1  # the declared doubt was about this very attempt, which the server has now answered
    state = rule.doubted if rule.doubted is not None and unknowns else rule.target
    changed = Delivery(state=state, claim=delivery.claim, unknowns=unknowns)
    match event:
        case Event.CLAIM:
            return replace(changed, claim=claim) if delivery.is_claimable else None
        case Event.LOSE | Event.RESCUE_SENT:
            return replace(changed, unknowns=unknowns + 1, is_resend_due=resend)
        case Event.RELEASE | Event.DEFER | Event.RESCUE_UNSENT | Event.LATE_DEFER if state is State.UNKNOWN:
            return replace(changed, is_resend_due=True)  # the resend did not happen, and is still wanted
        case Event.RESOLVE_RESEND:
            return replace(changed, is_resend_due=True)
        case Event.RESOLVE_REJECTED | Event.REQUEUE | Event.REPORT_REFUSED:
            return replace(changed, unknowns=0)  # a person, or the provider, knows
        case _:
            return changed
