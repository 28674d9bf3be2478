"""Dataclasses whose methods are written late behave as the standard library's do."""

import copy
import dataclasses
import inspect
import pickle
import pprint
import re
import sys
from collections.abc import Callable
from dataclasses import field
from typing import Any

import pytest

from reliable_email.patterns import pattern
from reliable_email.records import dataclass, record
from reliable_email.testing.actions import both


@dataclass(frozen=True, slots=True, kw_only=True)
class Parcel:
    """What has every kind of field."""

    name: str
    grams: int = 5
    items: list[str] = field(default_factory=list)
    secret: str = field(default="", repr=False, compare=False)
    label: str = field(init=False, default="none")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Usual:
    """The same, by the standard library."""

    name: str
    grams: int = 5
    items: list[str] = field(default_factory=list)
    secret: str = field(default="", repr=False, compare=False)
    label: str = field(init=False, default="none")


@dataclass(frozen=True, slots=True)
class Point:
    """What is written by position, checked when made, and hashed."""

    x: int
    y: int = 0
    squared: int = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "squared", self.x**2 + self.y**2)


@dataclass(slots=True)
class Counter:
    """What may change, and so has no hash."""

    value: int = 0


@dataclass(slots=True, eq=False)
class Thing:
    """What equals itself alone."""

    value: int = 0


@record(frozen=True, slots=True)
class Note:
    """What nobody changes, unguarded."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Own:
    """What says itself how it is shown, compared and hashed."""

    name: str

    def __repr__(self) -> str:
        return f"<{self.name}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Own) and other.name.lower() == self.name.lower()

    def __hash__(self) -> int:
        return hash(self.name.lower())


@dataclass(frozen=True, slots=True)
class Unmade:
    """What no test makes one of."""

    name: str
    grams: "int | None" = None
    items: tuple[str, ...] = ()
    weightless: bool = field(init=False, default=False)


@dataclasses.dataclass(frozen=True, slots=True)
class UsualUnmade:
    """The same, by the standard library."""

    name: str
    grams: "int | None" = None
    items: tuple[str, ...] = ()
    weightless: bool = field(init=False, default=False)


class Longer(Point):
    """What a site derives."""

    colour = ""


def test_values_defaults_and_words_are_those_of_the_standard_library() -> None:
    """Made with few values or all, both say the same of themselves."""
    for values in ({"name": "a"}, {"name": "b", "grams": 7, "items": ["x"], "secret": "s"}):
        ours, usual = Parcel(**values), Usual(**values)  # type: ignore[arg-type]
        assert dataclasses.asdict(ours) == dataclasses.asdict(usual)  # type: ignore[call-overload]
        assert repr(ours) == repr(usual).replace("Usual", "Parcel")
        assert [(one.name, one.kw_only, one.init) for one in dataclasses.fields(ours)] == [  # type: ignore[arg-type]
            (one.name, one.kw_only, one.init) for one in dataclasses.fields(usual)
        ]
    assert Parcel(name="a").items is not Parcel(name="a").items


def test_equality_leaves_out_what_is_not_compared() -> None:
    """And two classes are never equal."""
    assert Parcel(name="a", secret="1") == Parcel(name="a", secret="2")
    assert Parcel(name="a") != Parcel(name="b")
    assert Parcel(name="a") != Usual(name="a")
    assert Point(1, 2) == Point(1, y=2)
    assert hash(Point(1, 2)) == hash(Point(1, 2))
    assert Thing(1) != Thing(1)
    assert len({Thing(1), Thing(1)}) == 2
    assert Note("a") == Note("a")
    assert len({Note("a"), Note("a")}) == 1
    assert Own(name="A") == Own(name="a")
    assert len({Own(name="A"), Own(name="a")}) == 1
    assert repr(Own(name="A")) == "<A>"


@pytest.mark.parametrize(
    "act",
    [
        lambda one: setattr(one, "x", 2),
        lambda one: setattr(one, "other", 2),
        lambda one: delattr(one, "x"),
    ],
    ids=["a field", "another name", "deleted"],
)
def test_what_is_frozen_lets_nobody_change_it(act: Callable[[Point], object]) -> None:
    """As the standard library does, by the same exception."""
    one = Point(1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        act(one)
    assert one.x == 1


def test_what_may_change_changes_and_has_no_hash() -> None:
    """A plain dataclass."""
    one = Counter()
    one.value += 1
    assert one == Counter(1)
    with pytest.raises(TypeError, match="unhashable"):
        hash(one)
    with pytest.raises(AttributeError):
        one.other = 2  # type: ignore[attr-defined]


def test_wrong_arguments_are_refused_by_name() -> None:
    """The words are Python's own."""
    with pytest.raises(TypeError, match="missing 1 required keyword-only argument: 'name'"):
        Parcel()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="unexpected keyword argument 'weight'"):
        Parcel(name="a", weight=1)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="positional argument"):
        Parcel("a")  # type: ignore[misc]


@pytest.mark.parametrize("one", [Point(3, 4), Counter(2), Note("a"), Parcel(name="a", items=["b"]), Longer(1)])
@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_a_copy_is_equal(one: Any, again: Callable[[Any], Any]) -> None:
    """Copied, copied deeply or pickled."""
    other = again(one)
    assert other is not one
    assert other == one
    assert dataclasses.asdict(other) == dataclasses.asdict(one)


def test_what_another_version_pickled_is_read() -> None:
    """While versions change, a task may come from a process that knows a field less, or one more."""
    earlier, later = object.__new__(Parcel), object.__new__(Parcel)
    earlier.__setstate__(["a", 7])  # type: ignore[attr-defined]
    later.__setstate__(["a", 7, ["b"], "", "none", "a field to come"])  # type: ignore[attr-defined]
    assert earlier == Parcel(name="a", grams=7)
    assert earlier.label == "none"
    assert later == Parcel(name="a", grams=7, items=["b"])


def test_one_is_replaced_and_matched() -> None:
    """`replace` checks again, and `match` knows positions and names."""
    assert dataclasses.replace(Point(1, 2), x=3).squared == 13
    match Point(1, 2):
        case Point(x, y):
            assert (x, y) == (1, 2)
    match Parcel(name="a"):
        case Parcel(name=name):
            assert name == "a"


def test_a_class_may_be_derived_by_either() -> None:
    """A subclass takes names of its own, and the fields stay guarded."""
    one = Longer(1)
    one.colour = "red"
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.x = 2  # type: ignore[misc]

    @dataclasses.dataclass(frozen=True)
    class Coloured(Point):
        colour: str = "red"

    assert Coloured(1, 2).colour == "red"


def test_tools_that_look_at_dataclasses_find_what_they_look_for() -> None:
    """`pprint`, `inspect.signature` before any is made, `help` and, from Python 3.13, `copy.replace`."""
    long = Parcel(name="a" * 200)
    assert "a" * 200 in pprint.pformat(long)
    assert "weightless" not in str(inspect.signature(Unmade))
    assert str(inspect.signature(Unmade)) == str(inspect.signature(UsualUnmade))
    assert str(inspect.signature(Longer)) == str(inspect.signature(Point))
    assert str(inspect.signature(Parcel)) == str(inspect.signature(Usual))
    ours, usual = (vars(one)["__dataclass_params__"] for one in (Unmade, UsualUnmade))
    for name in ("init", "repr", "eq", "order", "unsafe_hash", "frozen"):
        assert getattr(ours, name) == getattr(usual, name)
    if sys.version_info >= (3, 13):
        assert copy.replace(Point(1, 2), x=3) == Point(3, 2)


def test_a_pattern_answers_as_a_compiled_one() -> None:
    """Its text is there before, and its methods when they are called."""
    digits = pattern(r"(\d+)x", 0)
    assert digits.pattern == r"(\d+)x"
    assert "search" not in vars(digits)
    found = digits.search("a12x")
    assert found is not None
    assert found[1] == "12"
    assert digits.sub("", "1x2x3") == "3"
    assert digits.groups == 1


def test_an_own_way_of_making_stays() -> None:
    """A class that writes its own `__init__` keeps it, and its signature, as in the standard library."""
    act = both("250 Ok", "221 Bye")
    assert act.acts == ("250 Ok", "221 Bye")
    assert [one.kind for one in inspect.signature(both).parameters.values()] == [inspect.Parameter.VAR_POSITIONAL]


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
@pytest.mark.parametrize("is_used", [False, True])
def test_a_pattern_is_copied_as_a_compiled_one(again: Callable[[Any], Any], *, is_used: bool) -> None:
    """Used or not, what holds one can be copied and sent to another process."""
    digits = pattern(r"(\d+)X", re.IGNORECASE)
    if is_used:
        assert digits.search("1x")
    other = again(digits)
    assert other.pattern == digits.pattern
    assert other.fullmatch("12x")
