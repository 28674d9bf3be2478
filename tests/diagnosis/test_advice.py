"""`test_email` names the true remedy: what follows from the configuration, and nothing that leads in a circle."""

from typing import Any

import pytest
from django.test.utils import override_settings

from reliable_email.backends.reading.route_options import smtp_options
from reliable_email.diagnosis.examination import examine_configuration, hello_notes
from reliable_email.diagnosis.explanation import Explanation, explain
from reliable_email.diagnosis.ladder import Climb
from reliable_email.smtp.failures import FailureKind, WireFailure
from reliable_email.smtp.options import TLSMode, TLSPolicy
from reliable_email.smtp.stages import Stage
from reliable_email.smtp.syntax.replies import parse_reply
from reliable_email.smtp.tls.errors import explain as tls_failure
from reliable_email.testing import certificates
from reliable_email.testing.script import Script
from reliable_email.testing.server import ScriptedServer
from tests.diagnosis.cases import refused_connection
from tests.diagnosis.runs import smtp, test_email

DEGRADED, UNHEALTHY, HEALTHY, USAGE = 3, 1, 0, 2
LOGIN = {"login": {"shop@example.com": "simulated-secret"}}


def run(script: Script | None = None, *arguments: str, settings: dict[str, Any] | None = None, **server: Any) -> str:
    """The command's output against a scripted server; `settings` are those of the project."""
    options = server.pop("options", {})
    to = () if any("@" in one for one in arguments) else ("--to", "you@example.net")
    with ScriptedServer(script or Script(), **server) as one:
        entries = {"default": smtp(**one.options(**options))}
        return test_email(*to, *arguments, entries=entries, **(settings or {})).out


def explained(failure: WireFailure, **options: Any) -> Explanation:
    """The explanation of a failure on a route with these options."""
    return explain(failure, smtp_options({"host": "mail.example.test", **options}, alias="x"), timeout=0.1)


@pytest.mark.parametrize(
    "reason",
    [
        "DH_KEY_TOO_SMALL",
        "NO_SHARED_CIPHER",
        "NO_CIPHERS_AVAILABLE",
        "SSLV3_ALERT_HANDSHAKE_FAILURE",
        "TLSV13_ALERT_CERTIFICATE_REQUIRED",
        "TLSV1_ALERT_INTERNAL_ERROR",
        "TLSV1_ALERT_INSUFFICIENT_SECURITY",
        "TLSV1_ALERT_PROTOCOL_VERSION",
        "TLSV1_UNRECOGNIZED_NAME",
        "SSLV3_ALERT_BAD_CERTIFICATE",
        "EE_KEY_TOO_SMALL",
        "WRONG_SIGNATURE_TYPE",
        "UNEXPECTED_MESSAGE",
        "BAD_RECORD_MAC",
    ],
)
@pytest.mark.parametrize("mode", [TLSMode.STARTTLS, TLSMode.IMPLICIT])
def test_a_failed_handshake_is_never_answered_by_this_very_command(reason: str, mode: TLSMode) -> None:
    """The sentence of the wire is the remedy."""
    import ssl

    error = ssl.SSLError(1, f"[SSL: {reason}] something")
    error.reason = reason
    failure = tls_failure(error, TLSPolicy(mode=mode), name="mail.example.test", port=465, peer=None)
    found = explained(failure, **{"use_ssl" if mode is TLSMode.IMPLICIT else "use_tls": True})
    assert found.remedies
    assert "test_email" not in " ".join(found.remedies)


@pytest.mark.parametrize("kind", [kind for kind in FailureKind if kind is not FailureKind.REFUSED])
def test_no_failure_is_answered_by_this_very_command(kind: FailureKind) -> None:
    """Whatever went wrong, at whatever stage."""
    for stage in Stage:
        found = explained(WireFailure(stage=stage, kind=kind, detail="something went wrong"), use_tls=True)
        assert found.remedies
        advice = " ".join((*found.remedies, found.meaning))
        # An option of it, which a probe of a route does not have, shows more of the same.
        assert "test_email" not in advice.replace("“test_email --verbose”", ""), stage


@pytest.mark.parametrize("stage", ["mail", "rcpt", "final_reply"])
@pytest.mark.parametrize(
    "reply",
    [
        "550 5.7.26 This mail is unauthenticated, which poses a security risk",
        "550 5.7.27 SPF [example.com] with ip [192.0.2.1] did not pass",
        "550 5.7.30 DKIM did not pass",
        "550 5.7.515 Access denied, sending domain example.com does not meet the required authentication level",
        "550 5.7.9 This mail has been blocked because the sender is unauthenticated",
        "550 5.7.1 SPF check failed",
    ],
)
def test_a_sender_that_is_not_authenticated_is_told_the_record_and_not_this_command(reply: str, stage: str) -> None:
    """What names this very command is left out, and the rest of the remedy stays."""
    out = run(Script(**{stage: reply}))
    assert "sender_not_authenticated" in out
    (remedy,) = [line for line in out.splitlines() if "To do:" in line]
    assert "test_email" not in out.partition("Said:")[2]
    assert any(word in remedy for word in ("SPF", "DKIM", "v=spf1"))


def test_an_encrypted_key_names_the_remedy(tmp_path: Any) -> None:
    """Not this command, but how to store the key."""
    words = "the key in key.pem is encrypted, and its passphrase cannot be asked for: store it without one"
    failure = WireFailure(stage=Stage.TLS, kind=FailureKind.TLS_HANDSHAKE, detail=words)
    assert "store it without one" in " ".join(explained(failure, use_tls=True).remedies)


@pytest.mark.parametrize(
    ("mechanisms", "words", "not_words"),
    [
        (["NTLM"], ["NTLM", "PLAIN, LOGIN and CRAM-MD5"], "set use_tls"),
        (["SCRAM-SHA-256", "GSSAPI"], ["SCRAM-SHA-256", "this package knows"], "set use_tls"),
        (["XOAUTH2"], ["token_provider in place of password"], "set use_tls"),
        ([], ["no login here, and no STARTTLS either", "username and password out"], "set use_tls ("),
    ],
)
def test_without_tls_and_starttls_the_login_itself_is_spoken_of(
    mechanisms: list[str], words: list[str], not_words: str
) -> None:
    """ "Set use_tls" helps only where there is TLS to be had."""
    out = run(mechanisms=mechanisms, **LOGIN)
    assert [word for word in words if word not in out] == []
    assert not_words not in out


@pytest.mark.parametrize("tls", ["implicit", "starttls"])
@pytest.mark.parametrize("stage", ["auth", "mail"])
def test_a_server_that_does_not_see_the_tls_has_a_proxy_in_front(tls: str, stage: str) -> None:
    """Switching on what is on already is no remedy."""
    out = run(Script(**{stage: "530 5.7.0 Must issue a STARTTLS command first"}), tls=tls, **LOGIN)
    assert "something in front of it ends TLS" in out
    assert "Switch on STARTTLS" not in out


@pytest.mark.parametrize(
    "reply",
    [
        "554 5.7.1 <unknown[192.0.2.1]>: Client host rejected: Access denied",
        "550 5.7.1 Relaying denied",
        "530 5.7.0 Authentication required",
        "550 5.7.1 Client was not authenticated",
        "553 5.7.1 sorry, that domain isn't in my list of allowed rcpthosts; log in first",
    ],
)
@pytest.mark.parametrize("stage", ["mail", "rcpt"])
def test_a_refusal_without_a_login_names_the_login(reply: str, stage: str) -> None:
    """Nobody has to leave a block list for it."""
    out = run(Script(**{stage: reply}))
    assert "set username and password" in out
    assert "taken off the list" not in out


def test_a_refusal_with_a_login_stays_what_it_is() -> None:
    """There the host may be on a list."""
    with ScriptedServer(Script(rcpt="554 5.7.1 Client host rejected: Access denied"), tls="starttls", **LOGIN) as one:
        out = test_email("--to", "you@example.net", entries={"default": smtp(**one.options())}).out
    assert "set username and password" not in out


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_refused_loopback_speaks_of_containers(host: str) -> None:
    """Where localhost is the container itself."""
    out = refused_connection().run.out
    assert "Inside a container" in out
    assert "host.docker.internal" in out
    failure = WireFailure(stage=Stage.CONNECT, kind=FailureKind.CONNECT_FAILED, detail="connection refused")
    assert "container" in " ".join(explained(failure, host=host).remedies)
    assert "container" not in " ".join(explained(failure, host="mail.example.test").remedies)


@pytest.mark.parametrize(
    ("said", "is_loopback", "is_told"),
    [
        ("[192.0.2.5]", False, True),
        ("[IPv6:2001:db8::25]", False, True),
        ("[127.0.0.1]", True, False),
        ("web.example.com", False, False),
        ("", False, False),
    ],
)
@pytest.mark.parametrize(("alias", "place"), [("x", "local_hostname"), (None, "EMAIL_LOCAL_HOSTNAME")])
def test_an_address_as_the_name_in_ehlo_names_the_option_to_set(
    said: str, is_loopback: bool, is_told: bool, alias: str | None, place: str
) -> None:
    """Towards another machine, where this one has no full name; towards itself nobody minds."""
    result = Climb(rungs=(), seconds=0.0, hello=said, is_loopback=is_loopback)
    told = " ".join(hello_notes(result, smtp_options({"host": "mail.example.test"}, alias=alias)))
    assert (f"EHLO says {said}" in told) is is_told
    assert (f"Set {place} to a name" in told) is is_told


class TestAddresses:
    """Addresses as people write them."""

    @pytest.mark.parametrize(
        "sender", ["Shop Site <shop@example.com>", '"Roe, Jane" <jane@example.com>', "Müller <m@example.com>"]
    )
    @pytest.mark.parametrize("admins", [["Ops <ops@example.net>"], [("Ops", "ops@example.net")], ["ops@example.net"]])
    def test_display_names_do_no_harm(self, sender: str, admins: list[Any]) -> None:
        """Envelope and message both work, with and without --to."""
        for arguments in (("--health-check",), ("--health-check", "--to", "You There <you@example.net>")):
            with ScriptedServer() as server:
                entries = {"default": smtp(**server.options())}
                found = test_email(*arguments, entries=entries, DEFAULT_FROM_EMAIL=sender, ADMINS=admins)
                (message,) = server.messages
            assert found.code == HEALTHY, found.out
            assert message.recipients in {("ops@example.net",), ("you@example.net",)}

    @pytest.mark.parametrize("name", ["DEFAULT_FROM_EMAIL", "SERVER_EMAIL"])
    def test_a_comma_without_quotes_is_explained(self, name: str) -> None:
        """It separates addresses; the name with its quotation marks is shown."""
        with ScriptedServer() as server:
            settings = {name: "Jane Roe, Shop Lead <jane@example.com>"}
            found = test_email("--to", "you@example.net", entries={"default": smtp(**server.options())}, **settings)
            assert server.messages == []
        assert found.code == UNHEALTHY
        assert "Configuration is not valid" in found.out
        assert "has a comma in its name" in found.out
        assert '"Jane Roe, Shop Lead" <jane@example.com>' in found.out

    @pytest.mark.parametrize("admins", [["Ops, Team <ops@example.net>"], ["nobody at all"]])
    def test_admins_that_no_message_can_carry_are_an_error(self, admins: list[str]) -> None:
        """Error mail would be lost."""
        with ScriptedServer() as server, override_settings(ADMINS=admins):
            found = test_email("--to", "you@example.net", entries={"default": smtp(**server.options())})
        assert "✗ ADMINS" in found.out

    @pytest.mark.parametrize("sender", ["webmaster@localhost", "shop@localhost", "noreply"])
    def test_a_sender_that_nobody_could_answer_is_a_warning(self, sender: str) -> None:
        """Django's default, or no domain: mail goes out here, and is refused elsewhere."""
        with ScriptedServer() as server:
            entries = {"default": smtp(**server.options())}
            found = test_email("--check-only", entries=entries, DEFAULT_FROM_EMAIL=sender)
        assert found.code == HEALTHY or sender == "noreply"
        assert f"DEFAULT_FROM_EMAIL is {sender!r}" in found.out or "✗ DEFAULT_FROM_EMAIL" in found.out

    @pytest.mark.parametrize(
        ("arguments", "expected"),
        [
            (("you@example.net",), ["you@example.net"]),
            (("a@example.net", "b@example.net"), ["a@example.net", "b@example.net"]),
            (("--to", "a@example.net", "b@example.net"), ["a@example.net", "b@example.net"]),
            (("--to", "a@example.net,b@example.net"), ["a@example.net", "b@example.net"]),
            (("--to", "a@example.net, b@example.net"), ["a@example.net", "b@example.net"]),
            (("--to", "a@example.net", "--to", "b@example.net"), ["a@example.net", "b@example.net"]),
            (("a@example.net", "--to", "b@example.net"), ["a@example.net", "b@example.net"]),
            (("a@example.net", "--to", "a@example.net"), ["a@example.net"]),
            (("--to", '"Roe, Jane" <jane@example.net>'), ["jane@example.net"]),
            (("--admins",), ["ops@example.net", "dev@example.net"]),
            (("--managers",), ["boss@example.net"]),
        ],
    )
    def test_who_gets_the_message_can_be_said_in_every_way(
        self, arguments: tuple[str, ...], expected: list[str]
    ) -> None:
        """As `sendtestemail` has it, and with --to."""
        with ScriptedServer() as server:
            found = test_email(
                *arguments,
                entries={"default": smtp(**server.options())},
                ADMINS=["Ops <ops@example.net>", "dev@example.net"],
                MANAGERS=["boss@example.net"],
            )
            (message,) = server.messages
        assert found.code == HEALTHY
        assert list(message.recipients) == expected

    @pytest.mark.parametrize(
        "arguments",
        [
            ("nobody",),
            ("--to", "Roe, Jane <jane@example.net>"),
            ("--to", "a@example.net", "--from", "Jane Roe, Lead <j@example.com>"),
            ("--managers",),
        ],
    )
    def test_an_unusable_address_is_a_usage_error(self, arguments: tuple[str, ...]) -> None:
        """Before any connection."""
        with ScriptedServer() as server:
            found = test_email(*arguments, entries={"default": smtp(**server.options())}, MANAGERS=[])
            assert server.connections == []
        assert found.code == USAGE
        assert found.error


class TestServerName:
    """`tls_server_name`."""

    def test_it_is_verified_and_said_as_sni(self) -> None:
        """In place of the host; the connection goes to the host."""
        with ScriptedServer(tls="starttls", certificate=certificates.defective("wrong_host")) as server:
            options = server.options(tls_server_name="mail.elsewhere.test")
            found = test_email("--to", "you@example.net", entries={"default": smtp(**options)})
            assert {one.server_name for one in server.connections} == {"mail.elsewhere.test"}
            assert len(server.messages) == 1
        assert found.code == HEALTHY, found.out

    def test_a_name_that_the_certificate_has_not_is_refused(self) -> None:
        """Although the host itself would do."""
        with ScriptedServer(tls="implicit") as server:
            options = server.options(tls_server_name="other.example.com")
            found = test_email("--to", "you@example.net", entries={"default": smtp(**options)})
            assert server.messages == []
        assert found.code == UNHEALTHY
        assert "other.example.com" in found.out

    def test_the_pin_that_is_advised_works(self) -> None:
        """As it is printed, with the verification off."""
        import re

        with ScriptedServer(tls="starttls", certificate=certificates.defective("wrong_host")) as server:
            found = test_email("--to", "you@example.net", entries={"default": smtp(**server.options())})
            pin = re.search(r"ssl_pin='([^']+)'", found.out)
            assert pin is not None
            options = server.options(ssl_pin=pin[1], ssl_verify=False)
            again = test_email("--to", "you@example.net", entries={"default": smtp(**options)})
            assert len(server.messages) == 1
        assert again.code == DEGRADED


def test_the_reply_stays_the_evidence() -> None:
    """A remedy of the place does not take the server's words away."""
    reply = parse_reply("554 5.7.1 Client host rejected: Access denied")
    found = explained(WireFailure(stage=Stage.RCPT, kind=FailureKind.REFUSED, detail="no", reply=reply))
    assert "Client host rejected" in found.said


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (None, "'webmaster@localhost', Django's default"),
        ("webmaster@localhost", "'webmaster@localhost', Django's default"),
        ("shop@intranet", "'shop@intranet', without a domain of the DNS"),
        ("shop@example.com", ""),
    ],
)
def test_a_sender_that_nobody_takes_is_named_as_it_will_be_written(written: str | None, said: str) -> None:
    """Also where the settings say nothing, so that Django's own default goes out."""
    with override_settings(**({} if written is None else {"DEFAULT_FROM_EMAIL": written})):
        messages = [one.msg for one in examine_configuration().messages if one.id == "reliable_email.W009"]
    assert [said in text for text in messages] == ([True] if said else [])
