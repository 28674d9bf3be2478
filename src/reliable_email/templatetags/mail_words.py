"""Words on the pages for durations, instants and other people's text."""

from datetime import datetime

from django import template
from django.template.defaultfilters import floatformat
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext, pgettext

from reliable_email import conf
from reliable_email.monitoring.sentences import Sentence
from reliable_email.outbox.operations.holds import Hold
from reliable_email.store.sql.bounded import BoundedCount
from reliable_email.templatetags.details import evidence_in_words, in_own_words
from reliable_email.templatetags.languages import in_language, marked, with_code, without_stop
from reliable_email.templatetags.numbers import decimal, span, thousands
from reliable_email.templatetags.words import WORDS, verb_words
from reliable_email.values import masked, printable

register = template.Library()
register.filter(span)
register.filter(thousands)
register.filter("own", in_own_words)
register.filter(without_stop)
register.filter("evidence", evidence_in_words)


@register.filter
def milliseconds(value: float) -> str:
    """A short duration: "85 ms", "1.2 s"; "longer" for one without an end."""
    if value == float("inf"):
        return gettext("longer")
    return f"{value * 1000:.0f} ms" if value < 1 else f"{decimal(value, least=1)} s" if value < 60 else span(value)


@register.filter
def recipients(number: int | BoundedCount) -> str:
    """Return a number of recipients in words."""
    words = ngettext("%(count)s recipient", "%(count)s recipients", _exactly(number))
    return words % {"count": thousands(number)}


@register.filter
def percent(share: float) -> str:
    """Return a percentage with one decimal; a little is never told as nothing."""
    return f"< {floatformat(0.1, 1)}" if 0 < share < 0.05 else str(floatformat(share, 1))


@register.filter
def attempts(number: int) -> str:
    """Return a number of attempts in words."""
    return ngettext("%(count)s attempt", "%(count)s attempts", number) % {"count": thousands(number)}


@register.filter
def messages(number: int) -> str:
    """Return a number of messages in words."""
    return ngettext("%(count)s message", "%(count)s messages", number) % {"count": thousands(number)}


@register.filter
def word(value: object) -> str:
    """A state, outcome, priority or verdict, in the reader's language."""
    name = str(value or "")
    return str(WORDS.get(name, name))


@register.filter
def told(text: object) -> SafeString:
    """Translate a text of the layers below into the reader's language."""
    if isinstance(text, Sentence):
        text = _with_values_in_language(text)
    if type(text) is str and (known := in_own_words(text)) != text:
        return with_code(known)
    return marked(text if isinstance(text, str) else str(text or ""))


@register.filter
def asks(text: object) -> bool:
    """Return whether a text ends with a question, which needs no full stop."""
    return str(text).endswith("?")


@register.filter
def which(hold: Hold) -> str:
    """Return the mail that a hold on new mail stops."""
    named = (
        (gettext("mailer"), hold.mailer),
        (gettext("account"), hold.account),
        (gettext("stream"), hold.stream),
        (gettext("priority"), word(hold.priority.priority.value) if hold.priority is not None else ""),
    )
    return said(", ".join(f"{label} {value}" for label, value in named if value)) or gettext("all mail")


@register.filter
def verb(value: object) -> str:
    """Return the words for an act in the reader's language."""
    return verb_words(str(value or ""))


@register.filter
def unlocalized(number: float) -> str:
    """A number for SVG, whatever the site's language makes of decimal points."""
    return f"{number:g}"


@register.filter
def clock(moment: datetime) -> str:
    """Hour and minute on the site's clock."""
    return timezone.localtime(aware(moment)).strftime("%H:%M")


@register.filter
def said(text: object) -> str:
    """Return another person's text without control characters, with addresses masked if the site wants that."""
    words = printable(str(text or ""))
    return masked(words) if conf.get().mask_addresses else words


@register.filter
def plain(word: object) -> str:
    """A word of a closed set for people: "mailbox full"; its name is in links, filters and logs."""
    return in_language(str(word or "").replace("_", " "))


@register.filter
def rungs(text: object) -> str:
    """The stages of a probe, each with whether it went well: "connect ok, tls failed"."""
    words = {"ok": gettext("ok"), "failed": gettext("failed")}
    steps = (step.rpartition(" ") for step in str(text).split(", "))
    return ", ".join(f"{plain(stage)} {words.get(end, end)}" for stage, _space, end in steps)


@register.simple_tag
def ago(moment: datetime | None, now: datetime) -> SafeString | str:
    """An instant as seen from now, its date and time behind it."""
    if moment is None:
        return ""
    moment, now = aware(moment), aware(now)
    seconds = (now - moment).total_seconds()
    if seconds < -1:
        words = gettext("in %(time)s") % {"time": span(-seconds)}
    elif seconds < 1:
        words = gettext("just now")
    else:
        words = gettext("%(time)s ago") % {"time": span(seconds)}
    local = timezone.localtime(moment)
    return format_html(
        '<time datetime="{}" title="{}">{}</time>', local.isoformat(timespec="seconds"), _full(local), words
    )


@register.simple_tag
def span_since(moment: datetime, now: datetime) -> SafeString:
    """Return the time for which something has been so."""
    return format_html(
        '<time datetime="{}" title="{} {}">{}</time>',
        aware(moment).isoformat(timespec="seconds"),
        gettext("since"),
        _full(timezone.localtime(aware(moment))),
        span(aware(now) - aware(moment)),
    )


@register.simple_tag
def at(moment: datetime | None, now: datetime) -> SafeString | str:
    """An instant by the clock, with its date where that is not today's."""
    if moment is None:
        return ""
    local, today = timezone.localtime(aware(moment)), timezone.localtime(aware(now)).date()
    words = date_format(local, "H:i:s" if local.date() == today else pgettext("a date and a time", "Y-m-d H:i"))
    return format_html(
        '<time datetime="{}" title="{}">{}</time>', local.isoformat(timespec="seconds"), _full(local), words
    )


def _full(local: datetime) -> str:
    words = pgettext("a date and a time", "Y-m-d H:i:s")
    return f"{date_format(local, words)} {local.tzname()}"


def _exactly(number: int | BoundedCount) -> int:
    return number.count if isinstance(number, BoundedCount) else number


def aware(moment: datetime) -> datetime:
    """Return an instant with its time zone, which a site without USE_TZ leaves out."""
    return timezone.make_aware(moment) if timezone.is_naive(moment) else moment


def _with_values_in_language(text: Sentence) -> Sentence:
    """Translate what a sentence quotes of the layers below: an error, the evidence of a route, another sentence."""
    values = dict(text.values)
    for name, value in text.values.items():
        if isinstance(value, Sentence):
            values[name] = _with_values_in_language(value)
        elif name == "error":
            values[name] = in_own_words(str(value))
        elif name == "evidence":
            values[name] = evidence_in_words(str(value))
    return Sentence(text.template, **values)
