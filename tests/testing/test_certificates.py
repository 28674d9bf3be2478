"""Every defect of the catalogue is refused by OpenSSL with the code that the catalogue says, and only by that rule."""

import base64
import hashlib
import socket
import ssl
import threading

import pytest

from reliable_email.testing import certificates
from reliable_email.testing.certificates import DEFECTS, Certificate, client_context, defective, good, server_context


def verify_code(
    certificate: Certificate, *, host: str = "localhost", strict: bool = True, partial_chain: bool = True
) -> int:
    """What a client's handshake ends with: 0 where it succeeds."""
    client, server = socket.socketpair()
    context = server_context(certificate)

    def serve() -> None:
        try:
            with context.wrap_socket(server, server_side=True) as wrapped:
                wrapped.recv(1)
        except OSError:
            pass

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        trusting = client_context(certificate, strict=strict, partial_chain=partial_chain)
        with trusting.wrap_socket(client, server_hostname=host):
            return 0
    except ssl.SSLCertVerificationError as error:
        return error.verify_code
    finally:
        client.close()
        thread.join()
        server.close()


@pytest.mark.parametrize("name", DEFECTS)
def test_defect_is_refused_as_the_catalogue_says(name: str) -> None:
    """Strictly the code is the catalogue's; without strictness only strict-only defects connect."""
    defect = DEFECTS[name]
    certificate = defective(name)
    partial_chain = not defect.without_partial_chain
    strictly = verify_code(certificate, host=defect.connects_to, partial_chain=partial_chain)
    leniently = verify_code(certificate, host=defect.connects_to, strict=False, partial_chain=partial_chain)
    assert strictly == defect.verify_code
    assert leniently == (0 if defect.is_strict_only else defect.verify_code)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1"])
def test_good_certificate_passes_strictly_for_every_loopback_name(host: str) -> None:
    """The default certificate has no defect."""
    assert verify_code(good(), host=host) == 0


def test_good_certificate_carries_the_names_asked_for() -> None:
    """Names are those asked for, and no others."""
    certificate = good("smtp.x.test")
    assert verify_code(certificate, host="smtp.x.test") == 0
    assert verify_code(certificate, host="localhost") == 62


def test_self_signed_certificate_passes_when_it_is_trusted_itself() -> None:
    """A leaf in the store is an anchor, even under strict rules."""
    assert verify_code(certificates.self_signed()) == 0


def test_only_intermediate_trusted_passes_with_partial_chains() -> None:
    """The flag that Python sets since 3.13 makes an intermediate an anchor."""
    assert verify_code(defective("only_intermediate_trusted"), partial_chain=True) == 0


def test_unknown_defect_lists_the_known_ones() -> None:
    """A typing error is answered by the names."""
    with pytest.raises(KeyError, match="leaf_expired"):
        defective("leaf_expird")


def test_certificates_of_one_name_are_made_once() -> None:
    """Asking again costs nothing, and both sides of a test see the same certificate."""
    assert good() is good()
    assert defective("leaf_expired") is defective("leaf_expired")


def test_pin_is_the_digest_of_the_public_key() -> None:
    """The pin equals what is computed from the certificate as OpenSSL's tools do."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    spki = good().parsed.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert certificates.spki_pin(good()) == base64.b64encode(hashlib.sha256(spki).digest()).decode()
    assert certificates.spki_pin(good()) == certificates.spki_pin(good().pem)
    assert certificates.spki_pin(good()) != certificates.spki_pin(good("smtp.x.test"))


def test_private_keys_are_readable_by_their_owner_alone() -> None:
    """Files lie in a private directory with a private mode."""
    assert good().key_file.stat().st_mode & 0o077 == 0
    assert good().key_file.parent.stat().st_mode & 0o077 == 0


def test_certificate_does_not_show_its_key() -> None:
    """The private key is in no repr."""
    assert "PRIVATE" not in repr(good())


def test_client_certificate_is_accepted_by_a_server_that_demands_one() -> None:
    """An authority issues client certificates too."""
    authority = certificates.Authority("Client CA")
    mine = authority.issue_client("worker")
    demanding = server_context(good(), client_ca=authority.file)
    trusting = client_context(good())
    trusting.load_cert_chain(mine.chain_file, mine.key_file)
    client, server = socket.socketpair()
    subjects: list[object] = []

    def serve() -> None:
        with demanding.wrap_socket(server, server_side=True) as wrapped:
            subjects.append(wrapped.getpeercert())
            wrapped.send(b"x")

    thread = threading.Thread(target=serve)
    thread.start()
    with trusting.wrap_socket(client, server_hostname="localhost") as wrapped:
        assert wrapped.recv(1) == b"x"
    thread.join()
    assert "worker" in str(subjects)
