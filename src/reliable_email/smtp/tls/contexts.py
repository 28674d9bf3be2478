"""One `ssl.SSLContext` per demand on the certificate, shared by the process: building one costs 24 ms of CPU.

A context always trusts the system's CAs; `cafile` is added to them, never put in their place. The flags do not depend
on the Python version: RFC 5280's form rules are on or off as asked (3.13 has them on, older ones off), and a partial
chain is enough, so that a server's own certificate can be the one trusted.
"""

import contextlib
import ssl
import threading
from pathlib import Path

from reliable_email.process_state import remember
from reliable_email.records import dataclass
from reliable_email.smtp.options import TLSPolicy

_PEM_BEGIN = "-----BEGIN"


class TLSConfigurationError(ValueError):
    """A certificate or key file cannot be used; the text names option, path and what to do."""


@dataclass(frozen=True, slots=True)
class _Key:
    """The inputs of a context. Files count with their state on disk, so that renewed ones are read again."""

    verify: bool
    strict: bool
    cafile: str | None
    certfile: str | None
    keyfile: str | None


_lock = threading.Lock()
_contexts: dict[_Key, tuple[object, ssl.SSLContext]] = {}


def context_for(policy: TLSPolicy, *, strict: bool) -> ssl.SSLContext:
    """The context for a policy, made at the first call and whenever one of its files has changed.

    Raises:
        TLSConfigurationError: a file is missing, unreadable, or not what it should be.
    """
    key = _Key(policy.verify, strict, policy.cafile, policy.certfile, policy.keyfile)
    state = tuple(_file_state(path) for path in (policy.cafile, policy.certfile, policy.keyfile))
    known = _contexts.get(key)
    if known is not None and known[0] == state:
        return known[1]
    with _lock:
        known = _contexts.get(key)
        if known is not None and known[0] == state:
            return known[1]
        context = _build(policy, strict=strict)
        _contexts[key] = state, context
        return context


def reset() -> None:
    """Forget every context; the next use builds a fresh one (and reads the system's CAs again)."""
    with _lock:
        _contexts.clear()


def _build(policy: TLSPolicy, *, strict: bool) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.minimum_version = max(context.minimum_version, ssl.TLSVersion.TLSv1_2)
    context.hostname_checks_common_name = False  # RFC 9525 §2: the SAN alone names the host
    flags = context.verify_flags | ssl.VERIFY_X509_PARTIAL_CHAIN
    context.verify_flags = flags | ssl.VERIFY_X509_STRICT if strict else flags & ~ssl.VERIFY_X509_STRICT
    if policy.cafile:
        _trust(context, policy.cafile)
    if policy.certfile:
        _present(context, policy.certfile, policy.keyfile)
    elif policy.keyfile:
        raise TLSConfigurationError(
            f"ssl_keyfile {policy.keyfile} is given without ssl_certfile: the client certificate that the key is for"
        )
    if not policy.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _trust(context: ssl.SSLContext, cafile: str) -> None:
    if cafile.lstrip().startswith(_PEM_BEGIN):
        raise TLSConfigurationError("ssl_cafile is the path of a PEM file, not its content: write it to a file")
    _check_readable("ssl_cafile", cafile)
    try:
        context.load_verify_locations(cafile=cafile)
    except (ssl.SSLError, OSError) as error:
        raise TLSConfigurationError(
            f"ssl_cafile {cafile} holds no certificate in PEM form (-----BEGIN CERTIFICATE-----); "
            f"a DER file is converted by: openssl x509 -inform der -in {cafile} -out ca.pem"
        ) from error


def _present(context: ssl.SSLContext, certfile: str, keyfile: str | None) -> None:
    _check_readable("ssl_certfile", certfile)
    if keyfile:
        _check_readable("ssl_keyfile", keyfile)
    try:
        context.load_cert_chain(certfile, keyfile or None, password=_no_passphrase)
    except _PassphraseWanted as error:
        raise TLSConfigurationError(
            f"the key in {keyfile or certfile} is encrypted, and its passphrase cannot be asked for: "
            f"store it without one (openssl pkey -in {keyfile or certfile} -out key.pem) and guard the file"
        ) from error
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            words = f"ssl_keyfile {keyfile or certfile} is not the key of the certificate in ssl_certfile {certfile}"
        elif keyfile:
            words = f"ssl_certfile {certfile} with ssl_keyfile {keyfile} is not a certificate and its key in PEM form"
        else:
            words = f"ssl_certfile {certfile} holds no certificate with its key in PEM form; is ssl_keyfile missing?"
        raise TLSConfigurationError(words) from error
    except OSError as error:
        raise TLSConfigurationError(f"ssl_certfile {certfile} cannot be used: {error.strerror or error}") from error


class _PassphraseWanted(ValueError):
    """OpenSSL asks for a passphrase; left alone it would ask on the terminal and wait."""


def _no_passphrase() -> str:
    raise _PassphraseWanted


def _check_readable(option: str, path: str) -> None:
    try:
        with Path(path).open("rb") as file:
            file.read(1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise TLSConfigurationError(
            f"{option} {path} cannot be read: {reason}; it must be a file that the user of this process may read"
        ) from error


def _file_state(path: str | None) -> tuple[int, int, int] | None:
    if path is None:
        return None
    with contextlib.suppress(OSError, ValueError):
        found = Path(path).stat()
        return found.st_mtime_ns, found.st_size, found.st_ino
    return None


def _after_fork() -> None:
    global _lock
    _lock = threading.Lock()


remember(__name__, after_fork=_after_fork, reset=reset)
