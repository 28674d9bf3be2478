"""Replies as people paste them."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reliable_email.classification.pasted import read_reply
from reliable_email.smtp.syntax.replies import ReplyError


@pytest.mark.parametrize(
    ("pasted", "code", "enhanced", "text"),
    [
        ("550 5.1.1 User unknown", 550, "5.1.1", "User unknown"),
        ("550-5.7.1 first\n550 5.7.1 second", 550, "5.7.1", "first second"),
        ("smtplib.SMTPDataError: (550, b'5.4.5 Daily limit\\n5.4.5 exceeded')", 550, "5.4.5", "Daily limit exceeded"),
        ('(421, "Sorry, it\'s late")', 421, "", "Sorry, it's late"),
        ("{'a@example.org': (550, b'5.1.1 User unknown')}", 550, "5.1.1", "User unknown"),
        ("5.2.1 Subject is Mandatory", 550, "5.2.1", "Subject is Mandatory"),
        ("#4.4.5 Too many connections", 450, "4.4.5", "Too many connections"),
        (
            "host mx.example.org said: 554 5.7.1 no (in reply to end of DATA)",
            554,
            "5.7.1",
            "no (in reply to end of DATA)",
        ),
    ],
)
def test_a_pasted_refusal_is_found(pasted, code, enhanced, text):
    """From a log, a bounce or a traceback."""
    reply = read_reply(pasted)
    assert (reply.code, reply.enhanced) == (code, enhanced)
    assert reply.text == text


@pytest.mark.parametrize("pasted", ["", "  \n", "hello", "250 2.0.0 OK", "354 go ahead", "(250, b'ok')", "999 x"])
def test_what_is_no_refusal_is_refused(pasted):
    """The error says what is wrong with the text."""
    with pytest.raises(ReplyError):
        read_reply(pasted)


@given(st.text(max_size=2000) | st.text(alphabet="(5, b'\\\"x)450 .-\n", max_size=300))
def test_any_text_is_a_refusal_or_an_error(text):
    """Nothing else comes out."""
    with contextlib.suppress(ValueError):
        assert read_reply(text).is_refusal
