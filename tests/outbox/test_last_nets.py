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

from reliable_email.integrations import announcing
from reliable_email.outbox import faultpoints
from reliable_email.outbox.worker.process import WorkerFailed
from reliable_email.store.tables.shared import Worker as WorkerRow
from reliable_email.store.tables.states import State
from reliable_email.testing.server import ScriptedServer
from tests.outbox.desk import let_leases_end, let_time_pass, queue, smtp_route, states, worker
from tests.outbox.network import Network

# Where each thread passes: the threads' names as the log has them.
POINTS = {
    "renewals": "renewals",
    "rescue:begin": "keeper",
    "memory": "memory",
    "standby": "standby",
    "listen": "listener",
    "claim": "reader",
    "load": "reader",
    "send:begin": "lines",
    "journal:begin": "lines",
}
# Mail goes out without them: a worker goes on when one of these hangs, and says so.
NOT_VITAL = {"memory", "standby", "listener"}
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


def needs_listener(using: str, name: str) -> None:
    """Only PostgreSQL has something to listen to."""
    if name == "listen" and connections[using].vendor != "postgresql":
        pytest.skip("PostgreSQL's")


def format_record(record: logging.LogRecord) -> str:
    """What a log file has of it."""
    return logging.Formatter().format(record)


@pytest.mark.parametrize("error", [RuntimeError("boom"), IntegrityError("boom"), InternalError("boom")], ids=type)
@pytest.mark.parametrize("name", POINTS)
def test_an_exception_in_any_thread_is_survived(
    using: str, at_point: Callable[[str, Callable[[], object]], None], name: str, error: Exception
) -> None:
    """The thread pauses and goes on; the worker delivers everything, and is well at its end."""
    needs_listener(using, name)
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


@pytest.mark.parametrize("name", POINTS)
def test_a_mistake_in_any_thread_is_told_by_the_threads_name(
    using: str, at_point: Callable[[str, Callable[[], object]], None], name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever reads the log knows where to look."""
    needs_listener(using, name)
    queue(using)
    left = [RuntimeError("boom")]

    def fail() -> None:
        if left:
            raise left.pop()

    at_point(name, fail)
    with ScriptedServer() as server, caplog.at_level(logging.INFO, "reliable_email.outbox"):
        worker(using, smtp_route(server), **_OPTIONS, until_empty=False).run(is_over=lambda: "boom" in caplog.text)
    # A claim is the lines', whichever thread asks the database for it.
    thread = "lines" if POINTS[name] == "reader" else POINTS[name]
    assert f"thread {thread!r}" in next(one.getMessage() for one in caplog.records if "boom" in format_record(one))


@pytest.mark.parametrize("name", POINTS)
def test_the_death_of_any_thread_ends_the_worker_loudly(
    using: str, at_point: Callable[[str, Callable[[], object]], None], name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """What ends a thread without an exception that anybody catches is named, and the next worker delivers."""
    needs_listener(using, name)
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
        if POINTS[name] not in ("reader", "lines"):  # whose lines' own last net is as loud
            assert f"thread {POINTS[name]!r} has ended" in caplog.text
        deliver_the_rest(using, server)
        assert states(using) == [State.ACCEPTED]
        assert len(server.messages) == 1
        assert len(server.connections) <= 4


@pytest.mark.parametrize("name", [name for name, thread in POINTS.items() if thread not in NOT_VITAL])
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


@pytest.mark.parametrize("name", [name for name, thread in POINTS.items() if thread in NOT_VITAL])
def test_a_thread_that_mail_goes_without_holds_up_nobody_when_it_hangs(
    using: str, at_point: Callable[[str, Callable[[], object]], None], name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Probes, notifications and the memory of routes: the worker delivers, and says once which thread hangs where."""
    needs_listener(using, name)
    if name != "listen" and connections[using].vendor != "sqlite":
        pytest.skip("threads hang alike on all databases")
    queue(using)
    is_over = threading.Event()
    at_point(name, is_over.wait)

    def is_told() -> bool:
        return f"thread {POINTS[name]!r} has not moved" in caplog.text

    try:
        with ScriptedServer() as server, caplog.at_level(logging.ERROR, "reliable_email.outbox"):
            worker(using, smtp_route(server), **_OPTIONS, until_empty=False).run(is_over=is_told)
            assert "goes on without it" in caplog.text
            assert states(using) == [State.ACCEPTED]
            assert len(server.messages) == 1
    finally:
        faultpoints.reset()
        is_over.set()


@pytest.mark.parametrize("kind", ["death", "hang"])
def test_a_helper_that_dies_or_hangs_ends_the_worker_loudly(
    using: str, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It opens connections and runs other people's code, which may take as long as a final reply, and no longer."""
    if connections[using].vendor != "sqlite":
        pytest.skip("threads fail alike on all databases")
    queue(using)
    network = Network()
    is_over = threading.Event()

    def fail() -> None:
        network.before_ask = None
        if kind == "hang":
            is_over.wait()
        raise SystemExit

    network.before_ask = fail
    one = worker(using, network.route(), **_OPTIONS, until_empty=False, final_reply_seconds=0.1)
    try:
        with caplog.at_level(logging.ERROR, "reliable_email.outbox"), pytest.raises(WorkerFailed):
            one.run()
    finally:
        is_over.set()
    assert ("'helper' has not moved" if kind == "hang" else "the worker stops") in caplog.text
    for _ in range(2):
        let_leases_end(using)
        let_time_pass(using)
        worker(using, network.route()).run()
    assert states(using) == [State.ACCEPTED]
    assert sum(network.taken.values()) == 1


@pytest.mark.parametrize("name", ["keeper", "renewals", "memory", "lines", "reader", "helper"])
def test_a_thread_that_cannot_be_started_ends_the_worker_in_a_sentence(
    using: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process, or a machine, that has no room for another one: no other thread goes on without its worker."""
    queue(using)
    start = threading.Thread.start
    before = set(threading.enumerate())

    def start_most(thread: threading.Thread) -> None:
        if thread.name == f"reliable-email-{name}":
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_most)
    with ScriptedServer() as server:
        with pytest.raises(WorkerFailed, match="can't start new thread"):
            worker(using, smtp_route(server), **_OPTIONS, until_empty=False).run()
        monkeypatch.undo()
        for thread in set(threading.enumerate()) - before:
            if thread.name.startswith("reliable-email-"):
                thread.join(10.0)
                assert not thread.is_alive()
        assert not WorkerRow.objects.using(using).filter(state="running").exists()
        deliver_the_rest(using, server)
        assert states(using) == [State.ACCEPTED]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("kind", ["exception", "death", "hang"])
def test_an_announcer_that_fails_costs_no_caller_anything(
    kind: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever waits for it goes on, and a sweep finds what it could not announce."""
    announced: list[list[int]] = []
    is_over = threading.Event()
    left = [kind]

    def tell(ids: list[int]) -> None:
        match left.pop() if left else "":
            case "exception":
                raise RuntimeError("boom")
            case "death":
                raise SystemExit
            case "hang":
                is_over.wait()
        announced.append(ids)

    monkeypatch.setattr(announcing, "_announcer", lambda name: tell)
    monkeypatch.setattr(threading, "excepthook", lambda told: None)  # the death is meant
    one = announcing.Announcer()
    one.add(1)
    dying = one._thread
    try:
        assert one.flush(0.2 if kind == "hang" else 10.0) is (kind != "hang")
        one.add(2)
    finally:
        is_over.set()
    assert one.flush(10.0)
    if kind == "death" and dying is not None:
        dying.join(10.0)
    # After a failure it is silent for a while.
    assert announced == ([[1], [2]] if kind == "hang" else [])
    assert ("could not be announced" in caplog.text) is (kind == "exception")


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
