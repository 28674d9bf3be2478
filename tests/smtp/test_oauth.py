"""Access tokens from a real token endpoint on the loopback, over HTTPS where it matters."""

import contextlib
import json
import logging
import ssl
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, quote, quote_plus

import pytest

from reliable_email.smtp.failures import FailureKind, WireError, WireFailure
from reliable_email.smtp.oauth import access_tokens
from reliable_email.smtp.oauth.access_tokens import DEFAULT_LIFETIME_SECONDS, token_from
from reliable_email.smtp.oauth.assertions import CertificateProvider, ServiceAccountProvider
from reliable_email.smtp.oauth.grants import ClientCredentialsProvider, RefreshTokenProvider
from reliable_email.smtp.oauth.token_request import _read
from reliable_email.smtp.stages import Stage
from reliable_email.smtp.tls import contexts
from reliable_email.testing import certificates

Form = dict[str, str]
Answer = tuple[int, object]


class Endpoint:
    """A token endpoint: answers from a function, and keeps the forms that were posted."""

    def __init__(self) -> None:
        self.forms: list[Form] = []
        self.answer: Callable[[Form], Answer] = lambda form: self.numbered()
        self.url = ""

    def numbered(self, **more: object) -> Answer:
        """token-1, token-2, and so on: one for each request."""
        return 200, {"access_token": f"token-{len(self.forms)}", "expires_in": 3600, **more}


@contextlib.contextmanager
def serving(context: ssl.SSLContext | None = None) -> Iterator[Endpoint]:
    """The endpoint on a free port."""
    endpoint = Endpoint()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            form = {name: values[0] for name, values in parse_qs(body).items()}
            endpoint.forms.append(form)
            status, answer = endpoint.answer(form)
            content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            self.send_response(status)
            if status == 302:
                self.send_header("Location", endpoint.url)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write(content)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    scheme = "http"
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        scheme = "https"
    endpoint.url = f"{scheme}://localhost:{server.server_port}/token"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield endpoint
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


@pytest.fixture(autouse=True)
def no_tokens(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every test begins without tokens, and without a proxy from the environment."""
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    access_tokens.reset()
    contexts.reset()
    yield
    access_tokens.reset()
    contexts.reset()


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    """A token endpoint without TLS, which only the loopback may be."""
    with serving() as endpoint:
        yield endpoint


def refresher(url: str, **changes: object) -> RefreshTokenProvider:
    """A mailbox at Google, as far as the endpoint is concerned."""
    arguments: dict[str, object] = {
        "client_id": "client",
        "client_secret": "client-secret",
        "refresh_token": "refresh-0",
        "token_url": url,
        **changes,
    }
    return RefreshTokenProvider(**arguments)  # type: ignore[arg-type]


def failure_of(provider: RefreshTokenProvider | ClientCredentialsProvider, timeout: float = 5.0) -> WireFailure:
    """The failure of a token that must not be had; it shows no secret."""
    with pytest.raises(WireError) as raised:
        provider.access_token(renew=False, timeout=timeout)
    failure = raised.value.failure
    assert failure.stage is Stage.AUTH
    assert "client-secret" not in failure.detail
    assert "refresh-0" not in failure.detail
    return failure


def test_refresh_token_grant(endpoint: Endpoint) -> None:
    """RFC 6749 §6, with the secret where there is one."""
    assert refresher(endpoint.url).access_token(renew=False, timeout=5) == "token-1"
    assert endpoint.forms == [
        {
            "grant_type": "refresh_token",
            "client_id": "client",
            "client_secret": "client-secret",
            "refresh_token": "refresh-0",
        }
    ]


def test_refresh_token_grant_of_a_public_microsoft_client(endpoint: Endpoint) -> None:
    """No secret, and the scope of SMTP."""
    refresher(endpoint.url, service="microsoft", client_secret="").access_token(renew=False, timeout=5)
    assert "client_secret" not in endpoint.forms[0]
    assert endpoint.forms[0]["scope"] == "https://outlook.office.com/SMTP.Send offline_access"


def test_client_credentials_grant(endpoint: Endpoint) -> None:
    """RFC 6749 §4.4, with Microsoft's scope for applications."""
    provider = ClientCredentialsProvider(
        client_id="client", client_secret="client-secret", tenant="contoso.test", token_url=endpoint.url
    )
    assert provider.access_token(renew=False, timeout=5) == "token-1"
    assert endpoint.forms[0] == {
        "grant_type": "client_credentials",
        "client_id": "client",
        "client_secret": "client-secret",
        "scope": "https://outlook.office365.com/.default",
    }


def test_token_is_kept_until_five_minutes_before_its_end(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    """One request an hour, shared by equal providers, renewed early."""
    now = 1000.0
    monkeypatch.setattr(access_tokens.time, "monotonic", lambda: now)
    assert refresher(endpoint.url).access_token(renew=False, timeout=5) == "token-1"
    now += 3299
    assert refresher(endpoint.url).access_token(renew=False, timeout=5) == "token-1"
    now += 2
    assert refresher(endpoint.url).access_token(renew=False, timeout=5) == "token-2"


def test_failing_early_renewal_leaves_the_old_token_in_use(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    """An endpoint that is down for a minute stops no mail while the token lasts; after its end it does."""
    now = 1000.0
    monkeypatch.setattr(access_tokens.time, "monotonic", lambda: now)
    provider = refresher(endpoint.url)
    provider.access_token(renew=False, timeout=5)
    endpoint.answer = lambda form: (503, {})
    now += 3400
    assert provider.access_token(renew=False, timeout=5) == "token-1"
    now += 300
    assert failure_of(provider).kind is FailureKind.CONNECT_FAILED


def test_accounts_are_kept_apart(endpoint: Endpoint) -> None:
    """Another refresh token, user, client or scope is another account."""
    provider = refresher(endpoint.url)
    others = [
        refresher(endpoint.url, refresh_token="refresh-other"),
        refresher(endpoint.url, username="b@example.test"),
        refresher(endpoint.url, client_id="other"),
        refresher(endpoint.url, scope="other"),
    ]
    found = {one.access_token(renew=False, timeout=5) for one in (provider, *others)}
    assert len(found) == 5


def test_refused_token_is_renewed_once_for_all(endpoint: Endpoint) -> None:
    """Several threads whose token was refused together share one renewal, whoever comes first."""
    provider = refresher(endpoint.url)
    together = threading.Barrier(4)
    found: list[tuple[str, str]] = []

    def work() -> None:
        first = provider.access_token(renew=False, timeout=5)
        together.wait(5)
        found.append((first, provider.access_token(renew=True, timeout=5)))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert found == [("token-1", "token-2")] * 4
    assert len(endpoint.forms) == 2


def test_renewal_renews_again_when_the_new_token_is_refused_too(endpoint: Endpoint) -> None:
    """`renew` always means another token than the last one."""
    provider = refresher(endpoint.url)
    tokens = [provider.access_token(renew=renew, timeout=5) for renew in (False, True, True, False)]
    assert tokens == ["token-1", "token-2", "token-3", "token-3"]


def test_rotated_refresh_token_is_used_and_handed_over(endpoint: Endpoint) -> None:
    """The next request carries the new one, and the application can store it."""
    stored: list[str] = []
    endpoint.answer = lambda form: endpoint.numbered(refresh_token=f"refresh-{len(endpoint.forms)}")
    provider = refresher(endpoint.url, on_new_refresh_token=stored.append)
    provider.access_token(renew=False, timeout=5)
    provider.access_token(renew=True, timeout=5)
    assert [form["refresh_token"] for form in endpoint.forms] == ["refresh-0", "refresh-1"]
    assert stored == ["refresh-1", "refresh-2"]


def test_callback_that_fails_stops_no_mail(endpoint: Endpoint, caplog: pytest.LogCaptureFixture) -> None:
    """The trouble is logged, without the token that its text may quote."""

    def fail(token: str) -> None:
        raise RuntimeError(token)

    endpoint.answer = lambda form: endpoint.numbered(refresh_token="refresh-new")
    with caplog.at_level(logging.ERROR, "reliable_email.smtp"):
        assert refresher(endpoint.url, on_new_refresh_token=fail).access_token(renew=False, timeout=5) == "token-1"
    assert "RuntimeError" in caplog.text
    assert "refresh-new" not in caplog.text


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ("invalid_grant", "authorise the application again"),
        ("invalid_client", "client secret is wrong or expired"),
        ("unauthorized_client", "registration"),
        ("something_new", "look at client id"),
    ],
)
def test_refusal_says_what_to_do(endpoint: Endpoint, error: str, words: str) -> None:
    """The endpoint's own words and the advice, without the secrets that it echoes."""
    endpoint.answer = lambda form: (
        400,
        {"error": error, "error_description": "AADSTS700: no client-secret refresh-0\r\nTrace ID: 1"},
    )
    failure = failure_of(refresher(endpoint.url))
    assert failure.kind is FailureKind.TOKEN
    assert words in failure.detail
    assert f"{error}: AADSTS700: no **** ****" in failure.detail
    assert "Trace" not in failure.detail


@pytest.mark.parametrize("status", [429, 500, 503])
def test_overloaded_endpoint_is_temporary(endpoint: Endpoint, status: int) -> None:
    """Nobody has to act: it is not reported as a fault of the credentials."""
    endpoint.answer = lambda form: (status, b"busy")
    assert failure_of(refresher(endpoint.url)).kind is FailureKind.CONNECT_FAILED


@pytest.mark.parametrize(
    "answer",
    [
        (200, b"<html>"),
        (200, []),
        (200, {}),
        (200, {"access_token": ""}),
        (200, {"access_token": "a\r\nb"}),
        (404, b""),
    ],
)
def test_answer_without_a_token_is_refused(endpoint: Endpoint, answer: Answer) -> None:
    """A wrong URL answers all sorts of things; none of them goes to the mail server."""
    endpoint.answer = lambda form: answer
    assert failure_of(refresher(endpoint.url)).kind is FailureKind.TOKEN


def _says(said: object, form: Form) -> Answer:
    return 400, said


@pytest.mark.parametrize("field", ["error", "error_description"])
@pytest.mark.parametrize("secret", ["refresh/t0ken+with=signs", "s3cret&client value"])
def test_an_endpoint_that_repeats_the_form_is_not_repeated(endpoint: Endpoint, field: str, secret: str) -> None:
    """Plain, percent-encoded as it came, or in base64."""
    for echoed in (secret, quote(secret, safe=""), quote_plus(secret), b64encode(secret.encode()).decode()):
        said = {"error": "invalid_grant", field: f"bad form: refresh_token={echoed}&x=1"}
        endpoint.answer = partial(_says, said)
        failure = failure_of(refresher(endpoint.url, refresh_token=secret, client_secret="client-secret"))
        assert echoed not in failure.detail
        assert "bad form" in failure.detail


@pytest.mark.parametrize("lifetime", ["9" * 400, 10**400, float("nan"), float("inf"), -5, [], "soon"])
def test_a_lifetime_that_is_none_is_the_usual_one(lifetime: object) -> None:
    """JSON says NaN, and numbers of any length; a token is neither kept for ever nor asked for each time."""
    token = token_from({"access_token": "t", "expires_in": lifetime})
    assert 0 < token.expires_at - time.monotonic() <= DEFAULT_LIFETIME_SECONDS


@pytest.mark.parametrize("said", [b"[" * 60_000, b'{"a":' * 12_000, b"\xff", b"9" * 60_000])
def test_an_answer_that_cannot_be_read_is_no_object(said: bytes) -> None:
    """Deep JSON is no reason for another error than the one that is understood."""
    assert not isinstance(_read(said), dict)


def test_redirect_is_not_followed(endpoint: Endpoint) -> None:
    """Secrets go to the configured URL and to no other."""
    endpoint.answer = lambda form: (302, b"")
    failure = failure_of(refresher(endpoint.url))
    assert "redirects" in failure.detail
    assert len(endpoint.forms) == 1


def test_unencrypted_url_is_refused() -> None:
    """Without https nothing is sent, except to the loopback."""
    failure = failure_of(refresher("http://tokens.example.test/token"))
    assert failure.kind is FailureKind.TOKEN
    assert "not https" in failure.detail


def test_endpoint_that_hangs_costs_the_given_time_only(endpoint: Endpoint) -> None:
    """The wait is bounded, and what arrives later still serves the next caller."""
    release = threading.Event()

    def hang(form: Form) -> Answer:
        release.wait(10)
        return endpoint.numbered()

    endpoint.answer = hang
    provider = refresher(endpoint.url)
    failure = failure_of(provider, timeout=0.5)
    assert failure.kind is FailureKind.TIMEOUT
    release.set()
    assert provider.access_token(renew=False, timeout=5) == "token-1"
    assert len(endpoint.forms) == 1


def test_unreachable_endpoint_is_temporary() -> None:
    """A refused connection may be over in a minute."""
    with serving() as gone:
        url = gone.url
    assert failure_of(refresher(url)).kind is FailureKind.CONNECT_FAILED


class TestHTTPS:
    """The certificate of the endpoint."""

    def test_verified_with_a_private_ca(self) -> None:
        """cafile adds a CA for the endpoint."""
        certificate = certificates.good()
        with serving(certificates.server_context(certificate)) as endpoint:
            provider = refresher(endpoint.url, cafile=str(certificate.ca_file))
            assert provider.access_token(renew=False, timeout=5) == "token-1"

    def test_unknown_ca_gets_no_secret(self) -> None:
        """A certificate that cannot be verified ends it before the form is sent."""
        certificate = certificates.good()
        with serving(certificates.server_context(certificate)) as endpoint:
            failure = failure_of(refresher(endpoint.url))
            assert failure.kind is FailureKind.TOKEN
            assert "certificate of localhost is refused" in failure.detail
            assert endpoint.forms == []


class TestConfiguration:
    """Providers as values."""

    def test_equal_accounts_are_equal_and_hashable(self) -> None:
        """They key connection pools; the callback is no part of the account."""
        one = refresher("https://t.test", on_new_refresh_token=print)
        assert one == refresher("https://t.test")
        assert hash(one) == hash(refresher("https://t.test"))
        assert one != refresher("https://t.test", refresh_token="other")

    def test_repr_hides_secrets(self) -> None:
        """Also inside the credentials of a connection."""
        shown = repr(refresher("https://t.test")) + repr(
            ClientCredentialsProvider(client_id="c", client_secret="client-secret", tenant="t")
        )
        assert "client-secret" not in shown
        assert "refresh-0" not in shown

    def test_unknown_service_lists_the_known_ones(self) -> None:
        """A typing mistake is found when it is configured."""
        with pytest.raises(ValueError, match="google, microsoft"):
            refresher("", service="gogle")

    def test_google_has_no_client_credentials(self) -> None:
        """The sentence says what to use in its place."""
        with pytest.raises(ValueError, match="ServiceAccountProvider"):
            ClientCredentialsProvider(client_id="c", client_secret="s", service="google")

    def test_microsoft_needs_a_tenant(self) -> None:
        """There is no common directory for an application."""
        with pytest.raises(ValueError, match="tenant"):
            ClientCredentialsProvider(client_id="c", client_secret="s")


class TestAssertions:
    """Providers behind the extra [oauth]."""

    def test_missing_packages_are_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The sentence says what to install."""
        import sys

        for name in ("google.auth", "msal"):
            monkeypatch.setitem(sys.modules, name, None)
        google = ServiceAccountProvider(key_file="/nowhere.json", username="a@example.test")
        microsoft = CertificateProvider(client_id="c", tenant="t", key_file="/nowhere.pem", thumbprint="00")
        for provider in (google, microsoft):
            with pytest.raises(WireError) as raised:
                provider.access_token(renew=False, timeout=5)
            assert raised.value.failure.kind is FailureKind.TOKEN
            assert "django-reliable-email[oauth]" in raised.value.failure.detail

    def test_missing_key_files_are_named(self) -> None:
        """A fault that a person has to mend."""
        pytest.importorskip("google.auth.transport.requests")
        pytest.importorskip("msal")
        google = ServiceAccountProvider(key_file="/nowhere.json", username="a@example.test")
        microsoft = CertificateProvider(client_id="c", tenant="t", key_file="/nowhere.pem", thumbprint="00")
        for provider in (google, microsoft):
            with pytest.raises(WireError) as raised:
                provider.access_token(renew=False, timeout=10)
            assert raised.value.failure.kind is FailureKind.TOKEN
            assert "/nowhere" in raised.value.failure.detail

    def test_service_account_signs_for_a_mailbox(self, endpoint: Endpoint, tmp_path: Path) -> None:
        """google-auth posts a signed assertion to the key file's endpoint, and its token is used."""
        pytest.importorskip("google.auth.transport.requests")
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import rsa

        key = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        file = tmp_path / "key.json"
        file.write_text(
            json.dumps({"client_email": "robot@example.test", "private_key": key.decode(), "token_uri": endpoint.url})
        )
        provider = ServiceAccountProvider(key_file=str(file), username="a@example.test")
        assert provider.access_token(renew=False, timeout=10) == "token-1"
        assert endpoint.forms[0]["grant_type"].endswith("jwt-bearer")
