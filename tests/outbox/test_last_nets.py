"""Each thread of a worker fails in each way: the mail arrives, the log names the thread, and no provider is flooded."""

import logging
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest
from django.db import IntegrityError, InternalError, connections

from reliable_email.outbox import faultpoints
from reliable_email.outbox.worker import WorkerFailed
from reliable_email.store.states import State
from reliable_email.testing.server import ScriptedServer
from tests.outbox.desk import let_leases_end, let_time_pass, queue, smtp_route, states, worker
from tests.outbox.network import Network

# Where each thread passes: the threads' names as the log has them.
POINTS = {
    "renewals": "renewals",
    "rescue:begin": "keeper",
    "standby": "standby",
    "claim": "reader",
    "load": "reader",
    "send:begin": "lines",
    "journal:begin": "lines",
}
_OPTIONS = {"lease_seconds": 2.0, "stop_seconds": 0.2, "connections": 4, "probe_seconds": 0.1}


@pytest.fixture
def at_point() -> Iterator[Callable[[str, Callable[[], object]], None]]:
    """Call something whenever a thread passes a point of this name."""

    def listen(name: str, act: Callable[[], object]) -> None:
        def pass_by(passed: str) -> None:
            if passed in (name, f"{name}:select"):
                act()

        faultpoints.listen(pass_by)

    yield listen
    faultpoints.reset()


def deliver_the_rest(using: str, server: ScriptedServer) -> None:
    """As the next worker does, when the lease of the one that ended is over."""
    for _ in range(3):
        let_leases_end(using)
        let_time_pass(using)
        worker(using, smtp_route(server)).run()


@pytest.mark.parametrize("error", [RuntimeError("boom"), IntegrityError("boom"), InternalError("boom")], ids=type)
@pytest.mark.parametrize("name", POINTS)
def test_an_exception_in_any_thread_is_survived(
    using: str, at_point: Callable[[str, Callable[[], object]], None], name: str, error: Exception
) -> None:
    """The thread pauses and goes on; the worker delivers everything, and is well at its end."""
    for number in range(6):
        queue(using, f"ok{number}@example.com")
    left = [error, error]

    def fail() -> None:
        if left:
            raise left.pop()

    at_point(name, fail)
    with ScriptedServer() as server:
        worker(using, smtp_route(server), **_OPTIONS).run()
        faultpoints.reset()
        deliver_the_rest(using, server)
        assert states(using) == [State.ACCEPTED] * 6
        assert Counter(message.recipients for message in server.messages).most_common(1)[0][1] == 1


@pytest.mark.parametrize("name", [name for name in POINTS if name != "standby"])
def test_the_death_of_any_thread_ends_the_worker_loudly(
    using: str, at_point: Callable[[str, Callable[[], object]], None], name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """What ends a thread without an exception that anybody catches is named, and the next worker delivers."""
    queue(using)
    died: list[str] = []

    def die() -> None:
        if not died:
            died.append(name)
            raise SystemExit

    at_point(name, die)
    with ScriptedServer() as server:
        with caplog.at_level(logging.ERROR, "reliable_email.outbox"), pytest.raises(WorkerFailed):
            worker(using, smtp_route(server), **_OPTIONS, until_empty=False).run()
        faultpoints.reset()
        assert "the worker stops" in caplog.text
        deliver_the_rest(using, server)
        assert states(using) == [State.ACCEPTED]
        assert len(server.messages) == 1


@pytest.mark.parametrize("name", [name for name in POINTS if name != "standby"])
def test_a_thread_that_hangs_ends_the_worker_loudly(
    using: str, at_point: Callable[[str, Callable[[], object]], None], name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing can end it: the worker says where it hangs and leaves, and the next one delivers."""
    if connections[using].vendor != "sqlite":
        pytest.skip("threads hang alike on all databases")
    queue(using)
    is_over = threading.Event()
    hung: list[str] = []

    def hang() -> None:
        if not hung:
            hung.append(name)
            is_over.wait()
            raise SystemExit

    at_point(name, hang)
    with ScriptedServer() as server:
        try:
            with caplog.at_level(logging.ERROR, "reliable_email.outbox"), pytest.raises(WorkerFailed) as caught:
                worker(using, smtp_route(server), **_OPTIONS, until_empty=False).run()
        finally:
            faultpoints.reset()
            is_over.set()
        assert f"'{POINTS[name]}' has not moved" in str(caught.value)
        assert "in hang" in caplog.text
        deliver_the_rest(using, server)
        assert states(using) == [State.ACCEPTED]
        assert len(server.messages) == 1


def test_a_standby_thread_that_hangs_holds_up_nobody(
    using: str, at_point: Callable[[str, Callable[[], object]], None]
) -> None:
    """Probes are not needed to deliver."""
    queue(using)
    is_over = threading.Event()
    at_point("standby", is_over.wait)
    try:
        with ScriptedServer() as server:
            worker(using, smtp_route(server), **_OPTIONS).run()
    finally:
        is_over.set()
    assert states(using) == [State.ACCEPTED]


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(lambda: InternalError("cannot execute UPDATE in a read-only transaction"), id="read-only"),
        pytest.param(lambda: IntegrityError("a row is to blame"), id="a row"),
        pytest.param(lambda: RuntimeError("a mistake of ours"), id="a mistake"),
    ],
)
@pytest.mark.parametrize("name", ["renewals", "journal:begin", "claim", "load"])
def test_trouble_that_lasts_opens_few_connections(
    using: str, at_point: Callable[[str, Callable[[], object]], None], name: str, error: Callable[[], Exception]
) -> None:
    """Eight lines, a hundred messages, three seconds in which nothing can be written: then all is delivered."""
    for number in range(100):
        queue(using, f"ok{number}@example.com")
    is_broken = threading.Event()
    is_broken.set()

    def fail() -> None:
        if is_broken.is_set():
            raise error()

    at_point(name, fail)
    mend = threading.Timer(3.0, is_broken.clear)
    mend.start()
    with ScriptedServer() as server:
        options = {**_OPTIONS, "connections": 8, "poll_seconds": 30.0, "batch": 5}
        worker(using, smtp_route(server), **options).run()
        mend.join()
        faultpoints.reset()
        deliver_the_rest(using, server)
        assert states(using) == [State.ACCEPTED] * 100
        assert len(server.messages) == 100
        # Eight at once, one or two for each second of trouble, eight again; and the next workers' own.
        assert len(server.connections) <= 8 + 6 + 8 + 3


@pytest.mark.parametrize(
    ("name", "stub", "words"),
    [
        ("eventlet.patcher", SimpleNamespace(is_monkey_patched=lambda what: True), "eventlet"),
        ("", None, "stands still"),
    ],
    ids=["eventlet", "a frozen clock"],
)
def test_a_process_in_which_no_worker_can_work_is_refused(
    using: str, monkeypatch: pytest.MonkeyPatch, name: str, stub: object, words: str
) -> None:
    """In a sentence, before anything is claimed."""
    if name:
        monkeypatch.setitem(sys.modules, name, stub)
    else:
        monkeypatch.setattr(time, "monotonic", lambda: 1.0)
    with pytest.raises(WorkerFailed, match=words):
        worker(using, Network().route()).run()
