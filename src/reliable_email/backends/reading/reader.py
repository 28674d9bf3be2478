"""A reader that takes values out of a mailer's OPTIONS one by one, and keeps every problem with its place."""

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any

from reliable_email.backends.reading.options import Option
from reliable_email.exceptions import InvalidMailer, InvalidSettings
from reliable_email.records import dataclass, field
from reliable_email.values import ValueProblem, closest, is_empty

# Stands for "the table's default", since None is a default of its own.
_TABLES: Any = object()


class ProblemKind(StrEnum):
    """The kinds of problems of a mailer; the system checks give each an id."""

    UNKNOWN_OPTION = "unknown_option"
    UNKNOWN_PROVIDER = "unknown_provider"
    BAD_VALUE = "bad_value"
    MISSING = "missing"
    BOTH_TLS_MODES = "both_tls_modes"
    UNVERIFIED_PASSWORD = "unverified_password"
    TOKEN_PROVIDER = "token_provider"


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One reason why a mailer cannot work.

    Attributes:
        kind: see `ProblemKind`.
        option: the option's name, whatever the place calls it.
        text: a sentence that names the place.
        hint: what to do, where the sentence does not say it.
    """

    kind: ProblemKind
    option: str
    text: str
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.text} {self.hint}" if self.hint else self.text


def option_place(name: str) -> str:
    """Return the place of a mailer's option for messages; `InvalidMailer` adds the alias."""
    return f"OPTIONS {name!r}"


def sentence(words: str) -> str:
    """The words with a full stop, unless they end a question."""
    return words if words.endswith(("?", ".")) else f"{words}."


@dataclass(slots=True, kw_only=True)
class OptionReader:
    """Reads `values`; None and "" stand for "not given", as Django and environments have it.

    Attributes:
        values: the options as they were given.
        options: the table of those that the backend has.
        place: how an option's place is called in a sentence.
        problems: what was found so far.
        given: the options that had a value that is not empty, with their places, for those who explain a configuration.
    """

    values: Mapping[str, object]
    options: Mapping[str, Option]
    place: Callable[[str], str] = option_place
    problems: list[Problem] = field(default_factory=list)
    given: dict[str, str] = field(default_factory=dict)

    def take(self, name: str, default: Any = _TABLES, kind: ProblemKind = ProblemKind.BAD_VALUE) -> Any:
        """Return the option's value, read as its row of the table says; the default if it is not given or unusable.

        Empty text is what an environment has for "not given".

        Args:
            name: the option.
            default: what holds instead of the table's default.
            kind: the kind of problem to report if the value cannot be used.
        """
        option = self.options[name]
        if default is _TABLES:
            default = option.default
        if not self.has(name):
            return default
        self.given[name] = self.place(name)
        try:
            return option.read(self.values[name])
        except ValueProblem as problem:
            self.report(kind, name, sentence(f"{self.place(name)} {problem}"))
            return default

    def has(self, name: str) -> bool:
        """Return whether the option is given."""
        return not is_empty(self.values.get(name))

    def report(self, kind: ProblemKind, option: str, text: str, hint: str = "") -> None:
        """Add a problem."""
        self.problems.append(Problem(kind=kind, option=option, text=text, hint=hint))

    def report_unknown(self) -> None:
        """Add a problem for every option that is not in the table, with the name that was probably meant."""
        for name in self.values:
            if name not in self.options:
                guess = closest(name, self.options)
                hint = f"Did you mean {guess!r}?" if guess else f"Known are: {', '.join(sorted(self.options))}."
                self.report(ProblemKind.UNKNOWN_OPTION, name, f"Unknown option {name!r}.", hint)

    @property
    def told(self) -> str:
        """Every problem, in one text."""
        return " ".join(map(str, self.problems))

    def raise_problems(self, alias: str | None) -> None:
        """Raise what was found as one error.

        Raises:
            InvalidMailer: there was a problem.
        """
        if self.problems:
            is_classic = alias is None and any(one.kind is ProblemKind.BOTH_TLS_MODES for one in self.problems)
            # Django's own backend raises a ValueError for this one, where it reads the EMAIL_* settings.
            raise (InvalidSettings if is_classic else InvalidMailer)(self.told, alias=alias)
