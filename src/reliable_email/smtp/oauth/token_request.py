"""One request to a token endpoint (RFC 6749 §3.2, §5): HTTPS with a verified certificate, bounded, no redirects."""

import json
import ssl
from collections.abc import Mapping
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode, urlsplit
from urllib.request import HTTPRedirectHandler, HTTPSHandler, Request, build_opener

from reliable_email.smtp.failures import FailureKind, WireError, WireFailure
from reliable_email.smtp.options import TLSPolicy
from reliable_email.smtp.protocol.redaction import Redactor
from reliable_email.smtp.stages import Stage
from reliable_email.smtp.tls.contexts import TLSConfigurationError, context_for

MAX_ANSWER_BYTES = 64 * 1024
MAX_SAID_CHARACTERS = 4096
# Fields of a form that nobody may see.
_SECRETS = ("client_secret", "refresh_token", "assertion", "client_assertion", "password", "code")
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}

_WORDS = ("error", "error_description")

# By the error field of RFC 6749 §5.2.
_ADVICE = {
    "invalid_grant": "the refresh token has expired or was revoked (Google ends those of an app in testing after seven "
    "days): authorise the application again",
    "invalid_client": "client id or client secret is wrong or expired",
    "unauthorized_client": "the application may not use this kind of grant: look at its registration and its consent",
    "invalid_scope": "the application was not granted this scope",
    "access_denied": "consent was refused or withdrawn",
}
ADVICE_TO_LOOK = "look at client id, secret, tenant and scope"
ADVICE_ON_REDIRECT = "it redirects, and secrets are not sent elsewhere: is the token URL right?"


class _NoRedirects(HTTPRedirectHandler):
    """A secret goes to the endpoint that was configured and to no other."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        """None: the redirect is an error."""
        return


def request_token(url: str, form: Mapping[str, str], *, cafile: str | None, timeout: float) -> Mapping[str, Any]:
    """Post the form and return the JSON object of the answer. `timeout` is for each wait on the network.

    Raises:
        WireError: at AUTH; kind TOKEN where a person has to act, TIMEOUT or CONNECT_FAILED where waiting may help.
    """
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        raise _failed(FailureKind.TOKEN, f"the token URL {url} is not https: secrets are not sent there")
    host = parts.hostname or url
    try:
        # Chain, dates and host name are verified; rules of form are left out, as they are for the mail server under
        # ssl_strict="auto", since a proxy that inspects TLS is in the way of both.
        handler = HTTPSHandler(context=context_for(TLSPolicy(cafile=cafile), strict=False))
    except TLSConfigurationError as error:
        raise _failed(FailureKind.TOKEN, str(error).replace("ssl_cafile", "cafile")) from error
    request = Request(  # noqa: S310 - the scheme was checked above
        url,
        data=urlencode(form).encode(),
        headers={"Accept": "application/json", "Content-Type": "application/x-www-form-urlencoded"},
    )
    try:
        with build_opener(handler, _NoRedirects()).open(request, timeout=timeout) as answer:
            return _object(answer.read(MAX_ANSWER_BYTES), host)
    except HTTPError as error:
        with error:
            raise _refused(error, form, host) from None
    except (OSError, HTTPException) as error:
        raise _unreachable(error, host, timeout) from error


def _object(content: bytes, host: str) -> Mapping[str, Any]:
    answer = _read(content)
    if not isinstance(answer, dict):
        raise _failed(FailureKind.TOKEN, f"{host} did not answer with a JSON object: is the token URL right?")
    return answer


def _read(content: bytes) -> object:
    """The JSON value, None where it is none, or deeper than can be read."""
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


def _refused(error: HTTPError, form: Mapping[str, str], host: str) -> WireError:
    try:
        answer = _read(error.read(MAX_ANSWER_BYTES))
    except (OSError, HTTPException):
        answer = None
    code, words = "", ""
    if isinstance(answer, dict):
        code, words = (said if isinstance(said := answer.get(name), str) else "" for name in _WORDS)
    # Some endpoints repeat the form in their words, percent-encoded as it came. What is redacted is cut, never the
    # other way round: the first half of a secret is no longer recognised as one.
    hidden = Redactor(form[name] for name in _SECRETS if form.get(name))
    said = ": ".join(part for part in (code, words.strip().splitlines()[0] if words.strip() else "") if part)
    said = hidden.text(said[:MAX_SAID_CHARACTERS])[:300]
    if error.code == 429 or error.code >= 500:
        return _failed(
            FailureKind.CONNECT_FAILED, f"{host} has no token to give just now (HTTP {error.code}) {said}".strip()
        )
    advice = _ADVICE.get(code, ADVICE_TO_LOOK)
    if 300 <= error.code < 400:
        advice = ADVICE_ON_REDIRECT
    return _failed(
        FailureKind.TOKEN, f"{host} refuses an access token (HTTP {error.code}{', ' if said else ''}{said}); {advice}"
    )


def _unreachable(error: OSError | HTTPException, host: str, timeout: float) -> WireError:
    reason: object = error.reason if isinstance(error, URLError) else error
    if isinstance(reason, TimeoutError):
        return _failed(FailureKind.TIMEOUT, f"{host} did not answer within {timeout:.1f} s when asked for a token")
    if isinstance(reason, ssl.SSLCertVerificationError):
        return _failed(
            FailureKind.TOKEN,
            f"the certificate of {host} is refused: {reason.verify_message}; a proxy that inspects TLS needs its CA "
            f"given as cafile",
        )
    words = reason.strerror if isinstance(reason, OSError) and reason.strerror else str(reason) or type(reason).__name__
    return _failed(FailureKind.CONNECT_FAILED, f"{host} could not be reached for an access token: {words}")


def _failed(kind: FailureKind, detail: str) -> WireError:
    return WireError(WireFailure(stage=Stage.AUTH, kind=kind, detail=detail))
