"""Certificates made on the spot: good ones, and one for every way in which a certificate is wrong in practice.

`DEFECTS` says for each what OpenSSL answers. The strict-only ones break form rules of RFC 5280 that Python checks by
default since 3.13 (`ssl.VERIFY_X509_STRICT`); without that flag they connect. All others are refused on every Python
and must never be answered by relaxing anything. Needs `cryptography`.
"""

import atexit
import base64
import hashlib
import ipaddress
import shutil
import ssl
import tempfile
import threading
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Literal

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
class Defect:
    """One way to be wrong, and what OpenSSL says of it.

    Attributes:
        verify_code: `ssl.SSLCertVerificationError.verify_code`.
        is_strict_only: accepted once `ssl.VERIFY_X509_STRICT` is off.
        connects_to: the host name with which the defect shows.
        without_partial_chain: shows only while `ssl.VERIFY_X509_PARTIAL_CHAIN` is off.
    """

    verify_code: int
    is_strict_only: bool = False
    connects_to: str = "localhost"
    without_partial_chain: bool = False


DEFECTS: dict[str, Defect] = {
    "ca_basic_constraints_not_critical": Defect(verify_code=89, is_strict_only=True),
    "intermediate_basic_constraints_not_critical": Defect(verify_code=89, is_strict_only=True),
    "ca_without_key_usage": Defect(verify_code=92, is_strict_only=True),
    "intermediate_without_key_usage": Defect(verify_code=92, is_strict_only=True),
    "ca_without_subject_key_identifier": Defect(verify_code=86, is_strict_only=True),
    "intermediate_without_subject_key_identifier": Defect(verify_code=86, is_strict_only=True),
    "leaf_without_authority_key_identifier": Defect(verify_code=85, is_strict_only=True),
    "intermediate_without_authority_key_identifier": Defect(verify_code=85, is_strict_only=True),
    "ca_without_basic_constraints": Defect(verify_code=79, is_strict_only=True),
    "leaf_may_sign_certificates": Defect(verify_code=82, is_strict_only=True),
    "empty_subject_and_san_not_critical": Defect(verify_code=88, is_strict_only=True),
    "leaf_expired": Defect(verify_code=10),
    "intermediate_expired": Defect(verify_code=10),
    "ca_expired": Defect(verify_code=10),
    "not_yet_valid": Defect(verify_code=9),
    "wrong_host": Defect(verify_code=62),
    "common_name_only": Defect(verify_code=62),
    "wrong_ip": Defect(verify_code=64, connects_to="127.0.0.1"),
    "self_signed_and_unknown": Defect(verify_code=18),
    "unknown_ca_sent": Defect(verify_code=19),
    "unknown_ca": Defect(verify_code=20),
    "missing_intermediate": Defect(verify_code=20),
    "only_intermediate_trusted": Defect(verify_code=2, without_partial_chain=True),
    "ca_says_it_is_none": Defect(verify_code=79),
    "ca_may_not_sign": Defect(verify_code=79),
    "ca_without_extensions": Defect(verify_code=79),
    "client_purpose_only": Defect(verify_code=26),
    "name_constraint_violated": Defect(verify_code=47),
    "path_length_exceeded": Defect(verify_code=25),
    "weak_key": Defect(verify_code=66),
    "bad_signature": Defect(verify_code=7),
    "critical_authority_key_identifier": Defect(verify_code=34),
    "critical_subject_key_identifier": Defect(verify_code=34),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """What a server presents, and what its clients have to trust.

    Attributes:
        pem: the leaf.
        chain_pem: the leaf and whatever the server sends after it.
        key_pem: the leaf's private key, unencrypted.
        ca_pem: the trust anchor that clients load.
    """

    pem: bytes
    chain_pem: bytes
    key_pem: bytes = field(repr=False)
    ca_pem: bytes

    @property
    def ca_file(self) -> Path:
        """A file with `ca_pem`; it lives as long as the process."""
        return _file(self.ca_pem)

    @property
    def leaf_file(self) -> Path:
        """A file with the leaf alone, to be trusted by itself."""
        return _file(self.pem)

    @property
    def chain_file(self) -> Path:
        """A file with `chain_pem`."""
        return _file(self.chain_pem)

    @property
    def key_file(self) -> Path:
        """A file with `key_pem`, readable by its owner alone."""
        return _file(self.key_pem)

    @property
    def parsed(self) -> x509.Certificate:
        """The leaf, parsed."""
        return x509.load_pem_x509_certificate(self.pem)


@lru_cache(maxsize=1)
def _directory() -> Path:
    directory = tempfile.mkdtemp(prefix="reliable-email-certificates-")  # mode 0700
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    return Path(directory)


_file_lock = threading.Lock()


def _file(pem: bytes) -> Path:
    path = _directory() / f"{hashlib.sha256(pem).hexdigest()[:32]}.pem"
    with _file_lock:
        if not path.exists():
            path.write_bytes(pem)
            path.chmod(0o600)
    return path


@dataclass(frozen=True, slots=True, kw_only=True)
class _Profile:
    """What one certificate says of itself."""

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


_CA = _Profile(common_name="Reliable Email Test CA", is_ca=True, key_usage="ca")
_INTERMEDIATE = _Profile(common_name="Reliable Email Test Intermediate CA", is_ca=True, key_usage="ca")
_LEAF = _Profile(common_name="localhost", hosts=HOSTS, key_usage="leaf", purpose="server")


@dataclass(frozen=True, slots=True)
class _Issued:
    certificate: x509.Certificate
    key: _Key

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )


class Authority:
    """A certification authority of one's own."""

    def __init__(self, common_name: str = "Reliable Email Test CA") -> None:
        self._root = _issue(replace(_CA, common_name=common_name), None)

    @property
    def pem(self) -> bytes:
        """Its own certificate."""
        return self._root.pem

    @property
    def file(self) -> Path:
        """A file with its own certificate."""
        return _file(self.pem)

    def issue(self, *hosts: str, days: int = 30) -> Certificate:
        """A good server certificate."""
        profile = replace(
            _LEAF,
            common_name=hosts[0] if hosts else "localhost",
            hosts=hosts or HOSTS,
            to_days=days,
        )
        return _present(_issue(profile, self._root), anchor=self._root)

    def issue_client(self, name: str = "client") -> Certificate:
        """A good client certificate."""
        return _present(
            _issue(
                replace(_LEAF, common_name=name, hosts=(f"{name}.test",), purpose="client"),
                self._root,
            ),
            anchor=self._root,
        )


@lru_cache(maxsize=1)
def authority() -> Authority:
    """The process's own authority, which `good` uses."""
    return Authority()


@lru_cache(maxsize=64)
def good(*hosts: str) -> Certificate:
    """A certificate without any defect; for the names of the loopback unless told otherwise."""
    return authority().issue(*hosts)


@lru_cache(maxsize=64)
def self_signed(*hosts: str) -> Certificate:
    """A self-signed leaf which is its own trust anchor: fine, even under strict rules."""
    profile = replace(_LEAF, common_name=hosts[0] if hosts else "localhost", hosts=hosts or HOSTS)
    leaf = _issue(profile, None)
    return _present(leaf, anchor=leaf)


@lru_cache(maxsize=64)
def defective(name: str) -> Certificate:
    """A certificate with one defect of `DEFECTS`, for localhost and 127.0.0.1; clients trust its `ca_file`.

    Raises:
        KeyError: no such defect.
    """
    if name not in DEFECTS:
        raise KeyError(f"no defect {name!r}; there are: {', '.join(DEFECTS)}")
    match name:
        case "ca_basic_constraints_not_critical":
            return _chain(root=replace(_CA, basic_constraints_critical=False))
        case "ca_without_key_usage":
            return _chain(root=replace(_CA, key_usage=None))
        case "ca_without_subject_key_identifier":
            # The leaf still names the key, as one issued by the same software would.
            return _chain(root=replace(_CA, subject_key_identifier=False))
        case "ca_without_basic_constraints":
            return _chain(root=replace(_CA, is_ca=None))
        case "ca_expired":
            return _chain(root=replace(_CA, from_days=-60, to_days=-30))
        case "ca_says_it_is_none":
            return _chain(root=replace(_CA, is_ca=False))
        case "ca_may_not_sign":
            return _chain(root=replace(_CA, key_usage="leaf"))
        case "ca_without_extensions":
            return _chain(
                root=replace(
                    _CA,
                    is_ca=None,
                    key_usage=None,
                    subject_key_identifier=False,
                    authority_key_identifier=False,
                )
            )
        case "name_constraint_violated":
            return _chain(root=replace(_CA, permitted_domain="elsewhere.test"))
        case "path_length_exceeded":
            return _chain(root=replace(_CA, path_length=0), intermediate=_INTERMEDIATE)
        case "intermediate_basic_constraints_not_critical":
            return _chain(intermediate=replace(_INTERMEDIATE, basic_constraints_critical=False))
        case "intermediate_without_key_usage":
            return _chain(intermediate=replace(_INTERMEDIATE, key_usage=None))
        case "intermediate_without_subject_key_identifier":
            return _chain(intermediate=replace(_INTERMEDIATE, subject_key_identifier=False))
        case "intermediate_without_authority_key_identifier":
            return _chain(intermediate=replace(_INTERMEDIATE, authority_key_identifier=False))
        case "intermediate_expired":
            return _chain(intermediate=replace(_INTERMEDIATE, from_days=-60, to_days=-30))
        case "missing_intermediate":
            return _chain(intermediate=_INTERMEDIATE, sends="leaf")
        case "only_intermediate_trusted":
            return _chain(intermediate=_INTERMEDIATE, trusts="intermediate")
        case "leaf_without_authority_key_identifier":
            return _chain(leaf=replace(_LEAF, authority_key_identifier=False))
        case "leaf_may_sign_certificates":
            return _chain(leaf=replace(_LEAF, is_ca=False, key_usage="leaf_that_signs"))
        case "empty_subject_and_san_not_critical":
            return _chain(leaf=replace(_LEAF, common_name=None))
        case "leaf_expired":
            return _chain(leaf=replace(_LEAF, from_days=-60, to_days=-30))
        case "not_yet_valid":
            return _chain(leaf=replace(_LEAF, from_days=30, to_days=60))
        case "wrong_host":
            return _chain(
                leaf=replace(
                    _LEAF,
                    common_name="mail.elsewhere.test",
                    hosts=("mail.elsewhere.test",),
                )
            )
        case "common_name_only":
            return _chain(leaf=replace(_LEAF, hosts=()))
        case "wrong_ip":
            return _chain(leaf=replace(_LEAF, hosts=("localhost",)))
        case "client_purpose_only":
            return _chain(leaf=replace(_LEAF, purpose="client"))
        case "weak_key":
            return _chain(leaf=replace(_LEAF, rsa_bits=1024))
        case "critical_authority_key_identifier":
            return _chain(leaf=replace(_LEAF, critical_authority_key_identifier=True))
        case "critical_subject_key_identifier":
            return _chain(leaf=replace(_LEAF, critical_subject_key_identifier=True))
        case "bad_signature":
            return _chain(spoils_signature=True)
        case "self_signed_and_unknown":
            return _present(_issue(_LEAF, None), anchor=_issue(_CA, None))
        case "unknown_ca_sent":
            return _chain(sends="all", trusts="other")
        case "unknown_ca":
            return _chain(trusts="other")
        case _:  # pragma: no cover - every name of DEFECTS is above
            raise AssertionError(name)


def _chain(
    *,
    root: _Profile = _CA,
    intermediate: _Profile | None = None,
    leaf: _Profile = _LEAF,
    sends: Literal["leaf", "without_root", "all"] = "without_root",
    trusts: Literal["root", "intermediate", "other"] = "root",
    spoils_signature: bool = False,
) -> Certificate:
    top = _issue(root, None)
    middle = None if intermediate is None else _issue(intermediate, top)
    issued = _issue(leaf, middle or top)
    if spoils_signature:
        der = bytearray(issued.certificate.public_bytes(serialization.Encoding.DER))
        der[-1] ^= 1
        issued = _Issued(x509.load_der_x509_certificate(bytes(der)), issued.key)
    sent = [issued]
    if sends != "leaf" and middle is not None:
        sent.append(middle)
    if sends == "all":
        sent.append(top)
    anchor = top
    if trusts == "intermediate" and middle is not None:
        anchor = middle
    elif trusts == "other":
        anchor = _issue(replace(_CA, common_name="Another Test CA"), None)
    return _present(issued, *sent[1:], anchor=anchor)


def _present(leaf: _Issued, *others: _Issued, anchor: _Issued) -> Certificate:
    return Certificate(
        pem=leaf.pem,
        chain_pem=b"".join(one.pem for one in (leaf, *others)),
        key_pem=leaf.key_pem,
        ca_pem=anchor.pem,
    )


def _issue(profile: _Profile, issuer: _Issued | None) -> _Issued:
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
    return _Issued(builder.sign(signer, hashes.SHA256()), key)


def _extensions(profile: _Profile, key: _Key, signer: _Key) -> list[tuple[x509.ExtensionType, bool]]:
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


def spki_pin(certificate: Certificate | bytes) -> str:
    """The SHA-256 of the public key (SPKI) in base64, as `ssl_pin` takes it; of a PEM or of what is made here."""
    pem = certificate.pem if isinstance(certificate, Certificate) else certificate
    public_key = x509.load_pem_x509_certificate(pem).public_key()
    spki = public_key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(hashlib.sha256(spki).digest()).decode()


def server_context(
    certificate: Certificate,
    *,
    client_ca: Path | str | None = None,
    minimum_version: ssl.TLSVersion | None = None,
    maximum_version: ssl.TLSVersion | None = None,
    ciphers: str | None = None,
) -> ssl.SSLContext:
    """The server's side; with `client_ca` it demands a client certificate, and old versions may be forced."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if maximum_version is not None and maximum_version < ssl.TLSVersion.TLSv1_2:
        ciphers = ciphers or "ALL:@SECLEVEL=0"
        minimum_version = minimum_version or maximum_version
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # old versions are what is wanted here
        if minimum_version is not None:
            context.minimum_version = minimum_version
        if maximum_version is not None:
            context.maximum_version = maximum_version
    if ciphers is None and certificate.parsed.public_key().__class__.__name__.startswith("RSA"):
        ciphers = "DEFAULT:@SECLEVEL=0"  # lets a server use the weak key that its clients are to refuse
    if ciphers is not None:
        context.set_ciphers(ciphers)
    context.load_cert_chain(certificate.chain_file, certificate.key_file)
    if client_ca is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(client_ca)
    return context


def client_context(certificate: Certificate, *, strict: bool = True, partial_chain: bool = True) -> ssl.SSLContext:
    """A client's side that trusts the certificate's `ca_pem` alone, with the flags that Python 3.13 has by default."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.hostname_checks_common_name = False
    context.load_verify_locations(cadata=certificate.ca_pem.decode())
    context.verify_flags |= ssl.VERIFY_X509_TRUSTED_FIRST
    for flag, is_on in (
        (ssl.VERIFY_X509_STRICT, strict),
        (ssl.VERIFY_X509_PARTIAL_CHAIN, partial_chain),
    ):
        context.verify_flags = context.verify_flags | flag if is_on else context.verify_flags & ~flag
    return context
