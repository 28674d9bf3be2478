"""Envelope, content and final reply, line by line (scenarios 19, 48 to 64, 65 to 78 and 81 to 99 of the test-bed)."""

import pytest

from reliable_email.smtp.failures import FailureKind
from reliable_email.smtp.stages import Stage
from reliable_email.smtp.transaction import Verdict
from tests.smtp.dialogue import EHLO, PLAIN_EHLO, Dialogue, in_segment, job

ACCEPTED, REFUSED, NOT_SENT, UNKNOWN = Verdict.ACCEPTED, Verdict.REFUSED, Verdict.NOT_SENT, Verdict.UNKNOWN
B, C, D = "b@example.net", "c@example.net", "d@example.net"


@pytest.fixture(params=[EHLO, PLAIN_EHLO], ids=["pipelining", "one by one"])
def dialogue(request: pytest.FixtureRequest) -> Dialogue:
    """A ready session, with and without PIPELINING."""
    return Dialogue().ready(request.param)


def say(dialogue: Dialogue, *replies: str) -> Dialogue:
    """Answer command by command, as a server does that reads before it speaks."""
    for reply in replies:
        dialogue.flush()
        dialogue.server(reply)
    dialogue.flush()
    return dialogue


def test_a_message_to_two_recipients_is_accepted(dialogue: Dialogue) -> None:
    """The plain way: exact bytes on the wire, the final reply as evidence."""
    say(dialogue.begin(job(B, C)), "250 ok", "250 ok", "250 ok", "354 go")
    dialogue.give_content().flush()
    assert dialogue.written.endswith(
        b"MAIL FROM:<a@example.org> SIZE=25\r\nRCPT TO:<b@example.net>\r\nRCPT TO:<c@example.net>\r\nDATA\r\n"
        b"Subject: hello\r\n\r\nhello\r\n.\r\n"
    )
    dialogue.server("250 2.0.0 queued as 1")
    assert dialogue.verdicts == {B: ACCEPTED, C: ACCEPTED}
    (transaction,) = dialogue.transactions
    assert (transaction.terminator_sent, transaction.content_bytes, transaction.failure) == (True, 25, None)
    assert transaction.reply is not None
    assert transaction.reply.text == "queued as 1"
    assert dialogue.session.is_idle


def test_pipelining_puts_the_envelope_in_one_write() -> None:
    """RFC 2920: one round trip until 354."""
    dialogue = Dialogue().ready().begin(job(B, C))
    assert len(dialogue.client()) == 4


def test_without_pipelining_each_command_waits_for_its_reply() -> None:
    """Only where announced."""
    dialogue = Dialogue().ready(PLAIN_EHLO).begin(job(B, C))
    assert len(dialogue.client()) == 1


def test_scenario_19_a_message_over_size_is_refused_before_mail(dialogue: Dialogue) -> None:
    """Nothing is sent for it and the connection stays good."""
    dialogue.begin(job(B, content=b"Subject: x\r\n\r\n" + b"x" * 70 + b"\r\n" + b"0123456789\r\n" * 1000))
    assert dialogue.client() == []
    (transaction,) = dialogue.transactions
    assert transaction.failure is not None
    assert (transaction.failure.kind, transaction.stage) == (FailureKind.TOO_LARGE, Stage.MAIL)
    assert dialogue.verdicts == {B: NOT_SENT}
    assert dialogue.session.is_idle


@pytest.mark.parametrize("code", [451, 550, 552])
def test_scenarios_49_50_52_a_refused_mail_is_everybodys_refusal(dialogue: Dialogue, code: int) -> None:
    """The 503 that follow in a group are only echoes."""
    say(dialogue.begin(job(B, C)), f"{code} no")
    if dialogue.session.is_pipelining:
        say(dialogue, "503 mail first", "503 mail first", "503 mail first")
    assert dialogue.verdicts == {B: REFUSED, C: REFUSED}
    assert {result.reply.code for result in dialogue.results.values() if result.reply} == {code}
    assert dialogue.transactions[0].stage is Stage.MAIL
    assert dialogue.session.is_idle


def test_scenario_48_a_421_to_mail_ends_the_connection_and_sends_nothing(dialogue: Dialogue) -> None:
    """The service closes; nobody was refused."""
    say(dialogue.begin(job(B)), "421 4.3.2 closing")
    assert dialogue.verdicts == {B: NOT_SENT}
    assert dialogue.broken is not None
    assert dialogue.broken.reply is not None
    assert dialogue.broken.reply.code == 421


def test_scenario_53_a_refused_recipient_does_not_hurt_the_other(dialogue: Dialogue) -> None:
    """550 for one, the message for the other."""
    say(dialogue.begin(job(B, C)), "250 ok", "550 5.1.1 no such user", "250 ok", "354 go")
    assert dialogue.wanted is not None
    assert dialogue.wanted.recipients == (C,)
    assert list(dialogue.wanted.refused) == [B]
    say(dialogue.give_content(), "250 queued")
    assert dialogue.verdicts == {B: REFUSED, C: ACCEPTED}


@pytest.mark.parametrize(
    ("first", "second"),
    [("550 no", "550 no"), ("451 later", "451 later"), ("451 later", "550 no")],
    ids=["scenario 55", "scenario 56", "scenario 57"],
)
def test_scenarios_55_to_57_when_all_are_refused_no_content_goes_out(
    dialogue: Dialogue, first: str, second: str
) -> None:
    """Each keeps its own reply, and the connection can be used again."""
    say(dialogue.begin(job(B, C)), "250 ok", first, second)
    if dialogue.session.is_pipelining:
        say(dialogue, "554 no valid recipients")
    codes = [result.reply.code for result in dialogue.results.values() if result.reply]
    assert codes == [int(first[:3]), int(second[:3])]
    assert dialogue.verdicts == {B: REFUSED, C: REFUSED}
    assert dialogue.session.is_idle
    dialogue.events.clear()
    dialogue.begin(job(D))
    assert dialogue.client()[0] == "RSET"


def test_scenario_58_a_421_to_the_second_recipient_sends_to_neither(dialogue: Dialogue) -> None:
    """The first one's 250 is worth nothing without a message."""
    say(dialogue.begin(job(B, C)), "250 ok", "250 ok", "421 closing")
    assert dialogue.verdicts == {B: NOT_SENT, C: NOT_SENT}


@pytest.mark.parametrize("reply", ["251 will forward", "252 cannot verify"])
def test_scenario_59_any_2yz_to_rcpt_is_acceptance(dialogue: Dialogue, reply: str) -> None:
    """RFC 5321 §4.2.1."""
    say(dialogue.begin(job(B)), "250 ok", reply, "354 go")
    say(dialogue.give_content(), "250 queued")
    assert dialogue.verdicts == {B: ACCEPTED}


def test_scenario_60_too_many_recipients_are_refused_and_the_rest_is_sent(dialogue: Dialogue) -> None:
    """452 for one is one recipient for a transaction of its own."""
    say(dialogue.begin(job(B, C)), "250 ok", "250 ok", "452 4.5.3 too many recipients", "354 go")
    say(dialogue.give_content(), "250 queued")
    assert dialogue.verdicts == {B: ACCEPTED, C: REFUSED}


def test_scenario_61_the_same_address_twice_is_asked_once(dialogue: Dialogue) -> None:
    """Refused once, no content goes out for nobody."""
    say(dialogue.begin(job(B, "b@EXAMPLE.NET")), "250 ok", "550 no")
    if dialogue.session.is_pipelining:
        say(dialogue, "554 no valid recipients")
    assert dialogue.written.count(b"RCPT") == 1
    assert dialogue.verdicts == {B: REFUSED}


@pytest.mark.parametrize(
    "address", ["b@y.example> NOTIFY=NEVER", "b@y.example\r\nDATA", "b\0@y.example", "<b@y.example", "b c@y.example"]
)
def test_scenario_62_an_address_that_could_be_a_command_stays_here(dialogue: Dialogue, address: str) -> None:
    """It is refused locally; the others go on."""
    say(dialogue.begin(job(address, C)), "250 ok", "250 ok", "354 go")
    say(dialogue.give_content(), "250 queued")
    assert dialogue.verdicts == {address: NOT_SENT, C: ACCEPTED}
    failure = dialogue.results[address].failure
    assert failure is not None
    assert failure.kind is FailureKind.INVALID
    assert dialogue.written.count(b"RCPT") == 1


def test_scenario_62_a_bad_sender_refuses_the_message_locally(dialogue: Dialogue) -> None:
    """Nothing is written."""
    dialogue.begin(job(B, sender="a@x> SIZE=1"))
    assert dialogue.client() == []
    assert dialogue.transactions[0].failure is not None
    assert dialogue.transactions[0].failure.kind is FailureKind.INVALID


def test_scenario_63_an_address_that_needs_smtputf8_is_refused_where_it_is_not_offered() -> None:
    """Only that recipient; where it is offered, MAIL says so."""
    dialogue = Dialogue().ready(PLAIN_EHLO).begin(job("ü@example.net", C))
    say(dialogue, "250 ok", "250 ok", "354 go")
    say(dialogue.give_content(), "250 queued")
    assert dialogue.verdicts == {"ü@example.net": NOT_SENT, C: ACCEPTED}
    offered = Dialogue().ready().begin(job("ü@example.net"))
    assert offered.client()[0].endswith(" SMTPUTF8")


EIGHT_BIT = (
    "Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
    "Content-Transfer-Encoding: 8bit\r\n\r\ngrün\r\n"
).encode()


def test_scenario_64_eight_bit_content_is_declared_or_downgraded() -> None:
    """BODY=8BITMIME where offered, else the same message in 7 bits."""
    assert "BODY=8BITMIME" in Dialogue().ready().begin(job(B, content=EIGHT_BIT)).client()[0]
    dialogue = Dialogue().ready(PLAIN_EHLO).begin(job(B, content=EIGHT_BIT))
    assert "BODY" not in dialogue.client()[0]
    assert dialogue.wanted is None
    say(dialogue, "250 ok", "250 ok", "354 go")
    assert dialogue.wanted is not None
    assert all(byte < 128 for chunk in dialogue.wanted.content.chunks() for byte in chunk)


@pytest.mark.parametrize("code", [451, 503, 554])
def test_scenario_65_a_refused_data_is_everybodys_refusal(dialogue: Dialogue, code: int) -> None:
    """And the connection needs a RSET before the next message."""
    say(dialogue.begin(job(B)), "250 ok", "250 ok", f"{code} no")
    assert dialogue.verdicts == {B: REFUSED}
    assert dialogue.transactions[0].stage is Stage.DATA
    dialogue.begin(job(C))
    assert dialogue.client()[0] == "RSET"


def test_scenario_65_a_421_to_data_closes(dialogue: Dialogue) -> None:
    """Nothing was sent."""
    say(dialogue.begin(job(B)), "250 ok", "250 ok", "421 closing")
    assert dialogue.verdicts == {B: NOT_SENT}
    assert dialogue.broken is not None


def test_scenario_66_data_answered_250_is_a_protocol_error(dialogue: Dialogue) -> None:
    """It is not acceptance: the server has no content."""
    say(dialogue.begin(job(B)), "250 ok", "250 ok", "250 queued")
    assert dialogue.verdicts == {B: NOT_SENT}
    assert dialogue.broken is not None
    assert dialogue.broken.kind is FailureKind.PROTOCOL


@pytest.mark.parametrize("written", range(29))
def test_scenario_68_and_75_the_outcome_is_unknown_only_when_the_whole_terminator_is_out(written: int) -> None:
    """Cut after every byte that the kernel took: not sent up to the last byte of the terminator, unknown from it."""
    dialogue = say(Dialogue().ready().begin(job(B)), "250 ok", "250 ok", "354 go").give_content()
    dialogue.flush(limit=written)
    dialogue.lost()
    assert dialogue.verdicts == {B: UNKNOWN if written == 28 else NOT_SENT}
    (transaction,) = dialogue.transactions
    assert transaction.terminator_sent is (written == 28)
    assert transaction.content_bytes == min(written, 25)
    assert transaction.stage is (Stage.FINAL_REPLY if written == 28 else Stage.CONTENT)


def test_scenario_69_a_refusal_in_mid_content_is_believed() -> None:
    """552 before the terminator: refused with that text, and the connection is given up."""
    dialogue = say(Dialogue().ready().begin(job(B)), "250 ok", "250 ok", "354 go")
    dialogue.session.content(b"Subject: hello\r\n")
    dialogue.flush()
    dialogue.server("552 5.3.4 too big")
    assert dialogue.verdicts == {B: REFUSED}
    assert dialogue.transactions[0].stage is Stage.CONTENT
    assert dialogue.broken is not None


def test_scenario_70_praise_in_mid_content_is_never_acceptance() -> None:
    """250 before the terminator answers nothing."""
    dialogue = say(Dialogue().ready().begin(job(B)), "250 ok", "250 ok", "354 go")
    dialogue.session.content(b"Subject: hello\r\n")
    dialogue.flush()
    dialogue.server("250 queued")
    assert dialogue.verdicts == {B: NOT_SENT}
    assert dialogue.broken is not None
    assert dialogue.broken.kind is FailureKind.PROTOCOL


def test_scenario_70_praise_while_the_terminator_is_still_in_the_buffer_is_not_acceptance() -> None:
    """Queued is not sent."""
    dialogue = say(Dialogue().ready().begin(job(B)), "250 ok", "250 ok", "354 go").give_content()
    dialogue.flush(limit=27)
    dialogue.raw(in_segment("250 queued"))
    assert dialogue.verdicts == {B: NOT_SENT}


@pytest.mark.parametrize("reply", ["250 ok", "251 ok", "200 ok", "299 ok"])
def test_scenario_73_any_2yz_final_reply_is_acceptance(dialogue: Dialogue, reply: str) -> None:
    """RFC 5321 §4.2.1."""
    say(dialogue.begin(job(B)), "250 ok", "250 ok", "354 go")
    say(dialogue.give_content(), reply)
    assert dialogue.verdicts == {B: ACCEPTED}


@pytest.mark.parametrize("code", [450, 552, 554])
def test_scenario_74_a_final_refusal_is_everybodys(dialogue: Dialogue, code: int) -> None:
    """It is definite: not accepted."""
    say(dialogue.begin(job(B, C)), "250 ok", "250 ok", "250 ok", "354 go")
    say(dialogue.give_content(), f"{code} 5.7.1 no")
    assert dialogue.verdicts == {B: REFUSED, C: REFUSED}
    assert dialogue.transactions[0].stage is Stage.FINAL_REPLY
    assert dialogue.session.is_idle


@pytest.mark.parametrize("raw", [b"", b"2", b"25", b"250", b"250-queued\r\n", b"250 queued", b"250 queued\r"])
def test_scenarios_75_and_76_half_a_final_reply_is_unknown(raw: bytes) -> None:
    """Only a whole line is a reply."""
    dialogue = say(Dialogue().ready().begin(job(B)), "250 ok", "250 ok", "354 go").give_content()
    dialogue.flush()
    dialogue.raw(raw).lost()
    assert dialogue.verdicts == {B: UNKNOWN}


@pytest.mark.parametrize(
    "raw", [b"garbage\r\n", b"2500 ok\r\n", b"354 go on\r\n", b"250-a\r\n550 b\r\n", b"150 ok\r\n"]
)
def test_scenario_77_a_malformed_final_reply_is_unknown(raw: bytes) -> None:
    """Neither yes nor no was said."""
    dialogue = say(Dialogue().ready().begin(job(B)), "250 ok", "250 ok", "354 go").give_content()
    dialogue.flush()
    dialogue.raw(raw)
    assert dialogue.verdicts == {B: UNKNOWN}
    assert dialogue.broken is not None


def test_scenario_78_a_421_after_the_dot_is_a_refusal_for_now(dialogue: Dialogue) -> None:
    """A well-formed 4yz: not accepted."""
    say(dialogue.begin(job(B)), "250 ok", "250 ok", "354 go")
    say(dialogue.give_content(), "421 closing")
    assert dialogue.verdicts == {B: REFUSED}
    assert dialogue.broken is not None


def test_scenario_79_what_comes_after_the_final_reply_changes_nothing(dialogue: Dialogue) -> None:
    """The connection may die as it likes."""
    say(dialogue.begin(job(B)), "250 ok", "250 ok", "354 go")
    say(dialogue.give_content(), "250 queued").lost()
    assert dialogue.verdicts == {B: ACCEPTED}


def test_scenario_82_a_421_on_an_idle_connection_closes_it() -> None:
    """It answers nothing and spends nothing."""
    dialogue = Dialogue().ready().server("421 idle")
    assert dialogue.broken is not None
    assert dialogue.transactions == []


def test_scenario_83_a_refused_rset_gives_the_connection_up(dialogue: Dialogue) -> None:
    """The next message was not sent."""
    say(dialogue.begin(job(B)), "250 ok", "250 ok", "451 no")
    dialogue.events.clear()
    say(dialogue.begin(job(C)), "502 no RSET here")
    assert dialogue.verdicts == {C: NOT_SENT}
    assert dialogue.broken is not None


@pytest.mark.parametrize("ghosts", [("250 ghost",), ("354 ghost", "250 ghost")])
@pytest.mark.parametrize("place", [0, 1])
def test_scenario_84_ghost_replies_never_make_an_acceptance(
    dialogue: Dialogue, ghosts: tuple[str, ...], place: int
) -> None:
    """Whoever says more than was asked is not believed again."""
    replies = ["250 ok", "250 ok", "554 real refusal"]
    said = [*replies[: place + 1], *ghosts, *replies[place + 1 :]]
    dialogue.begin(job(B))
    dialogue.flush()
    dialogue.raw(in_segment(*said))
    dialogue.flush()
    assert dialogue.verdicts == {B: NOT_SENT}
    assert dialogue.broken is not None
    assert dialogue.broken.kind is FailureKind.PROTOCOL


def test_scenario_87_mail_refused_in_a_group_keeps_the_count() -> None:
    """550 503 503: refused, and the next message is fine."""
    dialogue = Dialogue().ready().begin(job(B))
    dialogue.flush()
    dialogue.server("550 no", "503 no", "503 no").begin(job(C)).flush()
    dialogue.server("250 ok", "250 ok", "354 go").give_content().flush()
    dialogue.server("250 queued")
    first, second = dialogue.transactions
    assert first.results[B].verdict is REFUSED
    assert second.results[C].verdict is ACCEPTED


def test_scenario_88_a_server_that_refuses_mail_and_wants_content_is_left() -> None:
    """550 at MAIL and 354 at DATA: nothing more is said to it."""
    dialogue = Dialogue().ready().begin(job(B))
    dialogue.flush()
    dialogue.server("550 no", "503 no", "354 go")
    assert dialogue.verdicts == {B: REFUSED}
    assert dialogue.broken is not None
    assert dialogue.flush() == b""


@pytest.mark.parametrize("last", ["250 queued", "554 no"])
def test_scenario_89_a_lone_dot_to_nobody_is_refused_for_all(last: str) -> None:
    """RFC 2920 §3.1: 354 after all were refused is ended by a dot, and means nothing whatever is answered."""
    dialogue = Dialogue().ready().begin(job(B, C))
    dialogue.flush()
    dialogue.server("250 ok", "550 no", "550 no", "354 go")
    assert dialogue.flush() == b".\r\n"
    dialogue.server(last)
    assert dialogue.verdicts == {B: REFUSED, C: REFUSED}
    assert dialogue.session.is_idle


def test_scenario_93_a_421_in_a_group_ends_it_for_the_rest() -> None:
    """Later commands of the group have no effect."""
    dialogue = Dialogue().ready().begin(job(B, C, D))
    dialogue.flush()
    dialogue.server("250 ok", "550 no", "421 closing", "250 ok", "354 go")
    assert dialogue.verdicts == {B: REFUSED, C: NOT_SENT, D: NOT_SENT}


def test_the_next_envelope_goes_out_behind_the_terminator() -> None:
    """`content . MAIL RCPT* DATA`: one round trip a message."""
    dialogue = Dialogue().ready().begin(job(B))
    dialogue.flush()
    dialogue.server("250 ok", "250 ok", "354 go").give_content(following=job(C))
    assert dialogue.flush().endswith(b".\r\nMAIL FROM:<a@example.org> SIZE=25\r\nRCPT TO:<c@example.net>\r\nDATA\r\n")
    dialogue.server("250 queued", "250 ok", "250 ok", "354 go")
    assert [t.results[B].verdict for t in dialogue.transactions] == [ACCEPTED]
    dialogue.give_content().flush()
    dialogue.server("250 queued")
    assert [next(iter(t.results.values())).verdict for t in dialogue.transactions] == [ACCEPTED, ACCEPTED]


def test_scenario_94_death_behind_a_chained_terminator_is_one_unknown() -> None:
    """Message n may have been taken; n+1 was not asked, and that counts against chaining."""
    dialogue = Dialogue().ready().begin(job(B))
    dialogue.flush()
    dialogue.server("250 ok", "250 ok", "354 go").give_content(following=job(C)).flush()
    dialogue.lost()
    (first,) = dialogue.transactions
    assert first.results[B].verdict is UNKNOWN
    (event,) = dialogue.not_asked
    assert event.counts_at_once
    assert event.failure.stage is Stage.MAIL


def test_a_final_refusal_does_not_touch_the_chained_message() -> None:
    """554 for n, 250 for n+1."""
    dialogue = Dialogue().ready().begin(job(B))
    dialogue.flush()
    dialogue.server("250 ok", "250 ok", "354 go").give_content(following=job(C)).flush()
    dialogue.server("554 spam", "250 ok", "250 ok", "354 go").give_content().flush()
    dialogue.server("250 queued")
    assert [next(iter(t.results.values())).verdict for t in dialogue.transactions] == [REFUSED, ACCEPTED]


def test_scenario_95_a_refused_bdat_keeps_the_count() -> None:
    """All recipients refused, the octets are eaten, the next message of the flight is fine."""
    dialogue = Dialogue().ready(EHLO.replace("250 SMTPUTF8", "250 CHUNKING"))
    for one in (job(B), job(C)):
        dialogue.events += dialogue.session.fly(one, [b"Subject: x\r\n\r\nx\r\n"])
    dialogue.flush()
    dialogue.server("250 ok", "550 no", "554 no valid recipients", "250 reset", "250 ok", "250 ok", "250 queued")
    first, second = dialogue.transactions
    assert first.results[B].verdict is REFUSED
    assert second.results[C].verdict is ACCEPTED
    assert b"BDAT 17 LAST\r\nSubject: x\r\n\r\nx\r\nRSET\r\nMAIL" in dialogue.written


def test_a_server_that_keeps_a_refused_flight_open_is_reset_before_the_next() -> None:
    """RFC 3030 §2: Exim keeps the sender where every recipient was refused; a server without RSET is taken as it is."""
    for answer, then in (("250 reset", "250 ok"), ("502 no RSET", "250 ok")):
        dialogue = Dialogue().ready(EHLO.replace("250 SMTPUTF8", "250 CHUNKING"))
        dialogue.events += dialogue.session.fly(job(B), [b"Subject: x\r\n\r\nx\r\n"])
        dialogue.flush()
        dialogue.server("250 ok", "550 no", "503 no valid recipients")
        dialogue.events += dialogue.session.fly(job(C), [b"Subject: x\r\n\r\nx\r\n"])
        assert dialogue.client()[0] == "RSET"
        dialogue.server(answer, then, "250 ok", "250 queued")
        assert dialogue.transactions[1].results[C].verdict is ACCEPTED


def test_a_flight_that_is_cut_off_is_unknown_as_far_as_it_was_out() -> None:
    """Each message whose last octet is out may have been taken; the others not."""
    dialogue = Dialogue().ready(EHLO.replace("250 SMTPUTF8", "250 CHUNKING"))
    for address in (B, C, D):
        dialogue.events += dialogue.session.fly(job(address), [b"Subject: x\r\n\r\nx\r\n"])
    whole = sum(map(len, dialogue.session.channel._out))
    dialogue.flush(limit=whole - 1)
    dialogue.lost()
    verdicts = [next(iter(t.results.values())).verdict for t in dialogue.transactions]
    assert verdicts == [UNKNOWN, UNKNOWN, NOT_SENT]


def test_withheld_permission_closes_without_a_terminator(dialogue: Dialogue) -> None:
    """The journal said no: the server never gets a complete message."""
    say(dialogue.begin(job(B)), "250 ok", "250 ok", "354 go")
    dialogue.session.content(b"Subject: x\r\n")
    dialogue.events += dialogue.session.withhold("no")
    dialogue.flush()
    assert dialogue.verdicts == {B: NOT_SENT}
    assert dialogue.transactions[0].failure is not None
    assert dialogue.transactions[0].failure.kind is FailureKind.WITHHELD
    assert b"\r\n.\r\n" not in dialogue.written


def test_a_group_has_at_most_a_hundred_recipients() -> None:
    """More go in further groups; DATA is in the last."""
    addresses = [f"u{n}@example.net" for n in range(250)]
    dialogue = Dialogue().ready().begin(job(*addresses))
    groups = []
    while lines := dialogue.client():
        groups.append(len(lines))
        dialogue.server(*(["354 go" if line == "DATA" else "250 ok" for line in lines]))
    assert groups == [101, 100, 51]
    assert dialogue.wanted is not None
    assert len(dialogue.wanted.recipients) == 250


def test_an_envelope_can_be_asked_about_without_a_message(dialogue: Dialogue) -> None:
    """MAIL and RCPT are answered, DATA is never said, and a RSET comes before the next message."""
    dialogue.events += dialogue.session.begin(job(B), envelope_only=True)
    say(dialogue, "250 ok", "550 no")
    assert b"DATA" not in dialogue.written
    assert dialogue.verdicts == {B: REFUSED}
    dialogue.events.clear()
    dialogue.events += dialogue.session.begin(job(D), envelope_only=True)
    say(dialogue, "250 ok", "250 ok", "250 ok")
    assert dialogue.results[D].failure is None
    assert dialogue.results[D].reply is not None
    dialogue.begin(job(C))
    assert dialogue.client()[0] == "RSET"


def test_the_null_sender_is_allowed(dialogue: Dialogue) -> None:
    """MAIL FROM:<> is for messages that must not bounce."""
    assert dialogue.begin(job(B, sender="")).client()[0].startswith("MAIL FROM:<>")
