"""A person's address inside other words: reasons of acts, evidence of routes. It is taken out, the words stay."""

import re
from collections.abc import Iterable
from typing import Any

from django.db.models import Model

from reliable_email.smtp.syntax.paths import older_spellings
from reliable_email.store.questions.filters import stored_spellings
from reliable_email.store.questions.personal import Role, columns, models_with
from reliable_email.store.tables.shared import RouteState, Suppression

ERASED_WORD = "(erased)"
# Before and behind an address none of these may stand: ann@example.com is not in joann@example.com.
_BEFORE, _BEHIND = r"(?<![\w.%+-])", r"(?![\w-]|\.\w)"


class Names:
    """The ways in which texts may name some addresses."""

    def __init__(self, addresses: Iterable[str]) -> None:
        spelled = {one for address in addresses for one in (*stored_spellings(address), *older_spellings(address))}
        self.spelled = frozenset(one for one in spelled if one)
        words = "|".join(re.escape(one) for one in sorted(self.spelled, key=len, reverse=True))
        self._pattern = re.compile(f"{_BEFORE}(?:{words}){_BEHIND}", re.IGNORECASE) if words else re.compile(r"(?!)")

    def are_in(self, text: str) -> bool:
        """Return whether it names one of them."""
        return self._pattern.search(text) is not None

    def without(self, text: str, instead: str = ERASED_WORD) -> str:
        """The text without them."""
        return self._pattern.sub(instead, text)

    def without_any(self, value: Any, instead: str = ERASED_WORD) -> Any:
        """Take mentions out of all text inside a value that becomes JSON."""
        if isinstance(value, str):
            return self.without(value, instead)
        if isinstance(value, dict):
            return {self.without(key, instead): self.without_any(one, instead) for key, one in value.items()}
        if isinstance(value, list):
            return [self.without_any(one, instead) for one in value]
        return value


def mentions(alias: str, names: Names) -> Iterable[tuple[Model, str, Any]]:
    """Rows whose words name one of them, with the column and what stands there."""
    for model in models_with(Role.WORDS):
        rows = model._base_manager.using(alias).order_by("pk")
        if model is Suppression:  # the only long one; its reasons are short words that people and providers gave
            rows = rows.filter(reason__contains="@") | rows.filter(source__contains="@")
        for row in rows.iterator():
            for column in columns(model, Role.WORDS):
                value = getattr(row, column)
                if names.without_any(value) != value:
                    yield row, column, value


def redact_everywhere(alias: str, names: Names) -> int:
    """Take the addresses out of all words that are not about one message; how many rows that changed."""
    count = 0
    for row, column, value in list(mentions(alias, names)):
        rows: Any = type(row)._base_manager.using(alias).filter(pk=row.pk)
        changed: dict[str, Any] = {column: names.without_any(value)}
        if isinstance(row, RouteState):  # others change it, too
            rows = rows.filter(version=row.version)
            changed["version"] = row.version + 1
        count += rows.update(**changed)
    return count
