"""The comparison of two fingerprints: do they belong to the same configuration of a route? Pure.

A fingerprint has one name for each of SECRET_KEY and SECRET_KEY_FALLBACKS: `key:account:configuration`, three digests.
So it is known again while keys are rotated, by those that have the old key, the new one or both; and names that are
keyed with keys of somebody else's say neither yes nor no. One without colons is a single name: what versions before
wrote.
"""

from enum import Enum, IntEnum
from typing import Final

_MOST_NAMES: Final = 16  # where each process has a key of its own, the newest


class Part(IntEnum):
    """The part of a configuration that is compared: the account, or everything."""

    ACCOUNT = 1  # whoever logs in, by whatever credential: the provider's quota is of that
    WHOLE = 2


class Likeness(Enum):
    """The result of a comparison of two fingerprints."""

    SAME = "same"
    ANOTHER = "another"
    UNKNOWN = "unknown"  # their keys have nothing in common


def likeness(stored: str, mine: str, part: Part) -> Likeness:
    """Compare two fingerprints: the same configuration (or account), another one, or not known."""
    theirs, ours = _names(stored), _names(mine)
    if "" in theirs or "" in ours:  # whatever its key was
        wholes = {names[Part.WHOLE] for names in theirs.values()} & {names[Part.WHOLE] for names in ours.values()}
        return Likeness.SAME if wholes else Likeness.ANOTHER
    common = theirs.keys() & ours.keys()
    if not common:
        return Likeness.UNKNOWN
    return Likeness.SAME if all(theirs[key][part] == ours[key][part] for key in common) else Likeness.ANOTHER


def joined(stored: str, mine: str) -> str:
    """Return both fingerprints, `mine` first; `stored` alone if it contains all of `mine`."""
    theirs, ours = _names(stored), _names(mine)
    if all(theirs.get(key) == names for key, names in ours.items()):
        return stored
    others = [":".join(names) for key, names in theirs.items() if key and key not in ours]
    return " ".join([*mine.split(), *others][:_MOST_NAMES])


def _names(fingerprint: str) -> dict[str, list[str]]:
    """The parts of each name, by its key; "" where it has none."""
    names = [name.split(":") if ":" in name else ["", name, name] for name in fingerprint.split()]
    return {name[0]: name for name in names}
