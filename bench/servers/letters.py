"""The letters of a trial: most have recipients that the server takes, some have bad ones, some have no other."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

DOMAIN = "example.com"

# Of twenty letters; the words are in front of the recipients' addresses, as the servers of tests/servers know them.
_SHAPES: Sequence[Sequence[str]] = (
    *[("taken",)] * 9,
    *[("taken", "taken")] * 3,
    *[("taken", "nouser")] * 2,
    *[("nouser", "taken", "taken", "nouser")] * 1,
    *[("nouser",)] * 2,
    *[("nouser", "nouser", "nouser")] * 1,
    *[("busy", "taken")] * 1,
    *[("taken", "nouser", "busy")] * 1,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """One message: `message_id` is without brackets."""

    message_id: str
    sender: str
    recipients: tuple[str, ...]


def letters(count: int, fates: Sequence[str] = ("",), *, has_busy: bool = True) -> Iterator[Letter]:
    """Yield so many; a letter's fate is in front of its sender's address.

    Args:
        has_busy: whether the server can refuse recipients for now.
    """
    for number in range(count):
        # 7 and 20 have no common factor: the shapes come mixed, and fates meet all of them.
        shape = _SHAPES[number * 7 % len(_SHAPES)]
        if not has_busy:
            shape = ["taken" if word == "busy" else word for word in shape]
        fate = fates[number * 11 % len(fates)]
        yield Letter(
            message_id=f"{number}@letters.example",
            sender=f"{f'{fate}.' if fate else ''}{number}@example.org",
            recipients=tuple(f"{word}-{number}-{place}@{DOMAIN}" for place, word in enumerate(shape)),
        )


def is_refused(letter: Letter, recipient: str) -> bool:
    """Return True where the server refuses this recipient, or its letter, for good."""
    return recipient.startswith("nouser") or letter.sender.startswith("reject.")


def waits_for_ever(recipient: str) -> bool:
    """Return True where the server refuses the recipient for now, each time."""
    return recipient.startswith("busy")
