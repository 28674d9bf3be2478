"""Limits of a session: met once, learned, obeyed before they are said again, and told apart from other limits."""

from collections.abc import Iterator, Sequence

import pytest

from reliable_email.smtp.deadline import Deadline
from reliable_email.smtp.driver import learned_limits, pool
from reliable_email.smtp.driver.transport import SMTPTransport
from reliable_email.smtp.failures import FailureKind
from reliable_email.smtp.options import ConnectionOptions, TLSMode, TLSPolicy
from reliable_email.smtp.protocol.conversation import is_session_limit
from reliable_email.smtp.protocol.wire_content import BytesContent
from reliable_email.smtp.syntax.replies import parse_reply
from reliable_email.smtp.transaction import Job, Transaction, Verdict, allow_all
from reliable_email.testing.server import ScriptedServer
from tests.smtp.plain_server import PlainServer

CONTENT = BytesContent.from_bytes(b"Subject: x\r\n\r\nx\r\n")
HOST = "127.0.0.1"


@pytest.fixture(autouse=True)
def fresh_process_state() -> Iterator[None]:
    """Nothing is left over."""
    yield
    pool.reset()
    learned_limits.reset()


def job(*recipients: str) -> Job:
    """A small message."""
    return Job(sender="a@example.org", recipients=recipients, content=CONTENT)


def jobs(count: int, *, first: int = 0) -> list[Job]:
    """Small messages to one recipient each."""
    return [job(f"user{number}@example.net") for number in range(first, first + count)]


def send(port: int, stream: Sequence[Job], **options: object) -> list[Transaction]:
    """What became of them."""
    fields: dict[str, object] = {
        "host": HOST,
        "port": port,
        "tls": TLSPolicy(mode=TLSMode.NONE),
        "local_hostname": "client.test",
    }
    transport = SMTPTransport(ConnectionOptions(**(fields | options)))  # type: ignore[arg-type]
    return list(transport.transact(stream, deadline=Deadline(5), authorize=allow_all))


def verdicts(transactions: Sequence[Transaction]) -> set[Verdict]:
    """Of all recipients."""
    return {one.verdict for done in transactions for one in done.results.values()}


SAID = [
    "452 4.5.3 Too many recipients: Too many messages sent",
    "421 4.7.0 Too many messages in one connection",
    "450 4.7.1 You have exceeded the number of messages per session",
    "451 Message limit per session reached",
    "452 Too many messages, start a new session",
    "454 4.7.0 too many transactions",
    "421 Max message per connection reached, closing transmission channel",
    "550 5.7.1 Too many messages in this session",
]


@pytest.mark.parametrize("said", SAID)
@pytest.mark.parametrize("verb", ["MAIL", "RCPT"])
@pytest.mark.parametrize("keywords", [("PIPELINING",), ()], ids=["chained", "one by one"])
def test_a_limit_of_a_session_is_met_once_and_learned(said: str, verb: str, keywords: tuple[str, ...]) -> None:
    """Every message is accepted over as many connections as it takes; afterwards the server need not say it."""
    if verb == "RCPT" and not any(word in said for word in ("4.5.3", "session", "connection")):
        pytest.skip("at RCPT these words may be about the recipient")
    with PlainServer(limit=(3, verb, said), keywords=keywords) as server:
        transactions = send(server.port, jobs(10))
        assert verdicts(transactions) == {Verdict.ACCEPTED}
        assert learned_limits.of(HOST, server.port).messages_per_connection == 3
        assert set(server.taken.values()) == {1}
        pool.reset()
        before = server.connections
        send(server.port, jobs(6, first=20))
        assert server.mails[before:] == [3, 3]


def test_a_limit_that_a_fresh_connection_has_too_is_reported_as_it_is() -> None:
    """It is asked twice and not for ever, and nothing is learned."""
    said = "452 4.5.3 Too many recipients"
    with PlainServer(refuses=lambda address: said if address.startswith("user2") else None) as server:
        transactions = send(server.port, jobs(4))
        assert learned_limits.of(HOST, server.port).messages_per_connection is None
        assert server.offered["user2@example.net"] <= 3
    assert [str(result.reply) for result in transactions[2].results.values()] == [said]
    assert verdicts([transactions[2]]) == {Verdict.REFUSED}
    assert verdicts([transactions[0], transactions[1], transactions[3]]) == {Verdict.ACCEPTED}


def test_a_limit_of_recipients_of_one_message_is_that_messages() -> None:
    """Some were taken: the others are for a transaction of their own."""
    said = "452 4.5.3 Too many recipients"
    with PlainServer(refuses=lambda address: said if address.startswith("late") else None) as server:
        first, second = send(server.port, [*jobs(1), job("b@example.net", "late@example.net")])
        assert server.connections == 1
    assert verdicts([first]) == {Verdict.ACCEPTED}
    assert second.with_verdict(Verdict.REFUSED) == ("late@example.net",)


@pytest.mark.parametrize(
    ("reply", "at_mail", "expected"),
    [
        *((said, True, True) for said in SAID),
        ("452 4.5.3 Too many recipients", False, True),
        ("452 Too many recipients", False, True),
        ("450 4.5.3 Error: too many recipients", False, True),
        ("421 4.3.0 Zu viele Nachrichten in dieser Verbindung", True, True),
        ("452 4.5.3 Too many recipients received this hour", True, False),
        ("450 4.7.1 Error: too many messages from 192.0.2.1", True, False),
        ("421 4.7.0 Too many concurrent SMTP sessions", True, False),
        ("421 Too many connections", True, False),
        ("450 4.7.1 You have sent too many messages per minute", True, False),
        ("452 4.2.2 Mailbox full, quota exceeded", False, False),
        ("451 4.7.1 Greylisted, too many new recipients", True, True),
        ("550 5.1.1 no such user", True, False),
        ("250 too many messages in this session", True, False),
        ("450 4.2.1 The user has received too many messages", False, False),
        ("552 5.3.4 message size exceeds limit", True, False),
        ("452 4.3.1 Insufficient system storage", True, False),
    ],
)
def test_which_words_mean_that_a_session_has_carried_enough(reply: str, at_mail: bool, expected: bool) -> None:
    """A limit by time, of connections at once, of a sender or a mailbox is no reason for a new connection."""
    assert is_session_limit(parse_reply(reply), at_mail=at_mail) is expected


def test_announced_limits_of_messages_are_obeyed_before_they_are_said() -> None:
    """RFC 9422: MAILMAX counts MAIL commands."""
    with PlainServer(keywords=("PIPELINING", "LIMITS MAILMAX=4 RCPTMAX=100")) as server:
        assert verdicts(send(server.port, jobs(10))) == {Verdict.ACCEPTED}
        assert server.mails == [4, 4, 2]


def test_recipients_over_the_announced_number_are_not_asked_for() -> None:
    """They are for another transaction, and say so."""
    with PlainServer(keywords=("PIPELINING", "LIMITS RCPTMAX=2")) as server:
        (transaction,) = send(server.port, [job("a@x.test", "b@x.test", "c@x.test", "d@x.test")])
        assert set(server.offered) == {"a@x.test", "b@x.test"}
    assert transaction.with_verdict(Verdict.ACCEPTED) == ("a@x.test", "b@x.test")
    failures = [transaction.results[address].failure for address in transaction.with_verdict(Verdict.NOT_SENT)]
    assert [failure.kind for failure in failures if failure] == [FailureKind.TOO_MANY_RECIPIENTS] * 2


def test_no_session_sees_more_domains_of_recipients_than_announced() -> None:
    """A message to another domain goes by another connection; one with too many is cut."""
    stream = [job("a@x.test"), job("b@X.test"), job("a@y.test"), job("b@y.test"), job("a@x.test", "c@y.test")]
    with PlainServer(keywords=("PIPELINING", "LIMITS RCPTDOMAINMAX=1")) as server:
        transactions = send(server.port, stream)
        assert [one.job for one in transactions] == stream
        assert server.mails == [2, 2, 1]
        assert verdicts(transactions[:4]) == {Verdict.ACCEPTED}
    assert transactions[4].with_verdict(Verdict.NOT_SENT) == ("c@y.test",)
    send(server.port, [])


ABSURD = [
    "SIZE " + "9" * 5000,
    "SIZE -5",
    "SIZE 0",
    "SIZE ²",
    "SIZE ٣٤",
    "SIZE 1e9",
    "SIZE 1234 34 " + "x" * 4000,
    "LIMITS MAILMAX=0",
    "LIMITS MAILMAX=" + "9" * 5000,
    "LIMITS MAILMAX=-1 RCPTMAX RCPTMAX= =5 ====",
    "LIMITS MAILMAX=٣",
    "AUTH " + " ".join(["PLAIN"] * 1200),
    "AUTH=" + "A" * 8000,
    "",
    "\x00\x01\x02",
    "ÿ" * 3000,
]


@pytest.mark.parametrize("keyword", ABSURD, ids=lambda keyword: repr(keyword[:20]))
def test_absurd_capabilities_are_ignored(keyword: str) -> None:
    """A message goes as if they had not been announced."""
    with PlainServer(keywords=("PIPELINING", keyword)) as server:
        assert verdicts(send(server.port, jobs(3))) == {Verdict.ACCEPTED}
        assert server.mails == [3]


@pytest.mark.parametrize(
    "keywords", [("X" * 9000,), tuple(f"X-{n}" for n in range(9000)), tuple("A" * 4000 for _ in range(100))]
)
def test_endless_capabilities_end_the_connection_and_nothing_else(keywords: tuple[str, ...]) -> None:
    """Bounded by the reply's own limits; the next message has its own answer."""
    with PlainServer(keywords=keywords) as server:
        transactions = send(server.port, jobs(2))
    assert verdicts(transactions) == {Verdict.NOT_SENT}
    assert {one.failure.kind for one in transactions if one.failure} == {FailureKind.PROTOCOL}


def test_a_size_of_twenty_digits_is_a_size() -> None:
    """RFC 1870 allows as many."""
    with ScriptedServer(size_limit=10**19) as server:
        assert verdicts(send(server.port, jobs(1))) == {Verdict.ACCEPTED}
