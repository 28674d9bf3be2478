"""Words on the pages for durations, instants and other people's text."""

from datetime import datetime, timedelta

from django import template
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.safestring import SafeString

from reliable_email import conf
from reliable_email.values import masked, printable

register = template.Library()

_UNITS = ((86400, "d"), (3600, "h"), (60, "min"))


@register.filter
def span(value: float | timedelta | None) -> str:
    """A duration in its largest unit: "3.5 h"."""
    if value is None:
        return ""
    seconds = value.total_seconds() if isinstance(value, timedelta) else float(value)
    for size, unit in _UNITS:
        if seconds >= size:
            return f"{seconds / size:.1f}".removesuffix(".0") + f" {unit}"
    return f"{max(seconds, 0):.0f} s"


@register.filter
def milliseconds(value: float) -> str:
    """A short duration: "85 ms", "1.2 s"; "longer" for one without an end."""
    if value == float("inf"):
        return "longer"
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.1f} s" if value < 60 else span(value)


@register.filter
def thousands(number: int) -> str:
    """A count with its thousands apart."""
    return f"{number:,}"


@register.filter
def unlocalized(number: float) -> str:
    """A number for SVG, whatever the site's language makes of decimal points."""
    return f"{number:g}"


@register.filter
def clock(moment: datetime) -> str:
    """Hour and minute on the site's clock."""
    return timezone.localtime(_aware(moment)).strftime("%H:%M")


@register.filter
def said(text: object) -> str:
    """Return another person's text without control characters, with addresses masked if the site wants that."""
    words = printable(str(text or ""))
    return masked(words) if conf.get().mask_addresses else words


@register.filter
def plain(word: object) -> str:
    """A word of a closed set for people: "mailbox full"."""
    return str(word or "").replace("_", " ")


@register.simple_tag
def ago(moment: datetime | None, now: datetime) -> SafeString | str:
    """An instant as seen from now, its date and time behind it."""
    if moment is None:
        return ""
    moment, now = _aware(moment), _aware(now)
    seconds = (now - moment).total_seconds()
    words = f"in {span(-seconds)}" if seconds < -1 else "just now" if seconds < 1 else f"{span(seconds)} ago"
    local = timezone.localtime(moment)
    return format_html(
        '<time datetime="{}" title="{}">{}</time>', local.isoformat(timespec="seconds"), _full(local), words
    )


@register.simple_tag
def span_since(moment: datetime, now: datetime) -> SafeString:
    """Return the time for which something has been so."""
    return format_html(
        '<time datetime="{}" title="since {}">{}</time>',
        _aware(moment).isoformat(timespec="seconds"),
        _full(timezone.localtime(_aware(moment))),
        span(_aware(now) - _aware(moment)),
    )


@register.simple_tag
def at(moment: datetime | None, now: datetime) -> SafeString | str:
    """An instant by the clock, with its date where that is not today's."""
    if moment is None:
        return ""
    local, today = timezone.localtime(_aware(moment)), timezone.localtime(_aware(now)).date()
    words = local.strftime("%H:%M:%S" if local.date() == today else "%Y-%m-%d %H:%M")
    return format_html(
        '<time datetime="{}" title="{}">{}</time>', local.isoformat(timespec="seconds"), _full(local), words
    )


def _full(local: datetime) -> str:
    return f"{date_format(local, 'Y-m-d H:i:s')} {local.tzname()}"


def _aware(moment: datetime) -> datetime:
    return timezone.make_aware(moment) if timezone.is_naive(moment) else moment
