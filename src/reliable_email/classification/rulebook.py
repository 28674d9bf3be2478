"""The rules: read from TOML, checked, and indexed so that a reply is compared with the few that could match.

A rule matches when its phrases occur as whole words (a final "*" stands for the rest of a word) and the reply's code,
status, stage and provider are among those that it names. Rules are tried in the order of the files: for one reply
the first that matches decides. Phrases are found by plain substring search, which no text can make slow.
"""

import tomllib
from collections.abc import Callable, Iterator
from datetime import date
from functools import cache
from importlib.resources import files
from itertools import pairwise
from operator import attrgetter, itemgetter
from typing import Any

from reliable_email.classification.causes import Cause, Scope
from reliable_email.classification.words import words
from reliable_email.patterns import pattern
from reliable_email.records import dataclass
from reliable_email.smtp.stages import Stage

_STEM = 4  # characters of a word under which phrases are filed; a word alone with "*" needs at least so many
_PLAIN = pattern(r"[a-z0-9]+(?: [a-z0-9]+)*")
_OWN_FIRST = 1_000_000  # more than there are rules: puts those of the named provider before all others
_SECTIONS = ("stages", "senders", "providers", "languages", "generic")  # the order of decision
_KEYS = frozenset(
    [
        "id",
        "any_of",
        "and_any_of",
        "all_of",
        "none_of",
        "codes",
        "enhanced",
        "stages",
        "provider",
        "provider_only",
        "cause",
        "scope",
        "since",
        "conversation",
        "permanent",
        "help",
        "retry_after",
        "must_match",
        "must_not_match",
    ]
)


class RuleError(ValueError):
    """A rule in the data is wrong; names the rule."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rule:
    """One rule. The phrase tuples are padded with spaces, ready for a substring search.

    Attributes:
        id: unique over all files.
        order: smaller decides first.
        any_of, and_any_of: of each that is not empty, one phrase has to occur.
        all_of: each has to occur.
        none_words, none_phrases: none may occur; single words apart, since a set answers for all of them at once.
        codes: reply codes as text, "5" standing for all of 5yz; empty for any.
        enhanced: enhanced statuses, "x" standing for any class; empty for any.
        stages: empty for any. A rule of the file `stages` never matches a reply of unknown stage.
        provider: whose words these are; "" for nobody's.
        provider_only: matches only where that provider is named.
        permanent: None leaves it to the cause and the code.
        since: the day from which the sender's rule behind it is enforced.
        conversation: the words speak of commands and their order, not of this message.
        retry_after: seconds, where the text names none.
    """

    id: str
    order: int
    cause: Cause
    any_of: tuple[str, ...] = ()
    and_any_of: tuple[str, ...] = ()
    all_of: tuple[str, ...] = ()
    none_words: frozenset[str] = frozenset()
    none_phrases: tuple[str, ...] = ()
    codes: tuple[str, ...] = ()
    enhanced: frozenset[str] = frozenset()
    stages: frozenset[Stage] = frozenset()
    stage_needed: bool = False
    provider: str = ""
    provider_only: bool = False
    scope: Scope | None = None
    permanent: bool | None = None
    conversation: bool = False
    since: date | None = None
    retry_after: float | None = None
    help: str = ""
    must_match: tuple[str, ...] = ()
    must_not_match: tuple[str, ...] = ()

    @property
    def is_textual(self) -> bool:
        """True if words decide it."""
        return bool(self.any_of or self.all_of)

    def fits(self, code: str, enhanced: str, stage: Stage | None, provider: str) -> bool:
        """Return whether everything but the text matches."""
        if self.codes and not code.startswith(self.codes):
            return False
        if self.enhanced and not (enhanced in self.enhanced or f"x{enhanced[1:]}" in self.enhanced):
            return False
        if stage is None:
            if self.stage_needed:
                return False
        elif self.stages and stage not in self.stages:
            return False
        return not (self.provider_only and self.provider != provider)

    def reads(self, text: str, vocabulary: frozenset[str]) -> bool:
        """Return whether the phrases match a text and its words, given that one phrase of `any_of` does."""
        return (
            self.none_words.isdisjoint(vocabulary)
            and (not self.and_any_of or _any_in(self.and_any_of, text))
            and (not self.all_of or all(phrase in text for phrase in self.all_of))
            and not _any_in(self.none_phrases, text)
        )


def _any_in(phrases: tuple[str, ...], text: str) -> bool:
    for phrase in phrases:  # noqa: SIM110 - faster than any() with a generator, on the hot path
        if phrase in text:
            return True
    return False


class RuleBook:
    """The index of all rules, by words that their phrases need."""

    def __init__(self, rules: tuple[Rule, ...]) -> None:
        self.rules = rules
        by_id = {rule.id: rule for rule in rules}
        if len(by_id) != len(rules):
            doubled = sorted({rule.id for rule in rules if by_id[rule.id] is not rule})
            raise RuleError(f"rule ids used twice: {', '.join(doubled)}")
        self._by_id = by_id
        self._wordless = tuple(rule for rule in rules if not rule.is_textual)
        # Each phrase of `any_of` (or one of `all_of`) is filed under two neighbouring words of it, or its only word.
        # An empty phrase says that the words it is filed under are all of it.
        self._by_pair: dict[tuple[str, str], list[tuple[str, Rule]]] = {}
        self._by_word: dict[str, list[tuple[str, Rule]]] = {}
        self._by_stem: dict[str, list[tuple[str, Rule]]] = {}
        for rule in rules:
            for phrase in rule.any_of or rule.all_of[:1]:
                self._file(phrase, rule)

    def _file(self, phrase: str, rule: Rule) -> None:
        whole = phrase.split()
        is_closed = phrase.endswith(" ")
        if not is_closed:
            whole.pop()
        if len(whole) > 1:
            # Of the last pair rather than the first: phrases begin with the common words.
            left = "" if is_closed and len(whole) == 2 else phrase
            self._by_pair.setdefault((whole[-2], whole[-1]), []).append((left, rule))
        elif whole:
            self._by_word.setdefault(whole[0], []).append(("" if is_closed else phrase, rule))
        else:
            self._by_stem.setdefault(phrase.strip()[:_STEM], []).append((phrase, rule))

    def __getitem__(self, rule_id: str) -> Rule:
        return self._by_id[rule_id]

    def matches(self, text: str, code: str, enhanced: str, stage: Stage | None, provider: str) -> Iterator[Rule]:
        """The rules that match, first the one that decides. `text` comes from `words`."""
        spelled = text.split()
        vocabulary = frozenset(spelled)
        by_pair, by_word, by_stem = self._by_pair, self._by_word, self._by_stem
        postings = [by_word[word] for word in by_word.keys() & vocabulary]
        postings += [by_pair[pair] for pair in by_pair.keys() & pairwise(spelled)]
        postings += [by_stem[stem] for stem in by_stem.keys() & map(_STEM_OF, vocabulary)]
        found = [rule for filed in postings for phrase, rule in filed if not phrase or phrase in text]
        if stage is not None:
            found += self._wordless
        # A rule with several matching phrases is found several times; the sort is stable and brings them together.
        found.sort(key=_own_first(provider) if provider else _ORDER)
        last = None
        for rule in found:
            if rule is not last and rule.fits(code, enhanced, stage, provider) and rule.reads(text, vocabulary):
                yield rule
            last = rule


@cache
def rulebook() -> RuleBook:
    """The rules that name a wording, read once."""
    return _read(_SECTIONS)


@cache
def loose_rulebook() -> RuleBook:
    """Return the rules for unknown wordings: words that occur together, anywhere in a text."""
    return _read(("words",))


def _read(sections: tuple[str, ...]) -> RuleBook:
    rules: list[Rule] = []
    for section in sections:
        data = tomllib.loads(files(__package__).joinpath("rules", f"{section}.toml").read_text("utf-8"))
        first = -2 * _OWN_FIRST if section == "stages" else len(rules)
        rules += [_rule(entry, section, first + index) for index, entry in enumerate(data["rule"])]
    return RuleBook(tuple(rules))


def _rule(entry: dict[str, Any], section: str, order: int) -> Rule:
    name = entry.get("id", f"number {order}")
    unknown = entry.keys() - _KEYS
    if unknown:
        raise RuleError(f"rule {name}: unknown keys {', '.join(sorted(unknown))}")
    try:
        none_of = _phrases(name, entry, "none_of")
        return Rule(
            id=entry["id"],
            order=order,
            cause=Cause(entry["cause"]),
            any_of=_phrases(name, entry, "any_of"),
            and_any_of=_phrases(name, entry, "and_any_of"),
            all_of=_phrases(name, entry, "all_of"),
            none_words=frozenset(phrase.strip() for phrase in none_of if _is_word(phrase)),
            none_phrases=tuple(phrase for phrase in none_of if not _is_word(phrase)),
            codes=tuple(str(code) for code in entry.get("codes", ())),
            enhanced=frozenset(entry.get("enhanced", ())),
            stages=frozenset(Stage(stage) for stage in entry.get("stages", ())),
            stage_needed=section == "stages",
            provider=entry.get("provider", ""),
            provider_only=entry.get("provider_only", False),
            scope=Scope(entry["scope"]) if "scope" in entry else None,
            permanent=entry.get("permanent"),
            conversation=entry.get("conversation", False),
            since=date.fromisoformat(entry["since"]) if "since" in entry else None,
            retry_after=float(entry["retry_after"]) if "retry_after" in entry else None,
            help=entry.get("help", ""),
            must_match=tuple(entry["must_match"]),
            must_not_match=tuple(entry.get("must_not_match", ())),
        )
    except (KeyError, ValueError) as error:
        raise RuleError(f"rule {name}: {error}") from error


def _phrases(name: str, entry: dict[str, Any], key: str) -> tuple[str, ...]:
    return tuple(_padded(name, phrase) for phrase in entry.get(key, ()))


def _padded(name: str, phrase: str) -> str:
    if _PLAIN.fullmatch(phrase):
        return f" {phrase} "  # what `words` makes of it, and most phrases are so
    text = words(phrase.removesuffix("*"))
    if text == " ":
        raise RuleError(f"rule {name}: {phrase!r} has no words")
    if not phrase.endswith("*"):
        return text
    text = text[:-1]
    if len(text) - 1 < _STEM and " " not in text[1:]:
        raise RuleError(f"rule {name}: {phrase!r} has fewer than {_STEM} letters before the star")
    return text


def _is_word(phrase: str) -> bool:
    return phrase.endswith(" ") and " " not in phrase.strip()


_ORDER = attrgetter("order")
_STEM_OF = itemgetter(slice(_STEM))


def _own_first(provider: str) -> Callable[[Rule], int]:
    return lambda rule: rule.order - (_OWN_FIRST if rule.provider == provider else 0)
