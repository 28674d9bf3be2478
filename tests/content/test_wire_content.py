"""Content on the wire: one form of line end, bounded lines, dots stuffed, whatever the pieces."""

import email
import itertools
import re
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reliable_email.smtp.protocol.wire_content import (
    BytesContent,
    InvalidContent,
    has_long_line,
    normal,
    stuffed,
)

BODY = st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b".", b"..", b"x", b"text"]), max_size=30).map(b"".join)
HEAD = b"Subject: x\r\n\r\n"


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """The data in pieces."""
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[start:end] for start, end in itertools.pairwise(edges)]


def unstuffed(data: bytes) -> bytes:
    """What a server makes of it: lines, with one leading dot taken off."""
    lines = data.split(b"\r\n")
    return b"\r\n".join(line[1:] if line.startswith(b".") else line for line in lines)


@given(BODY)
def test_normal_content_has_no_line_end_but_crlf(body: bytes) -> None:
    """Nothing is left that a lenient server could take for the end."""
    data = normal(body)
    assert data.count(b"\r") == data.count(b"\n") == data.count(b"\r\n")
    assert data.endswith(b"\r\n")


@given(BODY, st.lists(st.integers(0, 1000), max_size=8))
def test_stuffed_content_comes_out_as_it_went_in(body: bytes, places: list[int]) -> None:
    """Byte by byte, wherever the pieces end; and no line of it is a lone dot."""
    data = normal(body)
    wire = b"".join(stuffed(cut(data, places)))
    assert b"\r\n.\r\n" not in b"\r\n" + wire
    assert unstuffed(wire) == data


@pytest.mark.parametrize(
    "bare", [b"a\rb\r\n", b"a\nb\r\n", b"\n.\r\n", b"\r\r\n", b"a\n\r\n", b"a\r", b"a\n", b"a", b"a\r\nb"]
)
@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_a_bare_cr_or_lf_never_goes_out(bare: bytes, size: int) -> None:
    """Content of any other origin is checked again where it is written, whatever its pieces."""
    pieces = [bare[start : start + size] for start in range(0, len(bare), size)]
    with pytest.raises(InvalidContent, match="CR"):
        list(stuffed(pieces))


@pytest.mark.parametrize(
    "sequence", [b"\n.\n", b"\n.\r\n", b"\r.\r", b"\r.\r\n", b"\r\n.\r", b"\r\n.\n", b"\r\r\n.", b"\r\n.\r\n"]
)
def test_scenario_97_no_sequence_of_line_ends_smuggles_a_second_message(sequence: bytes) -> None:
    """On the wire every dot at the start of a line is doubled, and every line end is a CRLF."""
    content = BytesContent.from_bytes(HEAD + b"a" + sequence + b"MAIL FROM:<evil@example.org>\r\n")
    wire = b"".join(stuffed(content.chunks()))
    assert not re.search(rb"[\r\n]\.[\r\n]", wire)
    assert unstuffed(wire) == content.data


@given(st.lists(st.sampled_from([0, 1, 500, 996, 997, 998, 999, 1000, 2500]), max_size=6))
def test_a_long_line_is_found_wherever_it_stands(lengths: list[int]) -> None:
    """998 bytes are the most that a line may have."""
    data = b"".join(b"x" * length + b"\r\n" for length in lengths) or b"\r\n"
    assert has_long_line(data) == (max(lengths, default=0) > 998)


def test_a_nul_never_goes_out() -> None:
    """RFC 5321 §2.3.1."""
    with pytest.raises(InvalidContent, match="NUL"):
        BytesContent.from_bytes(HEAD + b"a\0b")


@pytest.mark.parametrize(
    "head", [b"Subject: x\r\nno field here\r\n\r\n", b"Subject: a\r\nb\r\n\r\nbody", b": x\r\n\r\n"]
)
def test_a_header_section_that_is_none_is_refused(head: bytes) -> None:
    """A stray line would end the header section for some readers."""
    with pytest.raises(InvalidContent, match="header"):
        BytesContent.from_bytes(head)


def test_content_without_a_header_section_is_allowed() -> None:
    """An empty line at the top: all body."""
    assert BytesContent.from_bytes(b"\r\nbody").data == b"\r\nbody\r\n"


@pytest.mark.parametrize("kind", ["text/plain", "application/octet-stream"])
def test_scenario_99_an_over_long_line_is_encoded(kind: str) -> None:
    """5,000 bytes in one line arrive as they are."""
    body = b"x" * 5000
    content = BytesContent.from_bytes(
        b"MIME-Version: 1.0\r\nContent-Type: " + kind.encode() + b"\r\n\r\n" + body + b"\r\n"
    )
    assert max(map(len, content.data.split(b"\r\n"))) <= 998
    payload = email.message_from_bytes(content.data).get_payload(decode=True)
    assert isinstance(payload, bytes)
    assert payload.rstrip(b"\r\n") == body


def test_scenario_99_an_over_long_header_line_is_refused_or_folded() -> None:
    """What cannot be folded never goes out."""
    try:
        content = BytesContent.from_bytes(b"X-Long: " + b"x" * 2000 + b"\r\n\r\nbody")
    except InvalidContent:
        return
    assert max(map(len, content.data.split(b"\r\n"))) <= 998


def test_lines_of_998_bytes_are_left_alone() -> None:
    """The limit itself is allowed."""
    data = HEAD + b"x" * 998 + b"\r\n"
    assert BytesContent.from_bytes(data).data == data


def test_eight_bit_text_can_be_downgraded_and_raw_utf8_headers_cannot() -> None:
    """The one is an encoding, the other an extension of the address."""
    head = "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
    text = head + "grün\r\n"
    content = BytesContent.from_bytes(text.encode())
    assert not content.is_7bit
    assert not content.needs_smtputf8
    down = content.downgraded()
    assert down is not None
    assert down.is_7bit
    payload = email.message_from_bytes(down.data).get_payload(decode=True)
    assert isinstance(payload, bytes)
    assert payload.decode().strip() == "grün"
    raw = BytesContent.from_bytes("To: grün@example.com\r\n\r\nx\r\n".encode())
    assert raw.needs_smtputf8
    assert raw.downgraded() is None


@pytest.mark.parametrize(
    "signed",
    [
        b"DKIM-Signature: v=1; b=abc\r\nContent-Type: text/plain\r\nContent-Transfer-Encoding: 8bit\r\n\r\n",
        b'MIME-Version: 1.0\r\nContent-Type:\r\n multipart/signed; boundary="b"\r\n\r\n--b\r\n\r\n',
    ],
)
def test_signed_content_is_never_written_anew(signed: bytes) -> None:
    """It would arrive with a broken signature; a clear refusal is better."""
    with pytest.raises(InvalidContent, match="signature"):
        BytesContent.from_bytes(signed + b"x" * 2000)
    assert BytesContent.from_bytes(signed + "grün".encode()).downgraded() is None


def test_every_part_is_downgraded() -> None:
    """Text, binary, and what is inside an attached message; each holds the same bytes afterwards."""
    eight = b"Content-Transfer-Encoding: 8bit\r\n"
    data = (
        b'MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="b"\r\n' + eight + b"\r\n"
        b"--b\r\nContent-Type: text/plain; charset=utf-8\r\n" + eight + b"\r\ngr\xc3\xbcn\r\n"
        b"--b\r\nContent-Type: application/octet-stream\r\n" + eight + b"\r\n\xff\xfe\r\n"
        b"--b\r\nContent-Type: message/rfc822\r\n" + eight + b"\r\nSubject: inner\r\nMIME-Version: 1.0\r\n"
        b"Content-Type: text/plain; charset=iso-8859-1\r\n" + eight + b"\r\ngr\xfcn\r\n--b--\r\n"
    )
    down = BytesContent.from_bytes(data).downgraded()
    assert down is not None
    assert down.is_7bit
    assert b"8bit" not in down.data
    payloads = [part.get_payload(decode=True) for part in email.message_from_bytes(down.data).walk()]
    assert [one.rstrip() for one in payloads if isinstance(one, bytes)] == [b"gr\xc3\xbcn", b"\xff\xfe", b"gr\xfcn"]


def test_scenario_100_fifty_megabytes_are_stuffed_in_pieces() -> None:
    """No piece is larger than what was read, and a second copy is never made."""
    content = BytesContent.from_bytes(HEAD + (b"." + b"x" * 75 + b"\r\n") * 640_000)
    tracemalloc.start()
    size = sum(len(piece) for piece in stuffed(content.chunks()))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size == content.size + 640_000
    assert peak < 1_000_000
