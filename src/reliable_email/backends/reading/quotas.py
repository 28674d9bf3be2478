"""The option `quota`: "500/day, 30 messages/minute", {"day": 500}, or False for "do not count"."""

from collections.abc import Mapping
from typing import Literal

from reliable_email.patterns import pattern
from reliable_email.providers import Quota
from reliable_email.values import ValueProblem, shown

WINDOWS = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400, "week": 604_800, "month": 2_592_000}
_WORDS = pattern(r"(\d{1,15})\s*(?:(recipients?|messages?)\s*)?(?:/|per\s)\s*([a-z]+)\Z")


def quotas(value: object) -> tuple[Quota, ...]:
    """The quotas that a person wrote, in recipients unless "messages" is said.

    Raises:
        ValueProblem: they cannot be understood.
    """
    if value is False or (isinstance(value, str) and value.strip().lower() in ("", "none", "off", "false")):
        return ()
    if isinstance(value, Quota):
        return (value,)
    if isinstance(value, str):
        return tuple(_from_words(part) for part in value.split(",") if part.strip())
    if isinstance(value, Mapping):
        return tuple(_from_words(f"{limit}/{window}") for window, limit in value.items())
    if isinstance(value, (list, tuple)):
        return tuple(quota for part in value for quota in quotas(part))
    raise _not_understood(value)


def _from_words(words: str) -> Quota:
    match = _WORDS.match(words.strip().lower())
    window = WINDOWS.get(match[3].removesuffix("s")) if match else None
    if match is None or window is None or int(match[1]) < 1:
        raise _not_understood(words)
    unit: Literal["recipients", "messages"] = "messages" if (match[2] or "").startswith("message") else "recipients"
    return Quota(window_seconds=window, limit=int(match[1]), unit=unit)


def _not_understood(value: object) -> ValueProblem:
    return ValueProblem(
        f'must be like "500/day", "30 messages/minute" or {{"day": 500}} '
        f"(windows: {', '.join(WINDOWS)}), not {shown(value)}"
    )
