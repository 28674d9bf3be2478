"""How a stream of jobs uses a connection: round trips are counted, and what may fly is said by the message's policy."""

from collections.abc import Callable, Iterator, Sequence

import pytest

from reliable_email.smtp.deadline import Deadline
from reliable_email.smtp.driver import learned_limits, pool
from reliable_email.smtp.driver.transport import SMTPTransport
from reliable_email.smtp.options import ConnectionOptions, TLSMode, TLSPolicy
from reliable_email.smtp.protocol.wire_content import BytesContent
from reliable_email.smtp.transaction import Grant, Job, Transaction, Verdict, allow_all
from reliable_email.testing.proxy import CuttingProxy
from reliable_email.testing.script import Script
from reliable_email.testing.server import ScriptedServer, accept_then, reset


@pytest.fixture(autouse=True)
def fresh_process_state() -> Iterator[None]:
    """Nothing is left over."""
    yield
    pool.reset()
    learned_limits.reset()


def jobs(count: int, *, may_resend: bool = False, size: int = 100) -> list[Job]:
    """Small messages."""
    content = BytesContent.from_bytes(
        b"Subject: x\r\n\r\n" + b"x" * min(size, 900) + b"\r\n" * max(1, (size - 900) // 2)
    )
    return [
        Job(sender="a@example.org", recipients=(f"u{n}@example.net",), content=content, key=n, may_resend=may_resend)
        for n in range(count)
    ]


def send(
    port: int, stream: Sequence[Job], *, flight: int = 0, authorize: Callable = allow_all, **options: object
) -> list[Transaction]:
    """What became of them."""
    link = ConnectionOptions(
        host="127.0.0.1",
        port=port,
        tls=TLSPolicy(mode=TLSMode.NONE),
        flight=flight,
        local_hostname="client.test",
        final_reply_timeout=2.0,
        **options,  # type: ignore[arg-type]
    )
    return list(SMTPTransport(link).transact(stream, deadline=Deadline(5), authorize=authorize))


def accepted(transactions: Sequence[Transaction]) -> list[object]:
    """Keys of the jobs whose recipient was accepted, in the order of the answers."""
    return [one.job.key for one in transactions if one.with_verdict(Verdict.ACCEPTED)]


def test_a_message_costs_one_round_trip_where_pipelining_is_announced() -> None:
    """Fifty messages: greeting, EHLO, the first envelope, and one turn for each message."""
    with ScriptedServer() as server, CuttingProxy(server.port, latency=0.005) as proxy:
        assert accepted(send(proxy.port, jobs(50))) == list(range(50))
        pool.reset()
        (flow,) = proxy.wait_until_over()
    assert flow.turns <= 50 + 3


def test_the_cold_start_needs_no_more_turns_than_its_stages() -> None:
    """Without TLS: greeting, EHLO, envelope, content; QUIT is not waited for."""
    with ScriptedServer() as server, CuttingProxy(server.port, latency=0.005) as proxy:
        send(proxy.port, jobs(1))
        pool.reset()
        (flow,) = proxy.wait_until_over()
    assert flow.turns <= 4


def test_a_flight_needs_far_fewer_turns_than_messages() -> None:
    """A window of twenty over BDAT, refilled after every reply."""
    with ScriptedServer() as server, CuttingProxy(server.port, latency=0.005) as proxy:
        assert accepted(send(proxy.port, jobs(100, may_resend=True), flight=20)) == list(range(100))
        pool.reset()
        (flow,) = proxy.wait_until_over()
        assert len(server.messages) == 100
        assert all(message.is_chunked for message in server.messages)
    assert flow.turns < 40


def test_only_messages_that_may_be_sent_twice_fly() -> None:
    """Messages that may not be sent twice are chained, and keep their place in the stream."""
    stream = [*jobs(3, may_resend=True), *jobs(2), *jobs(3, may_resend=True)]
    with ScriptedServer() as server:
        transactions = send(server.port, stream, flight=10)
        assert [one.job for one in transactions] == stream
        assert len(accepted(transactions)) == 8
        assert [message.is_chunked for message in server.messages] == [True] * 3 + [False] * 2 + [True] * 3


@pytest.mark.parametrize("keywords", [("PIPELINING",), ("CHUNKING",), ()])
def test_nothing_flies_where_the_server_does_not_offer_what_it_needs(keywords: tuple[str, ...]) -> None:
    """CHUNKING and PIPELINING, both."""
    with ScriptedServer(keywords=keywords) as server:
        assert accepted(send(server.port, jobs(4, may_resend=True), flight=10)) == list(range(4))
        assert not any(message.is_chunked for message in server.messages)


def test_a_flight_is_authorized_as_a_whole() -> None:
    """One call for each flight, with the requested recipients and everything that was settled since."""
    calls: list[tuple[list[object], list[object]]] = []

    def authorize(grants: Sequence[Grant], settled: Sequence[Transaction]) -> list[Job]:
        calls.append(([grant.job.key for grant in grants], [one.job.key for one in settled]))
        return [grant.job for grant in grants]

    with ScriptedServer() as server:
        send(server.port, jobs(12, may_resend=True), flight=5, authorize=authorize)
    assert [grants for grants, _ in calls] == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9], [10, 11]]
    told = [key for _, settled in calls for key in settled]
    assert told == list(range(len(told)))


def test_a_job_of_a_flight_that_is_not_authorized_stays_here() -> None:
    """Nothing of it was on the wire, so the connection and the others go on."""
    stream = jobs(6, may_resend=True)

    def authorize(grants: Sequence[Grant], settled: Sequence[Transaction]) -> list[Job]:
        return [grant.job for grant in grants if grant.job.key != 2]

    with ScriptedServer() as server:
        transactions = send(server.port, stream, flight=4, authorize=authorize)
        assert sorted(accepted(transactions), key=str) == [0, 1, 3, 4, 5]
        assert len(transactions) == 6
        assert len(server.messages) == 5
        assert len(server.connections) == 1


def test_a_flight_that_is_lost_has_at_most_its_size_unknown() -> None:
    """The bound that is documented."""
    script = Script(final_reply=[None, None, accept_then(reset())])
    with ScriptedServer(script, Script()) as server:
        transactions = send(server.port, jobs(30, may_resend=True), flight=10)
        assert len(transactions) == 30
        unknown = [one for one in transactions if one.with_verdict(Verdict.UNKNOWN)]
        lost = [one for one in transactions if one.with_verdict(Verdict.NOT_SENT)]
        assert 1 <= len(unknown) <= 10
        taken = {message.recipients[0] for message in server.messages}
        assert not any(one.job.recipients[0] in taken for one in lost)


def test_a_server_that_hung_up_on_a_flight_gets_no_more_of_them() -> None:
    """Each loss makes as many outcomes unknown as fly; the rest of the stream and the next one are chained."""
    script = Script(final_reply=[None, None, accept_then(reset())])
    with ScriptedServer(script, Script(), Script()) as server:
        send(server.port, jobs(30, may_resend=True), flight=5)
        assert server.messages[0].is_chunked
        pool.reset()
        again = send(server.port, jobs(5, may_resend=True), flight=5)
        assert len(accepted(again)) == 5
        assert not any(message.is_chunked for message in server.messages[-5:])


def test_a_recipient_refused_in_a_flight_keeps_the_count() -> None:
    """The octets are eaten, and the next message gets its own replies."""
    script = Script(rcpt={"u1@example.net": "550 5.1.1 no such user"})
    with ScriptedServer(script) as server:
        transactions = send(server.port, jobs(4, may_resend=True), flight=4)
    assert accepted(transactions) == [0, 2, 3]
    assert transactions[1].with_verdict(Verdict.REFUSED) == ("u1@example.net",)


def test_big_messages_do_not_fly() -> None:
    """A flight's content is in memory, and on its way before anybody wants it."""
    with ScriptedServer() as server:
        assert accepted(send(server.port, jobs(2, may_resend=True, size=400_000), flight=5)) == [0, 1]
        assert not any(message.is_chunked for message in server.messages)


def test_a_limit_of_messages_per_connection_holds_in_flights_too() -> None:
    """No connection carries more."""
    with ScriptedServer() as server:
        assert len(accepted(send(server.port, jobs(10, may_resend=True), flight=5, messages_per_connection=4))) == 10
        assert [record.verbs.count("MAIL") for record in server.connections] == [4, 4, 2]
