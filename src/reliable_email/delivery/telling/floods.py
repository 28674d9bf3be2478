"""Floods of repeated messages: one in a window is sent, and the next one tells how many were suppressed.

Pure: time comes in as an argument. Alike is what a person would call the same error: numbers, addresses of memory and
quoted values do not count.
"""

from typing import Final

from reliable_email.patterns import pattern
from reliable_email.records import dataclass, replace

_VARYING: Final = pattern(r"0x[0-9a-fA-F]+|\d+|'[^']*'|\"[^\"]*\"")
_KEPT_CHARACTERS: Final = 200
FIRST_PAUSE_SECONDS: Final = 5.0
MAX_PAUSE_SECONDS: Final = 300.0
MAX_FINGERPRINTS: Final = 1000
MAX_MAILS_A_WINDOW: Final = 20


def fingerprint(subject: str) -> str:
    """Return the part of a subject that repeated messages have in common."""
    return _VARYING.sub("#", subject)[:_KEPT_CHARACTERS]


@dataclass(frozen=True, slots=True, kw_only=True)
class Flood:
    """One fingerprint's: when its last message went out, and how many were held back since."""

    sent_at: float
    held_back: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """The mails of one window over all fingerprints: two thousand errors that all differ are a flood, too."""

    began_at: float
    sent: int = 0
    held_back: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """The pause after a failure, in which nothing is tried, so that a dead server costs no time.

    Attributes:
        until: when it may be tried again.
        failures: in a row; each doubles the pause.
    """

    until: float = 0.0
    failures: int = 0


def passes(flood: Flood | None, *, now: float, window_seconds: float) -> bool:
    """Return whether a message with this fingerprint is sent now."""
    return flood is None or now - flood.sent_at >= window_seconds


def has_room(bucket: Bucket | None, *, now: float, window_seconds: float) -> bool:
    """Return whether one more mail of any kind is sent now."""
    return bucket is None or bucket.sent < MAX_MAILS_A_WINDOW or now - bucket.began_at >= window_seconds


def with_one_more(bucket: Bucket | None, *, now: float, window_seconds: float) -> tuple[Bucket, int]:
    """Count a mail; the number of those that were held back in the window before, if this one begins another."""
    if bucket is None or now - bucket.began_at >= window_seconds:
        return Bucket(began_at=now, sent=1), bucket.held_back if bucket is not None else 0
    return replace(bucket, sent=bucket.sent + 1), 0


def held_back(flood: Flood) -> Flood:
    """Count one more suppressed message."""
    return replace(flood, held_back=flood.held_back + 1)


def after_failure(pause: Pause, *, now: float) -> Pause:
    """Return a pause twice as long as the last one, up to a maximum."""
    seconds = min(FIRST_PAUSE_SECONDS * 2.0**pause.failures, MAX_PAUSE_SECONDS)
    return Pause(until=now + seconds, failures=pause.failures + 1)
