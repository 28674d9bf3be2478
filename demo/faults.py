"""Which misfortune meets which message: drawn by a seed, so that the same seed tells the same story."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from reliable_email.testing.actions import Action, accept_then, close, reply
from reliable_email.testing.script import Script

if TYPE_CHECKING:
    from reliable_email.testing.scripted.conversation import Conversation

DOMAIN = "customer.example"


class Misfortune(StrEnum):
    """What the preferred provider does wrong, or has to say no to."""

    BUSY = "busy"  # a 421 in place of the go-ahead for the content
    SILENT_AFTER_TAKING = "silent_after_taking"  # takes the message, and closes without a word
    HANGS_UP = "hangs_up"  # closes before the content
    NOBODY = "nobody"  # there is no such mailbox
    GREYLISTED = "greylisted"  # the recipient's server asks to come back later
    SILENT_AFTER_LOSING = "silent_after_losing"  # reads the message, and closes without a word and without it
    QUOTA = "quota"  # from this message on, the account has sent enough for a day


# The first ones matter most, where a run is too short for all of them.
_BY_IMPORTANCE = [one for one in Misfortune if one is not Misfortune.QUOTA]
_SHORTEST_WITH_QUOTA = 10
_QUOTA_SHARE = 0.6
_GMAIL_HAS_IT = frozenset({None, Misfortune.SILENT_AFTER_TAKING})


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One run's misfortunes.

    Attributes:
        count: messages, numbered from 1.
        seed: what it was drawn by.
        at: by message number.
    """

    count: int
    seed: int
    at: Mapping[int, Misfortune] = field(default_factory=dict)

    @classmethod
    def drawn(cls, count: int, seed: int) -> "Plan":
        """Spread the misfortunes over a run, never three in a row: that would close the route for another reason."""
        chance = random.Random(seed)
        at: dict[int, Misfortune] = {}
        end = count + 1
        if count >= _SHORTEST_WITH_QUOTA:
            end = round(count * _QUOTA_SHARE) + chance.randint(0, max(1, count // 20))
            at[end] = Misfortune.QUOTA
        # The first message is left in peace: it meets the certificate.
        room = end - 2
        chosen = _BY_IMPORTANCE[: room // 2]
        chance.shuffle(chosen)
        for index, misfortune in enumerate(chosen):
            first = 2 + room * index // len(chosen)
            behind = 2 + room * (index + 1) // len(chosen)
            at[chance.randrange(first, behind)] = misfortune
        return cls(count=count, seed=seed, at=dict(sorted(at.items())))

    def recipient(self, number: int) -> str:
        """Who gets this message; everybody gets one."""
        match self.at.get(number):
            case Misfortune.NOBODY:
                return f"nobody{number:02}@{DOMAIN}"
            case Misfortune.GREYLISTED:
                return f"greylisted{number:02}@{DOMAIN}"
            case _:
                return f"customer{number:02}@{DOMAIN}"

    @property
    def quota_left(self) -> int | None:
        """What the preferred provider's account may still send; None for enough."""
        for until, misfortune in self.at.items():
            if misfortune is Misfortune.QUOTA:
                return sum(self.at.get(number) in _GMAIL_HAS_IT for number in range(1, until))
        return None

    def recipients_with(self, misfortune: Misfortune) -> list[str]:
        """Whom it meets."""
        return [self.recipient(number) for number, one in self.at.items() if one is misfortune]

    def script(self) -> Script:
        """How the preferred provider's connections behave, all of them alike: each misfortune finds its message."""
        rcpt: dict[str, Action] = dict.fromkeys(
            self.recipients_with(Misfortune.GREYLISTED), reply("450 4.7.1 Greylisted, try again in 300 seconds")
        )
        rcpt |= {one: close() for one in self.recipients_with(Misfortune.HANGS_UP)}
        final = {one: accept_then(close()) for one in self.recipients_with(Misfortune.SILENT_AFTER_TAKING)}
        busy = reply("421 4.3.0 Temporary System Problem. Try again later. - gsmtp")
        return Script(
            rcpt=rcpt,
            data=_ByRecipient(dict.fromkeys(self.recipients_with(Misfortune.BUSY), busy)),
            final_reply=_ByRecipient(
                final | {one: close() for one in self.recipients_with(Misfortune.SILENT_AFTER_LOSING)}
            ),
        )


@dataclass(frozen=True, slots=True)
class _ByRecipient:
    """Does what is meant for one of the message's recipients, or behaves."""

    actions: Mapping[str, Action]

    def __call__(self, conversation: "Conversation") -> None:
        message = conversation.message
        recipients = message.recipients if message is not None else conversation.recipients
        action = next((self.actions[one] for one in recipients if one in self.actions), None)
        if action is None:
            conversation.behave()
        else:
            action(conversation)
