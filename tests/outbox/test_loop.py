"""One thread drives all lines: none waits for another, what they write goes together, and each hears of its own."""

import logging
import selectors
import socket
import threading
import time
from collections.abc import Container, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from django.db import IntegrityError, OperationalError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

from reliable_email.outbox import faultpoints, wake
from reliable_email.outbox.keyring import Keyring
from reliable_email.outbox.rows.journal import Request, Written
from reliable_email.outbox.rows.settle import AttemptRow, Evidence
from reliable_email.outbox.worker.loop import Loop
from reliable_email.outbox.worker.steps import Rest, Steps, Write
from reliable_email.smtp.driver.wire import Wire
from reliable_email.smtp.transaction import Aside, Wait
from reliable_email.store.tables.states import State
from tests.outbox.desk import asks, claimed, settles, states
from tests.outbox.test_database_faults import kill_connections

LONG = 3600.0  # seconds that no test waits for
PATIENCE = 10.0  # seconds after which a test has failed
# No message has this number.
REFUSED = Request(attempts=[AttemptRow(message_id=10**9, claim=1, worker="w", evidence=Evidence(), seconds=0.1)])

Answers = list[Written | BaseException]


def loop(using: str) -> Loop:
    """One that nobody watches."""
    return Loop(using, Keyring())


def writing(request: Request, answers: Answers, *, seconds: float = LONG) -> Steps[None]:
    """A line that writes once, and notes what it is told."""
    write = Write(request, seconds)
    yield write
    try:
        answers.append(write.result())
    except Exception as error:  # noqa: BLE001 - the test judges it
        answers.append(error)


def drive(using: str, *requests: Request) -> list[Answers]:
    """A line for each of these; what each was told."""
    told: list[Answers] = [[] for _ in requests]
    loop(using).run([writing(request, answers) for request, answers in zip(requests, told, strict=True)])
    return told


def permitted(*told: Answers) -> list[object]:
    """For each line, what it was permitted, or its error."""
    return [one.permitted if isinstance(one, Written) else type(one) for answers in told for one in answers]


@contextmanager
def commits(*, away: Container[int] = ()) -> Iterator[list[threading.Thread]]:
    """The threads that began a commit, each time; the database is away at those of these numbers, counted from 1."""
    begun: list[threading.Thread] = []

    def listen(name: str) -> None:
        if name == "journal:begin":
            begun.append(threading.current_thread())
            if len(begun) in away:
                raise OperationalError("the database is away")

    faultpoints.listen(listen)
    try:
        yield begun
    finally:
        faultpoints.reset()


# Writing.


def test_lines_that_write_at_the_same_time_are_written_in_one_transaction(using: str) -> None:
    """Four lines: half of them is written together, and then the other half."""
    requests = [asks(one) for one in claimed(using, 4)]
    with commits() as begun:
        told = drive(using, *requests)
    assert permitted(*told) == [[True]] * 4
    assert len(begun) == 2
    assert states(using) == [State.AUTHORIZED] * 4


def test_each_line_is_told_of_its_own_rows(using: str) -> None:
    """Those whose row somebody else has are told so, and not those beside them."""
    in_hand = claimed(using, 4)
    for one in in_hand[::2]:
        one.delivery = replace(one.delivery, claim=one.delivery.claim + 1)
    assert permitted(*drive(using, *(asks(one) for one in in_hand))) == [[False], [True], [False], [True]]


def test_what_cannot_be_written_holds_nobody_up(using: str) -> None:
    """The line whose row the database refuses gets the error; those who were written with it get their permissions."""
    first, second, third = claimed(using, 3)
    bad = replace(REFUSED, intents=asks(second).intents)
    with commits() as begun:
        told = drive(using, asks(first), bad, asks(third))
    assert permitted(*told) == [[True], IntegrityError, [True]]
    assert states(using) == [State.AUTHORIZED, State.CLAIMED, State.AUTHORIZED]
    assert len(begun) == 4  # the first two together, each of them by itself, the third


def test_a_commit_of_one_raises_as_it_is(using: str) -> None:
    """Nothing is tried again behind the back of a line that was written alone, and the line may go on."""
    [one] = claimed(using, 1)
    answers: Answers = []

    def line() -> Steps[None]:
        for request in (asks(one), REFUSED, settles(one, "250 ok")):
            yield from writing(request, answers)

    with commits() as begun:
        loop(using).run([line()])
    first, second, third = answers
    assert isinstance(first, Written)
    assert isinstance(second, IntegrityError)
    assert isinstance(third, Written)
    assert third.settled == [True]
    assert len(begun) == 3


# A database that is away.


def test_what_was_not_written_is_tried_again_as_a_repetition(using: str, caplog: pytest.LogCaptureFixture) -> None:
    """The first commit may have been written although its answer was lost; the trouble is told once."""
    [one] = claimed(using, 1)
    write = Write(asks(one), LONG)

    def line() -> Steps[None]:
        yield write

    with commits(away=(1, 2)) as begun, caplog.at_level(logging.WARNING, "reliable_email.outbox"):
        loop(using).run([line()])
    assert write.result().permitted == [True]
    assert write.request.is_repeat
    assert len(begun) == 3
    assert [record.message for record in caplog.records] == [
        f"The database {using!r} is away, trying again: the database is away"
    ]


def test_whose_time_is_over_gets_the_error_and_the_others_keep_their_turn(using: str) -> None:
    """One of four lines cannot wait: the other three are written when the database answers again."""
    requests = [asks(one) for one in claimed(using, 4)]
    told: list[Answers] = [[], [], [], []]
    seconds = (0.0, LONG, LONG, LONG)
    lines = [writing(*line[:2], seconds=line[2]) for line in zip(requests, told, seconds, strict=True)]
    with commits(away=(1, 2)):  # of two lines together, and of the first by itself
        loop(using).run(lines)
    assert permitted(*told) == [OperationalError, [True], [True], [True]]
    assert states(using) == [State.CLAIMED, *[State.AUTHORIZED] * 3]


def test_a_connection_that_was_killed_is_replaced(using: str) -> None:
    """What is written next is written by a new one."""
    if connections[using].vendor == "sqlite":
        pytest.skip("SQLite has no server")
    [one] = claimed(using, 1)
    answers: Answers = []

    def line() -> Steps[None]:
        yield from writing(asks(one), answers)
        kill_connections(using)
        yield from writing(settles(one, "250 ok"), answers)

    loop(using).run([line()])
    connections[using].close()
    assert [type(answer) for answer in answers] == [Written, Written]
    assert states(using) == [State.ACCEPTED]


def test_a_second_outage_is_told_again(using: str, caplog: pytest.LogCaptureFixture) -> None:
    """Between the two the database took what several lines wrote together, and so it was there."""
    told: list[Answers] = [[], [], [], []]

    def line(answers: Answers) -> Steps[None]:
        yield from writing(Request(), answers, seconds=0.0)
        yield from writing(Request(), answers)
        yield from writing(Request(), answers)

    # Each outage is a commit of several lines, and that of the first of them by itself.
    with commits(away=(1, 2, 4, 5)), caplog.at_level(logging.WARNING, "reliable_email.outbox"):
        loop(using).run([line(answers) for answers in told])
    assert sum(isinstance(answer, OperationalError) for answers in told for answer in answers) == 2
    assert [record.message.partition(":")[0] for record in caplog.records] == [
        f"The database {using!r} is away, trying again"
    ] * 2


# Lines among each other.


def test_a_line_that_blocks_holds_nobody_up(using: str) -> None:
    """The call returns only when the other line has written and ended."""
    [one] = claimed(using, 1)
    has_ended = threading.Event()
    aside = Aside(lambda: has_ended.wait(PATIENCE))
    answers: Answers = []

    def blocking() -> Steps[None]:
        yield aside

    def other() -> Steps[None]:
        yield from writing(asks(one), answers)
        has_ended.set()

    loop(using).run([blocking(), other()])
    assert aside.result()
    assert permitted(answers) == [[True]]


def test_the_calls_of_a_line_share_a_thread_and_those_of_two_lines_do_not(using: str) -> None:
    """Other code expects its database connection and its thread's own data to be there the next time."""
    met = threading.Barrier(2, timeout=PATIENCE)
    threads: list[list[int]] = [[], []]

    def line(own: list[int]) -> Steps[None]:
        for _ in range(2):
            aside = Aside(lambda: (met.wait(), own.append(threading.get_ident())))
            yield aside
            aside.result()

    loop(using).run([line(own) for own in threads])
    assert [len(own) for own in threads] == [2, 2]
    assert [len(set(own)) for own in threads] == [1, 1]
    assert len({threading.get_ident(), *threads[0], *threads[1]}) == 3


def test_a_line_that_ends_with_an_error_is_told_and_the_others_go_on(
    using: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged with its traceback, and whoever runs the loop hears of it."""
    [one] = claimed(using, 1)
    answers: Answers = []
    calls: list[bool] = []

    def broken() -> Steps[None]:
        yield Rest(0.0)
        raise ZeroDivisionError

    driving = Loop(using, Keyring(), on_error=lambda: calls.append(True))
    with caplog.at_level(logging.ERROR, "reliable_email.outbox"):
        driving.run([broken(), writing(asks(one), answers)])
    assert permitted(answers) == [[True]]
    assert calls == [True]
    [record] = caplog.records
    assert record.message.startswith("A line of the worker ended with an error")
    assert record.exc_info is not None
    assert record.exc_info[0] is ZeroDivisionError


# Waiting.


def test_a_line_that_waits_for_what_nobody_knows_is_told(using: str, caplog: pytest.LogCaptureFixture) -> None:
    """It does not wait for ever, and no other line does."""
    ended: list[bool] = []
    unknown: Any = object()

    def confused() -> Steps[None]:
        yield unknown

    Loop(using, Keyring(), on_error=lambda: ended.append(True)).run([confused()])
    assert ended == [True]
    assert "is nothing that a line can wait for" in caplog.text


@pytest.fixture
def pair() -> Iterator[tuple[Wire, socket.socket]]:
    """A wire, and the other end of it."""
    near, far = socket.socketpair()
    with near, far:
        near.setblocking(False)
        yield Wire(near), far


Pair = tuple[Wire, socket.socket]


def test_a_line_goes_on_when_its_wire_is_ready(using: str, pair: Pair) -> None:
    """Another line says something meanwhile."""
    wire, far = pair
    read: list[object] = []
    waits: list[Wait] = []

    def reading() -> Steps[None]:
        for _ in range(2):
            wait = Wait(wire, for_write=False, until=time.monotonic() + LONG)
            waits.append(wait)
            yield wait
            read.append(wire.read())

    def speaking() -> Steps[None]:
        for word in (b"one", b"two"):
            while len(waits) <= len(read):
                yield Rest(0.0)
            far.send(word)
            while read[-1:] != [word]:
                yield Rest(0.0)

    loop(using).run([reading(), speaking()])
    assert read == [b"one", b"two"]
    assert [wait.is_ready for wait in waits] == [True, True]


class Apart(selectors.DefaultSelector):
    """Names a wire once for reading and once for writing, as kqueue does."""

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """See the class."""
        both = (selectors.EVENT_READ, selectors.EVENT_WRITE)
        return [(key, one) for key, events in super().select(timeout) for one in both if events & one]


def test_a_line_goes_on_once_when_its_wire_is_named_twice(
    using: str, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is something to read and room to write; what the line waits for next is not taken for ready."""
    monkeypatch.setattr(selectors, "DefaultSelector", Apart)
    wire, far = pair
    far.send(b"one")
    first = Wait(wire, for_write=True, until=time.monotonic() + LONG)
    second = Wait(wire, for_write=False, until=time.monotonic())
    ended: list[bool] = []

    def line() -> Steps[None]:
        yield first
        wire.read()
        yield second
        ended.append(True)

    loop(using).run([line()])
    assert ended == [True]
    assert [wait.is_ready for wait in (first, second)] == [True, False]


@pytest.mark.parametrize(
    ("said", "for_write", "is_ready"), [(b"", False, False), (b"x", False, True), (b"", True, True)]
)
def test_a_line_whose_time_is_up_goes_on_and_knows_whether_its_wire_is_ready(
    using: str, pair: Pair, said: bytes, for_write: bool, is_ready: bool
) -> None:
    """Nothing is there; something is there to read; there is room to write."""
    wire, far = pair
    far.send(said)
    wait = Wait(wire, for_write=for_write, until=time.monotonic() - 1.0)

    def line() -> Steps[None]:
        yield wait

    loop(using).run([line()])
    assert wait.is_ready is is_ready


def test_a_line_that_rests_goes_on_when_something_was_queued(using: str) -> None:
    """From another thread, while all lines rest."""
    goes_on = threading.Event()

    def nudge_and_look() -> bool:
        wake.nudge()
        return goes_on.wait(PATIENCE)

    aside = Aside(nudge_and_look)

    def resting() -> Steps[None]:
        seen = wake.generation()
        yield Rest(LONG, is_over=lambda: wake.generation() != seen)
        goes_on.set()

    def nudging() -> Steps[None]:
        yield aside

    loop(using).run([resting(), nudging()])
    assert aside.result()


def test_a_line_does_not_rest_where_something_was_queued_before(using: str, pair: Pair) -> None:
    """The bell has been heard for others when it begins to rest; what it has not seen is there all the same."""
    wire, _ = pair
    goes_on = threading.Event()
    aside = Aside(lambda: goes_on.wait(PATIENCE))

    def resting() -> Steps[None]:
        seen = wake.generation()
        wake.nudge()
        yield Wait(wire, for_write=True, until=time.monotonic() + LONG)
        yield Rest(LONG, is_over=lambda: wake.generation() != seen)
        goes_on.set()

    def watching() -> Steps[None]:
        yield aside

    loop(using).run([resting(), watching()])
    assert aside.result()


def test_a_line_goes_on_when_another_ends_its_rest(using: str) -> None:
    """No bell is rung for that: they share a thread."""
    order: list[str] = []

    def resting() -> Steps[None]:
        yield Rest(LONG, is_over=lambda: bool(order))
        order.append("resting")

    def other() -> Steps[None]:
        yield Rest(0.0)
        order.append("other")

    loop(using).run([resting(), other()])
    assert order == ["other", "resting"]


def test_a_rest_ends_by_its_seconds(using: str) -> None:
    """Though nothing was queued."""
    ended: list[bool] = []

    def line() -> Steps[None]:
        yield Rest(0.0)
        ended.append(True)

    loop(using).run([line(), line()])
    assert ended == [True, True]


# Its end.


@contextmanager
def connected() -> Iterator[list[tuple[threading.Thread, BaseDatabaseWrapper]]]:
    """Who connects to a database meanwhile."""
    seen: list[tuple[threading.Thread, BaseDatabaseWrapper]] = []

    def note(sender: object, connection: BaseDatabaseWrapper, **kwargs: object) -> None:
        seen.append((threading.current_thread(), connection))

    connection_created.connect(note)
    try:
        yield seen
    finally:
        connection_created.disconnect(note)


def asking(using: str) -> Steps[None]:
    """A line that asks the database something, where that may block."""
    aside = Aside(lambda: connections[using].ensure_connection())
    yield aside
    aside.result()


def helpers() -> list[threading.Thread]:
    """Threads for what blocks."""
    return [thread for thread in threading.enumerate() if thread.name == "reliable-email-helper"]


def test_nothing_is_left_behind(using: str) -> None:
    """The loop's connections are closed when it ends; helpers end by themselves, and close their own."""
    requests = [asks(one) for one in claimed(using, 4)]
    connections[using].close()

    def claiming() -> Steps[None]:
        connections[using].ensure_connection()  # the thread's own, beside that for commits
        yield Rest(0.0)

    with connected() as seen:
        loop(using).run([claiming(), *(writing(request, []) for request in requests), asking(using), asking(using)])
    own = [connection for thread, connection in seen if thread is threading.current_thread()]
    assert connections[using] in own
    assert all(connection.connection is None for connection in own)
    others = [(thread, connection) for thread, connection in seen if thread is not threading.current_thread()]
    assert len(others) == 2
    for thread, connection in others:
        thread.join(PATIENCE)
        assert not thread.is_alive()
        assert connection.connection is None


def test_nothing_is_left_behind_where_the_loop_itself_ends_with_an_error(using: str) -> None:
    """Lines that have not ended are closed, and their helpers end."""
    closed: list[bool] = []
    before = set(helpers())

    def waiting() -> Steps[None]:
        try:
            yield from asking(using)
            yield Rest(LONG)
        finally:
            closed.append(True)

    def broken() -> Steps[None]:
        yield from asking(using)
        raise ValueError

    def give_up() -> None:
        raise SystemExit

    with connected() as seen, pytest.raises(SystemExit):
        Loop(using, Keyring(), on_error=give_up).run([waiting(), broken()])
    assert closed == [True]
    for thread in set(helpers()) - before:
        thread.join(PATIENCE)
        assert not thread.is_alive()
    assert all(connection.connection is None for _, connection in seen)


def test_what_a_call_returns_after_its_line_was_closed_is_not_lost(using: str) -> None:
    """The call goes on for as long as it likes, and what it returns goes where the line has said."""
    is_closed = threading.Event()
    aside = Aside(lambda: is_closed.wait(PATIENCE))
    late: list[bool] = []
    before = set(helpers())

    def waiting() -> Steps[None]:
        try:
            yield aside
        finally:
            aside.abandon(late.append)
            is_closed.set()

    def broken() -> Steps[None]:
        yield Rest(0.0)
        raise ValueError

    def give_up() -> None:
        raise SystemExit

    with pytest.raises(SystemExit):
        Loop(using, Keyring(), on_error=give_up).run([waiting(), broken()])
    for thread in set(helpers()) - before:
        thread.join(PATIENCE)
    assert late == [True]
