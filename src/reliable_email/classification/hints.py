"""The time to come back, in the server's words: "in 300 seconds", "after Mon, 25 Aug 2025 07:00:31 UTC", "per hour".

Only numbers that the sentence ties to trying again count; a server that mentions 24 hours of history asks for nothing.
"""

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from reliable_email.patterns import pattern

MAX_WAIT_SECONDS = 7 * 86400.0  # a longer wait is a mistake or an attack, and no reason to sit on a message
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
# A stem that every wording has; looked for before any pattern is tried.
_STEMS = ("again", "retry", "wait", "come back", "delay", "expires", "expire", "after", "per ", "hourly", "daily")

_DELAY = pattern(
    r"(?:again|retry(?:ing)?|wait|come back|delay(?:ed)?|expires?|resend|resume)\b[^.\d]{0,40}?"
    r"(?P<number>\d{1,6}) ?(?P<unit>second|sec|minute|min|hour|hr|day|s\b|m\b|h\b)"
)
_CLOCK = pattern(r"(?:again|retry|wait|delay)[^.\d]{0,40}?(?P<hours>\d{1,2}):(?P<minutes>\d\d):(?P<seconds>\d\d)\b")
_NUMBER_WORD = pattern(r"(?:again|retry|wait)[^.\d]{0,40}?\b(?:a|an|one|few|several|some) (?P<unit>minute|hour|day)")
_RFC_DATE = pattern(r"(?:mon|tue|wed|thu|fri|sat|sun), \d{1,2} [a-z]{3} \d{4} \d\d:\d\d:\d\d (?:utc|gmt|[+-]\d{4})")
_ISO_DATE = pattern(
    r"(?:after|until|at) (?P<date>\d{4}-\d\d-\d\d[t ]\d\d:\d\d(?::\d\d)?(?:\.\d{1,6})?"
    r"(?:z|[+-]\d\d:?\d\d| ?utc| ?gmt)?)"
)
_WINDOWS = {"second": 1.0, "minute": 60.0, "hour": 3600.0, "day": 86400.0}
_IMPLIED = {"hourly": 3600.0, "daily": 86400.0, "today": 86400.0}


def retry_hint(text: str, *, now: datetime | None = None) -> tuple[float | None, datetime | None]:
    """(seconds, moment) that a reply's text asks to wait; (None, None) where it asks for nothing.

    Both are at most seven days away. A moment is aware; without `now` nobody can say how far away it is, so that a text
    that names one asks for nothing then.
    """
    text = text[:2048].lower()
    for stem in _STEMS:
        if stem in text:
            break
    else:
        return None, None
    moment = _moment(text)
    if moment is None:
        return _delay(text), None
    return (None, None) if now is None else _bounded(moment, now)


def window_hint(text: str) -> float | None:
    """The window in seconds of a limit that the text names: 3600.0 for "messages per hour"."""
    text = text[:2048].lower()
    for word, seconds in _WINDOWS.items():
        if word in text and any(before + word in text for before in ("per ", "/", "this ", "an ", "a ")):
            return seconds
    for word, seconds in _IMPLIED.items():
        if word in text:
            return seconds
    return None


def _bounded(moment: datetime, now: datetime) -> tuple[float, datetime]:
    latest = now + timedelta(seconds=MAX_WAIT_SECONDS)
    try:
        seconds = (moment - now).total_seconds()
    except OverflowError:  # within a day of year 1 or of year 9999, by its time zone
        seconds = MAX_WAIT_SECONDS if moment.year > now.year else 0.0
    if seconds >= MAX_WAIT_SECONDS:
        return MAX_WAIT_SECONDS, latest
    return max(seconds, 0.0), moment


def _delay(text: str) -> float | None:
    match = _DELAY.search(text)
    if match is not None:
        return min(int(match["number"]) * _UNITS[match["unit"][0]], MAX_WAIT_SECONDS)
    match = _CLOCK.search(text)
    if match is not None:
        waits = int(match["hours"]) * 3600 + int(match["minutes"]) * 60 + int(match["seconds"])
        return min(float(waits), MAX_WAIT_SECONDS)
    match = _NUMBER_WORD.search(text)
    return None if match is None else _UNITS[match["unit"][0]]


def _moment(text: str) -> datetime | None:
    match = _RFC_DATE.search(text)
    if match is not None:
        try:
            found = parsedate_to_datetime(match[0])
        except (ValueError, OverflowError):
            return None
        return found if found.tzinfo is not None else found.replace(tzinfo=UTC)
    match = _ISO_DATE.search(text)
    if match is None:
        return None
    spelled = match["date"].upper().replace("UTC", "Z").replace("GMT", "Z").replace(" Z", "Z").replace(" ", "T")
    try:
        found = datetime.fromisoformat(spelled)
    except ValueError:
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)
