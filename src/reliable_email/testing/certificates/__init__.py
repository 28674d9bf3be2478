"""Certificates made on the spot: good ones, and one for every way in which a certificate is wrong in practice.

`DEFECTS` says for each what OpenSSL answers. The strict-only ones break form rules of RFC 5280 that Python checks by
default since 3.13 (`ssl.VERIFY_X509_STRICT`); without that flag they connect. All others are refused on every Python
and must never be answered by relaxing anything. Needs `cryptography`.
"""

import atexit
import base64
import hashlib
import shutil
import ssl
import tempfile
import threading
import warnings
from functools import lru_cache
from pathlib import Path
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from reliable_email.records import dataclass, field, replace
from reliable_email.testing.certificates.issuing import CA, HOSTS, INTERMEDIATE, LEAF, Issued, Profile, issue


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
    """A server's certificate, and the authority that its clients must trust.

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


class Authority:
    """A certification authority of one's own."""

    def __init__(self, common_name: str = "Reliable Email Test CA") -> None:
        self._root = issue(replace(CA, common_name=common_name), None)

    @property
    def pem(self) -> bytes:
        """The authority's own certificate."""
        return self._root.pem

    @property
    def file(self) -> Path:
        """A file with its own certificate."""
        return _file(self.pem)

    def issue(self, *hosts: str, days: int = 30) -> Certificate:
        """A good server certificate."""
        profile = replace(
            LEAF,
            common_name=hosts[0] if hosts else "localhost",
            hosts=hosts or HOSTS,
            to_days=days,
        )
        return _present(issue(profile, self._root), anchor=self._root)

    def issue_client(self, name: str = "client") -> Certificate:
        """A good client certificate."""
        return _present(
            issue(
                replace(LEAF, common_name=name, hosts=(f"{name}.test",), purpose="client"),
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
    profile = replace(LEAF, common_name=hosts[0] if hosts else "localhost", hosts=hosts or HOSTS)
    leaf = issue(profile, None)
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
            return _chain(root=replace(CA, basic_constraints_critical=False))
        case "ca_without_key_usage":
            return _chain(root=replace(CA, key_usage=None))
        case "ca_without_subject_key_identifier":
            # The leaf still names the key, as one issued by the same software would.
            return _chain(root=replace(CA, subject_key_identifier=False))
        case "ca_without_basic_constraints":
            return _chain(root=replace(CA, is_ca=None))
        case "ca_expired":
            return _chain(root=replace(CA, from_days=-60, to_days=-30))
        case "ca_says_it_is_none":
            return _chain(root=replace(CA, is_ca=False))
        case "ca_may_not_sign":
            return _chain(root=replace(CA, key_usage="leaf"))
        case "ca_without_extensions":
            return _chain(
                root=replace(
                    CA,
                    is_ca=None,
                    key_usage=None,
                    subject_key_identifier=False,
                    authority_key_identifier=False,
                )
            )
        case "name_constraint_violated":
            return _chain(root=replace(CA, permitted_domain="elsewhere.test"))
        case "path_length_exceeded":
            return _chain(root=replace(CA, path_length=0), intermediate=INTERMEDIATE)
        case "intermediate_basic_constraints_not_critical":
            return _chain(intermediate=replace(INTERMEDIATE, basic_constraints_critical=False))
        case "intermediate_without_key_usage":
            return _chain(intermediate=replace(INTERMEDIATE, key_usage=None))
        case "intermediate_without_subject_key_identifier":
            return _chain(intermediate=replace(INTERMEDIATE, subject_key_identifier=False))
        case "intermediate_without_authority_key_identifier":
            return _chain(intermediate=replace(INTERMEDIATE, authority_key_identifier=False))
        case "intermediate_expired":
            return _chain(intermediate=replace(INTERMEDIATE, from_days=-60, to_days=-30))
        case "missing_intermediate":
            return _chain(intermediate=INTERMEDIATE, sends="leaf")
        case "only_intermediate_trusted":
            return _chain(intermediate=INTERMEDIATE, trusts="intermediate")
        case "leaf_without_authority_key_identifier":
            return _chain(leaf=replace(LEAF, authority_key_identifier=False))
        case "leaf_may_sign_certificates":
            return _chain(leaf=replace(LEAF, is_ca=False, key_usage="leaf_that_signs"))
        case "empty_subject_and_san_not_critical":
            return _chain(leaf=replace(LEAF, common_name=None))
        case "leaf_expired":
            return _chain(leaf=replace(LEAF, from_days=-60, to_days=-30))
        case "not_yet_valid":
            return _chain(leaf=replace(LEAF, from_days=30, to_days=60))
        case "wrong_host":
            return _chain(
                leaf=replace(
                    LEAF,
                    common_name="mail.elsewhere.test",
                    hosts=("mail.elsewhere.test",),
                )
            )
        case "common_name_only":
            return _chain(leaf=replace(LEAF, hosts=()))
        case "wrong_ip":
            return _chain(leaf=replace(LEAF, hosts=("localhost",)))
        case "client_purpose_only":
            return _chain(leaf=replace(LEAF, purpose="client"))
        case "weak_key":
            return _chain(leaf=replace(LEAF, rsa_bits=1024))
        case "critical_authority_key_identifier":
            return _chain(leaf=replace(LEAF, critical_authority_key_identifier=True))
        case "critical_subject_key_identifier":
            return _chain(leaf=replace(LEAF, critical_subject_key_identifier=True))
        case "bad_signature":
            return _chain(spoils_signature=True)
        case "self_signed_and_unknown":
            return _present(issue(LEAF, None), anchor=issue(CA, None))
        case "unknown_ca_sent":
            return _chain(sends="all", trusts="other")
        case "unknown_ca":
            return _chain(trusts="other")
        case _:  # pragma: no cover - every name of DEFECTS is above
            raise AssertionError(name)


def _chain(
    *,
    root: Profile = CA,
    intermediate: Profile | None = None,
    leaf: Profile = LEAF,
    sends: Literal["leaf", "without_root", "all"] = "without_root",
    trusts: Literal["root", "intermediate", "other"] = "root",
    spoils_signature: bool = False,
) -> Certificate:
    top = issue(root, None)
    middle = None if intermediate is None else issue(intermediate, top)
    issued = issue(leaf, middle or top)
    if spoils_signature:
        der = bytearray(issued.certificate.public_bytes(serialization.Encoding.DER))
        der[-1] ^= 1
        issued = Issued(x509.load_der_x509_certificate(bytes(der)), issued.key)
    sent = [issued]
    if sends != "leaf" and middle is not None:
        sent.append(middle)
    if sends == "all":
        sent.append(top)
    anchor = top
    if trusts == "intermediate" and middle is not None:
        anchor = middle
    elif trusts == "other":
        anchor = issue(replace(CA, common_name="Another Test CA"), None)
    return _present(issued, *sent[1:], anchor=anchor)


def _present(leaf: Issued, *others: Issued, anchor: Issued) -> Certificate:
    return Certificate(
        pem=leaf.pem,
        chain_pem=b"".join(one.pem for one in (leaf, *others)),
        key_pem=leaf.key_pem,
        ca_pem=anchor.pem,
    )


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
