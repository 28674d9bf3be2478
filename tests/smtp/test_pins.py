"""Pins: how they may be written, and the DER walk that they are compared with."""

import base64
import hashlib

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from hypothesis import given
from hypothesis import strategies as st

from reliable_email.smtp.tls.certificates import key_fingerprint, read_certificate, read_chain
from reliable_email.smtp.tls.der import DERError
from reliable_email.smtp.tls.pins import is_pinned, parse_pin, pin_of, show_pin
from reliable_email.testing import certificates

DIGEST = hashlib.sha256(b"key 3").digest()  # its base64 has both a plus and a slash
BASE64 = base64.b64encode(DIGEST).decode()


def der(pem: bytes) -> bytes:
    """The first certificate of a PEM text."""
    return x509.load_pem_x509_certificate(pem).public_bytes(serialization.Encoding.DER)


@pytest.mark.parametrize(
    "text",
    [
        BASE64,
        BASE64.rstrip("="),
        base64.urlsafe_b64encode(DIGEST).decode(),
        f"sha256//{BASE64}",
        f"sha256/{BASE64}",
        f"SHA256:{BASE64}",
        f'pin-sha256="{BASE64}"',
        f"  {BASE64}\n",
        DIGEST.hex(),
        DIGEST.hex().upper(),
        DIGEST.hex(":"),
        f"sha256:{DIGEST.hex()}",
    ],
)
def test_every_usual_spelling_is_one_pin(text: str) -> None:
    """What curl, browsers, openssl and people write means the same digest."""
    assert parse_pin(text) == DIGEST


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sha256//",
        "nonsense",
        BASE64[:-4],
        DIGEST.hex()[:-2],
        f"sha1:{DIGEST.hex()[:40]}",
        "é" * 44,
        BASE64 + "AAAA",
    ],
)
def test_anything_else_is_refused_with_the_forms_that_are_allowed(text: str) -> None:
    """A pin that could not match anything is a mistake, not a pin."""
    with pytest.raises(ValueError, match="44 characters of base64"):
        parse_pin(text)


@given(st.binary(min_size=32, max_size=32))
def test_shown_pins_can_be_configured(digest: bytes) -> None:
    """What an error shows as the server's pin can be copied into the option."""
    assert parse_pin(show_pin(digest)) == digest


@pytest.mark.parametrize("name", ["weak_key", "leaf_without_authority_key_identifier", "ca_without_extensions"])
def test_walk_gives_what_cryptography_gives(name: str) -> None:
    """RSA and EC keys, with and without extensions: the same SPKI digest as an independent parser."""
    pem = certificates.defective(name).pem
    assert pin_of(der(pem)) == f"sha256//{certificates.spki_pin(pem)}"
    assert is_pinned(der(pem), [certificates.spki_pin(pem)])


def test_certificate_fields_agree_with_cryptography() -> None:
    """Names, dates and form facts of leaf and CA are read as an independent parser reads them."""
    made = certificates.good()
    leaf, authority = read_chain((der(made.pem), der(made.ca_pem)))
    reference = x509.load_pem_x509_certificate(made.pem)
    assert leaf.subject == "CN=localhost"
    assert leaf.issuer_name == authority.subject_name == "Reliable Email Test CA"
    assert set(leaf.host_names) == {"localhost", "127.0.0.1", "::1"}
    assert (leaf.not_before, leaf.not_after) == (reference.not_valid_before_utc, reference.not_valid_after_utc)
    assert (leaf.is_ca, leaf.is_self_issued, leaf.signs_certificates) == (False, False, False)
    assert (authority.is_ca, authority.is_self_issued, authority.signs_certificates) == (True, True, True)
    assert authority.has_critical_basic_constraints
    assert leaf.fingerprint == hashlib.sha256(der(made.pem)).hexdigest()


def test_names_are_safe_on_a_terminal() -> None:
    """Control and direction characters of a hostile certificate are not passed on."""
    made = certificates.Authority("evil\x1b[2J\u202eCA").issue("localhost")
    shown = read_certificate(der(made.pem)).issuer_name
    assert shown.isprintable()
    assert shown.startswith("evil")


@given(st.binary(max_size=200))
def test_junk_is_an_error_and_never_a_crash(junk: bytes) -> None:
    """Bytes that are no certificate raise the one error."""
    with pytest.raises(DERError):
        key_fingerprint(junk)


@given(st.data())
def test_damaged_certificates_are_an_error_or_a_reading(data: st.DataObject) -> None:
    """One byte changed anywhere, or the end cut off: it is read, or DERError, and nothing else."""
    good = bytearray(der(certificates.good().pem))
    at = data.draw(st.integers(0, len(good) - 1))
    good[at] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(at, len(good)))
    for damaged in (bytes(good), bytes(good[:cut])):
        try:
            read_certificate(damaged)
        except DERError:
            continue
