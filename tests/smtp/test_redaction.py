"""Secrets that a server gives back are found in whatever form, at every position of a session."""

import base64
import html
import json
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from reliable_email.smtp.options import Credentials, TLSMode
from reliable_email.smtp.protocol.events import Established
from reliable_email.smtp.protocol.redaction import Redactor
from reliable_email.smtp.syntax.replies import Reply
from tests.smtp.dialogue import Dialogue, job

PASSWORD = 's3cret&Pass="wörd 1/2'
USER = Credentials(username="ana@example.test", password=PASSWORD)
TOKEN = "ya29.a0AfH6SMBx-Token_0123456789"


def b64(text: str) -> str:
    """In base64."""
    return base64.b64encode(text.encode()).decode()


FORMS: dict[str, Callable[[str], str]] = {
    "plain": lambda secret: secret,
    "upper": str.upper,
    "base64": b64,
    "base64 without padding": lambda secret: b64(secret).rstrip("="),
    "base64 for URLs": lambda secret: base64.urlsafe_b64encode(secret.encode()).decode(),
    "behind one byte": lambda secret: b64("\0" + secret),
    "behind the name": lambda secret: b64(f"\0ana@example.test\0{secret}"),
    "behind the name twice": lambda secret: b64(f"ana@example.test\0ana@example.test\0{secret}"),
    "the first half": lambda secret: b64(f"\0ana@example.test\0{secret}")[:34],
    "the end": lambda secret: b64(secret)[-14:],
    "percent": lambda secret: quote(secret, safe=""),
    "percent, slash kept": quote,
    "percent, plus": quote_plus,
    "percent, small digits": lambda secret: quote(secret, safe="").replace("%C3%B6", "%c3%b6"),
    "percent, all": lambda secret: "".join(f"%{byte:02x}" for byte in secret.encode()),
    "percent of base64": lambda secret: quote(b64(secret), safe=""),
    "html": html.escape,
    "json": lambda secret: json.dumps(secret)[1:-1],
    "hex": lambda secret: secret.encode().hex(),
    "latin-1": lambda secret: secret.encode().decode("latin-1"),
    "gbk": lambda secret: secret.encode().decode("gb18030", "replace"),
    "cut short": lambda secret: secret[: len(secret) * 4 // 5],
}


@pytest.mark.parametrize("form", FORMS, ids=str)
@pytest.mark.parametrize("secret", [PASSWORD, "correct horse battery", "Tr0ub4dor&3x", TOKEN, "pässwörd€12"])
def test_no_form_of_a_secret_gets_through(form: str, secret: str) -> None:
    """And what stands around it stays."""
    echoed = FORMS[form](secret)
    shown = Redactor([secret], username="ana@example.test").text(f"500 bad: {echoed} (sorry)")
    assert echoed not in shown
    assert "****" in shown
    assert shown.startswith("500 bad: ")
    assert shown.endswith("(sorry)")


def test_a_secret_that_is_folded_over_lines_is_found() -> None:
    """Lines that tell it only together are left out, the others stay."""
    encoded = b64("\0ana@example.test\0" + PASSWORD)
    lines = ("You said", encoded[:30], encoded[30:36], encoded[36:], "which is wrong")
    shown = Redactor([PASSWORD], username="ana@example.test").reply(Reply(500, lines))
    assert shown.lines[0] == "You said"
    assert shown.lines[-1] == "which is wrong"
    assert encoded[30:36] not in str(shown)
    assert encoded[36:] not in str(shown)


def test_a_plain_secret_that_is_folded_over_lines_is_found() -> None:
    """As a whole word, cut by the line's end."""
    shown = Redactor(["correct-horse-battery"]).reply(Reply(500, ("no: correct-ho", "rse-battery", "bye")))
    assert shown.lines == ("****", "****", "bye")


@pytest.mark.parametrize(
    "text",
    [
        "2.1.0 Ok",
        "mail.example.com ESMTP Postfix (Debian/GNU)",
        "5.7.8 Username and Password not accepted. For more information, go to https://support.google.com/mail",
        "2.0.0 Ok: queued as 4bXyZ12AbCdEf",
        "OK  1700000000 a640c23a62f3a-b1234567890abcdef.42 - gsmtp",
        "100% of quota used (50%25)",
    ],
)
def test_ordinary_replies_stay_the_same_object(text: str) -> None:
    """What decides about a cause is not touched."""
    reply = Reply(250, (text,))
    assert Redactor([PASSWORD, TOKEN], username="ana@example.test").reply(reply) is reply


def test_the_user_name_alone_may_stay() -> None:
    """It is in logs anyway; a token that is both is a secret."""
    assert "ana@example.test" in Redactor([PASSWORD], username="ana@example.test").text("535 no ana@example.test")
    assert "server-token" not in Redactor(["server-token"], username="server-token").text("535 no server-token")


@given(st.text(min_size=4, max_size=30), st.sampled_from(sorted(FORMS)[:12]), st.text(max_size=20))
def test_what_was_a_secret_is_not_in_the_text(secret: str, form: str, around: str) -> None:
    """Whatever it is made of."""
    assume(secret.strip("*") and "*" not in secret and not any("\ud800" <= char <= "\udfff" for char in secret))
    assume(secret not in around)
    shown = Redactor([secret]).text(f"{around} {b64(secret)} {secret} {around}")
    assert b64(secret) not in shown
    assert secret not in shown


# What the server says in each reply, and which one holds the echo.
STEPS = (
    "220 {0} ready",
    "250-{1}\n250-X-ECHO {1}\n250 AUTH LOGIN",
    "334 {2}",
    "334 {3}",
    "235 welcome {4}",
    "250 {5}",
    "250 {6}",
    "354 {7}",
    "250 queued {8}",
)


@pytest.mark.parametrize("position", range(len(STEPS)))
@pytest.mark.parametrize("form", ["plain", "base64", "behind the name", "percent"])
@pytest.mark.parametrize("is_refused", [False, True])
def test_a_secret_in_any_reply_leaves_the_session_nowhere(position: int, form: str, is_refused: bool) -> None:
    """Transcript, events, failures, results: from greeting to final reply, taken or refused there."""
    echo = FORMS[form](PASSWORD)
    dialogue = Dialogue(tls=TLSMode.IMPLICIT, credentials=USER, use_pipelining=False)
    for number, step in enumerate(STEPS):
        text = step.format(*(echo if n == position else "x" for n in range(len(STEPS))))
        if is_refused and number == position:
            text = f"554 5.0.0 {echo}"
        dialogue.server(text)
        if dialogue.broken is not None or dialogue.transactions:
            break
        if number == 4:
            assert dialogue.events[-1] == Established()
            dialogue.begin(job())
        if number == 7:
            dialogue.give_content()
    told = repr(dialogue.transcript) + repr(dialogue.events) + repr(dialogue.session.greeting)
    told += repr(dialogue.session.capabilities)
    assert dialogue.transactions or dialogue.broken
    assert echo not in told
    assert PASSWORD not in told
    assert repr(PASSWORD)[1:-1] not in told


@pytest.mark.parametrize(
    "garbage",
    ["{0}\r\n", "250 ok\r\n250 {0}\r\n", "250-{0}\r\n550 {0}\r\n", "300 {0}\r\n", "334 {0}\r\n", "999 {0}\r\n"],
)
def test_a_secret_in_what_is_no_reply_is_hidden_too(garbage: str) -> None:
    """Our own words quote what could not be read."""
    dialogue = Dialogue(credentials=USER, use_pipelining=False).server(
        "220 hi", "250-s\n250 AUTH LOGIN", "334 ", "334 "
    )
    dialogue.server("235 ok")
    dialogue.begin(job())
    dialogue.flush()
    dialogue.raw(garbage.format(PASSWORD).encode())
    dialogue.raw(garbage.format(b64(PASSWORD)).encode())
    told = repr(dialogue.events) + repr(dialogue.transcript)
    assert dialogue.broken is not None
    assert "s3cret" not in told
    assert b64(PASSWORD)[:12] not in told
