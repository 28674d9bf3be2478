"""The documented import path of the token providers in `smtp.oauth.assertions`."""

from reliable_email.smtp.oauth.assertions import CertificateProvider, ServiceAccountProvider

__all__ = ["CertificateProvider", "ServiceAccountProvider"]
