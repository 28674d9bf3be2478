"""The reply parser: strict, bounded, and blind to how the bytes were split."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reliable_email.smtp.syntax.replies import (
    MAX_LINE_BYTES,
    MAX_REPLY_BYTES,
    MAX_REPLY_LINES,
    Reply,
    ReplyError,
    ReplyParser,
    parse_reply,
)


def parse_all(data: bytes) -> list[Reply]:
    """Every complete reply in the data, fed at once."""
    parser = ReplyParser()
    parser.feed(data)
    replies = []
    while (reply := parser.next_reply()) is not None:
        replies.append(reply)
    return replies


def test_a_reply_has_code_enhanced_status_and_text() -> None:
    """Code, enhanced status and text are told apart."""
    assert parse_all(b"550 5.1.1 No such user\r\n") == [Reply(550, ("No such user",), "5.1.1")]


def test_lines_of_a_multiline_reply_are_joined_without_their_enhanced_status() -> None:
    """Servers repeat the enhanced status on every line; the joined text is free of it."""
    (reply,) = parse_all(b"550-5.7.1 Go\r\n550-5.7.1 \r\n550 5.7.1 away\r\n")
    assert (reply.enhanced, reply.text, len(reply.lines)) == ("5.7.1", "Go away", 3)


def test_enhanced_parts_may_have_three_digits() -> None:
    """Microsoft's 5.7.139 is in use."""
    assert parse_all(b"535 5.7.139 Authentication unsuccessful\r\n")[0].enhanced == "5.7.139"


def test_a_bare_code_and_bare_line_feeds_are_read() -> None:
    """RFC 5321 allows a code without text; a lone LF does no harm."""
    assert [r.code for r in parse_all(b"250\r\n250 ok\n")] == [250, 250]


def test_an_ip_address_in_the_text_is_not_an_enhanced_status() -> None:
    """Only a class digit of 2, 4 or 5 with two more parts counts."""
    assert parse_all(b"421 4.3.2.1 is blocked\r\n")[0].enhanced == ""


def test_odd_bytes_in_the_text_are_kept_readable() -> None:
    """NUL and high bytes break nothing."""
    (reply,) = parse_all(b"250 a\x00b\xff\r\n")
    assert reply.code == 250
    assert "a\x00b" in reply.text


@pytest.mark.parametrize(
    ("data", "code", "text"),
    [
        (b"220-mx.example.com ESMTP\r\n554 5.7.1 go away\r\n", 554, "mx.example.com ESMTP go away"),
        (
            b"220-mx.example.com\r\n521 192.0.2.1 blocked using blacklist\r\n",
            521,
            "mx.example.com 192.0.2.1 blocked using blacklist",
        ),
        (b"220-mx\r\n220-hello\r\n421-too many\r\n421 connections\r\n", 421, "mx hello too many connections"),
    ],
)
def test_a_greeting_that_turns_into_a_refusal_is_one(data: bytes, code: int, text: str) -> None:
    """The server said no, and all that it said is kept."""
    (reply,) = parse_all(data)
    assert (reply.code, reply.text) == (code, text)


def test_two_codes_are_told_with_the_words_of_both_lines() -> None:
    """Whoever has to find out why needs to see what was said."""
    with pytest.raises(ReplyError, match=r"250 and 550: 'fine / not at all'"):
        parse_all(b"250-fine\r\n550 not at all\r\n")


@pytest.mark.parametrize(
    "data",
    [
        b"25\r\n",
        b"2500 ok\r\n",
        b"+25 ok\r\n",
        b"2_5 ok\r\n",
        b"150 ok\r\n",
        b"650 ok\r\n",
        b"ok\r\n",
        b"\r\n",
        b"250ok\r\n",
        b"HTTP/1.1 400 Bad Request\r\n",
        b"\x00250 ok\r\n",
        b"250-ok\r\n550 no\r\n",
        b"250-ok\r\nok\r\n",
    ],
)
def test_what_breaks_the_grammar_is_refused(data: bytes) -> None:
    """Nothing is guessed at: not half a code, not two codes in one reply."""
    with pytest.raises(ReplyError):
        parse_all(data)


def test_an_incomplete_line_is_no_reply() -> None:
    """A reply without its line end may have more to come."""
    parser = ReplyParser()
    parser.feed(b"250-first\r\n250 ok")
    assert parser.next_reply() is None
    assert not parser.is_empty
    parser.feed(b"\n")
    assert parser.next_reply() == Reply(250, ("first", "ok"))
    assert parser.is_empty


def test_a_line_without_end_is_given_up_at_its_bound() -> None:
    """Memory stays bounded by the line limit."""
    parser = ReplyParser()
    with pytest.raises(ReplyError, match="longer"):
        for _ in range(MAX_LINE_BYTES // 100 + 2):
            parser.feed(b"2" * 100)
            parser.next_reply()


def test_a_line_over_the_bound_is_refused_even_when_complete() -> None:
    """It makes no difference whether it comes in one piece."""
    with pytest.raises(ReplyError, match="longer"):
        parse_all(b"250 " + b"x" * MAX_LINE_BYTES + b"\r\n")


def test_a_reply_without_end_is_given_up_by_its_lines() -> None:
    """An endless EHLO does not fill the memory."""
    with pytest.raises(ReplyError, match="lines"):
        parse_all(b"250-X\r\n" * (MAX_REPLY_LINES + 1))


def test_a_reply_without_end_is_given_up_by_its_bytes() -> None:
    """Long lines reach the byte bound before the line bound."""
    line = b"250-" + b"x" * 8000 + b"\r\n"
    with pytest.raises(ReplyError, match="bytes"):
        parse_all(line * (MAX_REPLY_BYTES // len(line) + 2))


REPLY_LINES = st.lists(st.binary(max_size=40).map(lambda b: b.replace(b"\n", b"").replace(b"\r", b"")), max_size=4)


@given(
    replies=st.lists(st.tuples(st.integers(200, 599), REPLY_LINES), max_size=5),
    cuts=st.lists(st.integers(0, 400), max_size=12),
)
def test_how_the_bytes_are_split_makes_no_difference(replies: list[tuple[int, list[bytes]]], cuts: list[int]) -> None:
    """Any split of a stream gives the replies of the whole stream."""
    stream = b""
    for code, lines in replies:
        digits = str(code).encode()
        stream += b"".join(digits + b"-" + line + b"\r\n" for line in lines) + digits + b" end\r\n"
    parser = ReplyParser()
    seen = []
    edges = [0, *sorted(cut for cut in cuts if cut < len(stream)), len(stream)]
    for start, end in itertools.pairwise(edges):
        parser.feed(stream[start:end])
        while (reply := parser.next_reply()) is not None:
            seen.append(reply)
    assert seen == parse_all(stream)
    assert [reply.code for reply in seen] == [code for code, _ in replies]


@given(st.binary(max_size=300))
def test_any_bytes_give_replies_or_a_reply_error(data: bytes) -> None:
    """No input raises anything else."""
    try:
        parse_all(data)
    except ReplyError:
        return


def test_a_reply_from_a_log_is_read_in_both_spellings() -> None:
    """People paste replies with their dashes or joined in one line."""
    assert parse_reply("550-5.7.1 a\n550 5.7.1 b") == parse_reply("550-5.7.1 a\r\n550-5.7.1 b\r\n")
    assert parse_reply("550 5.4.5 Daily user sending quota exceeded").code == 550
    with pytest.raises(ReplyError):
        parse_reply("no code here")
