"""Token providers that sign an assertion with a key of their own: by google-auth and msal, the extra [oauth]."""

from pathlib import Path

from reliable_email.records import dataclass
from reliable_email.smtp.failures import FailureKind, WireError
from reliable_email.smtp.oauth import access_tokens as tokens
from reliable_email.smtp.oauth.grants import SERVICES
from reliable_email.values import is_content


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceAccountProvider:
    """Access tokens for a mailbox of a Google Workspace domain, by a service account with domain-wide delegation.

    Needs `google-auth` (pip install "django-reliable-email[oauth]").

    Attributes:
        key_file: the JSON key of the service account.
        username: the mailbox to send as.
        scope: the scope; the domain's administrator must have delegated it.
    """

    key_file: str
    username: str
    scope: str = "https://mail.google.com/"

    def __post_init__(self) -> None:
        _refuse_content(self.key_file)

    def access_token(self, *, renew: bool, timeout: float) -> str:
        """Return an access token for the mailbox; `renew` asks for a new one."""
        try:
            from google.auth import exceptions
            from google.auth.transport.requests import Request
            from google.oauth2 import service_account
        except ImportError as error:
            raise _missing("google-auth and requests", error) from error

        def fetch() -> tokens.Token:
            try:
                credentials = service_account.Credentials.from_service_account_file(  # type: ignore[no-untyped-call]
                    self.key_file, scopes=[self.scope], subject=self.username
                )
                credentials.refresh(Request())
            except exceptions.TransportError as error:
                raise tokens.failed(
                    FailureKind.CONNECT_FAILED, "the token endpoint of Google could not be reached"
                ) from error
            except (exceptions.GoogleAuthError, OSError, ValueError) as error:
                # The text may quote the key file; its type says enough.
                raise tokens.failed(
                    FailureKind.TOKEN,
                    f"the service account of {self.key_file} gives no token for {self.username} "
                    f"({type(error).__name__}): check the file, and the scope {self.scope} in the domain's delegation",
                ) from None
            return tokens.token_from({"access_token": credentials.token})

        return tokens.account("google-auth", self.key_file, self.username, self.scope, "").token(
            fetch, renew=renew, timeout=timeout
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateProvider:
    """Access tokens for an application of Microsoft 365 that logs in by a certificate instead of a secret.

    Needs `msal` (pip install "django-reliable-email[oauth]").

    Attributes:
        client_id, tenant: the application's id, the directory's id or domain.
        key_file: the private key, PEM.
        thumbprint: the certificate's SHA-1 thumbprint, as the portal shows it.
        username: the mailbox, used only to keep accounts apart.
    """

    client_id: str
    tenant: str
    key_file: str
    thumbprint: str
    username: str = ""
    scope: str = SERVICES["microsoft"].application_scope

    def __post_init__(self) -> None:
        _refuse_content(self.key_file)

    def access_token(self, *, renew: bool, timeout: float) -> str:
        """Return an access token for the application; `renew` asks for a new one."""
        try:
            import msal
        except ImportError as error:
            raise _missing("msal", error) from error

        def fetch() -> tokens.Token:
            try:
                key = Path(self.key_file).read_text(encoding="ascii")
                credential = {"private_key": key, "thumbprint": self.thumbprint}
                application = msal.ConfidentialClientApplication(
                    self.client_id,
                    authority=f"https://login.microsoftonline.com/{self.tenant}",
                    client_credential=credential,
                    timeout=timeout,
                )
                answer = application.acquire_token_for_client(scopes=[self.scope])
            except ValueError as error:
                raise tokens.failed(
                    FailureKind.TOKEN,
                    f"the certificate of {self.key_file} cannot be used for a token ({type(error).__name__}): "
                    f"check key, thumbprint and tenant",
                ) from None
            except OSError as error:  # of the file, and of requests, whose errors are OSErrors
                is_file = error.filename == self.key_file
                raise tokens.failed(
                    FailureKind.TOKEN if is_file else FailureKind.CONNECT_FAILED,
                    f"{self.key_file} cannot be read: {error.strerror}"
                    if is_file
                    else "the token endpoint of Microsoft could not be reached",
                ) from None
            if "access_token" not in answer:
                words = str(answer.get("error_description") or answer.get("error") or "no reason given")
                raise tokens.failed(FailureKind.TOKEN, f"Microsoft gives no token: {words.splitlines()[0][:300]}")
            return tokens.token_from(answer)

        return tokens.account("msal", self.client_id, self.username, self.scope, self.thumbprint).token(
            fetch, renew=renew, timeout=timeout
        )


def _refuse_content(key_file: str) -> None:
    """A key itself would be shown wherever the file's name is."""
    if is_content(key_file):
        raise ValueError("key_file must be the path of a file, not its content")


def _missing(package: str, error: ImportError) -> WireError:
    return tokens.failed(
        FailureKind.TOKEN, f"{package} is not installed ({error.name}): pip install 'django-reliable-email[oauth]'"
    )
