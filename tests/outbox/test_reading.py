"""Content taken apart for a person's eyes: whatever the bytes are, something is shown and nothing raises."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reliable_email.outbox.operations.letters import letter


def test_encoded_headers_are_read_and_folded_ones_are_one_line() -> None:
    """As a mail program shows them."""
    found = letter(b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nTo: a@example.com,\r\n b@example.com\r\n\r\nHi")
    assert found.headers == (("Subject", "Grüße"), ("To", "a@example.com, b@example.com"))
    assert (found.text, found.html, found.attachments) == ("Hi", None, ())


@pytest.mark.parametrize(
    ("source", "text"),
    [
        (b"Content-Type: text/plain; charset=klingon\r\n\r\nHi \xff", "Hi �"),
        (b"Content-Type: text/plain; charset=idna\r\n\r\nHi", "Hi"),
        (b"Content-Type: text/plain; charset*==\xc3\0\r\n\r\nHi", "Hi"),
        (b"Content-Type: text/plain; charset=us-ascii\r\n\r\nHi \xc3\xbc", "Hi ��"),
        (b"Content-Transfer-Encoding: base64\r\n\r\nSGVsbG8", "Hello"),
        (b"Subject: \xc3\xbc\r\n\r\nraw", "raw"),
        (b"no header at all", "no header at all"),
        (b"", ""),
    ],
    ids=["charset", "odd-charset", "nul-charset", "not-ascii", "cut-base64", "raw-header", "no-header", "nothing"],
)
def test_what_is_not_as_it_should_be_is_shown_all_the_same(source: bytes, text: str) -> None:
    """A source that breaks the rules is shown, with replacement characters for bytes that cannot be decoded."""
    assert letter(source).text == text


def test_a_multipart_without_parts_is_an_attachment() -> None:
    """There is no text in it, and it is not lost."""
    found = letter(b"Content-Type: multipart/mixed\r\n\r\nnothing here")
    assert (found.text, [one.content_type for one in found.attachments]) == (None, ["multipart/mixed"])


def test_an_attached_message_stays_in_one_piece() -> None:
    """Its own parts are not taken for the letter's."""
    inner = b"Subject: inner\r\n\r\ninner text"
    source = (
        b'Content-Type: multipart/mixed; boundary="x"\r\n\r\n--x\r\n\r\nouter\r\n--x\r\n'
        b"Content-Type: message/rfc822\r\n\r\n" + inner + b"\r\n--x--\r\n"
    )
    found = letter(source)
    assert found.text == "outer"
    [attached] = found.attachments
    assert (attached.name, b"inner text" in attached.data) == ("part-1.eml", True)


def test_names_of_attachments_are_decoded() -> None:
    """Both ways of writing them."""
    for parameter in (
        b"filename*=utf-8''Rechnung%20f%C3%BCr%20Ada.pdf",
        b'filename="=?utf-8?q?Rechnung_f=C3=BCr_Ada.pdf?="',
    ):
        found = letter(b"Content-Type: application/pdf\r\nContent-Disposition: attachment; " + parameter + b"\r\n\r\nx")
        assert [one.name for one in found.attachments] == ["Rechnung für Ada.pdf"]


@given(st.binary(max_size=300), st.sampled_from([b"", b"Content-Type: ", b"Content-Disposition: ", b"Subject: =?"]))
def test_any_bytes_can_be_shown(noise: bytes, before: bytes) -> None:
    """Nothing raises, and the source is kept as it is."""
    assert letter(before + noise).source == before + noise


def test_of_a_huge_header_the_beginning_is_shown() -> None:
    """Decoding a hundred thousand encoded words would stop the page."""
    shown = dict(letter(b"Subject: " + b"=?utf-8?q?=C3=BC?= " * 6000 + b"\r\n\r\nhello").headers)["Subject"]
    assert shown.startswith("üü")
    assert shown.endswith("ü …")
    assert len(shown) < 4096
