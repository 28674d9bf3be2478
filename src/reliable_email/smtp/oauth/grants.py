"""Token providers for XOAUTH2: the refresh-token and client-credentials grants (RFC 6749 §6, §4.4).

Trouble that passes by itself (network, 429, 5xx) is reported as such; kind TOKEN means that a person has to act.
"""

import logging
from collections.abc import Callable, Mapping

from reliable_email.records import dataclass, field
from reliable_email.smtp.oauth import access_tokens as tokens
from reliable_email.smtp.oauth.token_request import request_token

logger = logging.getLogger("reliable_email.smtp")


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """The token endpoint of a mail service, and its scopes.

    Attributes:
        token_url: may contain "{tenant}".
        scope: for a user who has consented (refresh token).
        application_scope: for an application that acts by itself (client credentials), "" where that is impossible.
    """

    token_url: str
    scope: str
    application_scope: str = ""


SERVICES: Mapping[str, Service] = {
    "google": Service(token_url="https://oauth2.googleapis.com/token", scope="https://mail.google.com/"),
    "microsoft": Service(
        token_url="https://login.microsoftonline.com/{tenant}/oauth2/v2.0/token",
        scope="https://outlook.office.com/SMTP.Send offline_access",
        application_scope="https://outlook.office365.com/.default",
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshTokenProvider:
    """Access tokens for one mailbox, from its owner's consent.

    Attributes:
        service: "google" or "microsoft"; "" with `token_url` and `scope` for any other.
        client_id, client_secret: the application's; Microsoft's public clients have no secret.
        refresh_token: the refresh token that the consent returned.
        username: the mailbox, if several share one refresh token.
        tenant: Microsoft's directory, by id or domain.
        token_url, scope: used instead of the service's.
        cafile: a PEM file trusted in addition to the system's CAs, for the token endpoint.
        on_new_refresh_token: called with a rotated refresh token, which replaces the configured one in this
            process. Store it; otherwise the consent is lost when the process ends.
    """

    client_id: str
    refresh_token: str = field(repr=False)
    client_secret: str = field(default="", repr=False)
    service: str = "google"
    username: str = ""
    tenant: str = "common"
    token_url: str = ""
    scope: str = ""
    cafile: str | None = None
    on_new_refresh_token: Callable[[str], object] | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        _check_service(self.service, self.token_url)

    def access_token(self, *, renew: bool, timeout: float) -> str:
        """Return an access token for the mailbox; `renew` asks for a new one."""
        url = _token_url(self.service, self.token_url, self.tenant)
        scope = self.scope or (SERVICES[self.service].scope if self.service else "")
        account = tokens.account(url, self.client_id, self.username, scope, self.refresh_token)

        def fetch() -> tokens.Token:
            form = {
                "grant_type": "refresh_token",
                "client_id": self.client_id,
                "refresh_token": account.refresh_token or self.refresh_token,
            }
            if self.client_secret:
                form["client_secret"] = self.client_secret
            if scope and self.service != "google":  # Google's refresh token carries its scopes
                form["scope"] = scope
            answer = request_token(url, form, cafile=self.cafile, timeout=timeout)
            rotated = answer.get("refresh_token")
            if isinstance(rotated, str) and rotated and rotated != form["refresh_token"]:
                account.refresh_token = rotated
                self._announce(rotated)
            return tokens.token_from(answer)

        return account.token(fetch, renew=renew, timeout=timeout)

    def _announce(self, rotated: str) -> None:
        if self.on_new_refresh_token is None:
            return
        try:
            self.on_new_refresh_token(rotated)
        except Exception as error:  # noqa: BLE001 - not ours; mail goes on, since the new token is known here
            # Its text may quote the token.
            logger.error("The new refresh token of %s was not stored: %s", self.client_id, type(error).__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientCredentialsProvider:
    """Access tokens for an application, such as one with the permission SMTP.SendAsApp at Microsoft 365.

    Attributes:
        service: "microsoft"; "" with `token_url` and `scope` for any other.
        client_id, client_secret: the application's.
        tenant: the directory, by id or domain; required for Microsoft.
        username: the mailbox, used only to keep accounts apart.
        token_url, scope: used instead of the service's.
        cafile: a PEM file trusted in addition to the system's CAs, for the token endpoint.
    """

    client_id: str
    client_secret: str = field(repr=False)
    tenant: str = ""
    service: str = "microsoft"
    username: str = ""
    token_url: str = ""
    scope: str = ""
    cafile: str | None = None

    def __post_init__(self) -> None:
        _check_service(self.service, self.token_url)
        if self.service and not self.scope and not SERVICES[self.service].application_scope:
            raise ValueError(
                f"{self.service} gives no tokens to an application by itself: use RefreshTokenProvider, or "
                f"ServiceAccountProvider for a Google Workspace domain"
            )
        if self.service == "microsoft" and not (self.tenant or self.token_url):
            raise ValueError("client credentials need the tenant: the directory's id or domain")

    def access_token(self, *, renew: bool, timeout: float) -> str:
        """Return an access token for the application; `renew` asks for a new one."""
        url = _token_url(self.service, self.token_url, self.tenant)
        scope = self.scope or (SERVICES[self.service].application_scope if self.service else "")
        form = {
            "grant_type": "client_credentials",
            "client_id": self.client_id,
            "client_secret": self.client_secret,
        }
        if scope:
            form["scope"] = scope
        account = tokens.account(url, self.client_id, self.username, scope, self.client_secret)

        def fetch() -> tokens.Token:
            return tokens.token_from(request_token(url, form, cafile=self.cafile, timeout=timeout))

        return account.token(fetch, renew=renew, timeout=timeout)


def _check_service(service: str, token_url: str) -> None:
    if service and service not in SERVICES:
        raise ValueError(f"no OAuth service {service!r}; there are: {', '.join(SERVICES)} (or token_url with scope)")
    if not service and not token_url:
        raise ValueError("an OAuth service is needed, or a token_url")


def _token_url(service: str, token_url: str, tenant: str) -> str:
    return token_url or SERVICES[service].token_url.replace("{tenant}", tenant)
