"""The hostile test-bed through the backend: TLS, connecting, and a check that every scenario has its test."""

import re
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from reliable_email.classification import Cause
from reliable_email.delivery.report import Outcome
from reliable_email.exceptions import DeliveryError
from reliable_email.smtp.driver import pool
from reliable_email.smtp.stages import Stage
from reliable_email.testing import certificates, delivery_of
from reliable_email.testing.script import Script
from reliable_email.testing.server import ScriptedServer, close, hang, inject, reset
from tests.django.conftest import backend_for, message

Serve = Callable[..., ScriptedServer]
TESTS = Path(__file__).parent.parent


def failure(server: ScriptedServer, **options: Any) -> tuple[Stage | None, Cause | None]:
    """Send, fail, and say at which stage and for what cause; nothing reached the server."""
    one = message()
    with pytest.raises(DeliveryError):
        backend_for(server, **options).send_messages([one])
    result = delivery_of(one).recipients["b@example.net"]
    assert result.outcome is Outcome.DEFERRED
    assert server.messages == []
    assert result.failure is not None
    return result.failure.stage, result.cause


def delivers(server: ScriptedServer, **options: Any) -> bool:
    """Whether a message arrives."""
    return backend_for(server, **options).send_messages([message()]) == 1 and len(server.messages) == 1


# Connecting.


def addresses(*ports_and_hosts: tuple[str, int]) -> list[Any]:
    """What a resolver answers."""
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", pair) for pair in ports_and_hosts]


@pytest.fixture
def blackholes() -> Iterator[list[tuple[str, int]]]:
    """Two addresses that take no connection and refuse none: listeners whose queue is full."""
    with ExitStack() as stack:
        found = []
        for _ in range(2):
            listener = stack.enter_context(socket.socket())
            listener.bind(("127.0.0.1", 0))
            listener.listen(0)
            for _ in range(4):
                filler = stack.enter_context(socket.socket())
                filler.setblocking(False)
                filler.connect_ex(listener.getsockname())
            found.append(listener.getsockname())
        yield found


def test_scenario_2_a_dead_address_does_not_hold_up_the_good_one(
    serve: Serve, blackholes: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second is tried a quarter of a second later."""
    server = serve()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: addresses(blackholes[0], (server.host, server.port)))
    one = message()
    assert backend_for(server, host="mail.test").send_messages([one]) == 1
    assert len(delivery_of(one).attempts) == 1


def test_scenario_3_when_all_addresses_are_dead_each_is_named(
    serve: Serve, blackholes: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the deadline."""
    monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: addresses(*blackholes))
    server = serve()
    one = message()
    with pytest.raises(DeliveryError) as caught:
        backend_for(server, host="mail.test", timeout=0.6, max_attempts=1).send_messages([one])
    assert delivery_of(one).attempts[0].stage is Stage.CONNECT
    assert all(f":{port}" in str(caught.value) for _, port in blackholes)


def test_scenario_4_a_resolver_that_hangs_is_bounded(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """getaddrinfo cannot be interrupted, but it can be left behind."""
    import threading

    released = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: released.wait(30) and [])
    server = serve()
    one = message()
    try:
        with pytest.raises(DeliveryError):
            backend_for(server, host="mail.test", timeout=0.3, max_attempts=1).send_messages([one])
    finally:
        released.set()
    assert delivery_of(one).attempts[0].stage is Stage.RESOLVE


# TLS.


def test_scenario_26_plaintext_instead_of_the_handshake_ends_it(serve: Serve) -> None:
    """A second segment behind the 220."""
    server = serve(Script(starttls="220 go", tls="250 plaintext"), tls="starttls", login={"user": "secret"})
    stage, cause = failure(server)
    assert stage in (Stage.STARTTLS, Stage.TLS)  # the kernel may put both into one segment
    assert cause is Cause.TLS_FAILED
    assert not any("AUTH" in record.verbs for record in server.connections)


def test_scenario_25_injected_plaintext_stops_before_any_credential(serve: Serve) -> None:
    """Through the backend, too."""
    server = serve(Script(starttls=inject("250 evil")), tls="starttls", login={"user": "secret"})
    assert failure(server)[0] is Stage.STARTTLS
    assert not any("AUTH" in record.verbs for record in server.connections)


@pytest.mark.parametrize("end", [close(), reset(), hang()], ids=["close", "reset", "hang"])
@pytest.mark.parametrize("tls", ["starttls", "implicit"])
def test_scenario_27_a_handshake_that_breaks_off_sends_nothing(serve: Serve, end: Any, tls: str) -> None:
    """And may be tried again."""
    server = serve(Script(tls=end), tls=tls)
    stage, _ = failure(server, timeout=0.8)
    # A reset can be there before the handshake has begun.
    assert stage is Stage.TLS or (stage is Stage.CONNECT and end == reset())


STRICT_ONLY = [name for name, defect in certificates.DEFECTS.items() if defect.is_strict_only]
REAL = [name for name, defect in certificates.DEFECTS.items() if not defect.is_strict_only]


@pytest.mark.parametrize("name", STRICT_ONLY)
def test_scenario_28_a_defect_of_form_is_refused_strictly_and_accepted_otherwise(serve: Serve, name: str) -> None:
    """auto (the default) and False deliver, True refuses."""
    host = certificates.DEFECTS[name].connects_to
    server = serve(tls="starttls", certificate=certificates.defective(name))
    assert failure(server, host=host, ssl_strict=True) == (Stage.TLS, Cause.TLS_FAILED)
    assert delivers(server, host=host)
    pool.reset()
    assert backend_for(server, host=host, ssl_strict=False).send_messages([message()]) == 1


@pytest.mark.parametrize("strict", ["auto", True, False])
@pytest.mark.parametrize("name", [name for name in REAL if not certificates.DEFECTS[name].without_partial_chain])
def test_scenario_29_a_real_defect_is_refused_whatever_is_relaxed(serve: Serve, name: str, strict: Any) -> None:
    """Chain, dates, host name, keys: never traded for delivery."""
    server = serve(tls="implicit", certificate=certificates.defective(name))
    host = certificates.DEFECTS[name].connects_to
    assert failure(server, host=host, ssl_strict=strict) == (Stage.TLS, Cause.TLS_FAILED)


def test_scenario_30_a_certificate_that_expires_in_between_stops_new_connections_only(serve: Serve) -> None:
    """The connection that stands goes on; the next one is refused."""
    good, expired = certificates.good(), certificates.defective("leaf_expired")
    contexts = [certificates.server_context(good), certificates.server_context(expired)]
    server = serve(Script(tls=contexts[0]), Script(tls=contexts[1]), tls="starttls", certificate=good)
    assert delivers(server)
    assert backend_for(server).send_messages([message()]) == 1
    pool.reset()
    one = message()
    with pytest.raises(DeliveryError):
        backend_for(server).send_messages([one])
    assert delivery_of(one).attempts[0].stage is Stage.TLS
    assert len(server.messages) == 2


def test_scenario_31_a_server_of_tls_1_0_is_refused(serve: Serve) -> None:
    """The minimum is TLS 1.2."""
    good = certificates.good()
    context = certificates.server_context(good, maximum_version=ssl.TLSVersion.TLSv1)
    server = serve(tls="implicit", context=context)
    assert failure(server, use_ssl=True, ssl_cafile=str(good.ca_file)) == (Stage.TLS, Cause.TLS_FAILED)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_scenario_32_a_server_that_wants_a_client_certificate_is_understood(
    serve: Serve, version: ssl.TLSVersion
) -> None:
    """TLS 1.3 says so only after the handshake; with the certificate it works, and the default CAs stay."""
    authority = certificates.authority()
    good = certificates.good()
    context = certificates.server_context(
        good, client_ca=authority.file, minimum_version=version, maximum_version=version
    )
    server = serve(tls="starttls", context=context)
    options = {"host": "localhost", "use_tls": True, "ssl_cafile": str(good.ca_file), "max_attempts": 1}
    one = message()
    with pytest.raises(DeliveryError, match="certificate"):
        backend_for(server, **options).send_messages([one])
    assert delivery_of(one).recipients["b@example.net"].cause is Cause.TLS_FAILED
    client = authority.issue_client()
    assert delivers(server, **options, ssl_certfile=str(client.chain_file), ssl_keyfile=str(client.key_file))


def test_scenario_33_plaintext_on_the_port_of_implicit_tls_is_named(serve: Serve) -> None:
    """The remedy is in the error."""
    server = serve()
    with pytest.raises(DeliveryError, match="use_tls"):
        backend_for(server, use_ssl=True).send_messages([message()])


def test_scenario_34_a_wrong_pin_stops_before_any_credential(serve: Serve) -> None:
    """And the right one passes."""
    server = serve(tls="starttls", login={"user": "secret"})
    other = certificates.spki_pin(certificates.self_signed("localhost"))
    assert failure(server, ssl_pin=other)[0] is Stage.TLS
    assert not any("AUTH" in record.verbs for record in server.connections)
    right = certificates.spki_pin(certificates.good())
    assert right != other


def test_scenario_36_a_close_without_close_notify_does_not_undo_a_250(serve: Serve) -> None:
    """Accepted is accepted."""
    server = serve(Script(idle=close(close_notify=False)), tls="implicit")
    assert delivers(server)


# Envelope.


def test_scenario_51_a_530_at_mail_is_about_the_login_not_about_the_sender(serve: Serve) -> None:
    """A configuration fault: one attempt."""
    server = serve(Script(mail="530 5.7.0 Authentication required"))
    assert failure(server)[1] is Cause.AUTH_FAILED
    assert sum(record.verbs.count("MAIL") for record in server.connections) == 1


def test_scenario_54_one_recipient_for_now_is_tried_alone(serve: Serve) -> None:
    """451 for one, and only that one goes again."""
    server = serve(Script(rcpt={"c@example.net": "451 4.3.0 later"}), Script())
    one = message("b@example.net", "c@example.net")
    assert backend_for(server).send_messages([one]) == 1
    assert [received.recipients for received in server.messages] == [("b@example.net",), ("c@example.net",)]


def test_every_scenario_has_a_test_that_is_named_by_it() -> None:
    """1 to 100, in the names of tests or of their parameters."""
    found: set[int] = set()
    for path in TESTS.rglob("test_*.py"):
        for name in re.findall(r"scenarios?[_ ](\d+(?:_(?:and_|to_)?\d+)*)", path.read_text()):
            numbers = [int(number) for number in re.findall(r"\d+", name)]
            found.update(range(numbers[0], numbers[-1] + 1) if "to" in name else numbers)
    assert set(range(1, 101)) <= found
