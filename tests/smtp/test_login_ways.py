"""What a refused AUTH leads to: another mechanism, a verdict, or nothing known; and what a person is told."""

import base64

import pytest

from reliable_email.classification import Cause, classify
from reliable_email.smtp.failures import FailureKind, WireFailure
from reliable_email.smtp.options import Credentials, TLSMode
from reliable_email.smtp.protocol import login_advice
from reliable_email.smtp.protocol.auth import ways
from reliable_email.smtp.protocol.events import Established, TokenWanted
from reliable_email.smtp.stages import Stage
from tests.smtp.dialogue import Dialogue

PASSWORD = Credentials(username="user", password="s3cret-Pass")
ENCODED_USER = base64.b64encode(b"user").decode()
ENCODED_PASSWORD = base64.b64encode(b"s3cret-Pass").decode()


class Tokens:
    """A token provider that the driver would ask."""

    def access_token(self, *, renew: bool, timeout: float) -> str:
        """Never called here."""
        raise AssertionError


TOKEN = Credentials(username="user@example.com", token_provider=Tokens())


def secure(auth: str, credentials: Credentials = PASSWORD, mechanism: str = "auto") -> Dialogue:
    """A session under TLS whose server offers these mechanisms; what was written so far is taken."""
    dialogue = Dialogue(tls=TLSMode.IMPLICIT, may_send_secrets=False, credentials=credentials, mechanism=mechanism)
    dialogue.server("220 hello")
    dialogue.client()
    dialogue.server(f"250-s\n250 AUTH {auth}" if auth else "250 s")
    dialogue.flush()
    return dialogue


def commands(dialogue: Dialogue) -> list[str]:
    """The mechanisms that were tried, in order."""
    dialogue.flush()
    return [line.split()[1].decode() for line in dialogue.written.split(b"\r\n") if line.startswith(b"AUTH ")]


def failure_of(dialogue: Dialogue) -> WireFailure:
    """Why it ended."""
    assert dialogue.broken is not None
    assert dialogue.broken.stage is Stage.AUTH
    return dialogue.broken


@pytest.mark.parametrize(
    "refusal",
    [
        "500 5.5.1 unrecognized command",
        "501 5.5.4 syntax error",
        "502 5.5.1 not implemented",
        "503 5.5.1 bad sequence of commands",
        "504 5.7.4 Unrecognized authentication type",
        "504 5.5.4 mechanism not supported",
        "550 5.7.1 this mechanism is not for you",
        "553 5.3.0 Auth failure",
        "554 5.7.0 no",
        "538 5.7.11 Encryption required for requested authentication mechanism",
        "451 auth mode unsupported.",
        "454 4.7.0 mechanism not available",
    ],
)
def test_a_refused_mechanism_is_followed_by_one_other(refusal: str) -> None:
    """PLAIN is advertised and refused; LOGIN works, as with other clients."""
    dialogue = secure("PLAIN LOGIN").server(refusal, "334 VXNlcm5hbWU6", "334 UGFzc3dvcmQ6", "235 welcome")
    assert commands(dialogue) == ["PLAIN", "LOGIN"]
    assert dialogue.written.endswith(f"{ENCODED_USER}\r\n{ENCODED_PASSWORD}\r\n".encode())
    assert dialogue.events == [Established()]


@pytest.mark.parametrize(
    "verdict",
    ["535 5.7.8 no", "534 5.7.9 Application-specific password required", "530 5.7.0 Authentication required"],
)
def test_a_verdict_on_the_credentials_is_not_asked_for_twice(verdict: str) -> None:
    """Accounts get locked by that."""
    dialogue = secure("PLAIN LOGIN CRAM-MD5").server(verdict)
    assert commands(dialogue) == ["PLAIN"]
    assert failure_of(dialogue).kind is FailureKind.REFUSED


@pytest.mark.parametrize(
    "refusal", ["454 4.7.0 Temporary authentication failure", "421 4.7.0 too many logins", "450 4.3.2 busy"]
)
def test_a_refusal_for_now_is_no_reason_for_another_mechanism(refusal: str) -> None:
    """It would be refused as well, and counts as one more login."""
    dialogue = secure("PLAIN LOGIN").server(refusal)
    assert commands(dialogue) == ["PLAIN"]
    assert failure_of(dialogue).reply is not None


def test_530_that_wants_tls_is_about_the_connection() -> None:
    """No mechanism helps, and nothing is said of the password."""
    dialogue = secure("PLAIN LOGIN").server("530 5.7.0 Must issue a STARTTLS command first")
    assert commands(dialogue) == ["PLAIN"]
    assert failure_of(dialogue).advice == ""


@pytest.mark.parametrize(
    ("offered", "tried"),
    [
        ("PLAIN LOGIN CRAM-MD5", ["PLAIN", "LOGIN"]),
        ("PLAIN CRAM-MD5", ["PLAIN", "CRAM-MD5"]),
        ("LOGIN CRAM-MD5", ["LOGIN", "CRAM-MD5"]),
        ("PLAIN", ["PLAIN"]),
        ("CRAM-MD5", ["CRAM-MD5"]),
        ("PLAIN XOAUTH2 NTLM", ["PLAIN"]),
    ],
)
def test_at_most_one_further_mechanism_is_tried(offered: str, tried: list[str]) -> None:
    """Then the login has failed, with the last reply, and a text that names what both sides know."""
    dialogue = secure(offered)
    for _ in range(4):
        if dialogue.broken is None:
            dialogue.server("504 5.5.4 not this one")
    assert commands(dialogue) == tried
    failure = failure_of(dialogue)
    assert failure.reply is not None
    assert offered.replace(" ", ", ") in failure.advice
    assert "CRAM-MD5" in failure.advice
    assert "XOAUTH2" in failure.advice
    assert failure.advice in classify(failure).help


def test_the_mechanism_that_is_left_is_named_as_the_option() -> None:
    """Three are offered, two are tried: the third is for a person to choose."""
    dialogue = secure("PLAIN LOGIN CRAM-MD5").server("504 no", "504 no")
    assert 'auth="cram-md5"' in failure_of(dialogue).advice


def test_a_bare_verdict_names_the_other_mechanism_that_could_be_tried_by_hand() -> None:
    """Servers exist that say 535 to PLAIN whatever the password; one that speaks of the password is believed."""
    assert 'auth="login"' in failure_of(secure("PLAIN LOGIN").server("535 5.3.0 Auth failure")).advice
    assert failure_of(secure("PLAIN LOGIN").server("535 5.7.8 Username and Password not accepted")).advice == ""


def test_a_mechanism_that_was_chosen_by_hand_is_the_only_one() -> None:
    """The operator's word; the text says how to take it back."""
    dialogue = secure("PLAIN LOGIN", mechanism="plain").server("504 no")
    assert commands(dialogue) == ["PLAIN"]
    assert 'auth="login"' in failure_of(dialogue).advice


def test_a_verdict_on_the_second_mechanism_is_the_answer() -> None:
    """The first refusal was about the mechanism; both are told."""
    dialogue = secure("PLAIN LOGIN").server("504 no PLAIN here", "334 ", "334 ", "535 5.7.8 wrong")
    failure = failure_of(dialogue)
    assert failure.reply is not None
    assert failure.reply.code == 535
    assert "504 no PLAIN here" in failure.detail
    assert classify(failure).cause is Cause.AUTH_FAILED


@pytest.mark.parametrize("kind", [FailureKind.DISCONNECTED, FailureKind.TIMEOUT])
def test_a_server_that_refuses_a_mechanism_and_then_leaves_has_given_its_reason(kind: FailureKind) -> None:
    """Otherwise the route would be tried for ever as one whose connections break."""
    dialogue = secure("PLAIN LOGIN").server("504 5.5.4 not this one").lost(kind)
    failure = failure_of(dialogue)
    assert failure.kind is FailureKind.REFUSED
    assert failure.reply is not None
    assert failure.reply.code == 504


def test_a_disconnect_in_the_first_exchange_is_no_answer() -> None:
    """Nothing was judged."""
    assert failure_of(secure("PLAIN LOGIN").lost()).kind is FailureKind.DISCONNECTED


def test_an_exchange_that_fits_nothing_is_given_up_for_the_next_mechanism() -> None:
    """PLAIN is asked again and again: "*" ends it (RFC 4954 §4), then LOGIN."""
    dialogue = secure("PLAIN LOGIN").server("334 ", "334 ", "501 cancelled", "334 ", "334 ", "235 welcome")
    assert commands(dialogue) == ["PLAIN", "LOGIN"]
    assert b"\r\n*\r\n" in dialogue.written
    assert dialogue.events == [Established()]


@pytest.mark.parametrize("auth", ["PLAIN", "LOGIN", "CRAM-MD5"])
def test_endless_challenges_are_not_an_answer(auth: str) -> None:
    """The credentials were not judged: the route is not closed for them."""
    dialogue = secure(auth)
    for _ in range(8):
        if dialogue.broken is None:
            dialogue.server("334 " + base64.b64encode(b"<1@x>").decode())
    assert classify(failure_of(dialogue)).cause is Cause.PROTOCOL_ERROR


def test_an_endless_challenge_after_a_renewed_token_is_left() -> None:
    """The error was said in the challenge; a fresh token was tried once."""
    dialogue = secure("XOAUTH2", TOKEN)
    for token in ("one", "two"):
        dialogue.session.authenticate(token)
        dialogue.server("334 e30=", '334 {"status":"401"}', "501 stop it")
    assert dialogue.events.count(TokenWanted(renew=True)) <= 1


def test_a_token_that_xoauth2_cannot_bring_goes_by_oauthbearer() -> None:
    """The same token, without asking for another."""
    dialogue = secure("XOAUTH2 OAUTHBEARER", TOKEN)
    dialogue.session.authenticate("ya29.t0ken")
    dialogue.server("504 5.5.4 not this one")
    assert commands(dialogue) == ["XOAUTH2", "OAUTHBEARER"]
    dialogue.server("235 welcome")
    assert dialogue.events[-1] == Established()


@pytest.mark.parametrize("code", [535, 530, 534, 501, 554])
def test_a_refusal_behind_an_error_challenge_judges_the_token(code: int) -> None:
    """Whatever its number: a fresh token is asked for once."""
    dialogue = secure("XOAUTH2 OAUTHBEARER", TOKEN)
    dialogue.session.authenticate("old")
    dialogue.server("334 " + base64.b64encode(b'{"status":"401","schemes":"bearer"}').decode(), f"{code} no")
    assert dialogue.events[-1] == TokenWanted(renew=True)
    dialogue.session.authenticate("new")
    dialogue.server("334 " + base64.b64encode(b'{"status":"400"}').decode(), f"{code} no")
    failure = failure_of(dialogue)
    assert failure.kind is FailureKind.REFUSED
    assert "status 400" in failure.detail
    assert commands(dialogue) == ["XOAUTH2", "XOAUTH2"]


def test_login_over_several_lines_and_a_banner() -> None:
    """hssmtp writes words behind the base64, others two lines."""
    dialogue = secure("LOGIN").server("334-Username please\n334 now", "334 R6p1... - hssmtp", "235 ok")
    assert dialogue.events == [Established()]


def test_login_that_is_welcome_after_the_name_alone_is_done() -> None:
    """A server that knows its clients by more than the password."""
    assert secure("LOGIN").server("334 ", "235 ok").events == [Established()]


class TestAdvice:
    """Where nothing fits, the text says what does."""

    @pytest.mark.parametrize(
        ("offered", "credentials", "wanted", "is_secure", "offers_starttls", "words", "not_words"),
        [
            ((), PASSWORD, "auto", False, True, ["STARTTLS", "set use_tls"], []),
            ((), PASSWORD, "auto", False, False, ["no STARTTLS either", "username and password out"], ["set use_tls"]),
            ((), PASSWORD, "auto", True, False, ["username and password out", "587"], ["no STARTTLS either"]),
            (("NTLM",), PASSWORD, "auto", False, False, ["NTLM", "PLAIN, LOGIN and CRAM-MD5"], ["use_tls"]),
            (("NTLM",), PASSWORD, "auto", False, True, ["NTLM", "Set use_tls"], []),
            (("SCRAM-SHA-256", "GSSAPI"), PASSWORD, "auto", True, False, ["SCRAM-SHA-256, GSSAPI", "XOAUTH2"], []),
            (("XOAUTH2",), PASSWORD, "auto", True, False, ["token_provider in place of password"], []),
            (("PLAIN", "LOGIN"), TOKEN, "auto", True, False, ["password in place of token_provider"], []),
            (("PLAIN",), PASSWORD, "login", True, False, ['auth="login"', 'auth="plain"'], []),
        ],
    )
    def test_the_remedy_is_the_true_one(
        self,
        offered: tuple[str, ...],
        credentials: Credentials,
        wanted: str,
        is_secure: bool,
        offers_starttls: bool,
        words: list[str],
        not_words: list[str],
    ) -> None:
        """Each of what was offered, what is known, and the option that helps."""
        assert ways(offered, credentials, wanted) == ()
        advice = login_advice.where_nothing_fits(
            offered, credentials, wanted, is_secure=is_secure, offers_starttls=offers_starttls
        )
        assert [word for word in words if word not in advice] == []
        assert [word for word in not_words if word in advice] == []

    @pytest.mark.parametrize(
        ("password", "words"),
        [
            ("abc\N{NO-BREAK SPACE}def", "no-break space"),
            ("abc\N{NARROW NO-BREAK SPACE}def", "no-break space"),
            ("abc\N{IDEOGRAPHIC SPACE}", "no-break space"),
            ("abc\N{ZERO WIDTH SPACE}def", "invisible"),
            ("abc\N{ZERO WIDTH JOINER}def", "invisible"),
            ("\N{ZERO WIDTH NO-BREAK SPACE}abcdef", "invisible"),
            ("abc\N{SOFT HYPHEN}def", "invisible"),
            ("abc\N{RIGHT-TO-LEFT MARK}", "invisible"),
            (" abcdef", "blank"),
            ("abcdef\t", "blank"),
            ('"abcdef"', "quotation mark"),
            ("'abcdef'", "quotation mark"),
            ("abcdef”", "quotation mark"),
            ("abcdef\n", "line end"),
            ("abc\r\ndef", "line end"),
            ("abc\x07def", "control"),
            ("abc\udce4", "not UTF-8"),
            ("${SMTP_PASSWORD}", "placeholder"),
            ("<your password>", "placeholder"),
            ("p%40ssword", "percent"),
        ],
    )
    def test_a_password_that_brought_something_along_is_told(self, password: str, words: str) -> None:
        """What is odd, never where or the password itself; also of the user name."""
        hint = login_advice.credentials_hint(Credentials(username="user", password=password))
        assert words in hint
        assert hint.startswith("The password ")
        assert password.strip() not in hint
        assert "user name" in login_advice.credentials_hint(Credentials(username=password, password="x1"))

    @pytest.mark.parametrize("password", ["s3cret-Pass", "abcd efgh ijkl mnop", "pässwörd €", "p'a\"s", "100%", "$a"])
    def test_an_ordinary_password_is_not_suspected(self, password: str) -> None:
        """App passwords have blanks inside, and passwords have marks."""
        assert login_advice.credentials_hint(Credentials(username="user@example.com", password=password)) == ""

    def test_the_hint_is_in_the_text_of_a_refused_login(self) -> None:
        """Where a person looks."""
        odd = Credentials(username="user", password="s3cret\N{NO-BREAK SPACE}Pass")
        failure = failure_of(secure("PLAIN", odd).server("535 5.7.8 no"))
        assert "no-break space" in failure.advice
        assert "no-break space" in classify(failure).help
