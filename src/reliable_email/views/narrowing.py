"""The search form of the message list: what its fields say, and the same in a link."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from django.http import QueryDict
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from reliable_email.backends.routes import all_mailers
from reliable_email.classification import Cause
from reliable_email.delivery.words import Priority
from reliable_email.patterns import pattern
from reliable_email.records import dataclass
from reliable_email.store.questions.filters import Filter
from reliable_email.store.questions.search import Field, Search
from reliable_email.store.tables.states import OWN_CAUSES, PriorityRank, State
from reliable_email.templatetags.languages import in_language
from reliable_email.templatetags.words import WORDS
from reliable_email.values import printable

AGES = (
    ("", _("any time")),
    ("last-1h", _("in the last hour")),
    ("last-1d", _("in the last day")),
    ("last-7d", _("in the last 7 days")),
    ("before-1h", _("more than an hour ago")),
    ("before-1d", _("more than a day ago")),
    ("before-3d", _("more than 3 days ago")),
)
FIELDS = (
    (Field.ANYTHING.value, _("anything")),
    (Field.RECIPIENT.value, _("recipient")),
    (Field.MESSAGE_ID.value, _("Message-ID")),
    (Field.SUBJECT.value, _("subject")),
)
_AGE = pattern(r"(last|before)-(\d{1,4})([mhd])\Z")
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}
_MANY = ("state", "cause", "route", "mailer", "priority", "account", "stream")
_ONE = ("q", "in", "age", "sender")
_MAX_CHARACTERS = 998
_CLOSED = {
    "state": frozenset(one.value for one in State),
    "priority": frozenset(one.value for one in Priority),
    "in": frozenset(one.value for one in Field),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Narrowing:
    """The form as it was sent.

    Attributes:
        pairs: names and values that are not empty, in the form's order: for links and hidden fields.
        misread: those that no list has, such as a state that does not exist. The list says so, and no act on all that
            match is made: it would change more than was meant.
    """

    search: Search
    pairs: tuple[tuple[str, str], ...]
    misread: tuple[tuple[str, str], ...] = ()

    @property
    def query(self) -> str:
        """The query of a link, without the place in the list."""
        query = QueryDict(mutable=True)
        for name, value in self.pairs:
            query.appendlist(name, value)
        return query.urlencode()

    @property
    def values(self) -> dict[str, Any]:
        """The value of each field."""
        return {name: self._first(name) for name in (*_ONE, *_MANY)}

    def _first(self, name: str) -> str:
        return next((value for key, value in self.pairs if key == name), "")


def read(query: QueryDict) -> Narrowing:
    """Parse a query; values that are not understood are left out, and named."""
    pairs = []
    for name in (*_ONE, *_MANY):
        values = query.getlist(name) if name in _MANY else [query.get(name, "")]
        pairs += [(name, value.strip()[:_MAX_CHARACTERS]) for value in values if value.strip()]
    known = [(name, value) for name, value in pairs if _is_known(name, value)]

    def all_of(name: str) -> tuple[str, ...]:
        return tuple(value for key, value in known if key == name)

    newer, older = _instants(next(iter(all_of("age")), ""))
    field = next(iter(all_of("in")), "")
    chosen = Filter(
        states=all_of("state"),
        causes=all_of("cause"),
        routes=all_of("route"),
        mailers=all_of("mailer"),
        priorities=tuple(PriorityRank.of(Priority(one)).value for one in all_of("priority")),
        accounts=all_of("account"),
        streams=all_of("stream"),
        sender=next(iter(all_of("sender")), ""),
        newer_than=newer,
        older_than=older,
    )
    before = query.get("before", "")
    search = Search(
        text=next(iter(all_of("q")), ""),
        field=Field(field) if field else Field.ANYTHING,
        chosen=chosen,
        before=int(before) if before.isdecimal() and len(before) < 19 else None,
    )
    misread = tuple(one for one in pairs if one not in known)
    return Narrowing(search=search, pairs=tuple(known), misread=misread)


def _is_known(name: str, value: str) -> bool:
    if "\0" in value:  # PostgreSQL has no such text
        return False
    if name == "age":
        return _AGE.match(value) is not None
    return name not in _CLOSED or value in _CLOSED[name]


LABELS = (
    ("in", _("In")),
    ("state", _("State")),
    ("cause", _("Cause")),
    ("route", _("Route")),
    ("mailer", _("Mailer")),
    ("priority", _("Priority")),
    ("age", _("Queued")),
)
# Of these there may be thousands, so that they are written, not chosen. Account and stream are offered where a link
# names one: no message has any before accounts and streams are built.
WRITTEN = (
    ("sender", _("Sender")),
    ("account", _("Account")),
    ("stream", _("Stream")),
)


def told(narrowing: Narrowing) -> tuple[tuple[str, str], ...]:
    """Return the conditions of the form in words."""
    labels = {"q": gettext("Search"), **dict(LABELS), **dict(WRITTEN)}
    words: dict[str, Mapping[str, Any]] = {
        "age": dict(AGES),
        "in": dict(FIELDS),
        "cause": dict(_named(value for _, value in narrowing.pairs)),
    }
    return tuple(
        (str(labels[name]), printable(str(words.get(name, WORDS if name in _CLOSED else {}).get(value, value))))
        for name, value in narrowing.pairs
    )


def of_misread(narrowing: Narrowing) -> str:
    """Return a sentence about the conditions that were left out; "" if there are none."""
    if not narrowing.misread:
        return ""
    left_out = printable(", ".join(f"{name}={value}" for name, value in narrowing.misread))
    return gettext("The search has conditions that do not exist: %(conditions)s.") % {"conditions": left_out}


def choices(narrowing: Narrowing) -> dict[str, list[tuple[str, Any]]]:
    """Return the choices of each list of the form; the chosen one is always among them."""
    shown = narrowing.values
    mailers = all_mailers()
    return {
        "in": list(FIELDS),
        "age": list(_with(AGES, shown["age"])),
        "state": [("", gettext("any")), *((one.value, str(WORDS[one.value])) for one in State)],
        "cause": list(_with(_named([*(one.value for one in Cause), *OWN_CAUSES]), shown["cause"])),
        "route": list(_with(_plainly(alias for alias, one in mailers.items() if not one.using), shown["route"])),
        "mailer": list(_with(_plainly(mailers), shown["mailer"])),
        "priority": [("", gettext("any")), *((one.value, str(WORDS[one.value])) for one in Priority)],
    }


def _named(names: Iterable[str]) -> list[tuple[str, str]]:
    return [("", gettext("any")), *((name, in_language(name.replace("_", " "))) for name in names)]


def _plainly(names: Iterable[str]) -> list[tuple[str, str]]:
    return [("", gettext("any")), *((name, name) for name in names)]


def _with(offered: Iterable[tuple[str, Any]], value: str) -> Iterator[tuple[str, Any]]:
    found = list(offered)
    yield from found
    if value not in {name for name, _ in found}:
        yield value, value


def _instants(age: str) -> tuple[datetime | None, datetime | None]:
    match = _AGE.match(age)
    if match is None:
        return None, None
    instant = timezone.now() - timedelta(**{_UNITS[match[3]]: int(match[2])})
    return (instant, None) if match[1] == "last" else (None, instant)
