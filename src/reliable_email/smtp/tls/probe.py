"""The search for the reason of a refused certificate, by up to three handshakes in which no SMTP is spoken.

The first is the real one, with the rules of form. Where a certificate is refused, the second leaves those out: if it
passes, only they are broken; if it fails, its error is the true one, since a rule of form can hide it. The third
verifies nothing and only reads the chain, so that names, dates and issuer can be told.
"""

import contextlib
import os
import socket
import ssl
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from enum import StrEnum

from reliable_email.records import dataclass, replace
from reliable_email.smtp.deadline import Deadline
from reliable_email.smtp.failures import FailureKind, WireError, WireFailure
from reliable_email.smtp.options import TLSPolicy
from reliable_email.smtp.tls.certificates import Certificate, read_chain
from reliable_email.smtp.tls.contexts import context_for
from reliable_email.smtp.tls.form_rules import FORM_CODES, find_culprit
from reliable_email.smtp.tls.handshake import TLSInfo, handshake
from reliable_email.smtp.tls.pins import pin_of


class Verdict(StrEnum):
    """The result of the handshakes."""

    TRUSTED = "trusted"  # everything that the policy demands, and the rules of form where it does not exclude them
    UNVERIFIED = "unverified"  # the policy demands nothing, and the certificate would be refused if it did
    FORM_ONLY = "form_only"  # chain, dates and host name are good, a rule of form is broken
    REFUSED = "refused"  # the certificate is not to be trusted
    NOT_PINNED = "not_pinned"  # the certificate is good, its key is not a pinned one
    NO_TLS = "no_tls"  # there was no handshake at all, whatever the certificate


@dataclass(frozen=True, slots=True, kw_only=True)
class TLSProbe:
    """The result.

    Attributes:
        verdict: what the handshakes showed.
        failure: the true failure, None where there is none.
        defect: OpenSSL's words for the broken rule of form, "" where none is broken.
        culprit: the certificate that is to blame, where it could be told.
        chain: as verified, or as the server sent it; empty where it could not be read.
        tls: what the last finished handshake agreed on.
        switch: the one option whose change is safe and enough, "" where no option should be changed.
        advice: what to do, in one or two sentences; "" where all is well.
    """

    verdict: Verdict
    failure: WireFailure | None = None
    defect: str = ""
    culprit: Certificate | None = None
    chain: tuple[Certificate, ...] = ()
    tls: TLSInfo | None = None
    switch: str = ""
    advice: str = ""


def probe_tls(
    connect: Callable[[], socket.socket],
    policy: TLSPolicy,
    *,
    host: str,
    port: int,
    deadline: Deadline,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> TLSProbe:
    """Find out what the peer's certificate is worth, and what to change where it is refused.

    Nothing is learned from it for `ssl_strict="auto"`.

    Args:
        connect: gives a fresh connected socket, non-blocking, at the point where TLS starts (for STARTTLS behind the
            220). Called up to three times; what it raises is passed on.
        policy: as it is configured.
        host: the name to verify, unless the policy has another.
        port: for the advice.
        deadline: of all handshakes together.
        now: the wall clock, to tell an expired certificate.
    """

    def attempt(variant: TLSPolicy, *, strict: bool) -> TLSInfo | WireFailure:
        sock = connect()
        # A fixed strictness in the policy keeps the handshake from learning.
        fixed = replace(variant, strict=strict)
        try:
            wrapped, info = handshake(sock, fixed, host=host, port=port, deadline=deadline, strict=strict)
        except WireError as error:
            return error.failure
        wrapped.close()
        return info

    verifying = replace(policy, verify=True)
    strict = policy.strict is not False
    result = attempt(verifying, strict=strict)
    if isinstance(result, TLSInfo):
        return TLSProbe(verdict=Verdict.TRUSTED, chain=read_chain(result.chain), tls=result)
    failure = result
    if failure.kind is FailureKind.TLS_VERIFICATION and strict and failure.verify_code in FORM_CODES:
        result = attempt(verifying, strict=False)
        if isinstance(result, TLSInfo):
            return _form_only(failure, result)
        failure = result
    if failure.kind not in (FailureKind.TLS_VERIFICATION, FailureKind.TLS_PIN):
        return TLSProbe(verdict=Verdict.NO_TLS, failure=failure, advice=failure.detail)
    result = attempt(replace(policy, verify=False, pins=()), strict=False)
    blind = result if isinstance(result, TLSInfo) else None
    chain = read_chain(blind.chain) if blind is not None else ()
    if failure.kind is FailureKind.TLS_PIN:
        return TLSProbe(
            verdict=Verdict.NOT_PINNED, failure=failure, chain=chain, tls=blind, switch="ssl_pin", advice=failure.detail
        )
    culprit, switch, advice = _explain(failure, chain, now(), is_store_empty=_is_store_empty(policy), pin=_pin(blind))
    return TLSProbe(
        verdict=Verdict.REFUSED if policy.verify else Verdict.UNVERIFIED,
        failure=failure,
        culprit=culprit,
        chain=chain,
        tls=blind,
        switch=switch,
        advice=advice,
    )


def _form_only(failure: WireFailure, info: TLSInfo) -> TLSProbe:
    chain = read_chain(info.chain)
    culprit = find_culprit(failure.verify_code or 0, chain)
    whose = f"of “{culprit.subject_name}” " if culprit is not None else ""
    return TLSProbe(
        verdict=Verdict.FORM_ONLY,
        failure=failure,
        defect=failure.detail.partition(" is refused: ")[2].partition(";")[0] or failure.detail,
        culprit=culprit,
        chain=chain,
        tls=info,
        switch="ssl_strict",
        advice=(
            f"Chain, dates and host name are good; the certificate {whose}only breaks a rule of form. "
            'Have it reissued. Until then ssl_strict="auto" (the default) or False accepts it and still verifies '
            "everything else."
        ),
    )


def _explain(
    failure: WireFailure, chain: Sequence[Certificate], now: datetime, *, is_store_empty: bool, pin: str
) -> tuple[Certificate | None, str, str]:
    """The certificate to blame, the option to change, and what to do."""
    leaf = chain[0] if chain else None
    pinning = f"pin its key{f' (ssl_pin={pin!r})' if pin else ' with ssl_pin'} in place of verifying the certificate"
    pinning += ", after you have compared it on the server."
    match failure.verify_code:
        case 10 | 9:
            return _outdated(chain, now)
        case 62 | 64 if leaf is not None and leaf.host_names:
            return (
                leaf,
                "host",
                (
                    f"The certificate is for {', '.join(leaf.host_names)}. Use one of its names as the host. Where the "
                    f"server is only reached by another name or by its address (a container's), set "
                    f"{_server_name(leaf)}, or {pinning}"
                ),
            )
        case 62 | 64 if leaf is not None:
            return (
                leaf,
                "",
                (
                    f"The certificate names no host (“{leaf.subject_name}” is its common name, which does not count "
                    f"any more). Its owner must have it reissued with the host as a subject alternative name. Until "
                    f"then {pinning}"
                ),
            )
        case 18 if leaf is not None:
            return (
                leaf,
                "ssl_cafile",
                (
                    f"“{leaf.subject_name}” is self-signed. If the server is yours, save this "
                    f"certificate and give it as ssl_cafile; compare its fingerprint {leaf.fingerprint} there first."
                ),
            )
        case 20 if is_store_empty:
            return (
                None,
                "",
                (
                    "This machine has no CA certificates at all. Install them (the package ca-certificates; on macOS "
                    "run “Install Certificates.command” of Python)."
                ),
            )
        case 2 | 19 | 20 if chain:
            top = chain[-1]
            advice = (
                f"The certificate is issued by “{top.issuer_name}”, which is not known here: a private CA, or a proxy "
                f"that inspects TLS. Give that CA's certificate as ssl_cafile."
            )
            if len(chain) == 1 and not top.is_self_issued:
                advice += (
                    " If it is a public CA, the server leaves out its intermediate certificate: its owner must send it "
                    "along."
                )
            return top, "ssl_cafile", advice
        case _:
            whose = f"“{leaf.subject_name}”" if leaf is not None else "the server"
            reason = failure.detail.partition("; ")[2] or failure.detail
            return (
                leaf,
                "",
                (
                    f"{reason[:1].upper()}{reason[1:]}. Only the owner of the server can mend this: the certificate of "
                    f"{whose} has to be issued anew. No option makes it safe."
                ),
            )


def _outdated(chain: Sequence[Certificate], now: datetime) -> tuple[Certificate | None, str, str]:
    for certificate in chain:
        if certificate.not_after < now:
            return (
                certificate,
                "",
                (
                    f"“{certificate.subject_name}” expired on {certificate.not_after:%Y-%m-%d}, "
                    f"{(now - certificate.not_after).days} days ago. Its owner must renew it."
                ),
            )
        if certificate.not_before > now:
            return (
                certificate,
                "",
                (
                    f"“{certificate.subject_name}” is valid from {certificate.not_before:%Y-%m-%d} on, and this "
                    f"machine's clock says {now:%Y-%m-%d}. One of the two is wrong."
                ),
            )
    issuer = f" (“{chain[-1].issuer_name}”)" if chain else ""
    return (
        None,
        "",
        (
            f"What the server sends is in date; the CA certificate on this machine{issuer} is not. Update the "
            f"machine's CA certificates, or ssl_cafile."
        ),
    )


def _server_name(leaf: Certificate) -> str:
    names = [name for name in leaf.host_names if not name.startswith("*")]
    return f"tls_server_name={names[0]!r}" if names else "tls_server_name to a name that it covers"


def _pin(blind: TLSInfo | None) -> str:
    """The pin of the key that the server showed, "" where it could not be read."""
    if blind is None:
        return ""
    with contextlib.suppress(ValueError):
        return pin_of(blind.certificate)
    return ""


def _is_store_empty(policy: TLSPolicy) -> bool:
    context = context_for(replace(policy, verify=True), strict=False)
    # A directory of certificates is read when one is needed, and does not count until then: try to find one there.
    return context.cert_store_stats()["x509_ca"] == 0 and not policy.cafile and not _has_directory()


def _has_directory() -> bool:
    directory = ssl.get_default_verify_paths().capath
    return bool(directory) and any(os.scandir(directory))
