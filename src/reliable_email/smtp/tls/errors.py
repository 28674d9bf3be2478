"""The meaning of a failed handshake, and the remedy: OpenSSL's errors as `WireFailure` values with sentences."""

import ssl

from reliable_email.smtp.failures import FailureKind, WireFailure
from reliable_email.smtp.options import TLSMode, TLSPolicy
from reliable_email.smtp.stages import Stage
from reliable_email.smtp.tls.contexts import TLSConfigurationError
from reliable_email.smtp.tls.form_rules import FORM_CODES

# By X509_V_ERR number. None of these is to be cured by verifying less.
_ADVICE = {
    2: "only a part of the chain is trusted: give its root as ssl_cafile",
    7: "the certificate is damaged or was not signed by the CA that it names",
    9: "look at the clock of this machine",
    10: "the server's owner must renew it, or one above it in the chain; look at the clock of this machine, too",
    18: "if the server is yours, give its certificate as ssl_cafile",
    19: "its CA is not known here, as with a private CA or a proxy that inspects TLS: give that CA as ssl_cafile",
    20: "its CA is not known here (give it as ssl_cafile), or the server leaves out an intermediate certificate, or "
    "this machine has no CA certificates at all",
    25: "a CA in the chain was not allowed to issue through so many levels",
    26: "it was issued for another purpose than a server's",
    34: "an extension is marked critical that must not be",
    47: "its CA was not allowed to issue for this name",
    62: "use a name that is in the certificate as the host; where the host is reached by another name or address (a "
    "container's), give the certificate's name as tls_server_name, or pin its key with ssl_pin instead",
    64: "use the DNS name that is in the certificate as the host, or give it as tls_server_name, or pin its key with "
    "ssl_pin instead",
    66: "its key is too weak to protect anything: it needs a new one",
    68: "its CA's signature algorithm is too weak",
    79: "a certificate that signed another one in the chain is not a CA",
}
_FORM_ADVICE = {
    True: 'only this rule of form may be broken: have it reissued, or use ssl_strict="auto", which verifies the rest',
    False: "have it reissued",
}
_PLAINTEXT = {
    "WRONG_VERSION_NUMBER",
    "HTTP_REQUEST",
    "HTTPS_PROXY_REQUEST",
    "PACKET_LENGTH_TOO_LONG",
    "UNKNOWN_PROTOCOL",
}
_OLD = {
    "TLSV1_ALERT_PROTOCOL_VERSION",
    "UNSUPPORTED_PROTOCOL",
    "UNSUPPORTED_SSL_VERSION",
    "NO_PROTOCOLS_AVAILABLE",
    "VERSION_TOO_LOW",
}
_CLIENT_CERTIFICATE_REFUSED = {
    "TLSV1_ALERT_UNKNOWN_CA",
    "TLSV1_ALERT_ACCESS_DENIED",
    "SSLV3_ALERT_BAD_CERTIFICATE",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED",
    "SSLV3_ALERT_CERTIFICATE_REVOKED",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN",
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE",
    "TLSV1_ALERT_DECRYPT_ERROR",
}


def explain(error: OSError | ValueError, policy: TLSPolicy, *, name: str, port: int, peer: str | None) -> WireFailure:
    """The failure that an exception of the handshake stands for.

    Args:
        error: what was raised.
        policy: under which the handshake ran.
        name: that the certificate should carry.
        port: that was connected to, for advice on the mode.
        peer: "address:port" where known.
    """
    code = None
    match error:
        case ssl.SSLCertVerificationError():
            kind, code, detail = FailureKind.TLS_VERIFICATION, error.verify_code, _refusal(error, policy, name)
        case ssl.SSLEOFError() | ssl.SSLZeroReturnError() | ConnectionError():
            kind, detail = FailureKind.DISCONNECTED, f"{name} closed the connection during the TLS handshake"
            if policy.mode is TLSMode.IMPLICIT and port != 465:
                detail += f"; port {port} may not be one where TLS comes first (465 is; 587 wants use_tls)"
        case ssl.SSLError():
            kind, detail = FailureKind.TLS_HANDSHAKE, _trouble(error.reason or str(error), policy, name, port)
        case TimeoutError():
            kind, detail = FailureKind.TIMEOUT, f"{error}: {name} took the connection and then fell silent"
        case OSError():
            kind, detail = FailureKind.DISCONNECTED, f"the connection broke during the TLS handshake: {error.strerror}"
        case TLSConfigurationError():
            kind, detail = FailureKind.TLS_HANDSHAKE, str(error)
        case _:
            # ssl refuses an empty name, one with a leading dot, and one that is no valid IDN.
            kind, detail = FailureKind.TLS_HANDSHAKE, f"{name!r} is no name that a certificate could carry: {error}"
    return WireFailure(stage=Stage.TLS, kind=kind, detail=detail, verify_code=code, peer=peer)


def _refusal(error: ssl.SSLCertVerificationError, policy: TLSPolicy, name: str) -> str:
    code = error.verify_code
    said = (error.verify_message or "refused").rstrip(".")
    advice = _ADVICE.get(code, "")
    if code in FORM_CODES:
        form = _FORM_ADVICE[policy.strict is True]
        advice = f"{advice}, or {form}" if advice else form
    return f"the certificate of {name} is refused: {said} (X.509 error {code}){'; ' if advice else ''}{advice}"


def _trouble(reason: str, policy: TLSPolicy, name: str, port: int) -> str:
    if reason in _PLAINTEXT:
        if policy.mode is TLSMode.IMPLICIT:
            return (
                f"port {port} of {name} speaks plaintext first: use STARTTLS there (use_tls in place of use_ssl), "
                f"or the port for TLS from the first byte, usually 465"
            )
        return f"{name} agreed to STARTTLS and went on in plaintext: a proxy in between, or a broken server"
    if reason in _OLD:
        return f"{name} offers only TLS older than 1.2, which is broken and not used"
    if reason == "SSLV3_ALERT_HANDSHAKE_FAILURE":
        return (
            f"{name} found no common ground: it has no cipher that is safe enough, or it demands a client certificate "
            f"(ssl_certfile, ssl_keyfile)"
        )
    if reason == "TLSV13_ALERT_CERTIFICATE_REQUIRED":
        return f"{name} demands a client certificate (ssl_certfile, ssl_keyfile)"
    if reason in _CLIENT_CERTIFICATE_REFUSED and policy.certfile:
        return f"{name} refuses the client certificate of ssl_certfile ({_readable(reason)})"
    if reason == "TLSV1_UNRECOGNIZED_NAME":
        return f"the server has no certificate for the name {name}: is the host right, or is tls_server_name needed?"
    if reason == "TLSV1_ALERT_INTERNAL_ERROR":
        return f"{name} failed in its own TLS set-up (internal error); its owner finds the reason in its log"
    return f"TLS with {name} failed: {_readable(reason)}"


def _readable(reason: str) -> str:
    return reason.replace("_", " ").lower()
