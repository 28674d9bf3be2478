"""Greeting, EHLO, STARTTLS and AUTH, line by line (scenarios 7 to 26 and 35 to 47 of the hostile test-bed)."""

import base64

import pytest

from reliable_email.smtp.failures import FailureKind
from reliable_email.smtp.options import Credentials, TLSMode
from reliable_email.smtp.protocol.events import Established, TokenWanted, UpgradeWanted
from reliable_email.smtp.protocol.session import Phase
from reliable_email.smtp.stages import Stage
from tests.smtp.dialogue import EHLO, Dialogue

PASSWORD = Credentials(username="user", password="s3cret")


class StaticToken:
    """A token provider that the driver would ask; the session only needs to know that there is one."""

    def access_token(self, *, renew: bool, timeout: float) -> str:
        """Never called in these tests."""
        raise AssertionError


TOKEN = Credentials(username="user@example.com", token_provider=StaticToken())


def broken(dialogue: Dialogue) -> tuple[Stage, FailureKind, int | None]:
    """Stage, kind and reply code of the failure that ended the set-up."""
    failure = dialogue.broken
    assert failure is not None
    assert dialogue.session.phase is Phase.CLOSED
    return failure.stage, failure.kind, failure.reply.code if failure.reply else None


def test_greeting_and_ehlo_make_a_ready_session() -> None:
    """The plain way."""
    dialogue = Dialogue().server("220 hello")
    assert dialogue.client() == ["EHLO client.test"]
    dialogue.server(EHLO)
    assert dialogue.events == [Established()]
    assert dialogue.session.capabilities.size == 10000
    assert dialogue.session.is_pipelining


def test_scenario_7_a_421_greeting_is_a_refusal_for_now() -> None:
    """The service is not available; nothing was sent."""
    assert broken(Dialogue().server("421 4.3.2 try later")) == (Stage.GREETING, FailureKind.REFUSED, 421)


def test_scenario_8_a_554_greeting_refuses_the_route() -> None:
    """This server takes no mail from here."""
    assert broken(Dialogue().server("554 no")) == (Stage.GREETING, FailureKind.REFUSED, 554)


@pytest.mark.parametrize(
    "greeting", [b"HTTP/1.1 400 Bad Request\r\n", b"SSH-2.0-OpenSSH_9.2\r\n", b"\x15\x03\x01\x00\x02\r\n"]
)
def test_scenario_9_a_peer_that_does_not_speak_smtp_is_quoted(greeting: bytes) -> None:
    """The whole first line is shown, also its first characters."""
    dialogue = Dialogue().raw(greeting)
    assert broken(dialogue) == (Stage.GREETING, FailureKind.NOT_SMTP, None)
    assert repr(greeting.rstrip())[2:-1] in dialogue.broken.detail  # type: ignore[union-attr]


def test_scenario_10_a_greeting_of_several_lines_is_fine() -> None:
    """RFC 5321 §4.2 allows it."""
    assert Dialogue().server("220-one\n220-two\n220 three").client() == ["EHLO client.test"]


def test_scenario_12_and_17_an_endless_ehlo_is_given_up() -> None:
    """Ten thousand keywords are not kept."""
    dialogue = Dialogue().server("220 hello")
    dialogue.flush()
    dialogue.raw(b"250-server\r\n" + b"".join(b"250-X%d\r\n" % n for n in range(10_000)))
    assert broken(dialogue) == (Stage.EHLO, FailureKind.PROTOCOL, None)


def test_scenario_13_a_line_of_9000_bytes_is_a_protocol_error() -> None:
    """Nothing on this connection can be trusted any more."""
    dialogue = Dialogue().server("220 hello").raw(b"250 " + b"x" * 9000 + b"\r\n")
    assert broken(dialogue) == (Stage.EHLO, FailureKind.PROTOCOL, None)


def test_scenario_14_odd_bytes_in_reply_text_do_no_harm() -> None:
    """NUL and high bytes are only text."""
    dialogue = Dialogue().raw(b"220 a\x00b\xff\r\n")
    assert dialogue.client() == ["EHLO client.test"]


def test_scenario_15_helo_follows_a_refused_ehlo() -> None:
    """A server of old is usable without extensions."""
    dialogue = Dialogue().server("220 hello")
    dialogue.client()
    dialogue.server("502 what?")
    assert dialogue.client() == ["HELO client.test"]
    dialogue.server("250 hello")
    assert dialogue.events == [Established()]
    assert not dialogue.session.is_pipelining


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"tls": TLSMode.STARTTLS}, (Stage.EHLO, FailureKind.REFUSED, 502)),
        ({"credentials": PASSWORD}, (Stage.EHLO, FailureKind.REFUSED, 502)),
    ],
)
def test_scenario_15_helo_is_not_enough_where_tls_or_auth_is_asked_for(options: dict, expected: tuple) -> None:
    """Security is not traded for delivery, and the refused EHLO is the evidence."""
    dialogue = Dialogue(**options).server("220 hello", "502 what?", "250 hello")
    assert broken(dialogue) == expected


def test_scenario_16_a_421_to_ehlo_ends_the_session() -> None:
    """No HELO is tried on a closing service."""
    assert broken(Dialogue().server("220 hello", "421 bye")) == (Stage.EHLO, FailureKind.REFUSED, 421)


def test_scenario_18_the_old_auth_form_and_duplicates_are_read() -> None:
    """`AUTH=LOGIN PLAIN` beside `AUTH PLAIN XOAUTH2` is one list."""
    dialogue = Dialogue().server("220 hello", "250-s\n250-AUTH=LOGIN PLAIN\n250 AUTH PLAIN XOAUTH2")
    assert dialogue.session.capabilities.auth == ("LOGIN", "PLAIN", "XOAUTH2")


@pytest.mark.parametrize("line", ["250 HELP", "250 SIZE", "250 SIZE 0", "250 SIZE lots", "250 SIZE ١٢"])
def test_scenario_20_a_size_without_a_usable_number_is_no_limit(line: str) -> None:
    """Absent, zero or garbage: nothing is refused for it."""
    dialogue = Dialogue().server("220 hello", f"250-s\n{line}")
    assert dialogue.session.capabilities.size is None
    assert dialogue.events == [Established()]


def test_scenario_21_mixed_codes_in_one_reply_are_a_protocol_error() -> None:
    """`250-` followed by `550 ` means neither."""
    assert broken(Dialogue().server("220 hello", "250-ok\n550 no")) == (Stage.EHLO, FailureKind.PROTOCOL, None)


def test_scenario_22_bare_line_feeds_are_read() -> None:
    """Some servers forget the CR."""
    dialogue = Dialogue().raw(b"220 hello\n")
    dialogue.flush()
    dialogue.raw(b"250-s\n250 PIPELINING\n")
    assert dialogue.session.is_pipelining


def test_scenario_23_starttls_that_is_not_offered_ends_it_before_any_credential() -> None:
    """No AUTH byte goes out in clear."""
    dialogue = Dialogue(tls=TLSMode.STARTTLS, credentials=PASSWORD).server("220 hello", "250-s\n250 AUTH PLAIN")
    assert broken(dialogue) == (Stage.STARTTLS, FailureKind.TLS_NOT_OFFERED, None)
    dialogue.flush()
    assert b"AUTH" not in dialogue.written


@pytest.mark.parametrize("code", [454, 501])
def test_scenario_24_a_refused_starttls_is_a_refusal(code: int) -> None:
    """Its code says whether for now."""
    dialogue = Dialogue(tls=TLSMode.STARTTLS).server("220 hello", "250-s\n250 STARTTLS", f"{code} not now")
    assert broken(dialogue) == (Stage.STARTTLS, FailureKind.REFUSED, code)


def starttls(**options: object) -> Dialogue:
    """A session whose STARTTLS was answered 220."""
    dialogue = Dialogue(tls=TLSMode.STARTTLS, may_send_secrets=False, **options)  # type: ignore[arg-type]
    dialogue.server("220 hello")
    dialogue.client()
    dialogue.server("250-s\n250-STARTTLS\n250-PIPELINING\n250 AUTH PLAIN")
    assert dialogue.client() == ["STARTTLS"]
    return dialogue


def test_starttls_asks_for_the_handshake_and_says_ehlo_again() -> None:
    """RFC 3207 §4.2."""
    dialogue = starttls().server("220 go")
    assert dialogue.events == [UpgradeWanted()]
    dialogue.session.tls_established()
    assert dialogue.client() == ["EHLO client.test"]


@pytest.mark.parametrize("injected", [b"250 evil\r\n", b"2"])
def test_scenario_25_plaintext_behind_the_220_ends_it(injected: bytes) -> None:
    """Whatever came with the 220 was not protected by TLS."""
    dialogue = starttls(credentials=PASSWORD).raw(b"220 go\r\n" + injected)
    assert broken(dialogue) == (Stage.STARTTLS, FailureKind.TLS_INJECTION, None)
    dialogue.flush()
    assert b"AUTH" not in dialogue.written


def test_scenario_35_only_the_ehlo_behind_tls_counts() -> None:
    """What was announced in clear may have been written by anybody."""
    dialogue = starttls().server("220 go")
    dialogue.session.tls_established()
    dialogue.client()
    dialogue.server("250-s\n250 SIZE 5")
    assert not dialogue.session.is_pipelining
    assert dialogue.session.capabilities.auth == ()
    assert dialogue.events[-1] == Established()


def secure(ehlo: str, **options: object) -> Dialogue:
    """A session with TLS from the first byte that has heard this EHLO."""
    dialogue = Dialogue(tls=TLSMode.IMPLICIT, may_send_secrets=False, **options)  # type: ignore[arg-type]
    dialogue.server("220 hello")
    dialogue.client()
    return dialogue.server(ehlo)


def test_auth_plain_goes_out_with_its_initial_response() -> None:
    """RFC 4616, one round trip."""
    dialogue = secure("250-s\n250 AUTH LOGIN PLAIN", credentials=PASSWORD)
    assert dialogue.client() == ["AUTH PLAIN " + base64.b64encode(b"\0user\0s3cret").decode()]
    dialogue.server("235 welcome")
    assert dialogue.events == [Established()]


def test_auth_login_answers_two_challenges() -> None:
    """Microsoft 365 offers nothing but LOGIN and XOAUTH2."""
    dialogue = secure("250-s\n250 AUTH LOGIN XOAUTH2", credentials=PASSWORD)
    first = dialogue.client()
    if first == ["AUTH LOGIN"]:
        dialogue.server("334 " + base64.b64encode(b"Username:").decode())
        assert dialogue.client() == [base64.b64encode(b"user").decode()]
    dialogue.server("334 " + base64.b64encode(b"Password:").decode())
    assert dialogue.client() == [base64.b64encode(b"s3cret").decode()]
    dialogue.server("235 welcome")
    assert dialogue.events == [Established()]


def test_scenario_37_a_535_costs_exactly_one_auth_command() -> None:
    """No other mechanism is tried with the same password: accounts get locked by that."""
    dialogue = secure("250-s\n250 AUTH PLAIN LOGIN CRAM-MD5", credentials=PASSWORD)
    dialogue.client()
    dialogue.server("535 5.7.8 no")
    assert broken(dialogue) == (Stage.AUTH, FailureKind.REFUSED, 535)
    dialogue.flush()
    assert dialogue.written.count(b"AUTH") == 1


@pytest.mark.parametrize("code", [454, 534])
def test_scenarios_38_and_39_other_auth_refusals_keep_their_code_and_text(code: int) -> None:
    """454 is for now, 534 wants an app password: the reply tells."""
    dialogue = secure("250-s\n250 AUTH PLAIN", credentials=PASSWORD)
    dialogue.server(f"{code} 5.7.9 Application-specific password required")
    assert broken(dialogue) == (Stage.AUTH, FailureKind.REFUSED, code)
    assert "Application-specific" in dialogue.broken.detail  # type: ignore[union-attr]


def test_scenario_40_a_server_that_never_stops_asking_is_left() -> None:
    """At most three answers are given, the last of which gives up; nobody has judged the password."""
    dialogue = secure("250-s\n250 AUTH LOGIN", credentials=PASSWORD)
    for _ in range(10):
        if dialogue.broken:
            break
        dialogue.server("334 " + base64.b64encode(b"again?").decode())
    assert broken(dialogue)[:2] == (Stage.AUTH, FailureKind.PROTOCOL)
    assert dialogue.written.endswith(b"\r\n*\r\n")
    assert dialogue.written.count(b"\r\n") == 5


def test_scenario_41_a_challenge_that_cannot_be_answered_is_given_up() -> None:
    """CRAM-MD5 needs its challenge; "*" ends the exchange, and its refusal judges nothing."""
    dialogue = secure("250-s\n250 AUTH CRAM-MD5", credentials=PASSWORD)
    dialogue.server("334 ***not base64***")
    assert dialogue.client() == ["*"]
    dialogue.server("501 5.7.0 cancelled")
    assert broken(dialogue)[:2] == (Stage.AUTH, FailureKind.PROTOCOL)


def test_scenario_42_no_shared_mechanism_is_said() -> None:
    """The offered ones are named."""
    dialogue = secure("250-s\n250 AUTH GSSAPI SCRAM-SHA-256", credentials=PASSWORD)
    assert broken(dialogue) == (Stage.AUTH, FailureKind.AUTH_NOT_OFFERED, None)
    assert "GSSAPI" in dialogue.broken.detail  # type: ignore[union-attr]


def test_scenario_43_auth_offered_only_before_tls_is_not_offered() -> None:
    """The plaintext offer is forgotten."""
    dialogue = starttls(credentials=PASSWORD).server("220 go")
    dialogue.session.tls_established()
    dialogue.server("250 s")
    assert broken(dialogue) == (Stage.AUTH, FailureKind.AUTH_NOT_OFFERED, None)


def test_credentials_never_travel_in_clear_text() -> None:
    """Without TLS, to a peer that is not loopback, AUTH is not even begun."""
    dialogue = Dialogue(credentials=PASSWORD, may_send_secrets=False).server("220 hello", "250-s\n250 AUTH PLAIN")
    assert broken(dialogue) == (Stage.AUTH, FailureKind.AUTH_INSECURE, None)
    dialogue.flush()
    assert b"AUTH" not in dialogue.written


def test_scenario_44_a_password_beyond_ascii_goes_as_utf8() -> None:
    """RFC 4616 §2."""
    dialogue = secure("250-s\n250 AUTH PLAIN", credentials=Credentials(username="üser", password="pässwörd"))
    expected = base64.b64encode("\0üser\0pässwörd".encode()).decode()
    assert dialogue.client() == [f"AUTH PLAIN {expected}"]


def test_scenario_45_a_refused_token_is_renewed_once() -> None:
    """After the JSON challenge and 535 a fresh token is asked for; a second 535 ends it."""
    dialogue = secure("250-s\n250 AUTH XOAUTH2 PLAIN", credentials=TOKEN)
    assert dialogue.events == [TokenWanted(renew=False)]
    dialogue.session.authenticate("old-token")
    (line,) = dialogue.client()
    assert base64.b64decode(line.split()[2]) == b"user=user@example.com\x01auth=Bearer old-token\x01\x01"
    dialogue.server("334 " + base64.b64encode(b'{"status":"401"}').decode())
    assert dialogue.client() == [""]
    dialogue.server("535 5.7.8 expired")
    assert dialogue.events[-1] == TokenWanted(renew=True)
    dialogue.session.authenticate("new-token")
    dialogue.server("334 e30=", "535 5.7.8 still no")
    assert broken(dialogue) == (Stage.AUTH, FailureKind.REFUSED, 535)


def test_scenario_46_a_connection_lost_in_auth_is_not_an_answer() -> None:
    """The password was not refused."""
    dialogue = secure("250-s\n250 AUTH PLAIN", credentials=PASSWORD).lost()
    assert broken(dialogue) == (Stage.AUTH, FailureKind.DISCONNECTED, None)


def test_scenario_47_secrets_are_in_no_transcript_and_no_error() -> None:
    """Also where the server echoes them, plain or in base64."""
    encoded = base64.b64encode(b"\0user\0s3cret").decode()
    dialogue = secure("250-s\n250 AUTH PLAIN", credentials=PASSWORD)
    dialogue.server(f"535 bad credentials s3cret {encoded} {base64.b64encode(b's3cret').decode()}")
    said = repr(dialogue.transcript) + repr(dialogue.broken) + repr(vars(dialogue.session))
    assert "s3cret" not in said
    assert encoded not in said
    assert base64.b64encode(b"s3cret").decode() not in said


def test_a_ghost_reply_before_ehlo_is_answered_breaks_the_session() -> None:
    """Two greetings: the second would be read as the answer to EHLO."""
    dialogue = Dialogue().raw(b"220 hello\r\n220 hello again\r\n")
    assert broken(dialogue)[:2] in {(Stage.EHLO, FailureKind.PROTOCOL), (Stage.GREETING, FailureKind.PROTOCOL)}
