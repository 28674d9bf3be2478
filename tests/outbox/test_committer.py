"""Group commit where it is made hard: many different rows, a row that somebody holds, a database that refuses."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from django.db import OperationalError, connections

from reliable_email.outbox.keyring import Keyring
from reliable_email.outbox.rows.claim import Claimed
from reliable_email.outbox.rows.journal import Request, Written
from reliable_email.outbox.rows.settle import plan_settlement
from reliable_email.outbox.rows.sql import Tables
from reliable_email.outbox.rows.transitions import Event
from reliable_email.outbox.worker.steps import Rest, Steps
from reliable_email.store.tables.states import State
from tests.outbox.desk import asks, claimed, rows, settles, states
from tests.outbox.test_loop import PATIENCE, Answers, commits, loop, permitted, writing

MANY = 70  # more statements than are kept prepared


# Many different rows.


def defers(in_hand: list[Claimed]) -> Request:
    """A line that puts all of these off, each for another time."""
    settlements = [settles(one, f"451 {one.address}").settlements[0] for one in in_hand]
    return Request(
        settlements=[
            replace(one, event=Event.DEFER, in_seconds=60.0 + number) for number, one in enumerate(settlements)
        ]
    )


def test_a_request_may_need_more_statements_than_are_kept_prepared(using: str) -> None:
    """Each recipient is due at another time, and that is SQL; what the first request brings, the others find again."""
    in_hand = claimed(using, 3 * MANY)
    requests = [defers(in_hand[number::3]) for number in range(3)]
    plans = [plan_settlement(Tables(using), one, Keyring()) for one in requests[0].settlements]
    assert len({plan.change.shape for plan in plans if plan is not None}) == MANY
    answers: Answers = []

    def line() -> Steps[None]:
        for request in requests:
            yield from writing(request, answers)

    loop(using).run([line()])
    assert [one.settled if isinstance(one, Written) else one for one in answers] == [[True] * MANY] * 3
    assert [(one.state, one.reply_text, one.attempts) for one in rows(using)] == [
        (State.QUEUED, one.address, 1) for one in in_hand
    ]


# A row that somebody holds.


def test_a_commit_that_waits_for_a_lock_holds_no_other_line_up(using: str) -> None:
    """The row is let go only when the other line has been written, by another connection."""
    if not Tables(using).takes_arrays:
        pytest.skip("only PostgreSQL, by psycopg 3, lets the loop go on during a commit")
    first, second = claimed(using, 2)
    told: list[Answers] = [[], []]
    order: list[str] = []
    somebody = connections.create_connection(using)
    with somebody.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute(f"SELECT 1 FROM {Tables(using).recipient} WHERE id = %s FOR UPDATE", [first.id])

    def blocked() -> Steps[None]:
        yield from writing(asks(first), told[0])
        order.append("blocked")

    def other() -> Steps[None]:
        yield Rest(PATIENCE, is_over=lambda: len(begun) == 1)
        yield from writing(asks(second), told[1])
        order.append("other")

    def holding() -> Steps[None]:
        yield Rest(PATIENCE, is_over=lambda: bool(order))
        order.append("lets go")
        somebody.close()

    with commits() as begun:
        loop(using).run([blocked(), other(), holding()])
    assert order == ["other", "lets go", "blocked"]
    assert permitted(*told) == [[True], [True]]
    assert states(using) == [State.AUTHORIZED] * 2


# A database that refuses.


@contextmanager
def without_journal(using: str) -> Iterator[None]:
    """SQLite takes no attempt, and calls that an operational error, as it does a full disk and a locked file."""
    with connections[using].cursor() as cursor:
        cursor.execute(
            "CREATE TRIGGER refuse BEFORE INSERT ON reliable_email_attempt BEGIN INSERT INTO nowhere VALUES (1); END"
        )
    try:
        yield
    finally:
        with connections[using].cursor() as cursor:
            cursor.execute("DROP TRIGGER refuse")


def test_those_whose_time_is_over_do_not_keep_another_from_being_written(using: str) -> None:
    """Twenty lines are refused again and again, as often as they ask; the one beside them is written."""
    if connections[using].vendor != "sqlite":
        pytest.skip("only SQLite says that it is away for what a trigger does")
    good, *others = claimed(using, 21)
    told: Answers = []
    refused: list[Answers] = [[] for _ in others]

    def insisting(one: Claimed, answers: Answers) -> Steps[None]:
        while not told and len(answers) < 10:
            yield from writing(Request(attempts=settles(one, "250 ok").attempts), answers, seconds=0.0)

    lines = [insisting(one, answers) for one, answers in zip(others, refused, strict=True)]
    with without_journal(using):
        loop(using).run([*lines, writing(asks(good), told)])
    assert permitted(told) == [[True]]
    assert {type(answer) for answers in refused for answer in answers} == {OperationalError}
    assert max(len(answers) for answers in refused) < 10
    assert states(using) == [State.AUTHORIZED, *[State.CLAIMED] * 20]


def test_one_that_can_wait_does_not_keep_another_from_being_written(using: str) -> None:
    """SQLite: the first is refused again and again as if the database were away; the second is taken meanwhile."""
    if connections[using].vendor != "sqlite":
        pytest.skip("only SQLite says that it is away for what a trigger does")
    good, bad = claimed(using, 2)
    told: Answers = []
    refused: Answers = []
    with without_journal(using):
        bad_request = Request(attempts=settles(bad, "250 ok").attempts)
        loop(using).run([writing(bad_request, refused, seconds=1.0), writing(asks(good), told, seconds=0.5)])
    assert permitted(told) == [[True]]
    assert permitted(refused) == [OperationalError]
