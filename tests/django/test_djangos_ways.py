"""Whoever exchanges Django's backend for ours, or puts our doors in front of what he has, notices nothing else."""

import contextlib
import errno
import gc
import logging
import pickle
import smtplib
import socket
import ssl
import subprocess
import sys
import warnings
from collections.abc import Callable
from typing import Any

import django
import pytest
from django.core import mail
from django.core.mail import EmailMessage, get_connection, send_mail
from django.core.mail.backends.smtp import EmailBackend as DjangoBackend
from django.core.mail.message import BadHeaderError
from django.db import transaction

from reliable_email.backends.smtp import ReliableSMTPBackend
from reliable_email.exceptions import DeliveryError, InvalidMailer
from reliable_email.mailers import mailers
from reliable_email.store.tables.messages import OutboxMessage
from reliable_email.testing import delivery_of
from reliable_email.testing.script import Script
from reliable_email.testing.server import ScriptedServer, close, hang, raw, reset
from tests.django.conftest import SMTP, use_email_settings, use_mailers
from tests.django.post import A, B, closed_port, message, received

FAILOVER = "reliable_email.backends.FailoverBackend"
OUTBOX = "reliable_email.backends.OutboxBackend"
Serve = Callable[..., ScriptedServer]
pytestmark = [
    pytest.mark.filterwarnings("ignore::PendingDeprecationWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


@pytest.fixture
def site(overrides: list[Any]) -> Callable[[dict[str, Any]], None]:
    """Sets MAILERS until the test ends."""

    def use(entries: dict[str, Any]) -> None:
        override = use_mailers(entries)
        override.enable()
        overrides.append(override)

    return use


def smtp(server: ScriptedServer, **options: Any) -> dict[str, Any]:
    """A route to a server."""
    return {"BACKEND": SMTP, "OPTIONS": server.options(timeout=5, **options)}


# Exceptions. Django's own backend meets the same server first: what it raises, ours is too.

FAILURES: dict[str, tuple[Script, dict[str, Any], dict[str, Any]]] = {
    "greeting 554": (Script(greeting="554 5.7.1 not you"), {}, {}),
    "greeting 421": (Script(greeting="421 4.3.2 not now"), {}, {}),
    "greeting closed": (Script(greeting=close()), {}, {}),
    "greeting silent": (Script(greeting=hang()), {}, {}),
    "greeting of another protocol": (Script(greeting=raw(b"HTTP/1.1 400 Bad Request\r\n\r\n")), {}, {}),
    "HELO refused": (Script(ehlo="550 5.7.1 no", helo="550 5.7.1 no"), {}, {}),
    "STARTTLS not offered": (Script(), {}, {"use_tls": True}),
    "STARTTLS 454": (Script(starttls="454 4.7.0 TLS not available"), {"tls": "starttls"}, {"use_tls": True}),
    "STARTTLS closed": (Script(tls=close()), {"tls": "starttls"}, {"use_tls": True}),
    "STARTTLS reset": (Script(tls=reset()), {"tls": "starttls"}, {"use_tls": True}),
    "certificate not trusted": (Script(), {"tls": "starttls"}, {"use_tls": True, "trusts": False}),
    "implicit TLS not trusted": (Script(), {"tls": "implicit"}, {"use_ssl": True, "trusts": False}),
    "implicit TLS at a plain server": (Script(), {}, {"use_ssl": True}),
    "implicit TLS closed": (Script(tls=close()), {"tls": "implicit"}, {"use_ssl": True}),
    "AUTH not offered": (Script(), {}, {"username": "u", "password": "p"}),
    "AUTH 535": (Script(), {"login": {"u": "other"}}, {"username": "u", "password": "p"}),
    "AUTH 454": (Script(auth="454 4.7.0 later"), {"login": {"u": "p"}}, {"username": "u", "password": "p"}),
    "AUTH closed": (Script(auth=close()), {"login": {"u": "p"}}, {"username": "u", "password": "p"}),
    "MAIL 530": (Script(mail="530 5.7.0 Authentication required"), {}, {}),
    "MAIL 550": (Script(mail="550 5.7.1 not from you"), {}, {}),
    "MAIL 421": (Script(mail="421 4.3.2 closing"), {}, {}),
    "MAIL closed": (Script(mail=close()), {}, {}),
    "MAIL silent": (Script(mail=hang()), {}, {}),
    "RCPT 550": (Script(rcpt="550 5.1.1 no such user"), {}, {}),
    "RCPT 450": (Script(rcpt="450 4.2.0 greylisted"), {}, {}),
    "RCPT 530": (Script(rcpt="530 5.7.0 Authentication required"), {}, {}),
    "RCPT closed": (Script(rcpt=close()), {}, {}),
    "DATA 554": (Script(data="554 5.5.1 no valid recipients"), {}, {}),
    "DATA 451": (Script(data="451 4.3.0 trouble"), {}, {}),
    "final 554": (Script(final_reply="554 5.7.1 spam"), {}, {}),
    "final 452": (Script(final_reply="452 4.3.1 full"), {}, {}),
    "final closed": (Script(final_reply=close()), {}, {}),
}


def what_django_raises(server: ScriptedServer, *, trusts: bool, **client: Any) -> OSError:
    """The exception of Django's own backend. It leaves sockets open, which are closed here."""
    if django.VERSION >= (6, 1):
        client["alias"] = "x"
    backend = DjangoBackend(host=server.host, port=server.port, **client)
    if trusts and server.ca_file:
        vars(backend)["ssl_context"] = ssl.create_default_context(cafile=server.ca_file)
    try:
        backend.send_messages([message(A)])
    except OSError as error:
        raised = error.with_traceback(None)
        raised.__context__ = raised.__cause__ = None
    else:
        raise AssertionError("Django's backend raised nothing")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        with contextlib.suppress(OSError):
            backend.close()
        del backend
        gc.collect()
    return raised


@pytest.mark.parametrize("name", FAILURES)
def test_what_django_raises_ours_is_too(name: str, serve: Serve) -> None:
    """Each `except` line that was written for Django's backend goes on working."""
    script, server_options, client = FAILURES[name]
    client = dict(client)
    trusts = client.pop("trusts", True)
    server = serve(script, **server_options)
    seconds = 1 if "silent" in name else 15
    expected = what_django_raises(server, timeout=seconds, trusts=trusts, **client)
    ours = ReliableSMTPBackend(
        alias="x",
        host=server.host,
        port=server.port,
        timeout=seconds,
        final_reply_timeout=seconds,
        max_attempts=1,
        local_hostname="client.test",
        **({"ssl_cafile": server.ca_file} if trusts and server_options.get("tls") else {}),
        **client,
    )
    one = message(A)
    with pytest.raises(OSError) as caught:
        ours.send_messages([one])
    assert isinstance(caught.value, type(expected)), (type(caught.value).__mro__, expected)
    assert isinstance(caught.value, DeliveryError)
    if getattr(expected, "smtp_code", 0) > 0:
        assert caught.value.smtp_code == expected.smtp_code  # type: ignore[attr-defined]
    copied = pickle.loads(pickle.dumps(caught.value))
    assert (type(copied), str(copied)) == (type(caught.value), str(caught.value))
    for one in (caught.value, copied):
        for attribute in ("errno", "strerror", "reason", "library", "verify_code", "verify_message"):
            # OpenSSL's own numbers and words are others by version; there are some wherever Django's error has some.
            assert bool(getattr(one, attribute, None)) >= bool(getattr(expected, attribute, None)), attribute
    if isinstance(expected, ssl.SSLCertVerificationError):
        assert "certificate" in caught.value.verify_message  # type: ignore[attr-defined]


def test_connections_that_cannot_be_made_are_python_s_own_errors() -> None:
    """ConnectionRefusedError, and gaierror, with the numbers that code compares."""
    with pytest.raises(ConnectionRefusedError) as refused:
        ReliableSMTPBackend(alias="x", host="127.0.0.1", port=closed_port()).send_messages([message(A)])
    assert refused.value.errno == errno.ECONNREFUSED
    assert "refused" in str(refused.value.strerror)
    with pytest.raises(socket.gaierror) as unknown:
        ReliableSMTPBackend(alias="x", host="no-such-host.invalid", timeout=2).send_messages([message(A)])
    assert unknown.value.errno == socket.EAI_NONAME
    assert "no-such-host.invalid" in str(unknown.value.strerror)


@pytest.mark.parametrize("field", ["subject", "from_email", "to", "cc", "reply_to", "headers"])
def test_a_header_of_two_lines_is_the_class_that_django_documents(field: str, server: ScriptedServer) -> None:
    """BadHeaderError on 5.2, which is ValueError from 6.0 on."""
    injected = "a@example.net\nBcc: victim@example.net"
    one = message(A)
    if field == "headers":
        one.extra_headers = {"X-Id": injected}
    else:
        setattr(one, field, [injected] if field in ("to", "cc", "reply_to") else injected)
    with pytest.raises(BadHeaderError):
        ReliableSMTPBackend(alias="x", **server.options()).send_messages([one])
    with pytest.raises(BadHeaderError):
        ReliableSMTPBackend(alias="x", **server.options()).send_messages([message(B), one])
    assert received(server) == [(B,)]


# Settings of the old kind.


def test_both_tls_modes_are_a_value_error_where_django_reads_settings() -> None:
    """And an InvalidMailer."""
    with use_email_settings(EMAIL_HOST="h", EMAIL_USE_TLS=True, EMAIL_USE_SSL=True):
        with pytest.raises(ValueError, match="EMAIL_USE_TLS") as caught:
            get_connection()
        assert isinstance(caught.value, InvalidMailer)


EMAIL_NAMES = (
    *(
        "PORT",
        "USE_TLS",
        "USE_SSL",
        "TIMEOUT",
        "MAX_RETRIES",
        "SSL_CERTFILE",
        "SSL_KEYFILE",
        "SSL_CAFILE",
        "SSL_VERIFY",
    ),
    *("SSL_STRICT", "SSL_PIN", "HOST_USER", "HOST_PASSWORD", "PROVIDER", "REGION", "AUTH", "QUOTA", "ON_UNKNOWN"),
    *("LOCAL_HOSTNAME", "CONNECTIONS", "FINAL_REPLY_TIMEOUT", "FALLBACK_ENABLED", "FALLBACK_HOST", "FALLBACK_PORT"),
    *("FALLBACK_USE_TLS", "ONLY_TO", "REDIRECT_TO", "TOKEN_PROVIDER"),
)


@pytest.mark.parametrize("empty", ["", None, "  "])
def test_empty_settings_are_unset(empty: str | None, server: ScriptedServer) -> None:
    """What an environment without a value gives to each of them."""
    names = EMAIL_NAMES
    values = {f"EMAIL_{name}": empty for name in names}
    with use_email_settings(**values):
        link = ReliableSMTPBackend().options.connection
        assert (link.host, link.port, link.credentials) == ("localhost", 25, None)
    with use_email_settings(**{**values, "EMAIL_HOST": server.host, "EMAIL_PORT": str(server.port)}):
        assert send_mail("s", "b", "me@example.org", [A]) == 1
    options = {name.lower(): empty for name in names if "FALLBACK" not in name and not name.startswith("HOST")}
    options["max_attempts"] = options.pop("max_retries")
    backend = ReliableSMTPBackend(alias="x", **{**options, "host": server.host, "port": server.port})
    assert backend.options.max_attempts == 3


# A server of the caller's own.


def door(kind: str, server: ScriptedServer, **options: Any) -> dict[str, Any]:
    """A site whose default is this door, over one server."""
    match kind:
        case "outbox":
            over = {"BACKEND": OUTBOX, "OPTIONS": {"using": "routes"}}
            return {"default": over, "routes": smtp(server, **options)}
        case "failover":
            return {"default": {"BACKEND": FAILOVER, "OPTIONS": {"using": ["a"]}}, "a": smtp(server, **options)}
        case _:
            return {"default": smtp(server, **options)}


@pytest.mark.parametrize("kind", ["outbox", "failover", "smtp"])
@pytest.mark.django_db
def test_a_callers_own_server_is_used(kind: str, serve: Serve, site: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Directly, and never the site's in its place."""
    ours, tenants = serve(), serve()
    site(door(kind, ours))
    with caplog.at_level(logging.WARNING, logger="reliable_email.outbox"):
        connection = get_connection(host=tenants.host, port=tenants.port)
        assert connection.send_messages([message(A)]) == 1
    assert (received(ours), received(tenants)) == ([], [(A,)])
    assert not OutboxMessage.objects.exists()
    assert ("sent directly and not queued" in caplog.text) is (kind == "outbox")


@pytest.mark.parametrize("kind", ["outbox", "failover", "smtp"])
@pytest.mark.django_db
def test_a_callers_dead_server_is_not_replaced(kind: str, server: ScriptedServer, site: Any) -> None:
    """A tenant's mail does not go out in the site's name."""
    site(door(kind, server))
    one = message(A)
    with pytest.raises(ConnectionRefusedError):
        get_connection(host="127.0.0.1", port=closed_port()).send_messages([one])
    assert received(server) == []
    assert not OutboxMessage.objects.exists()
    assert delivery_of(one).deferred == [A]


def test_a_callers_dead_server_is_not_replaced_by_the_sites_second_provider(server: ScriptedServer) -> None:
    """Nor on the path of the EMAIL_* settings."""
    fallback = {"EMAIL_FALLBACK_HOST": server.host, "EMAIL_FALLBACK_PORT": server.port}
    with use_email_settings(EMAIL_HOST="127.0.0.1", EMAIL_PORT=closed_port(), **fallback):
        with pytest.raises(ConnectionRefusedError):
            get_connection(host="127.0.0.1", port=closed_port()).send_messages([message(A)])
        with pytest.raises(OSError):
            send_mail("s", "b", "me@example.org", [A], auth_user="tenant", auth_password="theirs")
        assert received(server) == []
        assert send_mail("s", "b", "me@example.org", [B]) == 1
    assert received(server) == [(B,)]


@pytest.mark.parametrize("kind", ["outbox", "failover", "smtp"])
@pytest.mark.django_db
def test_a_callers_own_login_is_used(kind: str, serve: Serve, site: Any) -> None:
    """At the site's server, as Django would."""
    server = serve(login={"site": "s", "tenant": "t"})
    site(door(kind, server, username="site", password="s"))
    assert send_mail("s", "b", "me@example.org", [A], auth_user="tenant", auth_password="t") == 1
    assert received(server) == [(A,)]
    assert not OutboxMessage.objects.exists()
    with pytest.raises(smtplib.SMTPAuthenticationError):
        send_mail("s", "b", "me@example.org", [B], auth_user="tenant", auth_password="wrong")
    assert received(server) == [(A,)]


@pytest.mark.parametrize("given", ["everything", "login", "server", "empty"])
@pytest.mark.parametrize("kind", ["outbox", "failover", "smtp"])
@pytest.mark.django_db
def test_what_equals_the_sites_own_changes_nothing(kind: str, given: str, serve: Serve, site: Any) -> None:
    """Many packages hand on what the settings say."""
    server = serve(login={"site": "s"})
    site(door(kind, server, username="site", password="s"))
    own = {"host": server.host.upper(), "port": str(server.port), "username": "site", "password": "s", "use_tls": False}
    chosen: dict[str, Any] = {
        "everything": own,
        "login": {"username": "site", "password": "s"},
        "server": {"host": server.host, "port": server.port},
        "empty": {"host": "", "port": None, "username": "", "password": None, "timeout": 5},
    }[given]
    if kind == "smtp" and given == "empty":
        chosen = {"host": None, "port": None, "timeout": 5}
        chosen = {name: value for name, value in chosen.items() if value is not None}
    assert get_connection(**chosen).send_messages([message(A)]) == 1
    assert OutboxMessage.objects.count() == (1 if kind == "outbox" else 0)
    assert received(server) == ([] if kind == "outbox" else [(A,)])


@pytest.mark.django_db
def test_the_warning_says_that_a_rollback_does_not_call_it_back(
    server: ScriptedServer, site: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Which is true of every direct send, and new to those who are used to the queue."""
    with ScriptedServer() as tenants:
        site(door("outbox", server))
        with caplog.at_level(logging.WARNING, logger="reliable_email.outbox"), transaction.atomic():
            get_connection(host=tenants.host, port=tenants.port).send_messages([message(A)])
            transaction.set_rollback(True)
        assert received(tenants) == [(A,)]
    assert "rollback will not call it back" in caplog.text


# Classes that were derived from Django's backend.


class SetsAttributes(ReliableSMTPBackend):
    """As several public sites do."""

    server: ScriptedServer

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.host = self.server.host
        self.port = str(self.server.port)  # type: ignore[assignment] # a database gives text
        self.username = "tenant"
        self.password = "t"
        self.use_tls = False
        self.timeout = None  # type: ignore[assignment] # Django's "wait for ever"
        self.fail_silently = False


class OpensLate(ReliableSMTPBackend):
    """Looks up its server when it connects."""

    server: ScriptedServer
    opened = closed = 0

    def open(self) -> bool | None:
        """Count, and say where."""
        type(self).opened += 1
        self.host, self.port = self.server.host, self.server.port
        return super().open()

    def close(self) -> None:
        """Count."""
        type(self).closed += 1
        super().close()


class Positional(ReliableSMTPBackend):
    """Gives Django's arguments in Django's order."""

    def __init__(
        self, host: Any = None, port: Any = None, username: Any = None, password: Any = None, **rest: Any
    ) -> None:
        super().__init__(host, port, username, password, **rest)


class OwnConnection(ReliableSMTPBackend):
    """Makes what we could not send by."""

    def open(self) -> bool | None:
        """As a class for Django's backend might."""
        self.connection = smtplib.SMTP()
        return True


def own_send(self: Any, email_message: EmailMessage) -> bool:
    """Never called."""
    return True


REPLACED = {
    "_send": own_send,
    "prep_address": lambda self, address, force_ascii=True: address,
    "connection_class": property(lambda self: smtplib.SMTP),
    "ssl_context": property(lambda self: ssl.create_default_context()),
}


@pytest.mark.parametrize("path", ["EMAIL_*", "MAILERS", "route"])
def test_attributes_that_are_set_afterwards_count(path: str, serve: Serve, site: Any) -> None:
    """Mail leaves by them, not by the global server."""
    site_server, tenants = serve(), serve(login={"tenant": "t"})
    SetsAttributes.server = tenants
    backend = f"{__name__}.SetsAttributes"
    if path == "EMAIL_*":
        with use_email_settings(EMAIL_BACKEND=backend, EMAIL_HOST=site_server.host, EMAIL_PORT=site_server.port):
            assert send_mail("s", "b", "me@example.org", [A]) == 1
    else:
        entry = {"BACKEND": backend, "OPTIONS": site_server.options()}
        if path == "MAILERS":
            site({"default": entry})
        else:
            site({"default": {"BACKEND": FAILOVER, "OPTIONS": {"using": ["a"]}}, "a": entry})
        assert mailers["default"].send_messages([message(A)]) == 1
    assert (received(site_server), received(tenants)) == ([], [(A,)])
    assert any(command.startswith("AUTH") for command in tenants.commands)


def test_an_open_and_close_of_their_own_are_called(serve: Serve) -> None:
    """Once for a batch; what `open()` sets counts."""
    elsewhere, server = serve(), serve()
    OpensLate.server = server
    backend = OpensLate(alias="x", **elsewhere.options())
    assert backend.connection is None
    assert backend.send_messages([message(A), message(B)]) == 2
    assert (OpensLate.opened, OpensLate.closed) == (1, 1)
    assert (received(elsewhere), received(server)) == ([], [(A,), (B,)])
    assert backend.connection is None
    with backend:
        assert backend.connection is not None
        assert "t" in repr(backend.connection)


def test_arguments_in_djangos_order(server: ScriptedServer) -> None:
    """host, port, username, password, use_tls, fail_silently …"""
    with use_email_settings():
        assert Positional(server.host, server.port).send_messages([message(A)]) == 1
        backend = ReliableSMTPBackend("h", 2525, "u", "p", True, True)
    assert (backend.host, backend.port, backend.username, backend.password) == ("h", 2525, "u", "p")
    assert (backend.use_tls, backend.use_ssl, backend.fail_silently) == (True, False, True)


@pytest.mark.parametrize("alias", ["x", None])
def test_without_a_login_the_attributes_are_djangos(alias: str | None) -> None:
    """None in an entry of MAILERS from 6.1 on, and else the empty text that Django's settings have."""
    options: dict[str, Any] = {"alias": alias} if alias and django.VERSION >= (6, 1) else {}
    with use_email_settings():
        theirs = DjangoBackend(host="h", **options)
        ours = ReliableSMTPBackend(host="h", alias=alias)
    for name in ("host", "port", "username", "password", "use_tls", "use_ssl", "ssl_certfile", "ssl_keyfile"):
        assert getattr(ours, name) == getattr(theirs, name), name


@pytest.mark.parametrize("name", REPLACED)
def test_what_cannot_work_is_refused_when_the_backend_is_made(name: str, server: ScriptedServer) -> None:
    """With what to do, also where it is inherited of another class."""
    mixin = type("Mixin", (), {name: REPLACED[name]})
    for cls in (
        type("Own", (ReliableSMTPBackend,), {name: REPLACED[name]}),
        type("Own", (mixin, ReliableSMTPBackend), {}),
    ):
        with pytest.raises(InvalidMailer, match=f"defines {name}") as caught:
            cls(alias="x", **server.options())
        assert "Django's SMTP backend" in str(caught.value)


@pytest.mark.parametrize("name", REPLACED)
def test_what_cannot_work_is_refused_where_it_is_set_afterwards(name: str, server: ScriptedServer) -> None:
    """As with a context that verifies nothing, which Django's backend would use."""
    backend = ReliableSMTPBackend(alias="x", **server.options())
    setattr(backend, name, ssl.create_default_context() if name == "ssl_context" else own_send)
    with pytest.raises(InvalidMailer, match=f"defines {name}"):
        backend.send_messages([message(A)])
    assert received(server) == []


def test_a_connection_of_their_own_is_refused(server: ScriptedServer) -> None:
    """Not silently left aside."""
    with pytest.raises(InvalidMailer, match="connection of its own"):
        OwnConnection(alias="x", **server.options()).send_messages([message(A)])
    assert received(server) == []


# Names and types.


def test_modules_are_found_behind_a_plain_import() -> None:
    """As settings write it."""
    code = "import reliable_email; print(reliable_email.env.mailers({'EMAIL_HOST': 'h'})['default']['BACKEND'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == SMTP


def test_a_message_that_another_backend_sent_has_an_empty_report(settings: Any) -> None:
    """In a project's own tests nothing of this package sends."""
    one = message(A)
    mail.outbox = []
    assert delivery_of(one).accepted == []
