"""Single certificates, right or wrong in any way that a profile says."""

import ipaddress
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal

from reliable_email.records import dataclass

try:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec, rsa
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
except ImportError as error:  # pragma: no cover - the test environment has it
    raise ImportError("certificates for tests need the package 'cryptography': pip install cryptography") from error

HOSTS = ("localhost", "127.0.0.1", "::1")
_Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """The fields of one certificate."""

    common_name: str | None
    hosts: Sequence[str] = ()
    san_critical: bool = False
    is_ca: bool | None = None  # basicConstraints; None leaves the extension out
    basic_constraints_critical: bool = True
    path_length: int | None = None
    key_usage: Literal["ca", "leaf", "leaf_that_signs"] | None = None
    purpose: Literal["server", "client"] | None = None
    subject_key_identifier: bool = True
    authority_key_identifier: bool = True
    critical_subject_key_identifier: bool = False
    critical_authority_key_identifier: bool = False
    permitted_domain: str | None = None
    from_days: int = -1
    to_days: int = 30
    rsa_bits: int | None = None


CA = Profile(common_name="Reliable Email Test CA", is_ca=True, key_usage="ca")
INTERMEDIATE = Profile(common_name="Reliable Email Test Intermediate CA", is_ca=True, key_usage="ca")
LEAF = Profile(common_name="localhost", hosts=HOSTS, key_usage="leaf", purpose="server")


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate and its private key."""

    certificate: x509.Certificate
    key: _Key

    @property
    def pem(self) -> bytes:
        """The certificate."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        """The key, unencrypted."""
        return self.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )


def issue(profile: Profile, issuer: Issued | None) -> Issued:
    """A certificate of its own key, signed by the issuer, or by itself where that is None."""
    key: _Key = (
        ec.generate_private_key(ec.SECP256R1())
        if profile.rsa_bits is None
        else rsa.generate_private_key(public_exponent=65537, key_size=profile.rsa_bits)
    )
    subject = x509.Name(
        [] if profile.common_name is None else [x509.NameAttribute(NameOID.COMMON_NAME, profile.common_name)]
    )
    signer = issuer.key if issuer else key
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + timedelta(days=profile.from_days))
        .not_valid_after(now + timedelta(days=profile.to_days))
    )
    for extension, critical in _extensions(profile, key, signer):
        builder = builder.add_extension(extension, critical=critical)
    return Issued(builder.sign(signer, hashes.SHA256()), key)


def _extensions(profile: Profile, key: _Key, signer: _Key) -> list[tuple[x509.ExtensionType, bool]]:
    extensions: list[tuple[x509.ExtensionType, bool]] = []
    if profile.is_ca is not None:
        constraints = x509.BasicConstraints(ca=profile.is_ca, path_length=profile.path_length)
        extensions.append((constraints, profile.basic_constraints_critical))
    if profile.key_usage is not None:
        extensions.append((_key_usage(profile.key_usage), True))
    if profile.purpose is not None:
        purpose = {
            "server": ExtendedKeyUsageOID.SERVER_AUTH,
            "client": ExtendedKeyUsageOID.CLIENT_AUTH,
        }
        extensions.append((x509.ExtendedKeyUsage([purpose[profile.purpose]]), False))
    if profile.hosts:
        extensions.append(
            (
                x509.SubjectAlternativeName([_name(host) for host in profile.hosts]),
                profile.san_critical,
            )
        )
    if profile.permitted_domain is not None:
        permitted = [x509.DNSName(profile.permitted_domain)]
        extensions.append(
            (
                x509.NameConstraints(permitted_subtrees=permitted, excluded_subtrees=None),
                True,
            )
        )
    if profile.subject_key_identifier:
        identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        extensions.append((identifier, profile.critical_subject_key_identifier))
    if profile.authority_key_identifier:
        authority_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
        extensions.append((authority_key, profile.critical_authority_key_identifier))
    return extensions


def _key_usage(kind: Literal["ca", "leaf", "leaf_that_signs"]) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=kind != "ca",
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=kind != "leaf",
        crl_sign=kind == "ca",
        encipher_only=False,
        decipher_only=False,
    )


def _name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
