"""How much of the package a message goes through: files that a maintainer has to know, their lines, frames."""

import ast
import io
import sys
import threading
import tokenize
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import django
import pytest
from django.core.mail import EmailMessage

import reliable_email
from reliable_email.delivery import registry
from reliable_email.smtp.driver import learned_limits
from reliable_email.store.tables.states import State
from reliable_email.testing.reset import reset
from reliable_email.testing.server import ScriptedServer
from tests.django.conftest import message, use_mailers
from tests.outbox.desk import queue, smtp_route, states, worker

ROOT = Path(reliable_email.__file__).parent
FAILOVER = "reliable_email.backends.FailoverBackend"
SMTP = "reliable_email.backends.ReliableSMTPBackend"
# Of which the first is Django's `EmailMessage.send`.
MOST_FRAMES = 13


# What a warm direct send runs through, and below it what those files cannot be understood without.
DIRECT = [
    "backends/direct",
    "backends/smtp",
    "conf",
    "delivery/passages/admission",
    "delivery/breaker",
    "delivery/content/building",
    "delivery/direct",
    "delivery/telling/log_records",
    "delivery/route_memory",
    "delivery/passages/passage",
    "delivery/passages/progress",
    "delivery/report",
    "delivery/content/serializer",
    "smtp/protocol/channel",
    "smtp/driver/connection",
    "smtp/protocol/wire_content",
    "smtp/deadline",
    "smtp/protocol/exchange",
    "smtp/driver/learned_limits",
    "smtp/syntax/paths",
    "smtp/driver/pool",
    "smtp/syntax/replies",
    "smtp/protocol/session",
    "smtp/driver/stream",
    "smtp/transaction",
    "smtp/driver/transport",
    "smtp/driver/wire",
    "delivery/failures",
    "delivery/passages/judging",
    "delivery/policy",
    "delivery/route",
    "delivery/submission",
    "smtp/protocol/events",
]
# What a worker runs through beside that, with its keeper and the opening of a connection.
WORKER = [
    "outbox/rows/claim",
    "outbox/worker/committer",
    "outbox/worker/jobs",
    "outbox/rows/domains",
    "outbox/operations/erased",
    "outbox/faultpoints",
    "delivery/given_ids",
    "outbox/worker/hardship",
    "outbox/worker/in_hand",
    "outbox/worker/blocking",
    "outbox/operations/holds",
    "outbox/rows/held",
    "outbox/rows/journal",
    "outbox/upkeep/keeper",
    "outbox/keyring",
    "outbox/rows/lanes",
    "outbox/worker/claim_task",
    "outbox/upkeep/listen",
    "outbox/upkeep/delivery_log",
    "outbox/worker/loop",
    "outbox/own_connection",
    "outbox/worker/permits",
    "outbox/rows/pipeline",
    "outbox/upkeep/worker_row",
    "outbox/upkeep/reports",
    "outbox/upkeep/reconnect",
    "outbox/upkeep/registration",
    "outbox/rows/rescue",
    "outbox/rows/reservations",
    "outbox/worker/batch",
    "outbox/rows/settle",
    "outbox/worker/settlements",
    "outbox/rows/standing",
    "outbox/upkeep/standstill",
    "outbox/worker/steps",
    "outbox/rows/loading",
    "outbox/operations/suppression_list",
    "outbox/rows/sql",
    "outbox/upkeep/counters",
    "outbox/upkeep/signalling",
    "outbox/upkeep/threads",
    "outbox/rows/transitions",
    "outbox/upkeep/duties",
    "outbox/wake",
    "outbox/worker/wants",
    "outbox/worker/process",
    "store/sql/clock",
    "store/questions/filters",
    "store/sql/inserts",
    "store/questions/lanes",
    "store/memory/learned_limits",
    "store/tables/states",
    "store/sql/texts",
    "delivery/telling/tracing",
    "providers/catalogue",
    "smtp/protocol/capabilities",
    "smtp/driver/connect",
    "smtp/driver/first_logins",
    "smtp/driver/hello",
    "smtp/resolve",
    "smtp/protocol/set_up",
    "smtp/tls/strictness",
]
# What does the work of the standard library's `dataclasses` and `re`, by the same names, when it is first needed.
AS_STANDARD = {"records.py", "patterns.py"}
# Lines of code, as measured. They may shrink.
MOST_LINES_OF_A_FILE = 450
MOST_FILES_OF_A_ROOM = 15
MOST_LINES_OF_A_CLASS = 300
LONG_CLASSES = {
    "Batch",
    "Connection",
    "Conversation",
    "DatabaseRouteStateStore",
    "Passage",
    "Session",
    "Worker",
}
MOST_DIRECT_LINES = 5925
MOST_WORKER_LINES = 6400


_CODE = {
    tokenize.NAME,
    tokenize.OP,
    tokenize.NUMBER,
    tokenize.STRING,
    getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING),
}
# Below 6.1 a message comes to MAILERS by four files of ours, which Django has itself from then on.
opens_mailers = pytest.mark.skipif(django.VERSION < (6, 1), reason="Django does not open MAILERS by itself")


def code_lines(path: Path) -> int:
    """Lines of a module without comments, docstrings and blank ones."""
    text = path.read_text()
    words: set[int] = set()
    told: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            first = node.body[0]
            told.update(range(first.lineno, (first.end_lineno or first.lineno) + 1))
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type in _CODE:
            words.update(range(token.start[0], token.end[0] + 1))
    return len(words - told)


def lines_of(names: list[str]) -> int:
    """Of all these modules."""
    return sum(code_lines(ROOT / f"{name}.py") for name in names)


class Seen:
    """What ran in this thread: the package's own files, and the deepest stack of frames at a write to the socket."""

    def __init__(self) -> None:
        self.files: set[str] = set()
        self.deepest: list[str] = []
        self._top: FrameType | None = None

    def begin(self, *, threads: bool = False) -> None:
        """Count frames from the caller's on, itself left out; with the threads that are begun from now on."""
        self._top = sys._getframe(1)
        if threads:
            threading.setprofile(self._on_event)
        sys.setprofile(self._on_event)

    def end(self) -> None:
        """See no more."""
        sys.setprofile(None)
        threading.setprofile(None)

    def _on_event(self, frame: FrameType, event: str, called: Any) -> None:
        if event == "call":
            path = Path(frame.f_code.co_filename)
            if path.is_relative_to(ROOT):
                self.files |= {path.relative_to(ROOT).as_posix()} - AS_STANDARD
        elif event == "c_call" and getattr(called, "__name__", "") in ("send", "sendall", "sendmsg"):
            stack = []
            above: FrameType | None = frame
            while above is not None and above is not self._top:
                stack.append(above.f_code.co_name)
                above = above.f_back
            self.deepest = max(self.deepest, stack[::-1], key=len)


@contextmanager
def site(door: str) -> Iterator[None]:
    """A project whose default mailer is this door, over one server."""
    reset()
    with ScriptedServer() as server:
        entries = {"default": {"BACKEND": SMTP, "OPTIONS": server.options()}}
        if door == FAILOVER:
            entries = {"default": {"BACKEND": FAILOVER, "OPTIONS": {"using": ["a"]}}, "a": entries["default"]}
        with use_mailers(entries):
            yield
    reset()


def seen_of(send: Callable[[EmailMessage], object]) -> Seen:
    """What a message goes through when the first two have warmed everything up.

    Of three messages the one that met the fewest files: on a busy machine a memory may grow too old in between, and one
    of them reads it again.
    """
    for _ in range(2):
        send(message())
    return min((_seen_once(send) for _ in range(3)), key=lambda seen: len(seen.files))


def _seen_once(send: Callable[[EmailMessage], object]) -> Seen:
    sent, seen = message(), Seen()
    seen.begin()
    try:
        send(sent)
    finally:
        seen.end()
    assert sent.delivery.accepted == ["b@example.net"]  # type: ignore[attr-defined]
    return seen


@pytest.fixture
def no_app(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A project that has our backend, and not our app."""
    monkeypatch.setattr(learned_limits, "_memory", learned_limits.ProcessMemory())
    lookup, factory = registry.suppression_lookup, registry.store_factory
    registry.register_suppressions(None)
    registry.register_store(None)
    yield
    registry.register_suppressions(lookup)
    registry.register_store(factory)


@opens_mailers
@pytest.mark.parametrize(("door", "most"), [(SMTP, 28), (FAILOVER, 34)], ids=["one server", "failover"])
@pytest.mark.usefixtures("no_app")
def test_a_warm_send_runs_through_few_files(door: str, most: int) -> None:
    """A maintainer who follows one message through the door reads no more files than these."""
    with site(door):
        seen = seen_of(EmailMessage.send)
    assert len(seen.files) <= most, "\n".join(sorted(seen.files))


@opens_mailers
@pytest.mark.django_db(transaction=True)
def test_a_warm_send_of_a_project_with_the_app_asks_its_list_and_its_routes_beside_that() -> None:
    """The suppression list and the shared state of routes come on top, each with what its statements need."""
    with site(SMTP):
        seen = seen_of(EmailMessage.send)
    assert len(seen.files) <= 34, "\n".join(sorted(seen.files))


@pytest.mark.parametrize("door", [SMTP, FAILOVER], ids=["one server", "failover"])
@pytest.mark.usefixtures("no_app")
def test_the_socket_is_few_frames_below_the_callers_line(door: str) -> None:
    """A traceback from the wire fits on a screen."""
    with site(door):
        seen = seen_of(EmailMessage.send)
    assert 5 < len(seen.deepest) <= MOST_FRAMES, seen.deepest


@opens_mailers
@pytest.mark.usefixtures("no_app")
def test_the_direct_door_is_read_in_so_many_lines() -> None:
    """The list leaves out nothing that a message runs through, and names no file twice."""
    with site(SMTP):
        seen = seen_of(EmailMessage.send)
    assert seen.files <= {f"{name}.py" for name in DIRECT}
    assert len(set(DIRECT)) == len(DIRECT)
    assert lines_of(DIRECT) <= MOST_DIRECT_LINES


def test_the_worker_is_read_in_so_many_lines_more(using: str) -> None:
    """From the claim to the last outcome, with whatever its threads begin meanwhile."""
    with ScriptedServer() as server:
        queue(using, "b@example.net")
        one, seen = worker(using, smtp_route(server)), Seen()
        seen.begin(threads=True)
        try:
            one.run()
        finally:
            seen.end()
    assert states(using) == [State.ACCEPTED]
    own = {name for name in seen.files if not name.startswith("testing/")}
    assert "outbox/worker/batch.py" in own
    assert own <= {f"{name}.py" for name in (*DIRECT, *WORKER)}
    assert len(set(DIRECT) | set(WORKER)) == len(DIRECT) + len(WORKER)
    assert lines_of(WORKER) <= MOST_WORKER_LINES


def test_every_file_is_short_and_no_room_is_full() -> None:
    """A file fits into a head, and a folder's list of files on a screen."""
    files = [path for path in ROOT.rglob("*.py") if path.parent.name != "migrations"]
    long = {str(path): count for path in files if (count := len(path.read_text().splitlines())) > MOST_LINES_OF_A_FILE}
    full = {
        str(room): count
        for room, count in Counter(path.parent for path in files).items()
        if count > MOST_FILES_OF_A_ROOM
    }
    assert (long, full) == ({}, {})


def test_a_long_class_gives_its_reason() -> None:
    """A class that a screen or two do not hold says in its docstring why it is not taken apart."""
    reasons = {
        node.name: "\n\nIt is long because " in (ast.get_docstring(node) or "")
        for path in ROOT.rglob("*.py")
        if path.parent.name != "migrations"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef) and (node.end_lineno or 0) - node.lineno >= MOST_LINES_OF_A_CLASS
    }
    assert reasons == dict.fromkeys(LONG_CLASSES, True)
