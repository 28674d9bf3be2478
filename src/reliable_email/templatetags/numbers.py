"""Numbers and durations as the reader's language writes them."""

from datetime import timedelta

from django.utils.formats import get_format, number_format

from reliable_email.store.sql.bounded import BoundedCount

_UNITS = ((86400, "d"), (3600, "h"), (60, "min"))


def span(value: float | timedelta | None) -> str:
    """A duration in its largest unit: "3.5 h"."""
    if value is None:
        return ""
    seconds = value.total_seconds() if isinstance(value, timedelta) else float(value)
    for size, unit in _UNITS:
        if seconds >= size:
            return f"{decimal(seconds / size)} {unit}"
    return f"{max(seconds, 0):.0f} s"


def thousands(number: int | BoundedCount) -> str:
    """A count with its thousands apart, as the reader's language writes it."""
    if isinstance(number, BoundedCount):
        return f"{thousands(number.count)}{'+' if number.is_more else ''}"
    if not get_format("NUMBER_GROUPING"):  # a site without USE_I18N
        return f"{number:,}"
    return number_format(number, force_grouping=True)


def decimal(number: float, *, least: int = 0) -> str:
    """Return the number with at most one decimal, and at least `least`."""
    text = f"{number:.1f}"
    if not least:
        text = text.removesuffix(".0")
    return text.replace(".", str(get_format("DECIMAL_SEPARATOR")))
