"""The three handshakes of a diagnosis: the true cause, the certificate to blame, and the one switch that is safe."""

import socket
import ssl
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from reliable_email.smtp.deadline import Deadline
from reliable_email.smtp.failures import FailureKind, WireError, WireFailure
from reliable_email.smtp.options import TLSMode, TLSPolicy
from reliable_email.smtp.stages import Stage
from reliable_email.smtp.tls import handshake
from reliable_email.smtp.tls.probe import TLSProbe, Verdict, probe_tls
from reliable_email.testing import certificates
from reliable_email.testing.certificates import DEFECTS, Certificate
from tests.smtp.tls_peer import peer, says
from tests.smtp.tls_peer import tls as speaks_tls


@pytest.fixture(autouse=True)
def nothing_learned() -> Iterator[None]:
    """Every test begins and ends without contexts and without anything learned."""
    handshake.reset()
    yield
    handshake.reset()


def connector(address: tuple[str, int]) -> Callable[[], socket.socket]:
    """Fresh sockets, ready for TLS."""

    def connect() -> socket.socket:
        sock = socket.create_connection(address)
        sock.setblocking(False)
        return sock

    return connect


def probe(certificate: Certificate, host: str = "localhost", **changes: object) -> TLSProbe:
    """Probe a peer that presents the certificate, under a policy that trusts its anchor."""
    policy = replace(TLSPolicy(mode=TLSMode.IMPLICIT, cafile=str(certificate.ca_file)), **changes)
    with peer(speaks_tls(certificates.server_context(certificate))) as address:
        return probe_tls(connector(address), policy, host=host, port=address[1], deadline=Deadline(5))


def test_good_certificate() -> None:
    """Nothing to advise, and the chain can be shown."""
    found = probe(certificates.good())
    assert (found.verdict, found.advice, found.switch, found.failure) == (Verdict.TRUSTED, "", "", None)
    assert [certificate.subject_name for certificate in found.chain] == ["localhost", "Reliable Email Test CA"]


@pytest.mark.parametrize("name", [name for name, defect in DEFECTS.items() if defect.is_strict_only])
def test_rule_of_form_is_told_from_a_real_defect(name: str) -> None:
    """The switch is ssl_strict and no more, and the certificate to be reissued is named."""
    found = probe(certificates.defective(name))
    assert (found.verdict, found.switch) == (Verdict.FORM_ONLY, "ssl_strict")
    assert found.culprit is not None
    who = "Intermediate" if "intermediate" in name else "Test CA" if name.startswith("ca_") else "localhost"
    assert who in (found.culprit.subject_name or "localhost")
    assert f"(X.509 error {DEFECTS[name].verify_code})" in found.defect


@pytest.mark.parametrize("strict", [True, "auto", False])
def test_diagnosis_learns_nothing(strict: bool | str) -> None:
    """Looking at a server does not change how mail is sent to it."""
    certificate = certificates.defective("ca_without_key_usage")
    policy = TLSPolicy(mode=TLSMode.IMPLICIT, cafile=str(certificate.ca_file), strict=strict)
    with peer(speaks_tls(certificates.server_context(certificate))) as address:
        before = handshake.strictness(policy, "localhost", address[1], 0.0)
        probe_tls(connector(address), policy, host="localhost", port=address[1], deadline=Deadline(5))
        assert handshake.strictness(policy, "localhost", address[1], 0.0) is before


@pytest.mark.parametrize(
    ("name", "switch", "words"),
    [
        ("leaf_expired", "", "“localhost” expired on"),
        ("intermediate_expired", "", "“Reliable Email Test Intermediate CA” expired on"),
        ("ca_expired", "", "CA certificate on this machine (“Reliable Email Test CA”) is not"),
        ("not_yet_valid", "", "is valid from"),
        ("wrong_host", "host", "for mail.elsewhere.test."),
        ("wrong_ip", "host", "for localhost."),
        ("common_name_only", "", "common name, which does not count"),
        ("self_signed_and_unknown", "ssl_cafile", "is self-signed"),
        ("unknown_ca_sent", "ssl_cafile", "issued by “Reliable Email Test CA”, which is not known here"),
        ("unknown_ca", "ssl_cafile", "issued by “Reliable Email Test CA”"),
        ("missing_intermediate", "ssl_cafile", "leaves out its intermediate certificate"),
        ("weak_key", "", "too weak"),
        ("ca_may_not_sign", "", "is not a CA"),
        ("bad_signature", "", "damaged"),
    ],
)
def test_real_defect_names_what_to_do(name: str, switch: str, words: str) -> None:
    """Never a switch that verifies less; the chain is read although it was refused."""
    found = probe(certificates.defective(name), DEFECTS[name].connects_to)
    assert (found.verdict, found.switch) == (Verdict.REFUSED, switch)
    assert words in found.advice
    assert found.failure is not None
    assert found.failure.verify_code == DEFECTS[name].verify_code
    assert found.chain


def test_pin_of_another_key() -> None:
    """A good certificate with a key that is not pinned."""
    found = probe(certificates.good(), pins=("0" * 64,))
    assert (found.verdict, found.switch) == (Verdict.NOT_PINNED, "ssl_pin")
    assert certificates.spki_pin(certificates.good()) in found.advice


def test_without_verification_the_truth_is_told_all_the_same() -> None:
    """verify=False hides a defect from sending, not from the diagnosis."""
    found = probe(certificates.defective("leaf_expired"), verify=False)
    assert found.verdict is Verdict.UNVERIFIED
    assert "expired on" in found.advice


def test_plaintext_port_has_no_verdict_on_certificates() -> None:
    """One handshake is enough to see that there is no TLS."""
    connections = 0
    with peer(says(b"220 mail.test ESMTP\r\n")) as address:

        def connect() -> socket.socket:
            nonlocal connections
            connections += 1
            return connector(address)()

        policy = TLSPolicy(mode=TLSMode.IMPLICIT)
        found = probe_tls(connect, policy, host="localhost", port=address[1], deadline=Deadline(5))
    assert found.verdict is Verdict.NO_TLS
    assert "use STARTTLS" in found.advice
    assert connections == 1


def test_failure_to_connect_is_passed_on() -> None:
    """What the caller's `connect` raises is the caller's to explain."""

    def connect() -> socket.socket:
        raise WireError(WireFailure(stage=Stage.CONNECT, kind=FailureKind.CONNECT_FAILED, detail="nobody there"))

    with pytest.raises(WireError, match="nobody there"):
        probe_tls(connect, TLSPolicy(), host="localhost", port=25, deadline=Deadline(5))


def test_machine_without_ca_certificates(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    """An empty store gives the same error as an unknown CA, and needs another remedy."""
    monkeypatch.setenv("SSL_CERT_FILE", f"{tmp_path}/none.pem")
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    found = probe(certificates.defective("unknown_ca"), cafile=None)
    assert "no CA certificates at all" in found.advice
    assert ssl.get_default_verify_paths().cafile is None
