"""What the memory of routes learns from an answer, by both doors."""

from collections.abc import Callable, Iterator, Sequence

import pytest

from reliable_email.classification import Cause
from reliable_email.delivery import lent
from reliable_email.delivery.breaker import Phase
from reliable_email.store.states import State
from tests.engines.doors import Told, World, by_queue, directly, work
from tests.outbox.desk import let_time_pass, rows

TO = ["ann@example.com", "bob@example.com"]
Door = Callable[[World, Sequence[str]], Told]


@pytest.fixture(autouse=True)
def no_suppressions() -> Iterator[None]:
    """Nobody is on a list here."""
    lookup = lent.suppression_lookup
    lent.register_suppressions(None)
    yield
    lent.register_suppressions(lookup)


@pytest.fixture(params=["direct", "queue"])
def door(request: pytest.FixtureRequest, using: str) -> Door:
    """Either door."""
    if request.param == "direct":
        return directly
    return lambda world, to: by_queue(world, to, using=using)


def test_a_refusal_at_rcpt_that_is_the_routes_closes_it_although_another_recipient_was_taken(door: Door) -> None:
    """Relaying is denied to one of two; the other's acceptance does not make that undone."""
    world = World(["rcpt bob:550 5.7.1 relaying denied", "250"])
    told = door(world, TO)
    assert told.ends == {"ann": "accepted", "bob": "accepted"}
    state = world.store.read(world.routes[0])
    assert (state.phase, state.reason) == (Phase.OPEN, Cause.RELAY_DENIED)


@pytest.mark.parametrize("reply", ["final:550 computer says no", "mail:503 bad sequence of commands"])
def test_an_orderly_5yz_behind_mail_says_nothing_against_the_route(door: Door, reply: str) -> None:
    """It proves the route alive: however often it is said, the route stays in use."""
    world = World([reply, "250"])
    for number in range(5):
        assert door(world, [f"ann{number}@example.com"]).ends[f"ann{number}"] == "accepted"
    assert world.store.read(world.routes[0]).phase is Phase.CLOSED


def test_trouble_before_mail_closes_the_route_after_three_in_a_row(door: Door) -> None:
    """Then nobody asks it for a while."""
    world = World(["ehlo:421 4.3.2 too busy", "250"])
    for number in range(5):
        assert door(world, [f"ann{number}@example.com"]).ends[f"ann{number}"] == "accepted"
    assert world.store.read(world.routes[0]).phase is Phase.OPEN
    assert world.order("a") == 3


def test_one_outage_is_one_opening(door: Door) -> None:
    """A transaction that began before the route closed does not close it again."""
    world = World(["connect:refused", "250"])
    for number in range(6):
        door(world, [f"ann{number}@example.com"])
    assert world.store.read(world.routes[0]).number == 1


def test_a_learned_limit_of_recipients_holds_for_the_next_message(door: Door) -> None:
    """What was left out once is not asked for again."""
    world = World(["rcpt bob:452 4.5.3 too many recipients | 250"])
    door(world, TO)
    told = door(world, ["cid@example.com", "dan@example.com"])
    assert [len(one.recipients) for one in told.asked] == [2, 1, 1, 1]


def test_who_waits_for_a_route_goes_by_another_once_that_is_paused(using: str) -> None:
    """Greylisted by the first, which an operator then takes out of use: nobody waits for it for ever."""
    world = World(["rcpt:450 4.2.0 greylisted", "250"])
    assert by_queue(world, ["ann@example.com"], using=using).ends == {"ann": "queued"}
    world.store.pause(world.routes[0], by="an operator")
    let_time_pass(using)
    work(using, world.routes, world.store)
    assert [one.state for one in rows(using)] == [State.ACCEPTED]
    assert [one.route for one in world.asked] == ["a", "b"]
