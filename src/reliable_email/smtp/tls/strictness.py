"""The decision whether RFC 5280's rules of form are demanded of a certificate, and what was learned about that.

Python 3.13 made them the default, and many private CAs break one ("Basic Constraints of CA cert not marked critical").
Under "auto" they are demanded first. Where only they fail, the handshake is repeated without them: chain, dates, host
name, purpose and key size are verified as ever, and where one of those fails too, that second error is the true one
(a rule of form can hide it). What was learned holds for one host and port, for an hour; the warning comes once.
"""

import logging
import threading

from reliable_email.process_state import remember
from reliable_email.smtp.failures import FailureKind, WireError
from reliable_email.smtp.options import TLSPolicy
from reliable_email.smtp.tls.form_rules import FORM_CODES

logger = logging.getLogger("reliable_email.smtp")

HELD_SECONDS = 3600.0

_Target = tuple[str, int]

_lock = threading.Lock()
_suspected: dict[_Target, tuple[int, str]] = {}
_learned: dict[_Target, tuple[str, float]] = {}
_warned: set[_Target] = set()


def strictness(policy: TLSPolicy, host: str, port: int, now: float) -> bool:
    """Return whether the next handshake demands the rules of form. `now` is a monotonic instant."""
    if policy.strict != "auto":
        return policy.strict
    return learned_defect(host, port, now) is None


def may_relax(error: WireError, policy: TLSPolicy) -> bool:
    """Return whether another handshake without the rules of form is allowed after this failure, and may succeed."""
    failure = error.failure
    return (
        policy.strict == "auto"
        and policy.verify
        and failure.kind is FailureKind.TLS_VERIFICATION
        and failure.verify_code in FORM_CODES
    )


def learned_defect(host: str, port: int, now: float) -> str | None:
    """The defect for which this host's certificate is accepted without the rules of form, while that holds."""
    defect, learned_at = _learned.get((host, port), ("", 0.0))
    return defect if defect and now - learned_at < HELD_SECONDS else None


def suspect(host: str, port: int, code: int, words: str) -> None:
    """Note which rule a strict handshake found broken, by OpenSSL's number and words; nothing is relaxed by it."""
    with _lock:
        _suspected[host, port] = code, words


def suspected_defect(host: str, port: int) -> tuple[int, str]:
    """Return the defect that the last strict handshake found; (0, "") if none."""
    return _suspected.get((host, port), (0, ""))


def remember_relaxation(host: str, port: int, defect: str, now: float) -> None:
    """Skip the rules of form for an hour: a handshake without them has passed. Warns the first time."""
    target = host, port
    with _lock:
        if learned_defect(host, port, now) is not None:
            return
        _suspected.pop(target, None)
        _learned[target] = defect, now
        is_news = target not in _warned
        _warned.add(target)
    if is_news:
        logger.warning(
            "The certificate of %s:%s breaks a rule of form (%s). Chain, dates and host name were verified, "
            "so it is accepted. Have it reissued; until then ssl_strict=False accepts it without this warning, "
            "ssl_strict=True refuses it.",
            host,
            port,
            defect,
        )


def reset() -> None:
    """Forget everything, warnings included."""
    with _lock:
        _suspected.clear()
        _learned.clear()
        _warned.clear()


def _after_fork() -> None:
    global _lock
    _lock = threading.Lock()


remember(__name__, after_fork=_after_fork, reset=reset)
