"""OPTIONS of one SMTP route: the provider's habits, what is said explicitly, and what is refused."""

import base64
import hashlib
from pathlib import Path
from typing import Any

import pytest

from reliable_email.backends.reading.options import SMTP_OPTIONS
from reliable_email.backends.reading.route_options import SMTPOptions, smtp_options
from reliable_email.delivery.submission import OnUnknown
from reliable_email.exceptions import InvalidMailer
from reliable_email.smtp.oauth.grants import RefreshTokenProvider
from reliable_email.smtp.options import TLSMode
from reliable_email.smtp.tls.pins import show_pin


def route(**options: Any) -> SMTPOptions:
    """The route of a mailer named x."""
    return smtp_options(options, alias="x")


def refusal(**options: Any) -> str:
    """Why the options cannot be used; the place is always named."""
    with pytest.raises(InvalidMailer) as caught:
        route(**options)
    text = str(caught.value)
    assert text.startswith("MAILERS['x']: ")
    return text


def access_token_of_the_test() -> str:
    """A token provider for a dotted path."""
    return "token"


class Tokens:
    """A token provider of a project."""

    def __init__(self, account: str = "", client_secret: str = "") -> None:
        self.account = account

    def access_token(self, *, renew: bool, timeout: float) -> str:
        return f"token of {self.account}"


def test_a_named_provider_brings_host_port_tls_and_limits() -> None:
    """Only the login has to be given."""
    options = route(provider="gmail", username="me@example.com", password="secret")
    link = options.connection
    assert (link.host, link.port, link.tls.mode) == ("smtp.gmail.com", 587, TLSMode.STARTTLS)
    assert link.credentials is not None
    assert link.credentials.username == "me@example.com"
    assert options.quotas
    assert options.provider is not None
    assert options.provider_is_named


def test_an_explicit_option_wins_over_the_provider() -> None:
    """Networks and contracts differ from what the provider's page says."""
    options = route(provider="gmail", host="relay.example.com", port=2525, quota="9/day", messages_per_connection=3)
    assert (options.connection.host, options.connection.port) == ("relay.example.com", 2525)
    assert [quota.limit for quota in options.quotas] == [9]
    assert options.connection.messages_per_connection == 3


def test_another_port_of_the_provider_brings_its_tls_mode() -> None:
    """Gmail speaks TLS from the first byte on 465; saying the port is enough."""
    assert route(provider="gmail", port=465).connection.tls.mode is TLSMode.IMPLICIT


def test_another_tls_mode_of_the_provider_brings_its_port() -> None:
    """And the other way round."""
    assert route(provider="gmail", use_ssl=True).connection.port == 465


def test_the_fixed_user_name_of_a_provider_is_known() -> None:
    """SendGrid's user is "apikey" for everybody."""
    credentials = route(provider="sendgrid", password="SG.secret").connection.credentials
    assert credentials is not None
    assert credentials.username == "apikey"


def test_one_token_serves_as_user_and_password_where_the_provider_says_so() -> None:
    """Postmark's server token is both, and so it is not shown as a user name."""
    options = route(provider="postmark", password="server-token")
    assert options.connection.credentials is not None
    assert options.connection.credentials.username == "server-token"
    assert "server-token" not in options.summary()


def test_a_region_chooses_the_host() -> None:
    """SES has a host for each region."""
    assert "eu-west-1" in route(provider="ses", region="eu-west-1").connection.host


def test_a_known_host_is_recognised_without_taking_its_limits() -> None:
    """Its texts can be read, but nobody asked for its quotas."""
    options = route(host="smtp.gmail.com", use_tls=True)
    assert options.provider is not None
    assert options.provider.name == "gmail"
    assert not options.provider_is_named
    assert options.quotas == ()


@pytest.mark.parametrize(
    ("flags", "mode", "port"),
    [
        ({}, TLSMode.NONE, 25),
        ({"use_tls": True}, TLSMode.STARTTLS, 587),
        ({"use_tls": "true"}, TLSMode.STARTTLS, 587),
        ({"use_ssl": True}, TLSMode.IMPLICIT, 465),
        ({"use_ssl": "1", "use_tls": "0"}, TLSMode.IMPLICIT, 465),
        ({"use_tls": True, "port": "2587"}, TLSMode.STARTTLS, 2587),
    ],
)
def test_the_port_follows_the_tls_mode(flags: dict[str, Any], mode: TLSMode, port: int) -> None:
    """As in Django 6.1, on every version."""
    link = route(host="mail.example.com", **flags).connection
    assert (link.tls.mode, link.port) == (mode, port)


def test_tls_can_be_declined_in_words() -> None:
    """`use_tls=False` beside a STARTTLS provider means what it says."""
    assert route(provider="generic", host="relay", use_tls=False).connection.tls.mode is TLSMode.NONE


def test_both_tls_modes_are_an_error() -> None:
    """The error names both and says which to keep."""
    text = refusal(host="h", use_tls=True, use_ssl=True)
    assert "'use_tls'" in text
    assert "465" in text


def test_the_defaults_are_those_of_the_documentation() -> None:
    """A budget of 15 seconds, three attempts, a minute for the final reply, verification on."""
    options = route(host="h")
    assert (options.timeout, options.max_attempts) == (15.0, 3)
    assert options.connection.final_reply_timeout == 60.0
    assert options.connection.tls.verify
    assert options.connection.tls.strict == "auto"
    assert options.on_unknown is None


def test_none_means_not_given() -> None:
    """Django 5.2 and 6.0 pass username=None and password=None from every send_mail()."""
    assert route(host="h", username=None, password=None, timeout=None) == route(host="h")


def test_text_is_read_as_the_option_s_type() -> None:
    """What comes from an environment is text."""
    options = route(host="h", timeout="5", max_attempts="2", fail_silently="yes", ssl_verify="off", on_unknown="resend")
    assert (options.timeout, options.max_attempts, options.fail_silently) == (5.0, 2, True)
    assert not options.connection.tls.verify
    assert options.on_unknown is OnUnknown.RESEND


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("port", "smtp"),
        ("port", 0),
        ("timeout", "soon"),
        ("timeout", 0),
        ("max_attempts", 0),
        ("use_tls", "maybe"),
        ("ssl_verify", "ture"),
        ("ssl_strict", "sometimes"),
        ("chaining", "often"),
        ("ssl_pin", "abc"),
        ("auth", "plian"),
        ("quota", "lots"),
        ("on_unknown", "retry"),
        ("flight", -1),
        ("connections", 0),
        ("only_to", [3]),
        ("local_hostname", "my host"),
        ("idempotency_header", "X Y"),
        ("host", "smtp://mail.example.com"),
        ("host", "mail.example.com:587"),
        ("host", "me@mail.example.com"),
        ("ssl_cafile", "/nowhere/ca.pem"),
        ("ssl_certfile", "/nowhere/client.pem"),
    ],
)
def test_a_value_that_cannot_be_used_is_named_with_its_place(option: str, value: object) -> None:
    """Before any connection, and with what would be right."""
    assert f"OPTIONS {option!r} " in refusal(**{"host": "h", "use_tls": True, option: value})


def test_every_problem_is_named_at_once() -> None:
    """Nobody has to fix one to see the next."""
    text = refusal(host="h", port="x", timeout=-1, colour="red")
    assert all(word in text for word in ("'port'", "'timeout'", "'colour'"))


def test_an_unknown_option_is_answered_with_the_near_one() -> None:
    """On every Django version; 5.2 and 6.0 would swallow it."""
    assert "Did you mean 'ssl_verify'?" in refusal(host="h", ssl_verfy=False)


def test_an_unknown_provider_is_answered_with_the_near_one() -> None:
    """And the list of those that are known."""
    text = refusal(provider="sendgird")
    assert "'sendgrid'" in text
    assert "mailgun" in text


def test_a_region_without_a_provider_is_an_error() -> None:
    """It would have no effect."""
    assert "no provider" in refusal(host="h", region="eu")


def test_names_that_the_caller_says_to_ignore_may_be_unknown() -> None:
    """Django's `get_connection(**kwargs)` asks for that; misspelt options of the mailer are still found."""
    assert smtp_options({"host": "h", "colour": "red"}, alias="x", ignore_unknown={"colour"}).connection.host == "h"
    with pytest.raises(InvalidMailer, match="hots"):
        smtp_options({"host": "h", "hots": "h", "colour": 1}, alias="x", ignore_unknown={"colour"})


def test_a_host_is_needed() -> None:
    """Or a provider."""
    assert "OPTIONS 'host' is missing" in refusal(username="u", password="secret")
    assert "OPTIONS 'host' is missing" in refusal(provider="generic")


def test_an_ipv6_host_may_have_brackets() -> None:
    """People copy them from URLs."""
    assert route(host="[::1]").connection.host == "::1"
    assert "[::1]:25" in route(host="::1").summary()


def test_an_unverified_password_is_refused() -> None:
    """It would go to whoever answers."""
    text = refusal(host="mail.example.com", use_tls=True, ssl_verify=False, username="u", password="hunter2")
    assert "'ssl_verify'" in text
    assert "ssl_cafile" in text
    assert "hunter2" not in text


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.8.8", "::1", "LOCALHOST.", "mail.localhost"])
def test_an_unverified_password_may_go_to_this_machine(host: str) -> None:
    """Nobody is on the way."""
    assert route(host=host, use_tls=True, ssl_verify=False, username="u", password="p").connection.credentials


def test_an_unverified_password_may_go_to_a_pinned_key() -> None:
    """The pin is the verification."""
    pin = show_pin(hashlib.sha256(b"key").digest())
    options = route(host="h", use_tls=True, ssl_verify=False, ssl_pin=pin, username="u", password="p")
    assert options.connection.tls.pins == (pin,)


def test_a_pin_may_be_written_in_every_usual_way() -> None:
    """Hex, hex with colons, base64, with a prefix; one or several."""
    digest = hashlib.sha256(b"key").digest()
    encoded = base64.b64encode(digest).decode()
    colons = ":".join(f"{byte:02X}" for byte in digest)
    for written in (digest.hex(), colons, encoded, f"sha256//{encoded}", [encoded], (digest.hex(),)):
        assert route(host="h", ssl_pin=written).connection.tls.pins == (show_pin(digest),)
    assert len(route(host="h", ssl_pin=f"{digest.hex()}, {encoded}").connection.tls.pins) == 2


@pytest.mark.parametrize(("written", "expected"), [("auto", "auto"), (True, True), ("true", True), ("off", False)])
def test_strictness_is_auto_true_or_false(written: object, expected: object) -> None:
    """As the documentation has it."""
    assert route(host="h", ssl_strict=written).connection.tls.strict == expected


@pytest.mark.parametrize(("written", "expected"), [("auto", "auto"), (True, True), ("yes", True), (False, False)])
def test_chaining_is_auto_true_or_false(written: object, expected: object) -> None:
    """Auto where nothing is said."""
    assert route(host="h").connection.chaining == "auto"
    assert route(host="h", chaining=written).connection.chaining == expected


def test_a_key_without_its_certificate_is_an_error(tmp_path: Path) -> None:
    """OpenSSL's own message for it helps nobody."""
    key = tmp_path / "key.pem"
    key.write_text("x")
    assert "'ssl_certfile'" in refusal(host="h", ssl_keyfile=str(key))


def test_half_a_login_is_none() -> None:
    """As in Django; the system check tells."""
    assert route(host="h", username="u").connection.credentials is None
    assert route(host="h", password="p").connection.credentials is None


def test_the_password_is_in_no_repr_and_no_summary() -> None:
    """Options are logged by people."""
    options = route(host="h", use_tls=True, username="u", password="hunter2")
    assert "hunter2" not in repr(options)
    assert "hunter2" not in options.summary()


def test_options_are_values() -> None:
    """Connections and route state are keyed by them, over backends that are made anew at every use."""
    one, other = (route(provider="gmail", username="u", password="p", port="587") for _ in range(2))
    assert one == other
    assert hash(one.connection) == hash(other.connection)
    assert route(provider="gmail", username="u", password="q").connection != one.connection


def test_a_token_provider_is_named_by_its_path() -> None:
    """A function, a class, or a dict with arguments; equal ones for equal accounts are the class's own affair."""
    here = __name__
    function = route(host="h", use_tls=True, username="u", token_provider=f"{here}.access_token_of_the_test")
    assert function.connection.mechanism == "auto"
    assert function.connection.credentials is not None
    assert function.connection.credentials.token_provider is not None
    assert function.connection.credentials.token_provider.access_token(renew=False, timeout=1.0) == "token"
    again = route(host="h", use_tls=True, username="u", token_provider=access_token_of_the_test)
    assert again.connection == function.connection
    for written in (f"{here}.Tokens", {"path": f"{here}.Tokens", "account": "a"}, Tokens()):
        credentials = route(host="h", username="u", token_provider=written).connection.credentials
        assert credentials is not None
        assert isinstance(credentials.token_provider, Tokens)


@pytest.mark.parametrize(
    "written",
    [
        "nowhere.tokens",
        "os.sep",
        {"account": "a"},
        {"path": "os.getcwd", "account": "a"},
        {"path": "os.getcwd", "grant": "refresh_token"},
        {"grant": "refreshtoken"},
        {"grant": "refresh_token", "client_id": "c"},
        {"grant": "client_credentials", "client_id": "c", "client_secret": "hunter2"},
        3,
    ],
)
def test_a_token_provider_that_is_none_is_refused(written: object) -> None:
    """With the reason."""
    text = refusal(host="h", username="u", token_provider=written)
    assert "'token_provider'" in text
    assert "hunter2" not in text


def test_a_grant_is_named_by_its_word() -> None:
    """What ships with the package needs no path, and its routes are equal for equal accounts."""
    written = {"grant": "refresh_token", "service": "google", "client_id": "c", "refresh_token": "hunter2"}
    one, other = (route(provider="gmail", username="u", token_provider=dict(written)) for _ in range(2))
    assert one.connection.credentials is not None
    assert isinstance(one.connection.credentials.token_provider, RefreshTokenProvider)
    assert one == other
    assert "hunter2" not in repr(one)


def test_a_token_provider_s_arguments_are_not_shown() -> None:
    """They hold client secrets."""
    text = refusal(
        host="h", username="u", token_provider={"path": f"{__name__}.Tokens", "secrt": "hunter2", "account": "a"}
    )
    assert "hunter2" not in text
    assert "secrt" in text


def test_xoauth2_needs_a_token_provider() -> None:
    """A password is not an access token."""
    assert "'token_provider'" in refusal(host="h", username="u", password="p", auth="xoauth2")


def test_only_to_takes_addresses_and_domains() -> None:
    """A leading "@" and the case of the domain make no difference."""
    options = route(host="h", only_to="Me@Example.com, @Test.example", redirect_to="me@example.com")
    assert options.only_to == ("Me@example.com", "test.example")
    assert options.redirect_to == "me@example.com"


def test_redirect_to_alone_is_an_error() -> None:
    """It would redirect nothing."""
    assert "'only_to'" in refusal(host="h", redirect_to="me@example.com")


def test_what_was_given_is_remembered_with_its_place() -> None:
    """For those who explain a configuration."""
    assert dict(route(host="h", timeout=5, username="").given) == {
        "host": "OPTIONS 'host'",
        "timeout": "OPTIONS 'timeout'",
    }


@pytest.mark.parametrize("option", sorted(SMTP_OPTIONS))
def test_every_documented_option_is_read(option: str) -> None:
    """A value of no possible type is noticed, so no option is only listed."""
    assert f"'{option}'" in refusal(**{"host": "h", option: object()}) or option == "host"


def test_options_that_no_server_needs_can_be_left_empty() -> None:
    """An empty text is no value."""
    options = route(host="h", local_hostname="", idempotency_header=False, redirect_to="", quota="none", region="")
    assert (options.connection.local_hostname, options.idempotency_header, options.redirect_to) == (None, None, None)


def test_an_idempotency_header_can_be_named() -> None:
    """For a provider that we do not know."""
    assert route(host="h", idempotency_header="Idempotency-Key").idempotency_header == "Idempotency-Key"


def test_a_relaxed_certificate_is_said_in_the_summary() -> None:
    """And a named route is called by its alias."""
    options = route(host="h", use_ssl=True, ssl_verify=False)
    assert options.summary() == "h:465, implicit TLS, certificate not verified, no login"
    assert options.route == "x"


def test_addresses_of_an_option_may_have_names() -> None:
    """As people write them: the name is no part of the path, and mail by it would all be refused."""
    options = route(
        host="h", only_to=["Ada Lovelace <ada@example.com>", "x.example"], redirect_to="QA Team <qa@x.test>"
    )
    assert options.only_to == ("ada@example.com", "x.example")
    assert options.redirect_to == "qa@x.test"


@pytest.mark.parametrize(
    "redirect", ["nobody", "@example.com", "a b@example.com", "Roe, Jane <jane@example.com>, b@x.test"]
)
def test_mail_is_redirected_to_an_address(redirect: str) -> None:
    """A domain cannot take it."""
    assert "must be an e-mail address" in refusal(host="h", only_to="x.example", redirect_to=redirect)


def test_a_password_login_cannot_use_access_tokens() -> None:
    """One of them is a mistake."""
    assert "'auth' 'plain' cannot use" in refusal(
        host="h", username="u", auth="plain", token_provider=access_token_of_the_test
    )


def test_a_token_that_is_user_and_password_is_in_no_repr() -> None:
    """Postmark's server token is a user name in form only."""
    assert "server-token" not in repr(route(provider="postmark", password="server-token"))
