"""The parsing of values that people write in settings and environments, with a sentence about each invalid one.

A value may be of its own type or text of it ("587", "true"): environments have nothing else. The place of the value
(which setting, which variable) is known to the caller alone; `ValueProblem` carries the rest of the sentence.
"""

import math
import traceback
from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from functools import wraps
from pathlib import Path
from typing import ParamSpec, TypeVar

from reliable_email.patterns import pattern

P = ParamSpec("P")
R = TypeVar("R")

_TRUE = frozenset({"true", "yes", "on", "1", "t", "y"})
_LONGEST_NAME = 100  # no setting has a longer one, and comparing costs
_FALSE = frozenset({"false", "no", "off", "0", "f", "n", ""})
# Generous: what is masked for nothing harms nobody. A quoted local part may hold spaces. Tried only where a run of
# characters begins, since trying at each of them costs the square of the run's length.
_ADDRESS = pattern(r"""("[^"@\r\n]*+"|(?<![^\s<>()\[\]"',;:@])[^\s<>()\[\]"',;:@]++)@([^\s<>()"',;@]++)""")


class ValueProblem(ValueError):
    """The reason why a value cannot be used, as the end of a sentence: "must be a whole number …"."""


class Unusable(str):
    """Stands where a value would, with the reason why there is none: whoever reads it reports that."""

    __slots__ = ()


def is_empty(value: object) -> bool:
    """Return whether a value says nothing: None, or text of white space."""
    return value is None or (isinstance(value, str) and not value.strip())


def boolean(value: object) -> bool:
    """True, False, or a usual word for one of them."""
    if isinstance(value, bool):
        return value
    if value in (0, 1):
        return bool(value)
    word = value.strip().lower() if isinstance(value, str) else None
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise ValueProblem(f"must be true or false, not {shown(value)}")


def integer(value: object, *, at_least: int | None = None, at_most: int | None = None) -> int:
    """A whole number within bounds. True is not 1."""
    number: int | None = None
    if isinstance(value, int) and not isinstance(value, bool):
        number = value
    elif isinstance(value, str):
        try:
            number = int(value.strip())
        except ValueError:
            number = None
    if number is None or (at_least is not None and number < at_least) or (at_most is not None and number > at_most):
        raise ValueProblem(f"must be a whole number{_bounds(at_least, at_most)}, not {shown(value)}")
    return number


def seconds(value: object, *, at_least: float = 0.0, at_most: float | None = None) -> float:
    """A finite number of seconds above zero and within bounds."""
    number: float | None = None
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        number = float(value)
    elif isinstance(value, str):
        try:
            number = float(value.strip())
        except ValueError:
            number = None
    if number is None or not math.isfinite(number) or number <= 0 or number < at_least:
        above = f" of at least {at_least:g}" if at_least else " above zero"
        raise ValueProblem(f"must be a number of seconds{above}, not {shown(value)}")
    if at_most is not None and number > at_most:
        raise ValueProblem(f"must be a number of seconds, at most {at_most:g}, not {shown(value)}")
    return number


def text(value: object) -> str:
    """Text without control characters; surrounding space is dropped."""
    if not isinstance(value, str):
        raise ValueProblem(f"must be text, not {shown(value)}")
    stripped = value.strip()
    if any(ord(char) < 32 or ord(char) == 127 for char in stripped):
        raise ValueProblem("must not contain control characters")
    return stripped


def secret(value: object) -> str:
    """A password or token, kept exactly as it is; never shown, not even when it is refused."""
    if not isinstance(value, str):
        raise ValueProblem("must be text")
    if any(char in value for char in "\r\n\0"):
        raise ValueProblem("must not contain line ends or NUL (is a line end of a file left over?)")
    return value


def choice(value: object, choices: Sequence[str]) -> str:
    """Return one of a few words."""
    word = value.strip().lower() if isinstance(value, str) else None
    if word is None or word not in choices:
        guess = closest(value, choices) if isinstance(value, str) else None
        close = f"; did you mean {guess!r}?" if guess else ""
        raise ValueProblem(f"must be one of {', '.join(repr(str(one)) for one in choices)}, not {shown(value)}{close}")
    return word


def strings(value: object) -> tuple[str, ...]:
    """A list of texts, or one text with commas between them."""
    parts: Iterable[object]
    if isinstance(value, str):
        parts = value.split(",")
    elif isinstance(value, (list, tuple, set, frozenset)):
        parts = value
    else:
        raise ValueProblem(f"must be text or a list of texts, not {shown(value)}")
    return tuple(part for part in map(text, parts) if part)


def existing_file(value: object) -> str:
    """The path of a file that can be read."""
    if not isinstance(value, (str, Path)):
        raise ValueProblem(f"must be the path of a file, not {shown(value)}")
    if is_content(str(value)):  # perhaps of a key: it is not repeated, nor is a file of that name looked for
        raise ValueProblem("must be the path of a file, and is the content of one: store that in a file, and name it")
    path = Path(value)
    try:
        with path.open("rb"):
            return str(path)
    except ValueError as error:
        raise ValueProblem(f"must be the path of a file, not {shown(str(value))}") from error
    except OSError as error:
        raise ValueProblem(f"names a file that cannot be read: {path} ({error.strerror or error})") from error


def is_content(text: str) -> bool:
    """Return whether this stands where a file's path should, and is what such a file holds: PEM, or JSON."""
    return "\n" in text or "-----BEGIN" in text or text.lstrip().startswith("{")


def printable(text: str) -> str:
    """Text from outside with its control and bidi characters escaped: they forge log lines and hide words."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)


def masked(text: str) -> str:
    """Text with the e-mail addresses in it as a…@example.com."""
    if "@" not in text:
        return text
    return _ADDRESS.sub(lambda found: f"{found[1].strip(chr(34))[:1]}…@{found[2]}", text)


def shown(value: object) -> str:
    """A value as it may stand in an error text: short, and its characters escaped."""
    words = repr(value)
    return words if len(words) <= 60 else f"{words[:57]}..."


def closest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that is closest to an unknown one."""
    candidates = {candidate.lower(): candidate for candidate in known}
    matches = get_close_matches(name[:_LONGEST_NAME].lower(), list(candidates), n=1, cutoff=0.6)
    return candidates[matches[0]] if matches else None


def _bounds(at_least: int | None, at_most: int | None) -> str:
    if at_least is not None and at_most is not None:
        return f" from {at_least} to {at_most}"
    if at_least is not None:
        return f" of at least {at_least}"
    return f" of at most {at_most}" if at_most is not None else ""


def keeps_no_locals(function: Callable[P, R]) -> Callable[P, R]:
    """Decorate what is given passwords: an exception that leaves it takes no local variables along.

    Error pages and error trackers show the variables of every frame of a traceback. The frames stay, empty.
    """

    @wraps(function)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except Exception as error:
            forget_locals(error)
            args, kwargs = (), {}  # type: ignore[assignment]
            raise

    return guarded


def forget_locals(error: BaseException) -> None:
    """Empty the frames that an exception, and those that led to it, came through; frames still at work stay."""
    seen: set[int] = set()
    left: list[BaseException | None] = [error]
    while left:
        one = left.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        traceback.clear_frames(one.__traceback__)
        left += (one.__cause__, one.__context__)


def many(count: int, one: str, several: str) -> str:
    """Return a count with its English noun in the right number."""
    return f"{count:,} {one if count == 1 else several}"
