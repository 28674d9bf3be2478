"""Classes that a project has derived from our doors: options of their own, and what they replace, by every way."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from django.core.mail import EmailMessage, send_mail
from django.core.management import call_command

from reliable_email.backends import FailoverBackend, OutboxBackend, ReliableSMTPBackend
from reliable_email.diagnosis.configuration import check_configuration
from reliable_email.exceptions import InvalidMailer
from reliable_email.mailers import mailers
from reliable_email.store.tables.messages import OutboxMessage
from reliable_email.testing import delivery_of
from reliable_email.testing.server import ScriptedServer
from tests.django.conftest import SMTP, use_email_settings, use_mailers
from tests.django.post import A, B, closed_port, message, received

FAILOVER = "reliable_email.backends.FailoverBackend"
OUTBOX = "reliable_email.backends.OutboxBackend"
Serve = Callable[..., ScriptedServer]
pytestmark = [
    pytest.mark.filterwarnings("ignore::PendingDeprecationWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


class TenantRoute(ReliableSMTPBackend):
    """Has an option of its own, and takes its server from there."""

    def __init__(self, *args: Any, server: dict[str, Any] | None = None, **options: Any) -> None:
        super().__init__(*args, **(server or {}), **options)


class PopsItsOption(ReliableSMTPBackend):
    """Has one that its signature does not show."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self.label = options.pop("label", "")
        super().__init__(*args, **options)


class LabelledFailover(FailoverBackend):
    """An option, and a use of it."""

    def __init__(self, label: str = "", **options: Any) -> None:
        super().__init__(**options)
        self.label = label

    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        """Label each."""
        for one in email_messages:
            one.extra_headers["X-Label"] = self.label
        return super().send_messages(email_messages)


class LabelledOutbox(OutboxBackend):
    """The same in front of the queue."""

    def __init__(self, label: str = "", **options: Any) -> None:
        super().__init__(**options)
        self.label = label

    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        """Label each."""
        for one in email_messages:
            one.extra_headers["X-Label"] = self.label
        return super().send_messages(email_messages)


class OpensLate(ReliableSMTPBackend):
    """Looks up its server when it connects."""

    server: dict[str, Any]
    opened = closed = 0

    def open(self) -> bool | None:
        """Count, and say where."""
        type(self).opened += 1
        self.host, self.port = self.server["host"], self.server["port"]
        return super().open()

    def close(self) -> None:
        """Count."""
        type(self).closed += 1
        super().close()


class OpensNever(ReliableSMTPBackend):
    """Cannot look up its server."""

    def open(self) -> bool | None:
        """As a lookup of somebody's would."""
        raise LookupError("no such tenant")


class Labels(ReliableSMTPBackend):
    """Replaces what a failover and a worker do not call."""

    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        """Label each."""
        for one in email_messages:
            one.extra_headers["X-Label"] = "own"
        return super().send_messages(email_messages)


class CopiesDjango(ReliableSMTPBackend):
    """Has Django's own lines, with one of its own between them."""

    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        """Label each."""
        sent = 0
        with self._lock:
            new_connection = self.open()
            if not self.connection or new_connection is None:
                return 0
            try:
                for one in email_messages:
                    one.extra_headers["X-Label"] = "own"
                    sent += bool(self._send(one))
            finally:
                if new_connection:
                    self.close()
        return sent


class UsesSmtplib(ReliableSMTPBackend):
    """Speaks to the server itself."""

    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        """Never gets there."""
        self.open()
        for one in email_messages:
            self.connection.sendmail(one.from_email, one.recipients(), one.message().as_bytes())
        return len(email_messages)


@pytest.fixture
def site(overrides: list[Any]) -> Callable[[dict[str, Any]], None]:
    """Sets MAILERS until the test ends."""

    def use(entries: dict[str, Any]) -> None:
        override = use_mailers(entries)
        override.enable()
        overrides.append(override)

    return use


@pytest.fixture(autouse=True)
def counters() -> None:
    """From nought."""
    OpensLate.opened = OpensLate.closed = 0


def entry(backend: type | str, **options: Any) -> dict[str, Any]:
    """An entry of MAILERS."""
    path = backend if isinstance(backend, str) else f"{__name__}.{backend.__qualname__}"
    return {"BACKEND": path, "OPTIONS": options}


def by(way: str, route: dict[str, Any]) -> dict[str, Any]:
    """A site that sends by a route: directly, over a failover, or out of the queue."""
    match way:
        case "direct":
            return {"default": route}
        case "failover":
            return {"default": entry(FAILOVER, using=["route"]), "route": route}
        case _:
            return {"default": entry(OUTBOX, using="route"), "route": route}


def errors() -> list[str]:
    """What the system checks say of the mailers."""
    return [f"{one.id} {one.msg}" for one in check_configuration() if one.is_serious()]


def deliver(way: str) -> None:
    """Let a worker do what waits, where there is a queue."""
    if way == "queue":
        call_command("email_worker", until_empty=True, verbosity=0)


WAYS = ("direct", "failover", "queue")


@pytest.mark.parametrize("cls", [TenantRoute, PopsItsOption])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.django_db(transaction=True)
def test_options_of_their_own_are_theirs(way: str, cls: type, server: ScriptedServer, site: Any) -> None:
    """No check refuses them, and mail goes."""
    own = {"server": server.options(timeout=5)} if cls is TenantRoute else server.options(label="x", timeout=5)
    site(by(way, entry(cls, **own)))
    assert errors() == []
    assert send_mail("s", "b", "me@example.org", [A]) == 1
    deliver(way)
    assert received(server) == [(A,)]


@pytest.mark.parametrize("way", ["failover", "queue"])
@pytest.mark.django_db(transaction=True)
def test_a_door_in_front_may_have_options_of_its_own(way: str, server: ScriptedServer, site: Any) -> None:
    """And what it does in send_messages() is done, which is where the docs send those who override a route's."""
    front = LabelledFailover if way == "failover" else LabelledOutbox
    using: Any = ["route"] if way == "failover" else "route"
    site({"default": entry(front, using=using, label="ours"), "route": entry(SMTP, **server.options(timeout=5))})
    assert errors() == []
    assert send_mail("s", "b", "me@example.org", [A]) == 1
    deliver(way)
    assert b"X-Label: ours" in server.messages[0].content


@pytest.mark.parametrize("cls", [TenantRoute, PopsItsOption, LabelledFailover, LabelledOutbox])
def test_an_option_that_nobody_knows_is_reported_all_the_same(cls: type, server: ScriptedServer, site: Any) -> None:
    """By its own constructor, which hands on what it does not know."""
    route = entry(SMTP, **server.options())
    options: dict[str, Any] = {"sever": 1}
    if issubclass(cls, ReliableSMTPBackend):
        options |= server.options()
    else:
        options |= {"using": ["route"] if issubclass(cls, FailoverBackend) else "route"}
    site({"default": entry(cls, **options), "route": route})
    assert [one for one in errors() if "'sever'" in one and "default" in one]


def test_what_a_class_gives_itself_is_what_is_checked(site: Any) -> None:
    """The checks of port, login and certificate look at what it will use."""
    site({"default": entry(TenantRoute, server={"host": "smtp.example.org", "port": 465, "use_tls": True})})
    assert [one.partition(" ")[0] for one in errors()] == ["reliable_email.E007"]
    site({"default": entry(TenantRoute, server={"host": "smtp.example.org"}, use_tls=True, use_ssl=True)})
    assert any("use_tls" in one for one in errors())


def test_on_the_path_of_the_email_settings_too(server: ScriptedServer) -> None:
    """EMAIL_BACKEND may name such a class."""
    with use_email_settings(EMAIL_BACKEND=f"{__name__}.PopsItsOption", EMAIL_HOST=server.host, EMAIL_PORT=server.port):
        assert errors() == []
        assert send_mail("s", "b", "me@example.org", [A]) == 1


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.django_db(transaction=True)
def test_an_open_of_their_own_is_called_by_every_way(way: str, serve: Serve, site: Any) -> None:
    """What it sets counts, and `close()` follows."""
    elsewhere, server = serve(), serve()
    OpensLate.server = server.options()
    site(by(way, entry(OpensLate, **elsewhere.options(timeout=5))))
    assert errors() == []
    assert send_mail("s", "b", "me@example.org", [A]) == 1
    deliver(way)
    assert (received(elsewhere), received(server)) == ([], [(A,)])
    assert OpensLate.opened == OpensLate.closed == 1


def test_a_second_route_takes_over_from_one_that_opens_in_vain(server: ScriptedServer, site: Any) -> None:
    """Whatever it raises, nothing was sent."""
    site(
        {
            "default": entry(FAILOVER, using=["a", "b"]),
            "a": entry(OpensNever, host="127.0.0.1", port=closed_port()),
            "b": entry(SMTP, **server.options(timeout=5)),
        }
    )
    one, other = message(A), message(B)
    assert one.send() + other.send() == 2
    assert received(server) == [(A,), (B,)]
    assert "no such tenant" in str(delivery_of(one).attempts[0].failure)


@pytest.mark.parametrize("way", ["failover", "queue"])
@pytest.mark.django_db(transaction=True)
def test_a_route_whose_send_messages_nobody_would_call_is_refused(way: str, server: ScriptedServer, site: Any) -> None:
    """With what to do; by itself it works."""
    route = entry(Labels, **server.options(timeout=5))
    site({"default": route})
    assert errors() == []
    assert send_mail("s", "b", "me@example.org", [A]) == 1
    assert b"X-Label: own" in server.messages[0].content
    site(by(way, route))
    (error,) = errors()
    assert "E025" in error
    assert "send_messages()" in error
    if way == "failover":
        with pytest.raises(InvalidMailer, match="derive"):
            send_mail("s", "b", "me@example.org", [A])
    else:
        send_mail("s", "b", "me@example.org", [A])
        deliver(way)
        assert OutboxMessage.objects.count() == 1
    assert len(server.messages) == 1


def test_a_copy_of_djangos_own_send_messages_works(server: ScriptedServer, site: Any) -> None:
    """Its lock, and `_send()` for each message; one without recipients is none."""
    site({"default": entry(CopiesDjango, **server.options(timeout=5))})
    one, nobody = message(A), EmailMessage("s", "b", "me@example.org", [])
    assert mailers["default"].send_messages([one, nobody, message(B)]) == 2
    assert received(server) == [(A,), (B,)]
    assert b"X-Label: own" in server.messages[0].content
    assert delivery_of(one).accepted == [A]


def test_a_command_of_smtplib_is_answered_with_what_to_do(server: ScriptedServer, site: Any) -> None:
    """Not with the bare name of a class that nobody knows."""
    site({"default": entry(UsesSmtplib, **server.options(timeout=5))})
    with pytest.raises(AttributeError, match=r"'sendmail'.*send_messages\(\)"):
        mailers["default"].send_messages([message(A)])
    assert received(server) == []


@pytest.mark.django_db(transaction=True)
def test_a_failover_whose_send_messages_a_worker_would_not_call_is_refused(server: ScriptedServer, site: Any) -> None:
    """The worker goes by its routes."""
    site(
        {
            "default": entry(OUTBOX, using="routes"),
            "routes": entry(LabelledFailover, using=["route"]),
            "route": entry(SMTP, **server.options(timeout=5)),
        }
    )
    (error,) = errors()
    assert "E025" in error
    assert "send_messages()" in error
