"""What goes out behind a terminator is never refused by mistake, never lost and never sent twice."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reliable_email.smtp.deadline import Deadline
from reliable_email.smtp.driver import learned_limits, pool
from reliable_email.smtp.driver.transport import SMTPTransport
from reliable_email.smtp.options import ConnectionOptions, TLSMode, TLSPolicy
from reliable_email.smtp.protocol.conversation import is_about_conversation
from reliable_email.smtp.protocol.wire_content import BytesContent
from reliable_email.smtp.syntax.replies import parse_reply
from reliable_email.smtp.transaction import Grant, Job, Transaction, Verdict
from tests.smtp.dialogue import EHLO, Dialogue, in_segment, job
from tests.smtp.plain_server import BEHIND, PlainServer
from tests.thoroughness import examples

ACCEPTED, REFUSED, NOT_SENT, UNKNOWN = Verdict.ACCEPTED, Verdict.REFUSED, Verdict.NOT_SENT, Verdict.UNKNOWN
HOST = "127.0.0.1"


@pytest.fixture(autouse=True)
def fresh_process_state(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing is left over, and silence is short."""
    monkeypatch.setattr("reliable_email.smtp.deadline.SILENCE_SECONDS", 0.2)
    yield
    pool.reset()
    learned_limits.reset()


def link(port: int, **options: object) -> ConnectionOptions:
    """How to reach the server."""
    fields: dict[str, object] = {
        "host": HOST,
        "port": port,
        "tls": TLSPolicy(mode=TLSMode.NONE),
        "local_hostname": "client.test",
        "final_reply_timeout": 5.0,
    }
    return ConnectionOptions(**(fields | options))  # type: ignore[arg-type]


def jobs(count: int, *, bad: Sequence[int] = (), first: int = 0) -> list[Job]:
    """Small messages to one recipient each; the server does not know those of the bad numbers."""
    content = BytesContent.from_bytes(b"Subject: x\r\n\r\n" + b"x" * 50 + b"\r\n")
    names = [f"{'bad' if number in bad else 'user'}{number}" for number in range(first, first + count)]
    return [
        Job(sender="a@example.org", recipients=(f"{name}@example.net",), content=content, key=name) for name in names
    ]


def unknown_user(address: str) -> str | None:
    """Refuses the bad ones."""
    return f"550 5.1.1 <{address}>: no such user" if address.startswith("bad") else None


class Book:
    """Who was granted, and which stories were told before and between."""

    def __init__(self) -> None:
        self.granted: list[Job] = []

    def authorize(self, grants: Sequence[Grant], settled: Sequence[Transaction]) -> list[Job]:
        """Allow all."""
        self.granted += [grant.job for grant in grants]
        return [grant.job for grant in grants]


def send(server: PlainServer, stream: Sequence[Job], **options: object) -> list[Transaction]:
    """What became of them."""
    transport = SMTPTransport(link(server.port, **options))
    return list(transport.transact(stream, deadline=Deadline(10), authorize=Book().authorize))


def verdicts(transactions: Sequence[Transaction]) -> dict[str, Verdict]:
    """By recipient."""
    return {address: one.verdict for done in transactions for address, one in done.results.items()}


@pytest.mark.parametrize("behind", ["refused", "discarded", "closes", "silent", "garbage"])
@pytest.mark.parametrize("seed", [None, 1, 2, 3])
def test_a_server_that_mishandles_what_is_chained_costs_no_message(behind: str, seed: int | None) -> None:
    """Whatever it does with it: each message is accepted once, and one transaction is told of each."""
    stream = jobs(12)
    with PlainServer(behind, seed=seed) as server:
        transactions = send(server, stream)
    assert [one.job for one in transactions] == stream
    assert set(verdicts(transactions).values()) == {ACCEPTED}
    assert set(server.taken.values()) == {1}
    assert len(server.taken) == 12


@pytest.mark.parametrize("behind", ["refused", "discarded", "closes", "silent", "garbage"])
def test_what_was_found_out_is_remembered(behind: str) -> None:
    """One chained envelope is lost; from then on nothing stands behind a terminator."""
    with PlainServer(behind) as server:
        send(server, jobs(4))
        assert learned_limits.of(HOST, server.port).mishandles_chaining
        assert not learned_limits.of(HOST, server.port).mishandles_pipelining
        before = sum(server.mails)
        send(server, jobs(6, first=4))
        assert sum(server.mails) - before == 6


def test_a_server_that_discards_what_is_chained_costs_one_silence() -> None:
    """Eight connections at once: one of them finds out and is replaced, the others go on without."""
    with PlainServer("discarded") as server, ThreadPoolExecutor(8) as threads:
        batches = [jobs(10, first=10 * n) for n in range(8)]
        done = [one for batch in threads.map(lambda batch: send(server, batch), batches) for one in batch]
    assert set(verdicts(done).values()) == {ACCEPTED}
    assert set(server.taken.values()) == {1}
    assert server.connections <= 9


def test_the_final_reply_is_told_before_the_silence_is_waited_for() -> None:
    """The accepted message's transaction comes out while nobody knows yet what the server did with the next."""
    with PlainServer("discarded") as server:
        transport = SMTPTransport(link(server.port))
        stream = transport.transact(jobs(2), deadline=Deadline(10), authorize=Book().authorize)
        first = next(stream)
        assert first.with_verdict(ACCEPTED)
        assert server.connections == 1
        assert next(stream).with_verdict(ACCEPTED)
        assert server.connections == 2


@pytest.mark.parametrize("takes_quietly", [True, False])
def test_a_connection_lost_before_the_final_reply_counts_against_chaining_at_once(takes_quietly: bool) -> None:
    """The message is unknown, the one behind it is not, and no second one becomes so."""
    with PlainServer("closes instead", takes_quietly=takes_quietly) as server:
        transactions = send(server, jobs(8))
        assert learned_limits.of(HOST, server.port).mishandles_chaining
    found = list(verdicts(transactions).values())
    assert found.count(UNKNOWN) == 1
    assert found.count(ACCEPTED) == 7
    assert set(server.taken.values()) == {1}


def test_a_bad_recipient_in_the_first_chained_envelope_is_asked_again_and_chaining_goes_on() -> None:
    """The second answer is the same, so it was no fault of chaining; the connection stays."""
    with PlainServer(refuses=unknown_user) as server:
        transactions = send(server, jobs(6, bad=[1, 3]))
        assert not learned_limits.of(HOST, server.port).mishandles_chaining
    found = verdicts(transactions)
    assert [address for address, verdict in found.items() if verdict is REFUSED] == [
        "bad1@example.net",
        "bad3@example.net",
    ]
    assert server.connections == 1
    assert server.offered["bad1@example.net"] == 2
    assert server.offered["bad3@example.net"] == 1 or server.offered["bad3@example.net"] == 2


def test_nothing_is_chained_where_the_option_says_so() -> None:
    """The off switch, and the one that is on in spite of what was learned: neither loses a message."""
    with PlainServer("discarded") as server:
        assert set(verdicts(send(server, jobs(5), chaining=False)).values()) == {ACCEPTED}
        assert server.connections == 1
        assert not learned_limits.of(HOST, server.port).mishandles_chaining
    with PlainServer("refused") as server:
        learned_limits.learn_chaining_is_mishandled(HOST, server.port)
        assert set(verdicts(send(server, jobs(5, first=9), chaining=True)).values()) == {ACCEPTED}
        assert sum(server.mails) == 5 or server.connections > 1


def test_a_message_that_is_tried_again_has_a_connection_for_itself() -> None:
    """Nothing stands in front of it and nothing behind its terminator."""
    stream = jobs(5)
    stream[2] = replace(stream[2], is_repeat=True)
    with PlainServer() as server:
        assert set(verdicts(send(server, stream)).values()) == {ACCEPTED}
    assert server.mails == [2, 3]


@settings(max_examples=examples(40), deadline=None)
@given(
    behind=st.sampled_from(BEHIND),
    seed=st.integers(0, 10_000),
    count=st.integers(2, 9),
    bad=st.sets(st.integers(0, 8), max_size=3),
)
def test_no_server_makes_a_rejection_of_chance_or_a_second_copy(
    behind: str, seed: int, count: int, bad: set[int]
) -> None:
    """Its book against ours: accepted by us ⊆ taken ⊆ accepted and unknown; refused are those that it does not know."""
    with PlainServer(behind, seed=seed, refuses=unknown_user, takes_quietly=bool(seed % 2)) as server:
        stream = jobs(count, bad=sorted(bad))
        transactions = send(server, stream)
    pool.reset()
    learned_limits.reset()
    assert [one.job for one in transactions] == stream
    found = verdicts(transactions)
    by_verdict = {verdict: {who for who, said in found.items() if said is verdict} for verdict in Verdict}
    assert by_verdict[REFUSED] == {who for who in found if who.startswith("bad")}
    assert by_verdict[NOT_SENT] == set()
    assert by_verdict[ACCEPTED] <= set(server.taken) <= by_verdict[ACCEPTED] | by_verdict[UNKNOWN]
    assert max(server.taken.values(), default=1) == 1
    assert len(by_verdict[UNKNOWN]) <= (1 if behind == "closes instead" else 0)


@pytest.mark.parametrize("greeting", ["220 plain.test ESMTP Exim 4.96", "220 plain.test"])
@pytest.mark.parametrize("flight", [4, 8, 20])
@pytest.mark.parametrize("every", [2, 3, 7])
def test_flights_to_an_exim_are_exact_though_many_are_refused(greeting: str, flight: int, every: int) -> None:
    """It keeps the sender of a refused flight, and leaves at the eleventh RSET that follows no message."""
    stream = [replace(one, may_resend=True) for one in jobs(60, bad=range(0, 60, every))]
    keywords = ("PIPELINING", "CHUNKING")
    if flight == 20 and every == 2 and "Exim" not in greeting:
        pytest.skip("too many are in the air before anything is known of it")
    with PlainServer(refuses=unknown_user, keywords=keywords, max_resets=10, greeting=greeting) as server:
        transactions = send(server, stream, flight=flight)
    assert [one.job for one in transactions] == stream
    found = verdicts(transactions)
    assert {who for who, verdict in found.items() if verdict is REFUSED} == {w for w in found if w.startswith("bad")}
    assert set(found.values()) == {ACCEPTED, REFUSED}
    assert set(server.taken.values()) == {1}


# The session alone.


def chained() -> Dialogue:
    """A message's terminator and the next envelope are out, and the first message is accepted."""
    dialogue = Dialogue().ready(EHLO).begin(job("b@example.net"))
    dialogue.flush()
    dialogue.server("250 ok", "250 ok", "354 go").give_content(following=job("c@example.net")).flush()
    return dialogue.server("250 queued")


ANSWERS = [
    ["503 5.5.1 pipelined", "503 5.5.1 pipelined", "503 5.5.1 pipelined"],
    ["250 ok", "550 5.1.1 no such user", "554 no valid recipients"],
    ["550 5.7.1 no", "503 mail first", "503 mail first"],
    ["452 4.5.3 too many", "503 mail first", "503 mail first"],
    ["250 ok", "250 ok", "451 later"],
    ["250 ok", "250 ok", "554 5.5.1 no"],
    ["250 ok", "550 no", "354 go"],
    ["421 closing"],
    ["354 go"],
    ["garbage"],
    ["550 no", "503 no", "354 go"],
]


@pytest.mark.parametrize("answers", ANSWERS, ids=lambda answers: answers[0])
@given(cuts=st.sets(st.integers(0, 120), max_size=6))
@settings(max_examples=examples(25), deadline=None)
def test_no_answer_to_the_first_chained_envelope_counts_however_it_is_cut(answers: list[str], cuts: set[int]) -> None:
    """No transaction is told of it: it was not asked."""
    dialogue = chained()
    data, start = in_segment(*answers), 0
    for end in [*sorted(cut for cut in cuts if cut < len(data)), len(data)]:
        dialogue.raw(data[start:end])
        start = end
    dialogue.flush()
    if dialogue.broken is None and not dialogue.not_asked:
        dialogue.server("250 whatever").flush()  # a lone dot is answered
    assert len(dialogue.transactions) == 1
    assert len(dialogue.not_asked) == 1
    assert dialogue.not_asked[0].job.recipients == ("c@example.net",)
    assert not dialogue.not_asked[0].counts_at_once


def proven() -> Dialogue:
    """As `chained`, behind a chained envelope that got its 354."""
    dialogue = chained().server("250 ok", "250 ok", "354 go")
    dialogue.give_content(following=job("d@example.net")).flush()
    return dialogue.server("250 queued")


def test_a_refusal_counts_where_an_earlier_chained_envelope_got_its_354() -> None:
    """The pairing of commands and replies is proven on this connection."""
    dialogue = proven().server("250 ok", "550 5.1.1 no such user", "554 no valid recipients")
    assert dialogue.not_asked == []
    assert dialogue.transactions[2].results["d@example.net"].verdict is REFUSED


@pytest.mark.parametrize(
    "words",
    [
        "500 what",
        "502 not implemented",
        "503 bad sequence",
        "504 parameter",
        "555 parameters",
        "554 5.5.1 Error",
        "550 5.5.0 no",
        "451 4.5.2 no",
        "554 SMTP synchronization error",
        "554 protocol violation",
        "550 improper use of SMTP command pipelining",
    ],
)
def test_a_refusal_in_words_about_the_conversation_never_counts_when_chained(words: str) -> None:
    """One success proves nothing: some servers go by chance of segments."""
    dialogue = proven().server(words, "503 no", "503 no")
    assert [event.job.recipients for event in dialogue.not_asked] == [("d@example.net",)]
    assert len(dialogue.transactions) == 2
    again = dialogue.begin(job("d@example.net"))
    assert again.client()[0] == "RSET"


@pytest.mark.parametrize(
    ("reply", "is_odd"),
    [
        ("550 5.1.1 no such user", False),
        ("452 4.5.3 too many recipients", False),
        ("554 5.7.1 spam", False),
        ("550 5.7.501 Access denied", False),
        ("250 protocol", False),
        ("421 4.7.0 protocol error", True),
        ("501 5.5.4 bad parameter", True),
    ],
)
def test_which_words_are_about_the_conversation(reply: str, is_odd: bool) -> None:
    """By code, by enhanced status, by words; only a refusal is."""
    assert is_about_conversation(parse_reply(reply)) is is_odd


def test_commands_behind_the_dot_that_are_half_lost_are_not_paired_wrongly() -> None:
    """MAIL is lost and RCPT and DATA are answered: two replies for three commands."""
    dialogue = chained().server("503 MAIL first", "503 RCPT first")
    assert dialogue.session.is_on_trial
    dialogue.lost()
    assert len(dialogue.not_asked) == 1
    assert len(dialogue.transactions) == 1
