"""The access tokens of this process, and nowhere else: one per account, renewed early, fetched once for all callers.

Tokens are renewed five minutes before they expire. Callers who need the same token share one request, and callers
whose token was refused together share one renewal.
"""

import hashlib
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from reliable_email.process_state import remember
from reliable_email.records import dataclass, field
from reliable_email.smtp.failures import FailureKind, WireError, WireFailure
from reliable_email.smtp.options import Credentials
from reliable_email.smtp.shared_calls import SharedCalls, TooManyCalls
from reliable_email.smtp.stages import Stage
from reliable_email.values import keeps_no_locals

RENEW_BEFORE_SECONDS = 300.0
DEFAULT_LIFETIME_SECONDS = 3600.0  # where the answer does not say (RFC 6749 §5.1)
MAX_LIFETIME_SECONDS = 366 * 86400.0


@dataclass(frozen=True, slots=True)
class Token:
    """One access token; the instants are monotonic."""

    value: str = field(repr=False)
    renew_at: float
    expires_at: float


class Account:
    """The token of one account in this process."""

    def __init__(self, key: tuple[str, ...]) -> None:
        self.refresh_token = ""  # a rotated one
        self._key = key
        self._token: Token | None = None
        self._handed_out = threading.local()

    def token(self, fetch: Callable[[], Token], *, renew: bool, timeout: float) -> str:
        """A token that has not expired; with `renew` another than the last one that this thread got.

        Raises:
            WireError: from `fetch`, or that it took too long.
        """
        now = time.monotonic()
        current = self._token
        known = current.value if current is not None else None
        refused = getattr(self._handed_out, "value", known) if renew else None
        if current is None or current.value == refused or now >= current.renew_at:
            # Renewal comes early, so that its failure may be waited out with the old token.
            is_reserve = current is not None and current.value != refused and now < current.expires_at
            current = self._fetched(fetch, current if is_reserve else None, timeout)
        self._handed_out.value = current.value
        return current.value

    def _fetched(self, fetch: Callable[[], Token], reserve: Token | None, timeout: float) -> Token:
        def keep() -> Token:
            # Kept by the one who fetches: its caller may have given up waiting, the next one need not fetch again.
            self._token = token = fetch()
            return token

        cause: Exception
        try:
            return _requests.call(self._key, keep, timeout=timeout)
        except WireError as error:
            failure, cause = error.failure, error
        except TimeoutError as error:
            failure = _failure(FailureKind.TIMEOUT, f"the token endpoint did not answer within {timeout:.1f} s")
            cause = error
        except TooManyCalls as error:
            failure, cause = _failure(FailureKind.TIMEOUT, f"no access token was asked for: {error}"), error
        if reserve is not None:
            return reserve
        raise WireError(failure) from cause  # an error of its own: the shared one has many tracebacks


_lock = threading.Lock()
_accounts: dict[tuple[str, ...], Account] = {}
_requests: SharedCalls[Token] = SharedCalls("access token")


def reset() -> None:
    """Forget every token."""
    with _lock:
        _accounts.clear()
    _requests.reset()


def account(issuer: str, client: str, user: str, scope: str, secret: str) -> Account:
    """The account that these five name together; the same object for the same ones."""
    # The secret tells accounts apart that differ in nothing else (one application, two mailboxes); as a digest,
    # so that no key can show it.
    key = issuer, client, user, scope, hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
    with _lock:
        return _accounts.setdefault(key, Account(key))


@keeps_no_locals
def access_token(credentials: Credentials, *, renew: bool, timeout: float) -> str:
    """Return a token of the credentials' provider, whose code may raise anything.

    Raises:
        WireError: at AUTH; it gave none.
    """
    provider = credentials.token_provider
    assert provider is not None
    trouble = ""
    token: object = None
    try:
        token = provider.access_token(renew=renew, timeout=timeout)
    except WireError:
        raise
    except Exception as error:  # noqa: BLE001 - anybody's code, whose words may quote a secret: its type has to do
        trouble = f"the token provider failed with {type(error).__name__}"
    if trouble:
        raise failed(FailureKind.TOKEN, trouble)
    if not isinstance(token, str) or not token.strip().isprintable() or not token.strip():
        raise failed(FailureKind.TOKEN, f"the token provider gave no access token, but {type(token).__name__}")
    return token.strip()  # as read from a file, with its line end


def token_from(answer: Mapping[str, Any]) -> Token:
    """The token in an endpoint's answer.

    Raises:
        WireError: there is none in it.
    """
    value = answer.get("access_token")
    if not isinstance(value, str) or not value or not value.isprintable():
        raise failed(FailureKind.TOKEN, "the token endpoint's answer has no access token in it")
    try:
        lifetime = float(answer.get("expires_in") or DEFAULT_LIFETIME_SECONDS)
    except (TypeError, ValueError, OverflowError):
        lifetime = DEFAULT_LIFETIME_SECONDS
    if not 0 <= lifetime <= MAX_LIFETIME_SECONDS:  # JSON may say NaN and Infinity, too
        lifetime = DEFAULT_LIFETIME_SECONDS
    now = time.monotonic()
    return Token(value, now + lifetime - min(RENEW_BEFORE_SECONDS, lifetime / 2), now + lifetime)


def _failure(kind: FailureKind, detail: str) -> WireFailure:
    return WireFailure(stage=Stage.AUTH, kind=kind, detail=detail)


def failed(kind: FailureKind, detail: str) -> WireError:
    """The error of a token that could not be had."""
    return WireError(_failure(kind, detail))


def _after_fork() -> None:
    global _lock
    _lock = threading.Lock()


remember(__name__, after_fork=_after_fork, reset=reset)
