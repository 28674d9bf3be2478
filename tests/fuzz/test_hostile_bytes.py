"""Whatever a server sends, the session keeps its promises, and its memory.

It raises nothing, every job that was begun ends exactly once, and nobody is called accepted without a 2yz behind a
terminator that was out (`Player` checks each transaction by the bytes alone).
"""

import base64
import tracemalloc
from collections.abc import Iterator

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from reliable_email.smtp.options import TLSMode
from reliable_email.smtp.syntax.replies import MAX_REPLY_BYTES, ReplyError, ReplyParser
from tests.fuzz.conftest import fuzz
from tests.fuzz.player import PASSWORD, TOKEN, Player, job
from tests.fuzz.test_splits import RECORDINGS

CODES = st.one_of(
    st.sampled_from(("220", "235", "250", "251", "299", "334", "354", "421", "450", "452", "454", "503", "535", "550")),
    st.sampled_from(("000", "199", "600", "999", "25", "2500", "２50", "-50")),
)
TEXTS = st.one_of(
    st.sampled_from([b"", b"ok", b"2.0.0 ok", b"5.1.1 no", b"PIPELINING", b"AUTH PLAIN LOGIN XOAUTH2", b"STARTTLS"]),
    st.sampled_from([b"SIZE 99999999999999999999", b"SIZE 1", b"SMTPUTF8", b"8BITMIME", b"CHUNKING", b"VXNlcjo="]),
    # Odd challenges, deep JSON and long numbers, in base64 and plain.
    st.sampled_from([b"AUTH LOGIN", b"AUTH CRAM-MD5 XOAUTH2", b"AUTH OAUTHBEARER", b"AUTH SCRAM-SHA-1", b"Username:"]),
    st.sampled_from(
        [
            b"[" * 6000,
            base64.b64encode(b"[" * 4000),
            base64.b64encode(b'{"status":' * 400),
            b"9" * 6000,
            b"<1@x>",
            b"DSN",
        ]
    ),
    st.binary(max_size=20),
)
LINES = st.builds(
    lambda code, separator, text, end: code.encode() + separator + text + end,
    CODES,
    st.sampled_from([b" ", b"-", b"", b"\t"]),
    TEXTS,
    st.sampled_from([b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r", b""]),
)
CHUNKS = st.one_of(LINES, LINES, LINES, st.lists(LINES, max_size=6).map(b"".join), st.binary(max_size=60))


@st.composite
def conversations(draw: st.DrawFn) -> list[bytes]:
    """A good session up to some turn, and hostile bytes from there on; or hostile ones alone."""
    recording = RECORDINGS[draw(st.sampled_from(sorted(RECORDINGS)))]
    turns = recording.segments[: draw(st.integers(0, len(recording.segments)))]
    return [*turns, *draw(st.lists(CHUNKS, max_size=8))]


OPTIONS = st.fixed_dictionaries(
    {
        "tls": st.sampled_from([TLSMode.NONE, TLSMode.NONE, TLSMode.IMPLICIT, TLSMode.STARTTLS]),
        "credentials": st.sampled_from([None, None, PASSWORD, TOKEN]),
        "use_pipelining": st.booleans(),
    }
)


@fuzz
@given(
    conversation=conversations(),
    options=OPTIONS,
    chains=st.booleans(),
    window=st.sampled_from([None, None, None, 1, 7, 60]),
)
@example([b"220 x\r\n", b"250 x\r\n", b"250\r\n", b"250\r\n", b"354\r\n250\r\n"], {"tls": TLSMode.NONE}, False, None)
@example(
    [b"220 x\r\n", b"250 PIPELINING\r\n", b"250\r\n250\r\n354\r\n", b"250\r\n250\r\n"], {"tls": TLSMode.NONE}, True, 7
)
def test_a_session_survives_any_server(
    conversation: list[bytes], options: dict[str, object], chains: bool, window: int | None
) -> None:
    """See the module."""
    player = Player(
        [job("a@example.net", "b@example.net"), job("c@example.net")], chains=chains, window=window, **options
    )
    for data in conversation:
        player.feed(data)
    player.lose()
    assert player.is_over
    ended = [transaction.job for transaction in player.transactions]
    assert len(set(map(id, ended))) == len(ended), "a job ended twice"
    assert player.session.open_exchanges == 0, "a job did not end"
    assert sum(one[0] == "broken" for one in player.story) <= 1
    if options.get("tls") is TLSMode.STARTTLS and ("upgrade",) not in player.story:
        assert b"AUTH" not in player.written, "credentials went out in clear"
        assert b"MAIL" not in player.written, "mail went out in clear"
    before = bytes(player.written)
    player.feed(b"250 ok\r\n354 go\r\n")
    assert bytes(player.written) == before, "a closed session wrote"


@fuzz
@given(st.lists(st.one_of(CHUNKS, st.binary(max_size=300)), max_size=10))
def test_the_parser_gives_replies_or_a_reply_error(chunks: list[bytes]) -> None:
    """And every reply has a code of three digits, and no line end in its lines."""
    parser = ReplyParser()
    try:
        for data in chunks:
            parser.feed(data)
            while (reply := parser.next_reply()) is not None:
                assert 200 <= reply.code <= 599
                assert not any("\n" in line for line in reply.lines)
    except ReplyError:
        return


def endless(kind: str) -> Iterator[bytes]:
    """A server that never stops, 64 KiB at a time."""
    pieces = {
        "one line": b"x" * 65536,
        "digits": b"2" * 65536,
        "continued lines": b"250-x\r\n" * 9362,
        "bare line feeds": b"\n" * 65536,
        "NUL": b"\0" * 65536,
        "replies": b"250 ok\r\n" * 8192,
        "long lines": (b"250-" + b"x" * 8000 + b"\r\n") * 8,
    }
    while True:
        yield pieces[kind]


@pytest.mark.parametrize("reached", range(5))
@pytest.mark.parametrize(
    "kind", ["one line", "digits", "continued lines", "bare line feeds", "NUL", "replies", "long lines"]
)
def test_an_endless_server_fills_no_memory(kind: str, reached: int) -> None:
    """Sixteen megabytes at any point of a session: given up within the bound of a reply."""
    player = Player([job("a@example.net"), job("b@example.net")])
    for data in RECORDINGS["three messages, chained"].segments[:reached]:
        player.feed(data)
    session, server = player.session, endless(kind)
    session.receive(next(server))
    tracemalloc.start()
    try:
        for _, data in zip(range(255), server, strict=False):
            session.receive(data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert player.is_over
    assert peak < 4 * MAX_REPLY_BYTES
