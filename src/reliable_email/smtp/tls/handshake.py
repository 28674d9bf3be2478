"""The TLS handshake: under a deadline, verified, pinned, and with an error that says what to do.

Sessions are never resumed: a resumed session repeats the verdict on an earlier certificate instead of looking at the
present one. Policy about RFC 5280's rules of form is in `strictness`, contexts are in `contexts`.
"""

import selectors
import socket
import ssl
import time
from typing import Any

from reliable_email.process_state import remember
from reliable_email.records import dataclass
from reliable_email.smtp.deadline import Deadline
from reliable_email.smtp.failures import FailureKind, WireError, WireFailure
from reliable_email.smtp.options import TLSPolicy
from reliable_email.smtp.resolve import address_text, bare_host
from reliable_email.smtp.stages import Stage
from reliable_email.smtp.tls import contexts
from reliable_email.smtp.tls import strictness as _strictness
from reliable_email.smtp.tls.certificates import Certificate, read_chain
from reliable_email.smtp.tls.contexts import TLSConfigurationError, context_for
from reliable_email.smtp.tls.errors import explain
from reliable_email.smtp.tls.form_rules import FORM_CODES, find_culprit
from reliable_email.smtp.tls.pins import is_pinned, pin_of
from reliable_email.smtp.tls.strictness import may_relax, remember_relaxation, strictness

__all__ = [
    "TLSConfigurationError",
    "TLSInfo",
    "context_for",
    "handshake",
    "may_relax",
    "remember_relaxation",
    "reset",
    "strictness",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class TLSInfo:
    """The result of a finished handshake.

    Attributes:
        version: as OpenSSL names it, "TLSv1.3".
        cipher: the suite's name.
        is_verified: chain and host name were verified.
        relaxed_defect: the rule of form that was not demanded under "auto", None where all were kept.
        certificate: the server's own certificate, DER.
        chain: the verified chain from it to the trust anchor, DER; without verification what the server sent.
    """

    version: str
    cipher: str
    is_verified: bool
    relaxed_defect: str | None
    certificate: bytes
    chain: tuple[bytes, ...]


def handshake(
    sock: socket.socket,
    policy: TLSPolicy,
    *,
    host: str,
    port: int,
    deadline: Deadline,
    strict: bool | None = None,
) -> tuple[ssl.SSLSocket, TLSInfo]:
    """Turn a connected socket into a TLS one; the pins are checked before anybody can say a word through it.

    Takes the socket over: on failure it is closed.

    Args:
        sock: connected; what was received in plaintext must have been consumed.
        policy: what is demanded.
        host: the name that was connected to; `policy.server_hostname` goes before it.
        port: with the host, the key of what `ssl_strict="auto"` has learned.
        deadline: one stage's share of it may be used.
        strict: whether the rules of form are demanded; None asks `strictness`.

    Raises:
        WireError: at TLS, of kind TLS_VERIFICATION, TLS_HANDSHAKE, TLS_PIN, DISCONNECTED or TIMEOUT.
    """
    if strict is None:
        strict = strictness(policy, host, port, time.monotonic())
    name = bare_host(policy.server_hostname or host).partition("%")[0]  # a zone is no part of the certificate's name
    peer = _peer_of(sock)
    wrapped: ssl.SSLSocket | None = None
    try:
        context = context_for(policy, strict=strict)
        name.encode("idna")  # before wrap_socket does it, which would leave the descriptor open where it fails (3.11)
        wrapped = context.wrap_socket(sock, server_hostname=name, do_handshake_on_connect=False)
        _complete(wrapped, deadline.stage_seconds())
        certificate = wrapped.getpeercert(binary_form=True) or b""
        _check_pins(policy, certificate, host, peer)
        chain = chain_of(wrapped, is_verified=policy.verify) or (certificate,)
        defect = None
        if policy.strict == "auto" and policy.verify and not strict:
            defect = _note_relaxation(host, port, read_chain(chain))
        info = TLSInfo(
            version=wrapped.version() or "",
            cipher=(wrapped.cipher() or ("",))[0],
            is_verified=policy.verify,
            relaxed_defect=defect,
            certificate=certificate,
            chain=chain,
        )
    except BaseException as error:
        (wrapped or sock).close()
        if not isinstance(error, OSError | ValueError):
            raise
        failure = explain(error, policy, name=name, port=port, peer=peer)
        if strict and failure.verify_code in FORM_CODES:
            _strictness.suspect(host, port, failure.verify_code or 0, str(getattr(error, "verify_message", "")))
        raise WireError(failure) from error
    return wrapped, info


def reset() -> None:
    """Forget contexts and everything learned."""
    contexts.reset()
    _strictness.reset()


def chain_of(sock: ssl.SSLSocket, *, is_verified: bool) -> tuple[bytes, ...]:
    """The peer's chain in DER: to the trust anchor where it was verified, else as it was sent. Empty where unknown."""
    method = "get_verified_chain" if is_verified else "get_unverified_chain"
    # Public since 3.13; 3.11 and 3.12 have it on the inner object, with certificates in place of bytes.
    source: Any = sock if hasattr(sock, method) else getattr(sock, "_sslobj", None)
    if not hasattr(source, method):
        return ()
    chain = getattr(source, method)() or ()
    return tuple(item if isinstance(item, bytes) else item.public_bytes(_ENCODING_DER) for item in chain)


_ENCODING_DER = 2  # _ssl.ENCODING_DER


def _complete(sock: ssl.SSLSocket, seconds: float) -> None:
    ends_at = time.monotonic() + seconds
    with selectors.DefaultSelector() as selector:
        selector.register(sock, selectors.EVENT_READ)
        while True:
            try:
                sock.do_handshake()
                return
            except ssl.SSLWantReadError:
                selector.modify(sock, selectors.EVENT_READ)
            except ssl.SSLWantWriteError:
                selector.modify(sock, selectors.EVENT_WRITE)
            left = ends_at - time.monotonic()
            if (left <= 0 or not selector.select(left)) and time.monotonic() >= ends_at:
                raise TimeoutError(f"the TLS handshake was not finished within {seconds:.1f} s")


def _check_pins(policy: TLSPolicy, certificate: bytes, host: str, peer: str | None) -> None:
    if not policy.pins:
        return
    try:
        if is_pinned(certificate, policy.pins):
            return
        words = (
            f"the key of {host} is {pin_of(certificate)}, which is not pinned; an attacker may be in between. "
            f"If the server has a new key on purpose, put it into ssl_pin"
        )
        cause = None
    except ValueError as error:
        words, cause = str(error), error
    failure = WireFailure(stage=Stage.TLS, kind=FailureKind.TLS_PIN, detail=words, peer=peer)
    raise WireError(failure) from cause


def _note_relaxation(host: str, port: int, chain: tuple[Certificate, ...]) -> str:
    now = time.monotonic()
    known = _strictness.learned_defect(host, port, now)
    if known is not None:
        return known
    code, words = _strictness.suspected_defect(host, port)
    defect = words or "a rule of RFC 5280 §4"
    culprit = find_culprit(code, chain)
    if culprit is not None:
        defect = f"{defect}: “{culprit.subject_name}”"
    remember_relaxation(host, port, defect, now)
    return defect


def _peer_of(sock: socket.socket) -> str | None:
    try:
        return address_text(sock.getpeername())
    except OSError:
        return None


remember(__name__, reset=reset)
