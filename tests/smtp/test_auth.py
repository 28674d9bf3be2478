"""Which way to log in, what is said, and what is never shown."""

import base64
import contextlib
import json

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from reliable_email.smtp.options import Credentials
from reliable_email.smtp.protocol import auth


class Tokens:
    """A token provider that is never asked here."""

    def access_token(self, *, renew: bool, timeout: float) -> str:
        """Not called: `choose` only looks whether there is one."""
        raise AssertionError


USER = Credentials(username="ana@example.test", password="pässwörd €")
TOKEN_USER = Credentials(username="ana@example.test", token_provider=Tokens())
REFUSAL = base64.b64encode(
    json.dumps({"status": "401", "schemes": "Bearer", "scope": "https://mail.google.com/"}).encode()
)


def decoded(response: bytes | None) -> bytes:
    """The response behind its base64."""
    assert response is not None
    return base64.b64decode(response, validate=True)


@pytest.mark.parametrize(
    ("offered", "credentials", "wanted", "name"),
    [
        (["LOGIN", "PLAIN", "XOAUTH2"], USER, "auto", "PLAIN"),
        (["LOGIN", "XOAUTH2"], USER, "auto", "LOGIN"),
        (["login"], USER, "auto", "LOGIN"),
        (["PLAIN", "LOGIN"], USER, "login", "LOGIN"),
        (["PLAIN"], USER, "LOGIN", None),
        (["CRAM-MD5", "DIGEST-MD5", "NTLM"], USER, "auto", "CRAM-MD5"),
        (["CRAM-MD5", "LOGIN"], USER, "auto", "LOGIN"),
        (["CRAM-MD5", "PLAIN"], USER, "cram-md5", "CRAM-MD5"),
        (["SCRAM-SHA-256", "DIGEST-MD5", "NTLM"], USER, "auto", None),
        (["OAUTHBEARER", "XOAUTH2"], TOKEN_USER, "auto", "XOAUTH2"),
        (["OAUTHBEARER", "PLAIN"], TOKEN_USER, "auto", "OAUTHBEARER"),
        (["PLAIN", "XOAUTH2"], TOKEN_USER, "auto", "XOAUTH2"),
        (["PLAIN", "LOGIN"], TOKEN_USER, "auto", None),
        ([], USER, "auto", None),
    ],
)
def test_choice(offered: list[str], credentials: Credentials, wanted: str, name: str | None) -> None:
    """XOAUTH2 where there are tokens, else PLAIN, LOGIN, CRAM-MD5 at last; never what is not offered."""
    chosen = auth.choose(offered, credentials, wanted)
    assert (chosen.name if chosen else None) == name


def test_plain_says_utf_8() -> None:
    """RFC 4616: NUL, name, NUL, password, in UTF-8; smtplib fails here."""
    plain = auth.choose(["PLAIN"], USER)
    assert plain is not None
    assert decoded(plain.initial_response()) == b"\0ana@example.test\0" + "pässwörd €".encode()


def test_plain_answers_once_where_the_initial_response_was_ignored() -> None:
    """An empty challenge gets the response; a second one is a loop."""
    plain = auth.choose(["PLAIN"], USER)
    assert plain is not None
    assert plain.respond(b"") == plain.initial_response()
    with pytest.raises(auth.TooManyChallenges):
        plain.respond(b"")


def test_long_plain_waits_for_the_challenge() -> None:
    """RFC 4954 §4: a response that makes the line too long is not an initial one."""
    plain = auth.choose(["PLAIN"], Credentials(username="apikey", password="k" * 400))
    assert plain is not None
    assert plain.initial_response() is None
    assert decoded(plain.respond(b"")).endswith(b"k" * 400)


def test_login_answers_in_order_whatever_the_prompts() -> None:
    """Prompts differ by server; name, then password, then no more."""
    login = auth.choose(["LOGIN"], USER)
    assert login is not None
    assert login.initial_response() is None
    assert decoded(login.respond(base64.b64encode(b"Benutzername?"))) == b"ana@example.test"
    assert decoded(login.respond(b"")) == "pässwörd €".encode()
    with pytest.raises(auth.TooManyChallenges):
        login.respond(b"VXNlcm5hbWU6")


def test_xoauth2_says_the_token_and_then_an_empty_line() -> None:
    """The error challenge is answered by an empty line, and its content is kept for people."""
    xoauth2 = auth.choose(["XOAUTH2"], TOKEN_USER, token="ya29.token")
    assert xoauth2 is not None
    assert decoded(xoauth2.initial_response()) == b"user=ana@example.test\x01auth=Bearer ya29.token\x01\x01"
    assert xoauth2.respond(REFUSAL) == b""
    assert xoauth2.server_error == "status 401, scope https://mail.google.com/"
    with pytest.raises(auth.TooManyChallenges):
        xoauth2.respond(REFUSAL)


def test_xoauth2_repeats_the_token_once_for_an_empty_challenge() -> None:
    """A server that ignored the initial response gets it as an answer; then a refusal, then an end."""
    xoauth2 = auth.choose(["XOAUTH2"], TOKEN_USER, token="t")
    assert xoauth2 is not None
    assert xoauth2.respond(b"") == xoauth2.initial_response()
    assert xoauth2.respond(REFUSAL) == b""
    with pytest.raises(auth.TooManyChallenges):
        xoauth2.respond(b"")


CHALLENGES = [
    b"",
    b"Username:",
    b"R6p1... - hssmtp",
    b"go ahead",
    b"abc",
    b"\xff\xff",
    b"UGFzc3dvcmQ6",
    b"=",
    b"[" * 60_000,
]


@pytest.mark.parametrize("first", CHALLENGES)
@pytest.mark.parametrize("second", CHALLENGES)
def test_login_says_name_and_password_whatever_the_challenges_say(first: bytes, second: bytes) -> None:
    """Plain words, another language, "Password:" first, nothing at all: the order is always the same."""
    login = auth.choose(["LOGIN"], USER)
    assert login is not None
    assert decoded(login.respond(first)) == b"ana@example.test"
    assert decoded(login.respond(second)) == "pässwörd €".encode()


@pytest.mark.parametrize("challenge", CHALLENGES)
def test_plain_answers_one_challenge_whatever_it_says(challenge: bytes) -> None:
    """A server that did not look at the initial response asks for it in its own words."""
    plain = auth.choose(["PLAIN"], USER)
    assert plain is not None
    assert plain.respond(challenge) == plain.initial_response()


@pytest.mark.parametrize(
    "stamp",
    [b"<1896.697170952@postoffice.reston.mci.net>", b"PDE4OTYuNjk3MTcwOTUyQHBvc3RvZmZpY2UucmVzdG9uLm1jaS5uZXQ+"],
)
def test_cram_md5_says_the_digest_of_the_standard(stamp: bytes) -> None:
    """RFC 2195's own example; some servers forget the base64 of the challenge."""
    cram = auth.choose(["CRAM-MD5"], Credentials(username="tim", password="tanstaaftanstaaf"))
    assert cram is not None
    assert cram.initial_response() is None
    assert decoded(cram.respond(stamp)) == b"tim b913a602c7eda7a495b4e6e7334d3890"
    with pytest.raises(auth.TooManyChallenges):
        cram.respond(stamp)


@pytest.mark.parametrize("challenge", [b"abc", b"***", b"\xff"])
def test_cram_md5_answers_no_challenge_that_it_cannot_read(challenge: bytes) -> None:
    """A digest of something else would be a wrong password."""
    cram = auth.choose(["CRAM-MD5"], USER)
    assert cram is not None
    with pytest.raises(auth.ChallengeError):
        cram.respond(challenge)


def test_oauthbearer_says_the_token_and_ends_a_refusal() -> None:
    """RFC 7628 §3.1 and §3.2.3; the user name's separators are escaped (RFC 5801 §4)."""
    user = Credentials(username="a=b,c@example.test", token_provider=Tokens())
    bearer = auth.choose(["OAUTHBEARER"], user, token="ya29.token")
    assert bearer is not None
    assert decoded(bearer.initial_response()) == b"n,a=a=3Db=2Cc@example.test,\x01auth=Bearer ya29.token\x01\x01"
    assert decoded(bearer.respond(REFUSAL)) == b"\x01"
    assert bearer.server_error == "status 401, scope https://mail.google.com/"


@pytest.mark.parametrize(
    "challenge",
    [
        b"[" * 60_000,
        b'{"status":' * 20_000,
        base64.b64encode(b"[" * 60_000),
        base64.b64encode(b'{"a":' * 20_000),
        base64.b64encode(b'{"status":' + b"9" * 20_000 + b"}"),
        base64.b64encode(b'{"status":' + b"[" * 500 + b"]" * 500 + b"}"),
        base64.b64encode(b'{"status":1e999}'),
        base64.b64encode(b"\xff\xfe"),
        b"not base64",
    ],
)
@pytest.mark.parametrize("mechanism", ["XOAUTH2", "OAUTHBEARER"])
def test_hostile_error_challenges_are_only_text(mechanism: str, challenge: bytes) -> None:
    """Deep or long JSON, other bytes: the refusal goes on, and the words stay short."""
    bearer = auth.choose([mechanism], TOKEN_USER, token="t")
    assert bearer is not None
    bearer.respond(challenge)
    assert len(bearer.server_error) < 1000


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "XOAUTH2", "OAUTHBEARER"])
def test_no_mechanism_answers_for_ever(mechanism: str) -> None:
    """A loop of 334 ends after three answers at most, whatever the challenge."""
    chosen = auth.choose([mechanism], USER, mechanism, token="t")
    assert chosen is not None
    answers = []
    with contextlib.suppress(auth.TooManyChallenges):
        while len(answers) < 10:
            answers.append(chosen.respond(b""))
    assert 1 <= len(answers) <= 3


def test_password_of_another_encoding_goes_out_as_it_came_in() -> None:
    """Bytes of the environment that are not UTF-8 arrive as surrogates and leave as those bytes."""
    plain = auth.choose(["PLAIN"], Credentials(username="u", password=b"p\xe4ss".decode("utf-8", "surrogateescape")))
    assert plain is not None
    assert decoded(plain.initial_response()) == b"\0u\0p\xe4ss"


def test_separators_inside_credentials_are_not_said() -> None:
    """A NUL would shift PLAIN's fields, \\x01 those of XOAUTH2: such a mechanism is passed over."""
    chosen = auth.choose(["PLAIN", "LOGIN"], Credentials(username="u", password="a\0b"))
    assert chosen is not None
    assert chosen.name == "LOGIN"
    assert auth.choose(["XOAUTH2"], TOKEN_USER, token="a\x01b") is None


def test_mechanisms_show_no_secret() -> None:
    """The repr of what holds the secret does not."""
    for name in ("PLAIN", "LOGIN", "CRAM-MD5", "XOAUTH2", "OAUTHBEARER"):
        assert repr(auth.choose([name], USER, name, token="secret-token")) == f"<{name}>"


class TestRedact:
    """Replies that echo what was said."""

    SECRET = Credentials(username="ana@example.test", password="s3cret-Pass")

    @pytest.mark.parametrize(
        "echoed",
        [
            "s3cret-Pass",
            base64.b64encode(b"s3cret-Pass").decode(),
            base64.b64encode(b"\0ana@example.test\0s3cret-Pass").decode(),
            base64.b64encode(b"ana@example.test\0ana@example.test\0s3cret-Pass").decode(),
            base64.b64encode(b"\0ana@example.test\0s3cret-Pass").decode()[:20],
            base64.b64encode(b"xx\0s3cret-Passyy").decode()[2:],
            base64.b64encode(b"user=ana@example.test\x01auth=Bearer ya29.t0ken\x01\x01").decode(),
            base64.b64encode(b"user=ana@example.test\x01auth=Bearer ya29.t0ken\x01\x01").decode()[:48],
            "Bearer ya29.t0ken",
            base64.b64encode(b"ya29.t0ken").decode(),
            "ya29.t0ken",
        ],
    )
    def test_no_form_of_a_secret_gets_through(self, echoed: str) -> None:
        """Password and token, plain, in base64, whole or begun."""
        shown = auth.redact(f"500 bad command: AUTH PLAIN {echoed} (sorry)", self.SECRET, token="ya29.t0ken")
        assert echoed not in shown
        assert auth.REDACTED in shown
        assert shown.endswith("(sorry)")

    @pytest.mark.parametrize(
        "reply",
        [
            "535 5.7.8 Username and Password not accepted. For more information, go to https://support.google.com/mail",
            "535 5.7.139 Authentication unsuccessful, the request did not meet the criteria [AM0PR0102CA0042.eurprd]",
            "454 4.7.0 Temporary authentication failure: Connection lost to authentication server",
        ],
    )
    def test_ordinary_replies_stay_as_they_are(self, reply: str) -> None:
        """The text decides about the cause, so nothing else is touched."""
        assert auth.redact(reply, self.SECRET, token="ya29.t0ken") == reply

    def test_short_password_is_hidden_as_a_word_only(self) -> None:
        """A password of one letter must not take that letter out of every reply."""
        credentials = Credentials(username="u", password="e")
        assert auth.redact("535 no such user: e.", credentials) == "535 no such user: ****."

    def test_without_a_password_nothing_is_hidden(self) -> None:
        """An empty password is not found everywhere."""
        assert auth.redact("535 nope", TOKEN_USER) == "535 nope"

    @given(st.text(min_size=4, max_size=30), st.text(max_size=20), st.text(max_size=20))
    def test_password_never_survives(self, password: str, before: str, after: str) -> None:
        """Whatever stands around it."""
        assume(password not in before + auth.REDACTED + after and "*" not in password)
        shown = auth.redact(before + password + after, Credentials(username="u", password=password))
        assert password not in shown

    @given(st.binary(max_size=9), st.text("abcdefgh0123456789!#%", min_size=6, max_size=30), st.binary(max_size=9))
    def test_base64_at_any_offset_never_survives(self, before: bytes, password: str, after: bytes) -> None:
        """A password inside a longer encoded text is found at each of the three alignments."""
        encoded = base64.b64encode(before + password.encode() + after).decode()
        assert encoded not in auth.redact(f"501 {encoded}", Credentials(username="u", password=password))
