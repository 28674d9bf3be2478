"""What the memory of routes learns from an answer, by both doors."""

from collections.abc import Callable

import pytest

from reliable_email.classification import Cause
from reliable_email.delivery.breaker import Phase
from reliable_email.store.tables.states import State
from tests.engines.doors import Told, World, by_queue, directly, work
from tests.outbox.desk import let_time_pass, rows

pytestmark = pytest.mark.usefixtures("no_suppressions")

TO = ["ann@example.com", "bob@example.com"]
Door = Callable[..., Told]
NOT_VERIFIED = "mail:550 the from address does not match a verified sender identity"


@pytest.fixture(params=["direct", "queue"])
def door(request: pytest.FixtureRequest, using: str) -> Door:
    """Either door."""
    if request.param == "direct":
        return directly
    return lambda world, to, **others: by_queue(world, to, using=using, **others)


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


def test_a_sender_that_a_route_does_not_know_closes_it_for_that_sender_domain_alone(door: Door) -> None:
    """The second message of that domain does not ask again; another domain's goes on by that route."""
    world = World([NOT_VERIFIED, "250"])
    assert door(world, ["ann@example.com"]).order == "ab"
    world.asked.clear()
    assert door(world, ["ann@example.com"]).order == "b"
    world.routes[0].transport.script[:] = ["250"]  # type: ignore[attr-defined]
    world.asked.clear()
    assert door(world, ["ann@example.com"], sender="shop@other.example").order == "a"


@pytest.mark.parametrize(
    "words",
    [
        "final:550 5.7.26 This mail has been blocked because the sender is unauthenticated",
        "final:550 5.7.515 Access denied, sending domain example.org does not meet the required authentication level",
        "rcpt:550 5.7.26 Unauthenticated email from example.org is not accepted due to domain's DMARC policy",
    ],
)
def test_one_receivers_refusal_of_a_sender_closes_a_route_for_both_of_them_alone(door: Door, words: str) -> None:
    """What goes to other receivers, and what other senders send there, goes on by that route."""
    world = World([words, "250"])
    assert door(world, ["ann@gmail.example"]).order == "ab"
    world.routes[0].transport.script[:] = ["250"]  # type: ignore[attr-defined]
    for to, sender, order in (
        ("bob@gmail.example", "site@example.org", "b"),
        ("bob@Gmail.Example", "site@example.org", "b"),
        ("bob@example.com", "site@example.org", "a"),
        ("bob@gmail.example", "shop@other.example", "a"),
    ):
        world.asked.clear()
        assert door(world, [to], sender=sender).order == order, (to, sender)
    world.asked.clear()
    told = door(world, ["cid@gmail.example", "dan@example.com"])
    assert sorted((one.route, one.recipients) for one in told.asked) == [
        ("a", ("dan@example.com",)),
        ("b", ("cid@gmail.example",)),
    ]
    world.at += 3601.0
    world.asked.clear()
    assert door(world, ["ann@gmail.example"]).order == "a", "after an hour it is asked again"


def test_a_refusal_that_several_receivers_share_closes_the_route_for_none_of_them(door: Door) -> None:
    """Nobody knows which of them said it."""
    world = World(["final:550 5.7.26 This mail has been blocked because the sender is unauthenticated", "250"])
    door(world, ["ann@gmail.example", "bob@example.com"])
    assert not world.store.read(world.routes[0]).closed_senders


def test_mail_of_a_sender_that_every_route_refuses_is_parked_and_asks_nobody(using: str) -> None:
    """A person adds the record; pushing each message on by seconds would help nobody."""
    world = World([NOT_VERIFIED, NOT_VERIFIED])
    assert by_queue(world, ["ann@example.com"], using=using).ends == {"ann": "parked"}
    world.asked.clear()
    told = by_queue(world, ["bob@example.com"], using=using)
    assert (told.ends, told.order, told.attempts) == ({"bob": "parked"}, "", {"bob": 0})


def test_the_only_route_is_asked_directly_whoever_sends() -> None:
    """There is no other way, and what was said an hour ago may be mended."""
    world = World([NOT_VERIFIED])
    directly(world, ["ann@example.com"])
    world.routes[0].transport.script[:] = ["250"]  # type: ignore[attr-defined]
    assert directly(world, ["bob@example.com"]).ends == {"bob": "accepted"}
