"""A transport that works in steps, driven from the caller's thread."""

import socket
import threading
import time
from collections.abc import Sequence

import pytest

from reliable_email.smtp.driver.wire import Wire
from reliable_email.smtp.protocol.wire_content import BytesContent
from reliable_email.smtp.stages import Stage
from reliable_email.smtp.transaction import Aside, Ask, Grant, Job, Transaction, Wait, WireSteps, allow_all, run


def job() -> Job:
    """A small message."""
    return Job(sender="a@example.org", recipients=("b@example.net",), content=BytesContent.from_bytes(b"\r\n"))


def steps_of(*steps: Wait | Ask | Aside[object] | Transaction, ended: list[bool]) -> WireSteps:
    """A transport that asks for these; `ended` tells whether it came to its end by itself."""
    is_over = False
    try:
        yield from steps
        is_over = True
    finally:
        ended.append(is_over)


def transaction(one: Job) -> Transaction:
    """What became of it."""
    return Transaction(job=one, results={}, stage=Stage.FINAL_REPLY)


def test_a_transport_hears_what_is_allowed_and_finished_transactions_are_handed_out() -> None:
    """In their order; the rest is between the driver and the transport."""
    first, second = job(), job()
    ask = Ask([Grant(job=second, recipients=second.recipients, refused={})], [transaction(first)])
    asked: list[tuple[Sequence[Grant], Sequence[Transaction]]] = []

    def authorize(grants: Sequence[Grant], settled: Sequence[Transaction]) -> list[Job]:
        asked.append((grants, settled))
        return [second]

    done, ended = [transaction(first), transaction(second)], list[bool]()
    assert list(run(steps_of(done[0], ask, done[1], ended=ended), authorize=authorize)) == done
    assert asked == [(ask.grants, ask.settled)]
    assert ask.allowed == [second]
    assert ended == [True]


def test_a_transport_is_closed_when_authorize_raises() -> None:
    """At once, not whenever the collector finds it: it may hold a connection in the middle of a message."""

    def authorize(grants: Sequence[Grant], settled: Sequence[Transaction]) -> list[Job]:
        raise ZeroDivisionError

    ended: list[bool] = []
    steps = steps_of(Ask([], []), ended=ended)
    with pytest.raises(ZeroDivisionError):
        list(run(steps, authorize=authorize))
    assert ended == [False]


def test_a_transport_is_closed_when_the_caller_has_enough() -> None:
    """The caller closes what he was given."""
    ended: list[bool] = []
    steps = steps_of(transaction(job()), transaction(job()), ended=ended)
    running = run(steps, authorize=allow_all)
    next(running)
    running.close()  # type: ignore[attr-defined]
    assert ended == [False]


@pytest.mark.parametrize("error", [ZeroDivisionError, SystemExit])
def test_what_a_call_raises_is_raised_where_its_result_is_asked_for(error: type[BaseException]) -> None:
    """Whoever makes the call is not the one who has to know what to do."""

    def fail() -> None:
        raise error

    aside = Aside(fail)
    assert list(run(steps_of(aside, ended=[]), authorize=allow_all)) == []
    with pytest.raises(error):
        aside.result()


def test_a_call_is_made_by_the_callers_thread() -> None:
    """And its result is there when the transport goes on."""
    aside = Aside(threading.current_thread)
    assert list(run(steps_of(aside, ended=[]), authorize=allow_all)) == []
    assert aside.result() is threading.current_thread()


@pytest.mark.parametrize(
    ("said", "for_write", "is_ready"), [(b"", False, False), (b"x", False, True), (b"", True, True)]
)
def test_a_transport_knows_after_a_wait_whether_its_wire_is_ready(said: bytes, for_write: bool, is_ready: bool) -> None:
    """Nothing is there and the time is up; something is there to read; there is room to write."""
    near, far = socket.socketpair()
    with near, far:
        near.setblocking(False)
        far.send(said)
        wait = Wait(Wire(near), for_write=for_write, until=time.monotonic() - 1.0)
        assert list(run(steps_of(wait, ended=[]), authorize=allow_all)) == []
    assert wait.is_ready is is_ready
