"""Sentences about the site's mail: English for programs and logs, and in their reader's language on a page.

A `Sentence` is a `str`, its English words. It remembers the template and the values that it was made of, so that a page
can look the template up in a catalogue and write numbers and times as its language does.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Self, TypeAlias

from reliable_email.values import masked

Value: TypeAlias = str | int | float | datetime


class Name(str):
    """A name of a closed set, such as a cause: the same for all programs; on a page, its words."""


class Seconds(float):
    """A duration, told in its largest unit."""

    def __str__(self) -> str:
        """Return it in English: "3.5 h"."""
        for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
            if self >= size:
                return f"{self / size:.1f} {unit}"
        return f"{max(self, 0.0):.0f} s"


class Sentence(str):
    """A sentence with values in it.

    Attributes:
        template: in English, marked for translation, with places like `%(name)s`.
        values: what stands in them.
    """

    template: str
    values: Mapping[str, Value]

    def __new__(cls, template: str, **values: Value) -> Self:
        """Make the sentence in English."""
        self = super().__new__(cls, template % {name: _english(value) for name, value in values.items()})
        self.template, self.values = template, values
        return self


class Sentences(str):
    """Several sentences in a row.

    Attributes:
        parts: each by itself, since each is translated by itself.
    """

    parts: tuple[str, ...]

    def __new__(cls, *parts: str) -> Self:
        """Join them in English; what is empty is left out."""
        kept = tuple(filter(None, parts))
        self = super().__new__(cls, " ".join(kept))
        self.parts = kept
        return self


def without_addresses(text: str) -> str:
    """The same text with addresses masked: those of a sentence stand in its values."""
    if isinstance(text, Sentence):
        values = {name: masked(value) if isinstance(value, str) else value for name, value in text.values.items()}
        return Sentence(text.template, **values)
    return masked(text)


def _english(value: Value) -> str:
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    if isinstance(value, int):
        return f"{value:,}"
    return str(value)
