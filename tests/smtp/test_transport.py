"""The transport over real sockets, against a server that misbehaves as it is told (the scenarios that need a wire)."""

import errno
import os
import socket
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from reliable_email.smtp.deadline import Deadline
from reliable_email.smtp.driver import learned_limits, pool
from reliable_email.smtp.driver.transport import SMTPTransport
from reliable_email.smtp.failures import FailureKind, WireError, WireFailure
from reliable_email.smtp.options import ConnectionOptions, Credentials, TLSMode, TLSPolicy
from reliable_email.smtp.protocol.wire_content import BytesContent
from reliable_email.smtp.stages import Stage
from reliable_email.smtp.transaction import Aside, Ask, Content, Grant, Job, Transaction, Verdict, WireSteps, allow_all
from reliable_email.testing.script import Script
from reliable_email.testing.server import (
    ScriptedServer,
    accept_then,
    after,
    both,
    close,
    half,
    hang,
    pause,
    reset,
    slowly,
    stall,
    trickle,
    until_told,
)
from tests.servers.ground import wait_until

ACCEPTED, REFUSED, NOT_SENT, UNKNOWN = Verdict.ACCEPTED, Verdict.REFUSED, Verdict.NOT_SENT, Verdict.UNKNOWN
MESSAGE = b"Subject: hello\r\n\r\nhello\r\n"
SHORT = 0.4  # seconds, for what must end by time


@pytest.fixture(autouse=True)
def fresh_process_state() -> Iterator[None]:
    """No connection and nothing learned is left from another test."""
    yield
    pool.reset()
    learned_limits.reset()


def job(*recipients: str, content: Content | None = None, key: object = None) -> Job:
    """A small message."""
    return Job(
        sender="a@example.org",
        recipients=recipients or ("b@example.net",),
        content=content or BytesContent.from_bytes(MESSAGE),
        key=key,
    )


def options_for(server: ScriptedServer, **changes: object) -> ConnectionOptions:
    """How to reach the server."""
    fields: dict[str, object] = {
        "host": "localhost" if server.tls != "none" else "127.0.0.1",
        "port": server.port,
        "tls": TLSPolicy(mode=TLSMode(server.tls), cafile=server.ca_file),
        "final_reply_timeout": SHORT,
        "local_hostname": "client.test",
    }
    if server.rules.login:
        user, password = next(iter(server.rules.login.items()))
        fields["credentials"] = Credentials(username=user, password=password)
    return ConnectionOptions(**(fields | changes))  # type: ignore[arg-type]


def send(
    server: ScriptedServer, *jobs: Job, timeout: float = 5.0, authorize: Callable = allow_all, **changes: object
) -> list[Transaction]:
    """Submit jobs (by default one small message); what became of them."""
    transport = SMTPTransport(options_for(server, **changes))
    return list(transport.transact(jobs or [job()], deadline=Deadline(timeout), authorize=authorize))


def only(transactions: Sequence[Transaction]) -> tuple[Verdict, Stage]:
    """The verdict of a single recipient's single transaction, and its stage."""
    (transaction,) = transactions
    (result,) = transaction.results.values()
    return result.verdict, transaction.stage


def failure_kind(transactions: Sequence[Transaction]) -> FailureKind:
    """Why the single transaction failed."""
    (transaction,) = transactions
    assert transaction.failure is not None
    return transaction.failure.kind


def closed_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def test_a_stream_of_jobs_costs_one_connection_and_chains() -> None:
    """Ten messages: one connection, and each next envelope is written behind the last terminator."""
    with ScriptedServer() as server:
        transactions = send(server, *[job() for _ in range(10)])
    assert [only([t]) for t in transactions] == [(ACCEPTED, Stage.FINAL_REPLY)] * 10
    assert len(server.messages) == 10
    assert len(server.connections) == 1
    assert b".\r\nMAIL FROM" in bytes(server.connections[0].raw)


def test_transactions_say_how_long_each_stage_took() -> None:
    """The first one of a connection counts its set-up."""
    with ScriptedServer(tls="starttls", login={"user": "pässword"}) as server:
        first, second = send(server, job(), job())
    assert {Stage.CONNECT, Stage.TLS, Stage.AUTH, Stage.FINAL_REPLY} <= set(first.stage_seconds)
    assert Stage.CONNECT not in second.stage_seconds
    assert first.peer == f"127.0.0.1:{server.port}"


def test_scenario_1_a_refused_connection_sends_nothing() -> None:
    """The address and its error are named."""
    options = ConnectionOptions(host="127.0.0.1", port=closed_port(), tls=TLSPolicy(mode=TLSMode.NONE))
    transactions = list(SMTPTransport(options).transact([job()], deadline=Deadline(5), authorize=allow_all))
    assert only(transactions) == (NOT_SENT, Stage.CONNECT)
    assert failure_kind(transactions) is FailureKind.CONNECT_FAILED
    assert "127.0.0.1" in transactions[0].failure.detail  # type: ignore[union-attr]


def test_scenario_5_an_unknown_host_is_told_from_a_silent_resolver(monkeypatch: pytest.MonkeyPatch) -> None:
    """EAI_NONAME is a matter of configuration, EAI_AGAIN is not."""
    options = ConnectionOptions(host="mail.test", port=25, tls=TLSPolicy(mode=TLSMode.NONE))
    for code, kind in (
        (socket.EAI_NONAME, FailureKind.HOST_NOT_FOUND),
        (socket.EAI_AGAIN, FailureKind.RESOLVER_FAILED),
    ):

        def refuse(*args: object, code: int = code, **keywords: object) -> None:
            raise socket.gaierror(code, "said the test")

        monkeypatch.setattr(socket, "getaddrinfo", refuse)
        transactions = list(SMTPTransport(options).transact([job()], deadline=Deadline(5), authorize=allow_all))
        assert only(transactions) == (NOT_SENT, Stage.RESOLVE)
        assert failure_kind(transactions) is kind


def test_scenario_6_silence_instead_of_a_greeting_ends_at_the_deadline() -> None:
    """And the hint names the port that is silent by nature."""
    with ScriptedServer(Script(greeting=hang())) as server:
        transactions = send(server, timeout=SHORT)
    assert only(transactions) == (NOT_SENT, Stage.GREETING)
    assert failure_kind(transactions) is FailureKind.TIMEOUT
    assert "465" in transactions[0].failure.detail  # type: ignore[union-attr]


def test_scenario_11_a_greeting_byte_by_byte_ends_at_the_deadline() -> None:
    """The time is the stage's, not each read's."""
    with ScriptedServer(Script(greeting=trickle("220 " + "x" * 1000, every=0.05))) as server:
        transactions = send(server, timeout=SHORT)
    assert only(transactions) == (NOT_SENT, Stage.GREETING)


@pytest.mark.parametrize("end", [close(), reset(), hang()], ids=["close", "reset", "hang"])
@pytest.mark.parametrize(
    ("place", "stage"),
    [
        ("greeting", Stage.GREETING),
        ("ehlo", Stage.EHLO),
        ("auth", Stage.AUTH),
        ("mail", Stage.MAIL),
        ("rcpt", Stage.RCPT),
        ("data", Stage.DATA),
    ],
)
@pytest.mark.parametrize("keywords", [("PIPELINING",), ()], ids=["pipelining", "one by one"])
def test_scenario_67_a_connection_that_ends_before_the_content_sends_nothing(
    place: str, stage: Stage, end: Callable, keywords: tuple[str, ...]
) -> None:
    """Closed, reset or silent, at any command: safe to repeat, and the stage is right."""
    with ScriptedServer(Script(**{place: end}), keywords=keywords, login={"user": "secret"}) as server:
        transactions = send(server, timeout=SHORT)
    verdict, said = only(transactions)
    assert verdict is NOT_SENT
    assert said is stage or (end == reset() and said <= stage)
    assert server.messages == []


@pytest.mark.parametrize("end", [close(), reset(), hang()], ids=["close", "reset", "hang"])
@pytest.mark.parametrize("tls", ["none", "starttls", "implicit"])
def test_scenario_75_a_connection_that_ends_after_the_terminator_is_unknown(end: Callable, tls: str) -> None:
    """The server took it, or not: nobody can say from here."""
    for act in (accept_then(end), end):
        with ScriptedServer(Script(final_reply=act), tls=tls) as server:  # type: ignore[arg-type]
            transactions = send(server)
        assert only(transactions) == (UNKNOWN, Stage.FINAL_REPLY)
        assert transactions[0].terminator_sent
        pool.reset()


@pytest.mark.parametrize("text", ["25", "250-queued\r\n250", "250 ok"])
def test_scenario_76_half_a_final_reply_is_unknown(text: str) -> None:
    """Only a whole line is a word."""
    with ScriptedServer(Script(final_reply=half(text))) as server:
        assert only(send(server)) == (UNKNOWN, Stage.FINAL_REPLY)


BIG = BytesContent.from_bytes(
    b"Subject: big\r\n\r\n" + b"x" * 70 + b"\r\n" + (b"0123456789abcdef" * 4 + b"\r\n") * 60_000
)


@pytest.mark.parametrize("tls", ["none", "implicit"])
@pytest.mark.parametrize("end", [close(), reset()], ids=["close", "reset"])
def test_scenario_68_a_connection_that_ends_in_mid_content_sends_nothing(end: Callable, tls: str) -> None:
    """The terminator was not handed over."""
    with ScriptedServer(Script(content=after(50_000, end)), tls=tls, buffer_bytes=16384) as server:  # type: ignore[arg-type]
        transactions = send(server, job(content=BIG))
    assert only(transactions) == (NOT_SENT, Stage.CONTENT)
    assert not transactions[0].terminator_sent
    assert 0 < transactions[0].content_bytes < BIG.size


@pytest.mark.parametrize("tls", ["none", "implicit"])
@pytest.mark.parametrize("end", [close(), reset()], ids=["close", "reset"])
def test_scenario_69_a_refusal_in_mid_content_is_read_before_the_end_is_judged(end: Callable, tls: str) -> None:
    """552, then the connection goes: refused with that text."""
    act = after(50_000, "552 5.3.4 message too big", end)
    with ScriptedServer(Script(content=act), tls=tls, buffer_bytes=16384) as server:  # type: ignore[arg-type]
        (transaction,) = send(server, job(content=BIG))
    (result,) = transaction.results.values()
    assert result.verdict is REFUSED
    assert result.reply is not None
    assert (result.reply.code, result.reply.enhanced) == (552, "5.3.4")


def test_scenario_70_an_early_250_is_never_acceptance() -> None:
    """The server praises what it has not got."""
    with ScriptedServer(Script(content=after(50_000, "250 queued", stall())), buffer_bytes=16384) as server:
        transactions = send(server, job(content=BIG))
    assert only(transactions)[0] is NOT_SENT
    assert failure_kind(transactions) is FailureKind.PROTOCOL


def test_scenario_71_a_slow_but_steady_reader_gets_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    """Content has as much time as it makes progress; neither the budget nor the stall limit cuts it off."""
    monkeypatch.setattr("reliable_email.smtp.deadline.CONTENT_STALL_SECONDS", 0.5)
    content = BytesContent.from_bytes(b"Subject: big\r\n\r\n" + (b"x" * 62 + b"\r\n") * 20_000)
    with ScriptedServer(Script(content=slowly(100_000, every=0.1)), buffer_bytes=8192) as server:
        transactions = send(server, job(content=content), timeout=0.6, final_reply_timeout=10)
    assert only(transactions) == (ACCEPTED, Stage.FINAL_REPLY)
    assert server.messages[0].size == content.size


def test_scenario_72_a_reader_that_stalls_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """No progress for so long: not sent."""
    monkeypatch.setattr("reliable_email.smtp.deadline.CONTENT_STALL_SECONDS", 0.2)
    with ScriptedServer(Script(content=after(50_000, stall())), buffer_bytes=8192) as server:
        transactions = send(server, job(content=BIG))
    assert only(transactions) == (NOT_SENT, Stage.CONTENT)
    assert failure_kind(transactions) is FailureKind.TIMEOUT


@pytest.mark.parametrize("end", [reset(), hang(), close()], ids=["reset", "hang", "close"])
def test_scenario_79_trouble_at_quit_is_nobodys_business(end: Callable) -> None:
    """The message was accepted; closing does not wait."""
    with ScriptedServer(Script(quit=end)) as server:
        assert only(send(server)) == (ACCEPTED, Stage.FINAL_REPLY)
        pool.reset()
        assert len(server.messages) == 1


def test_scenario_79_a_reset_right_behind_the_250_does_not_hide_it() -> None:
    """What the server said is read before the end is judged."""
    with ScriptedServer(Script(final_reply=both("250 2.0.0 queued", reset())), tls="implicit") as server:
        first, second = send(server, job(), job(), timeout=2)
    assert only([first])[0] in (ACCEPTED, UNKNOWN)  # the kernel may throw the reply away with the reset
    assert only([second])[0] is NOT_SENT or len(server.connections) == 2


def test_scenario_80_the_final_reply_has_a_time_of_its_own() -> None:
    """A budget that is over does not cut it off."""
    with ScriptedServer(Script(final_reply=trickle("250 2.0.0 queued", every=0.05))) as server:
        assert only(send(server, timeout=0.3, final_reply_timeout=10)) == (ACCEPTED, Stage.FINAL_REPLY)


def test_scenario_81_a_connection_closed_while_idle_is_replaced_unseen() -> None:
    """No attempt is lost."""
    with ScriptedServer(Script(idle=close()), Script()) as server:
        assert only(send(server)) == (ACCEPTED, Stage.FINAL_REPLY)
        server.wait_for_end(1)
        assert only(send(server)) == (ACCEPTED, Stage.FINAL_REPLY)
    assert len(server.messages) == 2
    assert len(server.connections) == 2


def test_scenario_81_a_connection_closed_between_two_chained_messages_is_replaced_unseen() -> None:
    """The first was accepted, of the second the server had nothing."""
    with ScriptedServer(Script(final_reply=both("250 2.0.0 queued", close())), Script()) as server:
        transactions = send(server, job(key=1), job(key=2))
    assert [only([t]) for t in transactions] == [(ACCEPTED, Stage.FINAL_REPLY)] * 2
    assert [t.job.key for t in transactions] == [1, 2]
    assert len(server.messages) == 2


def test_scenario_82_a_421_that_waits_in_the_buffer_is_seen_before_mail() -> None:
    """The idle connection is replaced before a command is wasted on it."""
    with ScriptedServer() as server:
        send(server)
        server.do("421 4.4.2 idle for too long")
        assert only(send(server)) == (ACCEPTED, Stage.FINAL_REPLY)
    assert server.connections[0].verbs.count("MAIL") == 1
    assert len(server.messages) == 2


def test_scenario_83_a_refused_rset_costs_a_connection_and_no_message() -> None:
    """A server without RSET is met by a fresh connection."""
    with ScriptedServer(Script(rset="502 no"), Script()) as server:
        server.rules.size_limit = None
        first, second = send(server, job("nobody@example.net"), job("b@example.net"))
        assert only([second]) == (ACCEPTED, Stage.FINAL_REPLY)
    assert first.results


def test_scenario_83_after_all_recipients_were_refused() -> None:
    """The reset that follows is refused; the next message goes by another connection."""
    script = Script(rcpt={"x@example.net": "550 5.1.1 no"}, rset="502 no")
    with ScriptedServer(script, Script()) as server:
        first, second = send(server, job("x@example.net"), job())
    assert only([first]) == (REFUSED, Stage.RCPT)
    assert only([second]) == (ACCEPTED, Stage.FINAL_REPLY)
    assert len(server.connections) == 2


def test_scenario_85_a_limit_of_messages_per_connection_is_met_and_learned() -> None:
    """421 at the third MAIL: nothing is lost, and the next connections end by themselves in time."""
    with ScriptedServer(messages_per_connection=2) as server:
        transactions = send(server, *[job(key=n) for n in range(7)])
        assert [t.job.key for t in transactions] == list(range(7))
        assert [only([t])[0] for t in transactions] == [ACCEPTED] * 7
        assert len(server.messages) == 7


def test_a_configured_limit_of_messages_per_connection_is_kept() -> None:
    """Not one MAIL over it is said."""
    with ScriptedServer() as server:
        send(server, *[job() for _ in range(6)], messages_per_connection=2)
        assert [record.verbs.count("MAIL") for record in server.connections] == [2, 2, 2]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_scenario_86_a_child_of_a_fork_does_not_touch_the_parents_connection() -> None:
    """Not a byte of the child goes over it, not even a TLS close."""
    with ScriptedServer(tls="starttls", login={"user": "secret"}) as server:
        send(server)
        raw_before = bytes(server.connections[0].raw)
        child = os.fork()
        if not child:
            code = 1
            try:
                code = 0 if only(send(server))[0] is ACCEPTED else 2
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert bytes(server.connections[0].raw) == raw_before
        assert len(server.connections) == 2
        assert only(send(server)) == (ACCEPTED, Stage.FINAL_REPLY)
        assert server.messages[-1].connection == 1


def test_scenario_91_fewer_replies_than_commands_end_at_the_deadline() -> None:
    """The count of replies is waited for, not guessed."""
    with ScriptedServer(Script(swallows_pipelined=True)) as server:
        transactions = send(server, timeout=SHORT)
    assert only(transactions)[0] is NOT_SENT
    assert failure_kind(transactions) is FailureKind.TIMEOUT


def test_scenario_96_a_server_that_loses_pipelined_commands_gets_them_one_by_one_next_time() -> None:
    """It announced PIPELINING; what it does counts."""
    with ScriptedServer(Script(swallows_pipelined=True)) as server:
        assert only(send(server, timeout=SHORT))[0] is NOT_SENT
        assert only(send(server)) == (ACCEPTED, Stage.FINAL_REPLY)


def test_the_off_switch_for_pipelining_is_obeyed() -> None:
    """Every command waits for its reply."""
    with ScriptedServer(Script(swallows_pipelined=True)) as server:
        assert only(send(server, pipelining=False)) == (ACCEPTED, Stage.FINAL_REPLY)


def test_scenario_92_two_thousand_recipients_and_small_buffers_do_not_deadlock() -> None:
    """Reads and writes share one loop."""
    recipients = tuple(f"user{n}@example.net" for n in range(2000))
    with ScriptedServer(buffer_bytes=4096, recipients_limit=5000) as server:
        (transaction,) = send(server, job(*recipients), timeout=30)
        assert len(transaction.with_verdict(ACCEPTED)) == 2000
        assert len(server.messages[0].recipients) == 2000


def test_scenario_90_replies_in_pieces_make_no_difference() -> None:
    """One byte a segment."""
    with ScriptedServer(Script(reply_bytes=1)) as server:
        assert [only([t])[0] for t in send(server, job(), job())] == [ACCEPTED, ACCEPTED]


@pytest.mark.parametrize(
    "body",
    [b"\n.\n", b"\r.\r", b"\r.\r\n", b"\r\n.\r", b"\r\r\n.", b"\n.\r\n", b"\r\n.\n", b".\r\n", b"..\r\n", b"", b"."],
)
def test_scenarios_97_and_98_no_line_end_can_smuggle_a_second_message(body: bytes) -> None:
    """The server gets one message, and it is the normalised one."""
    content = BytesContent.from_bytes(b"Subject: x\r\n\r\nbefore" + body + b"MAIL FROM:<evil@example.org>\r\nafter\r\n")
    with ScriptedServer() as server:
        assert only(send(server, job(content=content)))[0] is ACCEPTED
        (message,) = server.messages
    assert message.content == b"".join(content.chunks())
    assert not message.has_bare_line_ends


class Generated:
    """Fifty megabytes that are never in memory at once."""

    size = 50 * 1024 * 1024
    is_7bit = True
    needs_smtputf8 = False

    def chunks(self) -> Iterator[bytes]:
        """Lines of 64 bytes in pieces of 64 KiB."""
        piece = (b"x" * 62 + b"\r\n") * 1024
        yield from (piece for _ in range(self.size // len(piece)))

    def downgraded(self) -> None:
        """It is 7-bit."""


@pytest.mark.parametrize("tls", ["none", "implicit"])
def test_scenario_100_fifty_megabytes_are_streamed_in_bounded_memory(tls: str) -> None:
    """The client's own memory stays far below the size of the message."""
    with ScriptedServer(keeps_content=False, size_limit=None, tls=tls) as server:  # type: ignore[arg-type]
        send(server)  # whatever is allocated once
        tracemalloc.start()
        try:
            transactions = send(server, job(content=Generated()), final_reply_timeout=60)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert only(transactions) == (ACCEPTED, Stage.FINAL_REPLY)
        assert server.messages[-1].size == Generated.size
    record_of_the_server = len(server.connections[0].raw)
    assert peak < 8 * 1024 * 1024 + 2 * record_of_the_server


def test_authorize_sees_who_was_refused_and_what_is_settled() -> None:
    """Before each terminator: the recipients about to be committed, the refused ones, the finished transactions."""
    calls: list[tuple[Sequence[Grant], Sequence[Transaction]]] = []

    def authorize(grants: Sequence[Grant], settled: Sequence[Transaction]) -> list[Job]:
        calls.append((grants, settled))
        return [grant.job for grant in grants]

    with ScriptedServer(Script(rcpt={"x@example.net": "550 5.1.1 no"})) as server:
        transactions = send(server, job("x@example.net", "b@example.net"), job(), job(), authorize=authorize)
    assert [[grant.recipients for grant in grants] for grants, _ in calls] == [[("b@example.net",)]] * 3
    assert list(calls[0][0][0].refused) == ["x@example.net"]
    assert [list(settled) for _, settled in calls] == [[], [transactions[0]], [transactions[1]]]


def test_a_job_that_is_not_authorized_never_gets_its_terminator() -> None:
    """The connection is closed without it; the next job goes by a fresh one."""
    refused = job(key="refused")

    def authorize(grants: Sequence[Grant], settled: Sequence[Transaction]) -> list[Job]:
        return [grant.job for grant in grants if grant.job is not refused]

    with ScriptedServer() as server:
        first, second, third = send(server, job(), refused, job(), authorize=authorize)
    assert only([first])[0] is only([third])[0] is ACCEPTED
    assert only([second])[0] is NOT_SENT
    assert failure_kind([second]) is FailureKind.WITHHELD
    assert len(server.messages) == 2


def test_an_authorize_that_raises_leaves_nothing_behind() -> None:
    """The error comes through, and the server has no complete message."""

    def authorize(grants: Sequence[Grant], settled: Sequence[Transaction]) -> list[Job]:
        raise RuntimeError("the database is away")

    with ScriptedServer() as server:
        with pytest.raises(RuntimeError, match="away"):
            send(server, authorize=authorize)
        server.wait_for_end(1)
    assert server.messages == []
    assert pool.pool.idle_count() == 0


def test_a_consumer_that_stops_early_leaves_no_connection_half_used() -> None:
    """A generator that is closed after the first message gives its connection up where one was begun."""
    with ScriptedServer() as server:
        stream = SMTPTransport(options_for(server)).transact(
            [job(), job(), job()], deadline=Deadline(5), authorize=allow_all
        )
        assert only([next(stream)])[0] is ACCEPTED
        stream.close()  # type: ignore[attr-defined]
        assert only(send(server))[0] is ACCEPTED
    assert len(server.messages) == 2


def test_connections_are_bounded_where_the_options_say_so() -> None:
    """A second message waits for the first one's connection, and says so when its time is over."""
    with ScriptedServer() as server:
        options = options_for(server, connections=1)
        lent, _ = pool.pool.acquire(options, deadline=Deadline(5))
        transactions = list(SMTPTransport(options).transact([job()], deadline=Deadline(0.1), authorize=allow_all))
        assert only(transactions) == (NOT_SENT, Stage.CONNECT)
        assert failure_kind(transactions) is FailureKind.BUSY
        pool.pool.release(lent)
        assert only(list(SMTPTransport(options).transact([job()], deadline=Deadline(5), authorize=allow_all)))[0] is (
            ACCEPTED
        )


def test_who_waits_for_a_connection_is_woken_when_that_one_comes_back() -> None:
    """Also where somebody else has waited for longer, for a connection to another server."""
    with ScriptedServer() as first, ScriptedServer() as second:
        one, other = options_for(first, connections=1), options_for(second, connections=1)
        lent_to_one, _ = pool.pool.acquire(one, deadline=Deadline(5))
        lent_to_other, _ = pool.pool.acquire(other, deadline=Deadline(5))
        found: list[ConnectionOptions] = []

        def wait_for(options: ConnectionOptions) -> None:
            connection, _ = pool.pool.acquire(options, deadline=Deadline(60))
            found.append(options)
            pool.pool.release(connection)

        threads = []
        for count, options in enumerate((one, other), start=1):
            threads.append(threading.Thread(target=wait_for, args=[options]))
            threads[-1].start()
            wait_until(lambda n=count: len(pool.pool._condition._waiters) == n, "somebody who waits", lambda: "")
        pool.pool.release(lent_to_other)
        wait_until(lambda: found == [other], "the one who waits for this server", lambda: "")
        pool.pool.release(lent_to_one)
        for thread in threads:
            thread.join()


@pytest.mark.parametrize("stage", ["greeting", "ehlo", "auth"])
@pytest.mark.parametrize(
    "answer", ["421 4.7.0 Too many concurrent connections", close(), reset()], ids=["in words", "closed", "reset"]
)
def test_a_connection_too_many_is_waited_for_and_the_limit_is_kept(stage: str, answer: Any) -> None:
    """The server lets us have two; a third message goes over one of them, and no third connection is tried again."""
    refusal = Script(**{stage: answer})
    with ScriptedServer(Script(), Script(), refusal, Script(), login={"user": "word"}, tls="starttls") as server:
        options = options_for(server)
        transport = SMTPTransport(options)
        first, _ = pool.pool.acquire(options, deadline=Deadline(5))
        second, _ = pool.pool.acquire(options, deadline=Deadline(5))
        assert not transport.is_full()
        third: list[Transaction] = []
        waiting = threading.Thread(
            target=lambda: third.extend(transport.transact([job()], deadline=Deadline(30), authorize=allow_all))
        )
        waiting.start()
        wait_until(transport.is_full, "a limit that is learned", lambda: "")
        pool.pool.release(first)
        waiting.join()
        assert only(third)[0] is ACCEPTED
        assert only(list(transport.transact([job()], deadline=Deadline(5), authorize=allow_all)))[0] is ACCEPTED
        pool.pool.release(second)
    assert len(server.connections) == 3


def test_connections_that_are_closed_together_tell_of_no_limit() -> None:
    """A server that goes away closes all that are being opened: none of them waits for another one."""
    with ScriptedServer(*[Script(greeting=both(pause(0.2), close()))] * 4) as server:
        transport = SMTPTransport(options_for(server))
        found: list[Transaction] = []

        def send_one() -> None:
            found.extend(transport.transact([job()], deadline=Deadline(30), authorize=allow_all))

        threads = [threading.Thread(target=send_one) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not transport.is_full()
    assert {one.failure.kind for one in found if one.failure} == {FailureKind.DISCONNECTED}
    assert len(server.connections) == 4


def test_a_stray_reset_keeps_no_connection_of_a_server_that_lets_in_more() -> None:
    """Those that were being opened meanwhile show that it was no limit: whoever waits goes on at once."""
    slow = Script(greeting=until_told())
    stray = Script(greeting=reset())
    with ScriptedServer(Script(), *[slow] * 3, stray, Script()) as server:
        options = options_for(server)
        transport = SMTPTransport(options)
        lent = [pool.pool.acquire(options, deadline=Deadline(5))[0]]

        def open_one() -> None:
            lent.append(pool.pool.acquire(options, deadline=Deadline(30))[0])

        threads = [threading.Thread(target=open_one) for _ in range(4)]
        for n, thread in enumerate(threads, start=2):
            thread.start()
            wait_until(lambda n=n: len(server.connections) >= n, "a connection", lambda: "")
        wait_until(transport.is_full, "a limit that is learned", lambda: "")
        for number in (2, 3, 4):
            server.do(None, connection=number)
        for thread in threads:
            thread.join()
        assert len(lent) == 5
        assert not transport.is_full()
        for one in lent:
            pool.pool.release(one)
    assert len(server.connections) == 6


def test_a_limit_that_was_only_guessed_is_tried_again_before_others_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that is lent may hang for a minute, in a server that was started anew."""
    monkeypatch.setattr(pool, "FIRST_GROWTH_SECONDS", 0.05)
    with ScriptedServer(Script(), Script(greeting=reset()), Script(greeting=reset()), Script()) as server:
        options = options_for(server)
        hanging, _ = pool.pool.acquire(options, deadline=Deadline(5))
        assert only(send(server)) == (ACCEPTED, Stage.FINAL_REPLY)
        assert not SMTPTransport(options).is_full()
        pool.pool.release(hanging)
    assert len(server.connections) == 4


class Tokens:
    """An issuer of tokens that may be away."""

    is_away = False

    def access_token(self, *, renew: bool, timeout: float) -> str:
        """See `TokenProvider`."""
        if self.is_away:
            detail = "the issuer is away"
            raise WireError(WireFailure(stage=Stage.AUTH, kind=FailureKind.CONNECT_FAILED, detail=detail))
        return "token"


def test_a_token_that_cannot_be_fetched_tells_of_no_limit() -> None:
    """It is the issuer that cannot be reached."""
    tokens = Tokens()
    with ScriptedServer(Script(auth="235 ok"), mechanisms=("XOAUTH2",), login={"user": "token"}) as server:
        options = options_for(server, credentials=Credentials(username="user", token_provider=tokens))
        lent, _ = pool.pool.acquire(options, deadline=Deadline(5))
        tokens.is_away = True
        with pytest.raises(WireError, match="issuer"):
            pool.pool.acquire(options, deadline=Deadline(5))
        assert not SMTPTransport(options).is_full()
        pool.pool.release(lent)


def test_a_lone_connection_that_is_refused_is_told_at_once() -> None:
    """Where no other is at work, there is nothing to wait for."""
    with ScriptedServer(Script(greeting="421 4.7.0 Too many concurrent connections")) as server:
        transactions = send(server)
        assert not SMTPTransport(options_for(server)).is_full()
    assert only(transactions) == (NOT_SENT, Stage.GREETING)
    assert failure_kind(transactions) is FailureKind.REFUSED


def test_a_machine_without_room_for_a_thread_sends_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread that closes idle connections cannot be started; the message is accepted, and nothing stays lent."""
    start = threading.Thread.start

    def start_most(thread: threading.Thread) -> None:
        if thread.name == "reliable-email-idle":
            raise RuntimeError("can't start new thread")
        start(thread)

    with ScriptedServer() as server:
        monkeypatch.setattr(threading.Thread, "start", start_most)
        assert [only([one])[0] for one in send(server)] == [ACCEPTED]
        assert not pool.pool.is_in_use(options_for(server))
        monkeypatch.undo()
        assert [only([one])[0] for one in send(server)] == [ACCEPTED]
        assert any(thread.name == "reliable-email-idle" for thread in threading.enumerate())
        assert len(server.connections) == 1


def test_a_probe_logs_in_and_sends_nothing() -> None:
    """What a route would be refused for is known before a message needs it."""
    with ScriptedServer(Script(), Script(auth="535 5.7.8 no"), login={"user": "word"}, tls="starttls") as server:
        transport = SMTPTransport(options_for(server))
        assert transport.probe(Deadline(5)) is None
        failure = transport.probe(Deadline(5))
    assert failure is not None
    assert (failure.stage, failure.kind) == (Stage.AUTH, FailureKind.REFUSED)
    assert server.messages == []


def test_a_stream_without_end_gives_each_message_its_own_budget() -> None:
    """Five messages that take longer together than one budget."""
    with ScriptedServer(Script(mail=[trickle("250 ok", every=0.02)] * 5), keywords=()) as server:
        transactions = send(server, *[job() for _ in range(5)], timeout=0.35)
    assert [only([t])[0] for t in transactions] == [ACCEPTED] * 5


def test_wrong_protocols_are_named() -> None:
    """Errno numbers are for nobody; the words are in the failure."""
    assert os.strerror(errno.ECONNREFUSED)
    with ScriptedServer(Script(greeting="HTTP/1.1 400 Bad Request")) as server:
        transactions = send(server)
    assert failure_kind(transactions) is FailureKind.NOT_SMTP


# Driven by somebody else.


def test_a_reply_that_came_while_the_driver_was_away_is_no_time_out() -> None:
    """The time was up when the driver last looked; when it goes on with the transport, the reply is there."""
    transactions: list[Transaction] = []
    is_permitted = False
    with ScriptedServer() as server:
        for step in SMTPTransport(options_for(server, final_reply_timeout=0.0)).steps([job()], deadline=Deadline(5)):
            if isinstance(step, Transaction):
                transactions.append(step)
            elif isinstance(step, Ask):
                step.allowed, is_permitted = [grant.job for grant in step.grants], True
            elif isinstance(step, Aside):
                step.make()
            else:
                is_there = step.wire.wait(writing=step.for_write, until=time.monotonic() + 5.0)
                assert is_there
                step.is_ready = not is_permitted
    assert only(transactions) == (ACCEPTED, Stage.FINAL_REPLY)


@contextmanager
def opening() -> Iterator[tuple[ScriptedServer, WireSteps, Aside[Any], threading.Thread]]:
    """A server that greets when it is told to, a transport that opens a connection to it, and the thread for that."""
    arrived = threading.Event()
    with ScriptedServer(Script(greeting=both(lambda conversation: arrived.set(), until_told()))) as server:
        steps = SMTPTransport(options_for(server)).steps([job()], deadline=Deadline(5))
        acquiring = next(steps)
        assert isinstance(acquiring, Aside)
        thread = threading.Thread(target=acquiring.make)
        thread.start()
        assert arrived.wait(5)
        yield server, steps, acquiring, thread


@pytest.mark.parametrize("is_late", [True, False], ids=["opened afterwards", "opened before"])
def test_a_connection_that_nobody_waits_for_any_more_is_kept_for_the_next(is_late: bool) -> None:
    """Its opening goes on, or is done, when the transport is closed; nothing is lent for ever."""
    with opening() as (server, steps, _, thread):
        if is_late:
            steps.close()
        assert pool.pool.is_in_use(options_for(server))
        server.do(None)
        thread.join()
        steps.close()
        assert not pool.pool.is_in_use(options_for(server))
        assert pool.pool.idle_count() == 1
        assert only(send(server)) == (ACCEPTED, Stage.FINAL_REPLY)
        assert len(server.connections) == 1


def test_an_opening_that_fails_when_nobody_waits_any_more_leaves_nothing_behind() -> None:
    """The server turns the connection away after the transport was closed."""
    with opening() as (server, steps, acquiring, thread):
        steps.close()
        server.do("421 4.3.2 not now")
        thread.join()
        assert isinstance(acquiring.error, WireError)
        assert not pool.pool.is_in_use(options_for(server))
        assert pool.pool.idle_count() == 0
        server.wait_for_end()
