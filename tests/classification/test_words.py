"""Replies as words: what phrases are compared with."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reliable_email.classification.words import MAX_CHARACTERS, embedded_status, told_stage, with_marks, words
from reliable_email.smtp.stages import Stage


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("User unknown", " user unknown "),
        ("<a.b+c@example.org>: User doesn't exist", " user doesnt exist "),
        ("(a@example.org:blocked)", " blocked "),
        ("Client host [192.0.2.1] blocked", " client host blocked "),
        ("Client host [2001:db8::1] blocked", " client host blocked "),
        ("likely 550-5.7.1 unsolicited mail", " likely unsolicited mail "),
        ("Error '5.2.2 Mailbox Full'", " error mailbox full "),
        ("https://support.google.com/mail/?p=BadCredentials x", " https support google com mail p badcredentials x "),
        ("Boîte du destinataire archivée", " boite du destinataire archivee "),
        ("the recipient\u2019s mailbox", " the recipients mailbox "),
        ("mime_banned_file over-quota", " mime banned file over quota "),
        ("", " "),
        ("[]...", " "),
    ],
)
def test_words_of_a_reply(text, expected):
    """Marks, addresses, IPs and repeated status codes go; URLs and words stay."""
    assert words(text) == expected


@given(st.text(max_size=4000))
def test_any_text_becomes_plain_padded_words(text):
    """Whatever a server sends, the result is lower-case words with single spaces."""
    result = words(text)
    assert result == result.lower()
    assert result == " " or result == f" {' '.join(result.split())} "


@given(st.text(alphabet="a.@:-1[] \t<>", max_size=3000))
def test_texts_made_of_marks_are_no_trouble(text):
    """The characters that addresses and IPs are made of, in any order."""
    words(text)
    embedded_status(text)


@pytest.mark.parametrize("piece", ["a@", "1.", "1:", "a.", ":", "5.7.", "@", "a1.2.3.4@"])
def test_long_repetitions_are_cut(piece):
    """What stands behind the cut has no effect, so no text is longer than the bound."""
    text = piece * MAX_CHARACTERS
    assert words(text + " user unknown") == words(text)


@pytest.mark.parametrize(
    ("text", "status"),
    [("554 5.7.1 no", "5.7.1"), ("#5.1.1 x", "5.1.1"), ("host 192.5.1.1", ""), ("v5.1.1.2", ""), ("no", "")],
)
def test_an_embedded_status_is_found(text, status):
    """Enhanced codes inside the text count, parts of IP addresses do not."""
    assert embedded_status(text) == status


@pytest.mark.parametrize(
    ("read", "expected"),
    [
        (" no such user in reply to rcpt to command ", (" no such user ", Stage.RCPT)),
        (" go away in reply to mail from command ", (" go away ", Stage.MAIL)),
        (" no in reply to end of data command ", (" no ", Stage.FINAL_REPLY)),
        (" sent in reply to your letter ", (" sent in reply to your letter ", None)),
        (" no such user ", (" no such user ", None)),
    ],
)
def test_a_told_command_is_taken_for_the_stage(read, expected):
    """A relay that passes a reply on names the command behind it; other words of that kind stay."""
    assert told_stage(read) == expected


def test_an_address_that_was_left_out_leaves_a_mark():
    """The word stands for an IP address, and is missing where there was none."""
    assert with_marks(words("host 192.0.2.1 refused"), "host 192.0.2.1 refused") == " host refused ipnumber "
    assert with_marks(words("host refused"), "host refused") == " host refused "
