"""English sentences of the layers below, in the language of the reader of a page.

Findings, the meanings of causes and the advice of rules are English in logs, in commands and for programs. Their texts
are in the catalogue all the same; `tools/page_texts.py` hands them to translators.
"""

from datetime import datetime

from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext, pgettext

from reliable_email.monitoring.sentences import Name, Seconds, Sentence, Sentences, Value
from reliable_email.patterns import pattern
from reliable_email.templatetags.numbers import span, thousands

_CODE = pattern(r"(`[^`]+`|(?<![\w-])--[a-z][a-z-]*)")


def in_language(text: str) -> str:
    """Return a text as the catalogue has it, or as it is."""
    if isinstance(text, Sentences):
        return " ".join(map(in_language, text.parts))
    if isinstance(text, Sentence):
        return gettext(text.template) % {name: _value(one) for name, one in text.values.items()}
    return gettext(text) if text else ""


def marked(text: str) -> SafeString:
    """Return the text for a page, marked as English where the page is not and the catalogue has nothing for it."""
    told = in_language(text)
    is_foreign = bool(told) and not is_known(text) and pgettext("the code of this language", "en") != "en"
    shown = with_code(told)
    return format_html('<span lang="en">{}</span>', shown) if is_foreign else shown


def without_stop(text: SafeString) -> SafeString:
    """Return a marked sentence without its full stop, for a page that goes on behind it."""
    return SafeString(text.removesuffix("</span>").removesuffix(".") + "</span>" * text.endswith("</span>"))


def with_code(text: str) -> SafeString:
    """Return what stands in backticks as code; an option of a command is not broken after its hyphens."""
    return format_html_join(
        "",
        "{}",
        (
            (format_html("<code>{}</code>", part.strip("`")),)
            if part.startswith("`") and len(part) > 1
            else (format_html('<span class="nowrap">{}</span>', part),)
            if part.startswith("--")
            else (part,)
            for part in _CODE.split(text)
        ),
    )


def is_known(text: str) -> bool:
    """Return whether the catalogue has each sentence of the text."""
    if isinstance(text, Sentences):
        return all(map(is_known, text.parts))
    template = text.template if isinstance(text, Sentence) else text
    return not template or gettext(template) != template


def _value(value: Value) -> str:
    if isinstance(value, datetime):
        local = timezone.localtime(value)
        return f"{date_format(local, pgettext('a date and a time', 'Y-m-d H:i'))} {local.tzname()}"
    if isinstance(value, Seconds):
        return span(value)
    if isinstance(value, int):
        return thousands(value)
    if isinstance(value, Name):
        return in_language(value.replace("_", " "))
    return in_language(value) if isinstance(value, Sentence) else str(value)
