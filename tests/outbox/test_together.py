"""Lines of one worker write together: fewer commits, and for each row the same as if it were written alone."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from django.db import IntegrityError, connections

from reliable_email.outbox import faultpoints
from reliable_email.outbox.claim import Claimed, Wanted, claim
from reliable_email.outbox.journal import Intent, Request, Written, commit, commit_together
from reliable_email.outbox.keyring import Keyring
from reliable_email.outbox.settle import AttemptRow, Evidence, Settlement
from reliable_email.outbox.together import Together
from reliable_email.outbox.transitions import Event
from reliable_email.smtp.replies import parse_reply
from reliable_email.store.recipients import OutboxRecipient
from reliable_email.store.states import State
from tests.outbox.desk import queue, rows, states

KEYRING = Keyring()


def claimed(using: str, count: int) -> list[Claimed]:
    """So many recipients in hand."""
    for number in range(count):
        queue(using, f"user{number}@example.com")
    return claim(using, Wanted(environment=""), worker="w", limit=count, lease_seconds=60).rows


def asks(one: Claimed) -> Request:
    """A line that wants to hand a message over."""
    return Request(intents=[Intent(recipients=[one], route="route")])


def settles(one: Claimed, reply: str, event: Event = Event.ACCEPT) -> Request:
    """A line that has read a final reply."""
    evidence = Evidence(route="route", stage="final_reply", reply=parse_reply(reply))
    attempt = AttemptRow(
        message_id=one.message_id, claim=one.delivery.claim, worker="w", evidence=evidence, seconds=0.1
    )
    return Request(
        settlements=[Settlement(claimed=one, event=event, evidence=evidence, spends_attempt=True)], attempts=[attempt]
    )


def test_each_row_is_judged_by_itself(using: str) -> None:
    """A row that somebody else has taken is left alone; those beside it in the same statement are written."""
    first, second, third = claimed(using, 3)
    OutboxRecipient.objects.using(using).filter(pk=second.id).update(claim=1)
    asked = commit_together(using, [asks(one) for one in (first, second, third)], keyring=KEYRING)
    assert [one.permitted for one in asked] == [[True], [False], [True]]
    OutboxRecipient.objects.using(using).filter(pk=third.id).update(claim=1)
    answers = commit_together(using, [settles(first, "250 a"), settles(third, "250 c")], keyring=KEYRING)
    assert [one.settled for one in answers] == [[True], [False]]
    assert states(using) == [State.ACCEPTED, State.CLAIMED, State.AUTHORIZED]


def test_each_row_gets_its_own_words(using: str) -> None:
    """Replies of one statement are not mixed up, whatever they have in common."""
    in_hand = claimed(using, 3)
    commit_together(using, [asks(one) for one in in_hand], keyring=KEYRING)
    replies = ["250 2.0.0 taken as A", "250 taken as B", "251 2.1.0 taken as C"]
    commit_together(using, [settles(one, reply) for one, reply in zip(in_hand, replies, strict=True)], keyring=KEYRING)
    found = [(row.reply_code, row.reply_enhanced, row.reply_text, row.attempts, row.route) for row in rows(using)]
    alone = []
    for reply in replies:
        parsed = parse_reply(reply)
        alone.append((parsed.code, parsed.enhanced, parsed.text, 1, "route"))
    assert found == alone


def test_what_is_permitted_in_part_is_not_permitted(using: str) -> None:
    """The server would deliver to every recipient that it took, so all of a message's must be ours still."""
    queue(using, "a@example.com", "b@example.com")
    queue(using, "c@example.com")
    a, b, c = claim(using, Wanted(environment=""), worker="w", limit=3, lease_seconds=60).rows
    OutboxRecipient.objects.using(using).filter(pk=b.id).update(claim=1)
    requests = [Request(intents=[Intent(recipients=[a, b], route="route")]), asks(c)]
    assert [one.permitted for one in commit_together(using, requests, keyring=KEYRING)] == [[False], [True]]
    assert states(using) == [State.CLAIMED, State.CLAIMED, State.AUTHORIZED]


@pytest.fixture
def held_commit() -> Iterator[tuple[threading.Event, threading.Event, list[str]]]:
    """The first commit stands still before it is sent until it is let go; every commit is noted."""
    is_there, may_go, commits = threading.Event(), threading.Event(), list[str]()

    def listen(name: str) -> None:
        if name == "journal:begin":
            commits.append(name)
        if name == "journal:commit" and len(commits) == 1 and not is_there.is_set():
            is_there.set()
            may_go.wait(10)

    faultpoints.listen(listen)
    yield is_there, may_go, commits
    may_go.set()
    faultpoints.reset()


def in_threads(
    using: str, together: Together, requests: list[Request], on_wait: Callable[[], None]
) -> list[Future[Written]]:
    """Each request by a thread of its own; `on_wait` is called when all but the first wait for their turn."""

    def write(request: Request) -> Written:
        try:
            return together.commit(request)
        finally:
            connections[using].close()

    with ThreadPoolExecutor(len(requests)) as pool:
        futures = [pool.submit(write, requests[0])]
        while not together.is_writing:
            pass
        futures += [pool.submit(write, one) for one in requests[1:]]
        while together.waiting_count < len(requests) - 1:
            pass
        on_wait()
    return futures


Held = tuple[threading.Event, threading.Event, list[str]]


def test_whoever_waits_is_written_together(using: str, held_commit: Held) -> None:
    """Four lines, and while the first one's commit is under way the others gather: two commits, four permissions."""
    _, may_go, commits = held_commit
    requests = [asks(one) for one in claimed(using, 4)]
    futures = in_threads(using, Together(using, KEYRING, writers=1), requests, may_go.set)
    assert [future.result().permitted for future in futures] == [[True]] * 4
    assert len(commits) == 2
    assert states(using) == [State.AUTHORIZED] * 4


def test_what_cannot_be_written_holds_nobody_up(using: str, held_commit: Held) -> None:
    """The line whose row the database refuses gets the error; those who were written with it get their permissions."""
    _, may_go, _ = held_commit
    first, second, third = claimed(using, 3)
    lost = settles(second, "250 ok", Event.DEFER)
    bad = Request(
        attempts=[AttemptRow(message_id=10**9, claim=1, worker="w", evidence=Evidence(), seconds=0.1)],
        settlements=lost.settlements,
    )
    futures = in_threads(using, Together(using, KEYRING, writers=1), [asks(first), bad, asks(third)], may_go.set)
    assert futures[0].result().permitted == [True]
    assert futures[2].result().permitted == [True]
    with pytest.raises(IntegrityError):
        futures[1].result()
    assert states(using) == [State.AUTHORIZED, State.CLAIMED, State.AUTHORIZED]


def test_a_commit_of_one_raises_as_it_is(using: str) -> None:
    """Nothing is tried again behind the back of a line that was written alone."""
    [first] = claimed(using, 1)
    commit(using, intents=[Intent(recipients=[first], route="route")], keyring=KEYRING)
    bad = Request(attempts=[AttemptRow(message_id=10**9, claim=1, worker="w", evidence=Evidence(), seconds=0.1)])
    with pytest.raises(IntegrityError):
        Together(using, KEYRING).commit(bad)
    assert Together(using, KEYRING).commit(settles(first, "250 ok")).settled == [True]
