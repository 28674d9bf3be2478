"""Every order in which two workers, a rescuer, a crash, a suspension and a person can meet over one recipient.

The world is small enough to be searched whole: each reachable state is visited once, and P1 and P2 are asserted in it.
A worker that is suspended is one that takes no step while others do, so suspension needs no event of its own: it is the
lease that ends without the worker's knowledge.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from enum import Enum, auto

import pytest

from reliable_email.outbox.rows.transitions import LATE, RULES, Delivery, Event, apply
from reliable_email.store.tables.states import State

SETTLED = {State.ACCEPTED, State.REJECTED, State.EXPIRED, State.CANCELLED, State.UNKNOWN, State.PARKED}


class At(Enum):
    """Where a worker is in its work on the row."""

    IDLE = auto()
    CLAIMED = auto()  # it has read the row, nothing is journaled
    PERMITTED = auto()  # the journal was committed; nothing was sent
    SENT_TAKEN = auto()  # the terminator was sent and the server took the message
    SENT_REFUSED = auto()  # the terminator was sent and the server refused it
    HEARD_TAKEN = auto()  # the reply was read
    HEARD_REFUSED = auto()
    HEARD_DEFERRED = auto()
    LOST = auto()  # the connection died after the terminator
    DEAD = auto()


@dataclass(frozen=True)
class Hand:
    """One worker."""

    at: At = At.IDLE
    claim: int = 0


@dataclass(frozen=True)
class World:
    """Everything that there is."""

    row: Delivery = field(default_factory=Delivery)
    hands: tuple[Hand, ...] = (Hand(), Hand())
    is_lease_live: bool = False
    copies: int = 0  # taken by servers
    declared: int = 0  # how often the row was declared unknown
    next_claim: int = 1
    crashes_left: int = 1
    expiries_left: int = 2  # leases that may run out
    persons_left: int = 1


def with_hand(world: World, n: int, hand: Hand, **changes: object) -> World:
    """The world after worker n moved."""
    hands = tuple(hand if i == n else other for i, other in enumerate(world.hands))
    return replace(world, hands=hands, **changes)  # type: ignore[arg-type]


def worker_steps(world: World, n: int, *, resend: bool) -> Iterator[tuple[str, World]]:
    """What worker n may do next."""
    hand, row = world.hands[n], world.row
    if hand.at is At.DEAD:
        return
    if world.crashes_left:
        yield f"{n} crashes", with_hand(world, n, Hand(At.DEAD), crashes_left=world.crashes_left - 1)
    match hand.at:
        case At.IDLE:
            claimed = apply(row, Event.CLAIM, claim=world.next_claim)
            if claimed is not None:
                yield (
                    f"{n} claims",
                    with_hand(
                        world,
                        n,
                        Hand(At.CLAIMED, world.next_claim),
                        row=claimed,
                        is_lease_live=True,
                        next_claim=world.next_claim + 1,
                    ),
                )
            if row.state.is_in_hand and not world.is_lease_live:
                event = Event.RESCUE_UNSENT if row.state is State.CLAIMED else Event.RESCUE_SENT
                rescued = apply(row, event, resend=resend)
                assert rescued is not None
                yield (
                    f"{n} rescues",
                    replace(world, row=rescued, declared=world.declared + (event is Event.RESCUE_SENT)),
                )
                if event is Event.RESCUE_UNSENT:
                    poison = apply(row, Event.RESCUE_POISON)
                    assert poison is not None
                    yield f"{n} rescues poison", replace(world, row=poison)
        case At.CLAIMED:
            allowed = apply(row, Event.AUTHORIZE, claim=hand.claim, is_lease_live=world.is_lease_live)
            if allowed is None:
                yield f"{n} is refused", with_hand(world, n, Hand())
            else:
                yield f"{n} journals", with_hand(world, n, replace(hand, at=At.PERMITTED), row=allowed)
            for event in (Event.RELEASE, Event.DEFER, Event.REJECT, Event.PARK, Event.GIVE_UP):
                settled = apply(row, event, claim=hand.claim)
                yield f"{n} {event} unsent", with_hand(world, n, Hand(), row=settled or row)
            kept = apply(row, Event.KEEP, claim=hand.claim)
            yield f"{n} turns to the next route unsent", with_hand(world, n, hand if kept else Hand(), row=kept or row)
        case At.PERMITTED:
            yield f"{n} sends, taken", with_hand(world, n, replace(hand, at=At.SENT_TAKEN), copies=world.copies + 1)
            yield f"{n} sends, refused", with_hand(world, n, replace(hand, at=At.SENT_REFUSED))
            yield f"{n} could not send", with_hand(world, n, replace(hand, at=At.HEARD_DEFERRED))
        case At.SENT_TAKEN | At.SENT_REFUSED:
            heard = At.HEARD_TAKEN if hand.at is At.SENT_TAKEN else At.HEARD_REFUSED
            yield f"{n} hears", with_hand(world, n, replace(hand, at=heard))
            yield f"{n} loses the connection", with_hand(world, n, replace(hand, at=At.LOST))
            if hand.at is At.SENT_REFUSED:
                yield f"{n} hears 4yz", with_hand(world, n, replace(hand, at=At.HEARD_DEFERRED))
        case At.LOST:
            lost = apply(row, Event.LOSE, claim=hand.claim, resend=resend)
            yield (
                f"{n} declares unknown",
                with_hand(world, n, Hand(), row=lost or row, declared=world.declared + (lost is not None)),
            )
        case At.HEARD_TAKEN | At.HEARD_REFUSED | At.HEARD_DEFERRED:
            event = {
                At.HEARD_TAKEN: Event.ACCEPT,
                At.HEARD_REFUSED: Event.REJECT,
                At.HEARD_DEFERRED: Event.DEFER,
            }[hand.at]
            settled = apply(row, event, claim=hand.claim) or apply(row, LATE[event], claim=hand.claim)
            yield f"{n} settles", with_hand(world, n, Hand(), row=settled or row)
            if hand.at is not At.HEARD_TAKEN:
                kept = apply(row, Event.KEEP, claim=hand.claim)
                late = kept or apply(row, LATE[Event.KEEP], claim=hand.claim)
                after = replace(hand, at=At.CLAIMED) if kept else Hand()
                yield f"{n} turns to the next route", with_hand(world, n, after, row=late or row)


def steps(world: World, *, resend: bool) -> Iterator[tuple[str, World]]:
    """Everything that may happen next."""
    for n in range(len(world.hands)):
        yield from worker_steps(world, n, resend=resend)
    if world.is_lease_live and world.row.state.is_in_hand and world.expiries_left:
        yield "lease ends", replace(world, is_lease_live=False, expiries_left=world.expiries_left - 1)
    if world.copies:
        taken = apply(world.row, Event.REPORT_TAKEN)
        if taken is not None:
            yield "the provider reports that it has it", replace(world, row=taken)
        bounced = apply(world.row, Event.REPORT_REFUSED)
        if bounced is not None:
            yield "the provider reports a bounce", replace(world, row=bounced, copies=world.copies - 1)
    if world.persons_left:
        for event in (Event.CANCEL, Event.HOLD, Event.EXPIRE):
            changed = apply(world.row, event)
            if changed is not None and changed != world.row:
                yield event, replace(world, row=changed, persons_left=world.persons_left - 1)


def explore(*, resend: bool) -> dict[World, list[tuple[str, World]]]:
    """The whole reachable graph. Copies are bounded, so that endless deferring does not make it infinite."""
    start = World()
    graph: dict[World, list[tuple[str, World]]] = {}
    waiting = deque([start])
    seen = {start}
    while waiting:
        world = waiting.popleft()
        graph[world] = []
        for name, after in steps(world, resend=resend):
            if after.next_claim > 4:
                continue
            graph[world].append((name, after))
            if after not in seen:
                seen.add(after)
                waiting.append(after)
    return graph


@pytest.fixture(scope="module", params=[False, True], ids=["hold", "resend"])
def explored(request: pytest.FixtureRequest) -> tuple[bool, dict[World, list[tuple[str, World]]]]:
    """The policy and its whole graph."""
    return request.param, explore(resend=request.param)


def test_no_state_holds_more_copies_than_doubts_allow(explored: tuple[bool, dict[World, object]]) -> None:
    """P2: one copy, and another only after each declared unknown, and only under resend."""
    resend, graph = explored
    for world in graph:
        assert world.copies <= (1 + world.declared if resend else 1), world


def test_what_the_row_says_is_true(explored: tuple[bool, dict[World, object]]) -> None:
    """A row that says taken was taken; one that says not taken, or that may be sent without doubt, was not."""
    _, graph = explored
    for world in graph:
        match world.row.state:
            case State.ACCEPTED:
                assert world.copies >= 1, world
            case State.REJECTED | State.EXPIRED | State.CANCELLED | State.QUEUED | State.PARKED:
                assert world.copies == 0, world
            case State.CLAIMED if not world.row.unknowns:
                assert world.copies == 0, world
            case State.UNKNOWN:
                assert world.row.unknowns >= 1, world
            case _:
                pass


def test_every_state_can_still_end(explored: tuple[bool, dict[World, list[tuple[str, World]]]]) -> None:
    """P1: from every state in which a worker lives, a settled one can be reached; nothing is stuck for ever."""
    _, graph = explored
    before: dict[World, list[World]] = {world: [] for world in graph}
    for world, following in graph.items():
        for _, after in following:
            before[after].append(world)
    good = deque(world for world in graph if world.row.state in SETTLED)
    reached = set(good)
    while good:
        for world in before[good.popleft()]:
            if world not in reached:
                reached.add(world)
                good.append(world)
    # The bounds of the search (claims, leases that run out) cut some paths off; those states end at the bound.
    stuck = [world for world in graph if world not in reached and world.next_claim < 4 and world.expiries_left]
    assert stuck == []


def test_the_search_met_what_it_is_about(explored: tuple[bool, dict[World, object]]) -> None:
    """The worlds that matter were visited: a late reply after rescue, a second holder, a resend."""
    resend, graph = explored
    states = {world.row.state for world in graph}
    assert states == set(State)
    assert any(
        world.row.state is State.UNKNOWN and any(hand.at is At.HEARD_TAKEN for hand in world.hands) for world in graph
    )
    assert any(sum(hand.at is At.CLAIMED for hand in world.hands) == 2 for world in graph)
    assert any(world.copies == 2 for world in graph) is resend


def test_final_states_have_no_way_out_but_a_persons() -> None:
    """Only requeue leaves a final state, and nothing leaves accepted."""
    for event, rule in RULES.items():
        assert State.ACCEPTED not in rule.sources
        if rule.sources & {State.REJECTED, State.EXPIRED, State.CANCELLED}:
            assert event is Event.REQUEUE


@pytest.mark.parametrize("event", [Event.AUTHORIZE, Event.ACCEPT, Event.REJECT, Event.DEFER, Event.LATE_ACCEPT])
@pytest.mark.parametrize("state", list(State))
def test_a_writer_without_the_claim_writes_nothing(event: Event, state: State) -> None:
    """The fence holds in every state."""
    assert apply(Delivery(state=state, claim=2), event, claim=1, is_lease_live=True) is None


def test_a_refusal_after_a_doubt_stays_unknown() -> None:
    """The first copy may have arrived although the resend was refused."""
    doubted = Delivery(state=State.AUTHORIZED, claim=2, unknowns=1)
    after = apply(doubted, Event.REJECT, claim=2)
    assert after is not None
    assert (after.state, after.is_resend_due) == (State.UNKNOWN, False)
