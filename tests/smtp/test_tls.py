"""The handshake against real peers: what is refused, what is relaxed, and what the error says."""

import contextlib
import logging
import os
import socket
import ssl
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from reliable_email.smtp.deadline import Deadline
from reliable_email.smtp.failures import FailureKind, WireError, WireFailure
from reliable_email.smtp.options import TLSMode, TLSPolicy
from reliable_email.smtp.stages import Stage
from reliable_email.smtp.tls import handshake
from reliable_email.smtp.tls.contexts import TLSConfigurationError, context_for
from reliable_email.testing import certificates
from reliable_email.testing.certificates import DEFECTS, Certificate
from tests.smtp.tls_peer import Act, closes, is_silent, peer, resets, says
from tests.smtp.tls_peer import tls as speaks_tls

FORM_DEFECTS = [name for name, defect in DEFECTS.items() if defect.is_strict_only]
REAL_DEFECTS = [
    name for name, defect in DEFECTS.items() if not defect.is_strict_only and not defect.without_partial_chain
]


@pytest.fixture(autouse=True)
def nothing_learned() -> Iterator[None]:
    """Every test begins and ends without contexts and without anything learned."""
    handshake.reset()
    yield
    handshake.reset()


def policy_for(certificate: Certificate, **changes: object) -> TLSPolicy:
    """A policy that trusts the certificate's anchor."""
    return replace(TLSPolicy(mode=TLSMode.IMPLICIT, cafile=str(certificate.ca_file)), **changes)


def shake(
    address: tuple[str, int],
    policy: TLSPolicy,
    *,
    host: str = "localhost",
    strict: bool | None = None,
    seconds: float = 5.0,
) -> handshake.TLSInfo:
    """One handshake with the peer; the connection is closed again."""
    sock = socket.create_connection(address)
    sock.setblocking(False)
    wrapped, info = handshake.handshake(
        sock, policy, host=host, port=address[1], deadline=Deadline(seconds), strict=strict
    )
    wrapped.close()
    return info


def failure_of(address: tuple[str, int], policy: TLSPolicy, **options: object) -> WireFailure:
    """The failure of a handshake that must fail; its socket must be closed."""
    sock = socket.create_connection(address)
    sock.setblocking(False)
    number, inode = sock.fileno(), os.fstat(sock.fileno()).st_ino
    arguments = {"host": "localhost", "deadline": Deadline(5.0), **options}
    with pytest.raises(WireError) as raised:
        handshake.handshake(sock, policy, port=address[1], **arguments)
    with contextlib.suppress(OSError):  # closed, or taken by another thread meanwhile
        assert os.fstat(number).st_ino != inode
    failure = raised.value.failure
    assert failure.stage is Stage.TLS
    assert failure.peer == f"127.0.0.1:{address[1]}"
    return failure


@contextlib.contextmanager
def serving(certificate: Certificate, **options: object) -> Iterator[tuple[str, int]]:
    """A peer that presents the certificate."""
    with peer(speaks_tls(certificates.server_context(certificate, **options))) as address:
        yield address


class TestFormRules:
    """Certificates that break a rule of form and nothing else."""

    @pytest.mark.parametrize("name", FORM_DEFECTS)
    def test_strict_refuses(self, name: str) -> None:
        """Under ssl_strict=True the defect refuses, on every Python, and the code says which."""
        certificate = certificates.defective(name)
        policy = policy_for(certificate, strict=True)
        with serving(certificate) as address:
            failure = failure_of(address, policy)
        assert (failure.kind, failure.verify_code) == (FailureKind.TLS_VERIFICATION, DEFECTS[name].verify_code)
        assert "ssl_strict" in failure.detail
        assert not handshake.may_relax(WireError(failure), policy)

    @pytest.mark.parametrize("name", FORM_DEFECTS)
    def test_not_strict_accepts(self, name: str) -> None:
        """Under ssl_strict=False it is accepted, which is nothing to report."""
        certificate = certificates.defective(name)
        with serving(certificate) as address:
            info = shake(address, policy_for(certificate, strict=False))
        assert info.is_verified
        assert info.relaxed_defect is None

    @pytest.mark.parametrize("name", FORM_DEFECTS)
    def test_auto_relaxes_after_a_strict_failure(self, name: str, caplog: pytest.LogCaptureFixture) -> None:
        """Under "auto" the strict handshake comes first, its failure allows a second, and that one is reported."""
        certificate = certificates.defective(name)
        policy = policy_for(certificate)
        with serving(certificate) as address, caplog.at_level(logging.WARNING, "reliable_email.smtp"):
            assert handshake.strictness(policy, "localhost", address[1], 0.0)
            failure = failure_of(address, policy)
            assert handshake.may_relax(WireError(failure), policy)
            first = shake(address, policy, strict=False)
            second = shake(address, policy)  # learned: no strict attempt any more
        assert first.relaxed_defect
        assert first.relaxed_defect.partition(":")[0] in failure.detail
        assert second.relaxed_defect == first.relaxed_defect
        assert [record.levelname for record in caplog.records] == ["WARNING"]

    def test_the_guilty_certificate_is_named(self) -> None:
        """Also a root that the server does not send is named, from the verified chain."""
        certificate = certificates.defective("ca_basic_constraints_not_critical")
        policy = policy_for(certificate)
        with serving(certificate) as address:
            failure_of(address, policy)
            info = shake(address, policy, strict=False)
        assert info.relaxed_defect == ("Basic Constraints of CA cert not marked critical: “Reliable Email Test CA”")

    def test_learned_relaxation_ends_after_an_hour_and_holds_for_one_port(self) -> None:
        """What was learned is asked anew after an hour, and says nothing about other ports."""
        policy = TLSPolicy()
        handshake.remember_relaxation("mail.test", 465, "defect", 1000.0)
        assert not handshake.strictness(policy, "mail.test", 465, 1000.0 + 3599)
        assert handshake.strictness(policy, "mail.test", 465, 1000.0 + 3600)
        assert handshake.strictness(policy, "mail.test", 587, 1000.0)

    def test_learning_does_not_change_explicit_policies(self) -> None:
        """True and False mean what they say, whatever was learned."""
        handshake.remember_relaxation("mail.test", 465, "defect", 0.0)
        assert handshake.strictness(TLSPolicy(strict=True), "mail.test", 465, 1.0)
        assert not handshake.strictness(TLSPolicy(strict=False), "other.test", 465, 1.0)

    def test_warning_comes_once_even_after_the_hour(self, caplog: pytest.LogCaptureFixture) -> None:
        """A process that lives for weeks does not warn every hour."""
        with caplog.at_level(logging.WARNING, "reliable_email.smtp"):
            handshake.remember_relaxation("mail.test", 465, "defect", 0.0)
            handshake.remember_relaxation("mail.test", 465, "defect", 4000.0)
            handshake.remember_relaxation("mail.test", 587, "defect", 4000.0)
        assert len(caplog.records) == 2


class TestRealDefects:
    """Certificates that must be refused whatever the rules of form."""

    @pytest.mark.parametrize("strict", [True, "auto", False])
    @pytest.mark.parametrize("name", REAL_DEFECTS)
    def test_refused_under_every_strictness(self, name: str, strict: bool | str) -> None:
        """The same code under True, "auto" and False; where "auto" tries again, that fails too."""
        certificate = certificates.defective(name)
        defect = DEFECTS[name]
        policy = policy_for(certificate, strict=strict)
        with serving(certificate) as address:
            failure = failure_of(address, policy, host=defect.connects_to)
            if handshake.may_relax(WireError(failure), policy):
                assert failure.verify_code in range(77, 94)
                failure = failure_of(address, policy, host=defect.connects_to, strict=False)
        assert (failure.kind, failure.verify_code) == (FailureKind.TLS_VERIFICATION, defect.verify_code)
        assert "; " in failure.detail, "no advice"
        assert handshake.strictness(policy, "localhost", address[1], 0.0) is (strict is not False)

    def test_a_real_error_behind_a_rule_of_form_is_the_one_reported(self) -> None:
        """An unknown CA stays refused when the strict failure was about form: the relaxed error is the true one."""
        wrong_name = policy_for(certificates.defective("ca_without_key_usage"), server_hostname="mail.elsewhere.test")
        with serving(certificates.defective("ca_without_key_usage")) as address:
            assert failure_of(address, wrong_name, strict=False).verify_code == 62

    def test_partial_chain_is_enough(self) -> None:
        """Trusting only the intermediate works on every Python."""
        certificate = certificates.defective("only_intermediate_trusted")
        with serving(certificate) as address:
            assert shake(address, policy_for(certificate, strict=True)).is_verified

    def test_the_servers_own_certificate_can_be_the_one_trusted(self) -> None:
        """ssl_cafile with the leaf of an unknown CA verifies, and still refuses another host name."""
        certificate = certificates.defective("unknown_ca")
        policy = policy_for(certificate, cafile=str(certificate.leaf_file), strict=True)
        with serving(certificate) as address:
            assert shake(address, policy).is_verified
            assert failure_of(address, replace(policy, server_hostname="mail.test")).verify_code == 62

    def test_no_verification_only_when_asked(self) -> None:
        """verify=False connects to an expired certificate and says that nothing was verified."""
        certificate = certificates.defective("leaf_expired")
        with serving(certificate) as address:
            info = shake(address, policy_for(certificate, verify=False))
        assert not info.is_verified
        assert info.certificate


class TestNames:
    """Which name the certificate must carry."""

    @pytest.mark.parametrize("host", ["localhost", "localhost.", "127.0.0.1", "[::1]", "::1"])
    def test_host_is_bared(self, host: str) -> None:
        """A final dot and IPv6 brackets are no part of the name."""
        certificate = certificates.good()
        with serving(certificate) as address:
            assert shake(address, policy_for(certificate), host=host).is_verified

    def test_server_hostname_goes_before_host(self) -> None:
        """The certificate may carry another name than the host, where the policy says which."""
        certificate = certificates.good("mail.internal.test")
        with serving(certificate) as address:
            assert failure_of(address, policy_for(certificate)).verify_code == 62
            assert shake(address, policy_for(certificate, server_hostname="mail.internal.test")).is_verified

    @pytest.mark.parametrize("name", [".example.test", "x" * 64 + ".test"])
    def test_impossible_name_is_a_failure_not_a_crash(self, name: str) -> None:
        """What ssl rejects with ValueError or UnicodeError becomes a sentence."""
        certificate = certificates.good()
        with serving(certificate) as address:
            failure = failure_of(address, policy_for(certificate, server_hostname=name))
        assert failure.kind is FailureKind.TLS_HANDSHAKE
        assert name in failure.detail


class TestPeersThatFail:
    """Handshakes that end without a verdict on a certificate."""

    @pytest.mark.parametrize(
        "banner", [b"220 mail.test ESMTP\r\n", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"SSH-2.0-x\r\n"]
    )
    def test_plaintext_on_an_implicit_port_advises_starttls(self, banner: bytes) -> None:
        """The port for STARTTLS, taken for one of implicit TLS, is told from a broken certificate."""
        with peer(says(banner)) as address:
            failure = failure_of(address, TLSPolicy(mode=TLSMode.IMPLICIT))
        assert failure.kind is FailureKind.TLS_HANDSHAKE
        assert "use STARTTLS" in failure.detail

    def test_plaintext_after_starttls_is_told_apart(self) -> None:
        """After an agreed STARTTLS plaintext means that somebody is in between."""
        with peer(says(b"250 still plain\r\n")) as address:
            failure = failure_of(address, TLSPolicy(mode=TLSMode.STARTTLS))
        assert "went on in plaintext" in failure.detail

    def test_old_tls_is_named(self) -> None:
        """A server of TLS 1.0 is not talked to."""
        certificate = certificates.good()
        with serving(certificate, maximum_version=ssl.TLSVersion.TLSv1) as address:
            failure = failure_of(address, policy_for(certificate))
        assert failure.kind is FailureKind.TLS_HANDSHAKE
        assert "older than 1.2" in failure.detail

    def test_client_certificate_wanted_under_tls_1_2(self) -> None:
        """TLS 1.2 refuses within the handshake; the sentence names the option."""
        certificate = certificates.good()
        options = {"client_ca": certificate.ca_file, "maximum_version": ssl.TLSVersion.TLSv1_2}
        with serving(certificate, **options) as address:
            failure = failure_of(address, policy_for(certificate))
        assert "ssl_certfile" in failure.detail

    @pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
    def test_client_certificate_is_presented(self, version: ssl.TLSVersion) -> None:
        """With certfile and keyfile the same server is content, and the system's CAs are still there."""
        certificate = certificates.good()
        client = certificates.authority().issue_client()
        policy = policy_for(certificate, certfile=str(client.chain_file), keyfile=str(client.key_file))
        options = {"client_ca": certificates.authority().file, "minimum_version": version, "maximum_version": version}
        with serving(certificate, **options) as address:
            sock = socket.create_connection(address)
            sock.setblocking(False)
            wrapped, info = handshake.handshake(
                sock, policy, host="localhost", port=address[1], deadline=Deadline(5), strict=True
            )
            wrapped.settimeout(5)
            assert wrapped.recv(100).startswith(b"220")  # under 1.3 a refusal would come only here
            wrapped.close()
        assert info.version.replace("TLSv", "").replace(".", "_") in version.name

    def test_refused_client_certificate_is_blamed(self) -> None:
        """A server that does not know the client's CA says so."""
        certificate = certificates.good()
        client = certificates.self_signed("client.test")
        policy = policy_for(certificate, certfile=str(client.chain_file), keyfile=str(client.key_file))
        options = {"client_ca": certificates.authority().file, "maximum_version": ssl.TLSVersion.TLSv1_2}
        with serving(certificate, **options) as address:
            failure = failure_of(address, policy)
        assert "refuses the client certificate" in failure.detail

    def test_unrecognised_name(self) -> None:
        """A server without a certificate for the name says so by an alert."""
        certificate = certificates.good()
        context = certificates.server_context(certificate)
        context.sni_callback = lambda *_: ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
        with peer(speaks_tls(context)) as address:
            failure = failure_of(address, policy_for(certificate))
        assert "no certificate for the name localhost" in failure.detail

    def test_internal_error_of_the_server(self) -> None:
        """The server's own trouble is not put on the client."""
        certificate = certificates.good()
        context = certificates.server_context(certificate)
        context.sni_callback = lambda *_: ssl.ALERT_DESCRIPTION_INTERNAL_ERROR
        with peer(speaks_tls(context)) as address:
            failure = failure_of(address, policy_for(certificate))
        assert "internal error" in failure.detail

    @pytest.mark.parametrize("act", [closes, resets])
    def test_lost_in_the_handshake_is_a_disconnect(self, act: Act) -> None:
        """Closed or reset, it is the network's trouble and may be tried again."""
        with peer(act) as address:
            assert failure_of(address, TLSPolicy()).kind is FailureKind.DISCONNECTED

    def test_silence_ends_with_the_deadline(self) -> None:
        """A peer that takes the hello and says nothing costs the stage's time and no more."""
        with peer(is_silent) as address:
            failure = failure_of(address, TLSPolicy(), deadline=Deadline(0.2))
        assert failure.kind is FailureKind.TIMEOUT
        assert "was not finished within 0." in failure.detail

    def test_budget_that_is_used_up_fails_at_once(self) -> None:
        """No time left is a time-out, not a hang."""
        with peer(is_silent) as address:
            assert failure_of(address, TLSPolicy(), deadline=Deadline(0.0)).kind is FailureKind.TIMEOUT


class TestPins:
    """Pins in addition to the chain."""

    def test_pinned_key_passes(self) -> None:
        """One of several pins is enough."""
        certificate = certificates.good()
        policy = policy_for(certificate, pins=("0" * 64, certificates.spki_pin(certificate)))
        with serving(certificate) as address:
            assert shake(address, policy).is_verified

    def test_other_key_is_refused_before_anything_is_said(self) -> None:
        """A good certificate with another key is refused, and its pin is named."""
        certificate = certificates.good()
        with serving(certificate) as address:
            failure = failure_of(address, policy_for(certificate, pins=("0" * 64,)))
        assert failure.kind is FailureKind.TLS_PIN
        assert certificates.spki_pin(certificate) in failure.detail

    def test_pin_does_not_replace_verification(self) -> None:
        """The right key of an expired certificate is still expired."""
        certificate = certificates.defective("leaf_expired")
        policy = policy_for(certificate, pins=(certificates.spki_pin(certificate),))
        with serving(certificate) as address:
            assert failure_of(address, policy).verify_code == 10

    def test_pin_alone_protects_without_verification(self) -> None:
        """verify=False with a pin takes the pinned key and no other."""
        certificate = certificates.defective("unknown_ca")
        good_pin = policy_for(certificate, verify=False, pins=(certificates.spki_pin(certificate),))
        with serving(certificate) as address:
            assert not shake(address, good_pin).is_verified
            assert failure_of(address, replace(good_pin, pins=("1" * 64,))).kind is FailureKind.TLS_PIN

    def test_malformed_pin_refuses(self) -> None:
        """A typing mistake in a pin must not mean that there is none."""
        certificate = certificates.good()
        with serving(certificate) as address:
            failure = failure_of(address, policy_for(certificate, pins=("nonsense",)))
        assert failure.kind is FailureKind.TLS_PIN
        assert "nonsense" in failure.detail


class TestContexts:
    """What the shared contexts demand, and what is said of files that cannot be used."""

    @pytest.mark.parametrize("strict", [True, False])
    def test_flags_do_not_depend_on_the_python(self, strict: bool) -> None:
        """Strictness is set or cleared, a partial chain is enough, the common name does not count, TLS 1.2 is least."""
        context = context_for(TLSPolicy(), strict=strict)
        assert bool(context.verify_flags & ssl.VERIFY_X509_STRICT) is strict
        assert context.verify_flags & ssl.VERIFY_X509_PARTIAL_CHAIN
        assert context.hostname_checks_common_name is False
        assert context.check_hostname
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.minimum_version >= ssl.TLSVersion.TLSv1_2

    def test_one_context_per_policy(self) -> None:
        """Equal policies share one; mode and pins make no difference to it."""
        context = context_for(TLSPolicy(), strict=True)
        assert context_for(TLSPolicy(mode=TLSMode.IMPLICIT, pins=("0" * 64,)), strict=True) is context
        assert context_for(TLSPolicy(), strict=False) is not context

    def test_cafile_is_added_to_the_systems_cas(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A private CA does not put the public ones out of work."""
        private, public = certificates.Authority("Private"), certificates.Authority("Public")
        monkeypatch.setenv("SSL_CERT_FILE", str(public.file))
        context = context_for(TLSPolicy(cafile=str(private.file)), strict=True)
        names = {certificate["subject"][0][0][1] for certificate in context.get_ca_certs()}
        assert names == {"Private", "Public"}

    def test_renewed_file_is_read_again(self, tmp_path: Path) -> None:
        """A certificate replaced on disk counts from the next connection on."""
        file = tmp_path / "ca.pem"
        file.write_bytes(certificates.Authority("One").pem)
        before = context_for(TLSPolicy(cafile=str(file)), strict=True)
        file.write_bytes(certificates.Authority("Another one").pem)
        assert context_for(TLSPolicy(cafile=str(file)), strict=True) is not before

    def test_missing_cafile_is_named(self, tmp_path: Path) -> None:
        """Option and path are in the sentence."""
        path = str(tmp_path / "none.pem")
        with pytest.raises(TLSConfigurationError, match=r"ssl_cafile .*none\.pem cannot be read: No such file"):
            context_for(TLSPolicy(cafile=path), strict=True)

    def test_file_that_is_no_pem_is_explained(self, tmp_path: Path) -> None:
        """A DER file is common; the sentence says how to convert it."""
        file = tmp_path / "ca.der"
        file.write_bytes(b"\x30\x03abc")
        with pytest.raises(TLSConfigurationError, match="openssl x509 -inform der"):
            context_for(TLSPolicy(cafile=str(file)), strict=True)

    def test_content_given_for_a_path(self) -> None:
        """A PEM in place of its path, as environment variables tempt to, is told."""
        pem = certificates.authority().pem.decode()
        with pytest.raises(TLSConfigurationError, match="is the path of a PEM file") as raised:
            context_for(TLSPolicy(cafile=pem), strict=True)
        assert "BEGIN" not in str(raised.value)

    def test_key_without_certificate(self) -> None:
        """keyfile alone is a mistake that Django answers with a TypeError."""
        with pytest.raises(TLSConfigurationError, match="without ssl_certfile"):
            context_for(TLSPolicy(keyfile="/tmp/key.pem"), strict=True)

    def test_key_of_another_certificate(self) -> None:
        """The pair must match."""
        one, other = certificates.authority().issue_client("a"), certificates.authority().issue_client("b")
        policy = TLSPolicy(certfile=str(one.chain_file), keyfile=str(other.key_file))
        with pytest.raises(TLSConfigurationError, match="is not the key of"):
            context_for(policy, strict=True)

    def test_certificate_without_its_key(self) -> None:
        """A certfile that holds no key needs a keyfile."""
        one = certificates.authority().issue_client("a")
        with pytest.raises(TLSConfigurationError, match="is ssl_keyfile missing"):
            context_for(TLSPolicy(certfile=str(one.chain_file)), strict=True)

    def test_encrypted_key_does_not_ask_the_terminal(self, tmp_path: Path) -> None:
        """OpenSSL would prompt and wait; here it is an error with the way out."""
        from cryptography.hazmat.primitives import serialization

        one = certificates.authority().issue_client("a")
        key = serialization.load_pem_private_key(one.key_pem, None)
        encrypted = tmp_path / "key.pem"
        encrypted.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.BestAvailableEncryption(b"secret"),
            )
        )
        policy = TLSPolicy(certfile=str(one.chain_file), keyfile=str(encrypted))
        with pytest.raises(TLSConfigurationError, match="is encrypted"):
            context_for(policy, strict=True)

    def test_unusable_file_fails_the_handshake_as_a_route_fault(self, tmp_path: Path) -> None:
        """At send time the same sentence comes as a failure of the TLS stage, with the socket closed."""
        policy = TLSPolicy(cafile=str(tmp_path / "none.pem"))
        with peer(is_silent) as address:
            failure = failure_of(address, policy)
        assert failure.kind is FailureKind.TLS_HANDSHAKE
        assert "ssl_cafile" in failure.detail


def test_info_tells_what_was_agreed_on() -> None:
    """Version, suite and the verified chain up to the trust anchor."""
    certificate = certificates.good()
    with serving(certificate, minimum_version=ssl.TLSVersion.TLSv1_3) as address:
        info = shake(address, policy_for(certificate))
    assert info.version == "TLSv1.3"
    assert info.cipher.startswith("TLS_")
    assert info.certificate == ssl.PEM_cert_to_DER_cert(certificate.pem.decode())
    assert info.chain == (info.certificate, ssl.PEM_cert_to_DER_cert(certificate.ca_pem.decode()))


def test_sessions_are_never_resumed() -> None:
    """The certificate is looked at on every connection, so that a rotated one is noticed."""
    certificate = certificates.good()
    policy = policy_for(certificate)
    with serving(certificate) as address:
        for _ in range(2):
            sock = socket.create_connection(address)
            sock.setblocking(False)
            wrapped, _ = handshake.handshake(sock, policy, host="localhost", port=address[1], deadline=Deadline(5))
            wrapped.settimeout(5)
            wrapped.recv(100)
            assert wrapped.session_reused is False
            wrapped.close()
