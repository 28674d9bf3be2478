"""The search for the certificate of a chain that breaks a rule of form, to reissue the right one (RFC 5280 §4.2)."""

from collections.abc import Sequence

from reliable_email.smtp.tls.certificates import Certificate

# OpenSSL's X509_V_ERR numbers of the checks that X509_V_FLAG_X509_STRICT adds, and 79 (invalid CA certificate), which
# a real defect gives as well: a handshake without the rules of form tells which.
FORM_CODES = frozenset(range(77, 94))


def breaks_rule(certificate: Certificate, code: int) -> bool:
    """Return whether OpenSSL's error number is about this certificate; False for rules that are not read here."""
    match code:
        case 79:
            return certificate.signs_certificates and not certificate.has_basic_constraints
        case 82:
            return certificate.signs_certificates and not certificate.is_ca
        case 85:
            return not certificate.is_self_issued and not certificate.has_authority_key_identifier
        case 86:
            return certificate.is_ca and not certificate.has_subject_key_identifier
        case 88:
            return not certificate.subject and not certificate.has_critical_host_names
        case 89:
            return certificate.is_ca and not certificate.has_critical_basic_constraints
        case 92:
            return certificate.is_ca and not certificate.has_key_usage
        case _:
            return False


def find_culprit(code: int, chain: Sequence[Certificate]) -> Certificate | None:
    """The first certificate of the chain that breaks the rule, None where that cannot be read from it."""
    return next((certificate for certificate in chain if breaks_rule(certificate, code)), None)
