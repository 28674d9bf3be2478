"""How much of the package a message goes through: files that a maintainer has to know, frames in a debugger."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from django.core.mail import EmailMessage

import reliable_email
from reliable_email.delivery import lent
from reliable_email.smtp import habits
from reliable_email.testing.reset import reset
from reliable_email.testing.server import ScriptedServer
from tests.django.conftest import message, use_mailers

ROOT = Path(reliable_email.__file__).parent
FAILOVER = "reliable_email.backends.FailoverBackend"
SMTP = "reliable_email.backends.ReliableSMTPBackend"
# Of which the first is Django's `EmailMessage.send`.
MOST_FRAMES = 13


class Seen:
    """What ran in this thread: the package's own files, and the deepest stack of frames at a write to the socket."""

    def __init__(self) -> None:
        self.files: set[str] = set()
        self.deepest: list[str] = []
        self._top: FrameType | None = None

    def begin(self) -> None:
        """Count frames from the caller's on, itself left out."""
        self._top = sys._getframe(1)
        sys.setprofile(self._on_event)

    def end(self) -> None:
        """See no more."""
        sys.setprofile(None)

    def _on_event(self, frame: FrameType, event: str, called: Any) -> None:
        if event == "call":
            path = Path(frame.f_code.co_filename)
            if path.is_relative_to(ROOT):
                self.files.add(path.relative_to(ROOT).as_posix())
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
    """What a third message goes through, when the first two have warmed everything up."""
    for _ in range(2):
        send(message())
    third, seen = message(), Seen()
    seen.begin()
    try:
        send(third)
    finally:
        seen.end()
    assert third.delivery.accepted == ["b@example.net"]  # type: ignore[attr-defined]
    return seen


@pytest.fixture
def no_app(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A project that has our backend, and not our app."""
    monkeypatch.setattr(habits, "_memory", habits.ProcessMemory())
    lookup, factory = lent.suppression_lookup, lent.store_factory
    lent.register_suppressions(None)
    lent.register_store(None)
    yield
    lent.register_suppressions(lookup)
    lent.register_store(factory)


@pytest.mark.parametrize(("door", "most"), [(SMTP, 28), (FAILOVER, 34)], ids=["one server", "failover"])
@pytest.mark.usefixtures("no_app")
def test_a_warm_send_runs_through_few_files(door: str, most: int) -> None:
    """A maintainer who follows one message through the door reads no more files than these."""
    with site(door):
        seen = seen_of(EmailMessage.send)
    assert len(seen.files) <= most, "\n".join(sorted(seen.files))


@pytest.mark.django_db(transaction=True)
def test_a_warm_send_of_a_project_with_the_app_asks_its_list_and_its_routes_beside_that() -> None:
    """The suppression list and the shared state of routes come on top, each with what its statements need."""
    with site(SMTP):
        seen = seen_of(EmailMessage.send)
    assert len(seen.files) <= 33, "\n".join(sorted(seen.files))


@pytest.mark.parametrize("door", [SMTP, FAILOVER], ids=["one server", "failover"])
@pytest.mark.usefixtures("no_app")
def test_the_socket_is_few_frames_below_the_callers_line(door: str) -> None:
    """A traceback from the wire fits on a screen."""
    with site(door):
        seen = seen_of(EmailMessage.send)
    assert 5 < len(seen.deepest) <= MOST_FRAMES, seen.deepest
