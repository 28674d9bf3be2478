"""Content that is none, or whose code raises, costs its own message and nothing else."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NoReturn

import pytest

from reliable_email.smtp.deadline import Deadline
from reliable_email.smtp.driver import learned_limits, pool
from reliable_email.smtp.driver.transport import SMTPTransport
from reliable_email.smtp.failures import FailureKind
from reliable_email.smtp.options import ConnectionOptions, TLSMode, TLSPolicy
from reliable_email.smtp.protocol.session import Session
from reliable_email.smtp.protocol.wire_content import BytesContent
from reliable_email.smtp.stages import Stage
from reliable_email.smtp.transaction import Content, Grant, Job, Transaction, Verdict, allow_all
from reliable_email.testing.script import Script
from reliable_email.testing.server import ScriptedServer

GOOD = BytesContent.from_bytes(b"Subject: x\r\n\r\nx\r\n")


@pytest.fixture(autouse=True)
def fresh_process_state() -> Iterator[None]:
    """Nothing is left over."""
    yield
    pool.reset()
    learned_limits.reset()


def job(content: Content, *, may_resend: bool = False) -> Job:
    """A message of this content."""
    return Job(sender="a@example.org", recipients=("b@example.net",), content=content, may_resend=may_resend)


def send(server: ScriptedServer, *jobs: Job, **options: object) -> list[Transaction]:
    """What became of them."""
    fields: dict[str, object] = {
        "host": "127.0.0.1",
        "port": server.port,
        "tls": TLSPolicy(mode=TLSMode.NONE),
        "final_reply_timeout": 2.0,
    }
    transport = SMTPTransport(ConnectionOptions(**(fields | options)))  # type: ignore[arg-type]
    return list(transport.transact(jobs, deadline=Deadline(5), authorize=allow_all))


def kinds(transactions: Sequence[Transaction]) -> list[FailureKind | None]:
    """Why each failed; None where it was accepted."""
    for one in transactions:
        expected = {Verdict.ACCEPTED} if one.failure is None else {Verdict.NOT_SENT}
        assert {result.verdict for result in one.results.values()} == expected
    return [one.failure.kind if one.failure else None for one in transactions]


BAD = [
    b"Subject: x\r\n\r\nbare\nLF\r\n",
    b"Subject: x\r\n\r\nbare\rCR\r\n",
    b"Subject: x\r\n\r\n\0\r\n",
    b"Subject: x\r\n\r\nno end",
    b"Subject: x\r\n\r\nhalf an end\r",
    b"",
]


@dataclass
class Pieces:
    """Content that comes in pieces, as from a file."""

    pieces: tuple[bytes, ...]
    is_7bit = True
    needs_smtputf8 = False

    @property
    def size(self) -> int:
        """All of them."""
        return sum(map(len, self.pieces))

    def chunks(self) -> Iterator[bytes]:
        """Each."""
        yield from self.pieces

    def downgraded(self) -> None:
        """It is 7-bit."""


@pytest.mark.parametrize("data", BAD)
@pytest.mark.parametrize("make", [BytesContent, lambda data: Pieces((data[:3], data[3:]))], ids=["bytes", "pieces"])
@pytest.mark.parametrize("flight", [0, 4])
def test_content_that_is_none_never_reaches_the_wire(data: bytes, make: type, flight: int) -> None:
    """Before MAIL: the connection goes on with the others."""
    with ScriptedServer() as server:
        jobs = [job(content, may_resend=bool(flight)) for content in (GOOD, make(data), GOOD)]
        assert kinds(send(server, *jobs, flight=flight)) == [None, FailureKind.INVALID_CONTENT, None]
        assert len(server.messages) == 2
        assert len(server.connections) == 1
        assert server.connections[0].verbs.count("MAIL") == 2


class Broken:
    """Content whose code raises where it is told to."""

    needs_smtputf8 = False

    def __init__(self, place: str, error: Exception) -> None:
        self._place, self._error = place, error
        self._reads = 0

    def _may_fail(self, place: str) -> None:
        if self._place == place:
            raise self._error

    @property
    def size(self) -> int:
        """Of `GOOD`."""
        self._may_fail("size")
        return GOOD.size

    @property
    def is_7bit(self) -> bool:
        """No, where the downgrade is to fail."""
        return self._place != "downgraded"

    def chunks(self) -> Iterator[bytes]:
        """Those of `GOOD`."""
        self._reads += 1
        self._may_fail("chunks")
        yield b"Subject: x\r\n"
        if self._reads > 1:
            self._may_fail("second reading")
        yield b"\r\nx\r\n"

    def downgraded(self) -> NoReturn:
        """Fails."""
        raise self._error


ERRORS = [OSError("gone"), LookupError("codec"), RecursionError(), ValueError("?"), KeyError("x")]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("place", ["size", "chunks", "downgraded", "second reading"])
@pytest.mark.parametrize("flight", [0, 4])
def test_content_whose_code_raises_is_one_messages_failure(place: str, error: Exception, flight: int) -> None:
    """No terminator was out; the other messages are accepted."""
    with ScriptedServer(keywords=("PIPELINING", "CHUNKING")) as server:
        jobs = [job(content, may_resend=bool(flight)) for content in (GOOD, Broken(place, error), GOOD)]
        assert kinds(send(server, *jobs, flight=flight)) == [None, FailureKind.RAISED, None]
        assert len(server.messages) == 2


def test_content_that_changes_between_two_looks_ends_its_connection() -> None:
    """A byte that no message may have is not sent, and no terminator is."""

    class Changing(Pieces):
        looks = 0

        def chunks(self) -> Iterator[bytes]:
            self.looks += 1
            yield from self.pieces
            yield b"x\ny\r\n" if self.looks > 1 else b"\r\n"

    with ScriptedServer() as server:
        transactions = send(server, job(Changing((b"Subject: x\r\n",))), job(GOOD))
        assert kinds(transactions) == [FailureKind.INVALID_CONTENT, None]
        assert len(server.messages) == 1


def test_code_of_ours_that_fails_on_a_reply_ends_the_connection_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it is: by what is known of each message, and the next one goes by another connection."""
    receive = Session.receive

    def odd(self: Session, data: bytes) -> object:
        if b"odd" in data:
            raise ZeroDivisionError
        return receive(self, data)

    monkeypatch.setattr(Session, "receive", odd)
    with ScriptedServer(Script(mail="250 odd"), Script(final_reply="250 odd"), Script()) as server:
        first, second, third = send(server, job(GOOD), job(GOOD), job(GOOD))
    assert kinds([first, third]) == [FailureKind.PROTOCOL, None]
    assert first.stage is Stage.MAIL
    assert second.with_verdict(Verdict.UNKNOWN)
    with ScriptedServer(Script(ehlo="250 odd"), Script()) as server:
        assert kinds(send(server, job(GOOD), job(GOOD))) == [FailureKind.PROTOCOL, None]


def test_a_refusal_of_one_bad_message_asks_for_no_permission() -> None:
    """The journal knows nothing of it."""
    asked: list[Job] = []

    def authorize(grants: Sequence[Grant], settled: Sequence[Transaction]) -> list[Job]:
        asked.extend(grant.job for grant in grants)
        return [grant.job for grant in grants]

    bad = job(BytesContent(BAD[0]))
    with ScriptedServer() as server:
        link = ConnectionOptions(host="127.0.0.1", port=server.port, tls=TLSPolicy(mode=TLSMode.NONE))
        list(SMTPTransport(link).transact([bad], deadline=Deadline(5), authorize=authorize))
    assert asked == []
