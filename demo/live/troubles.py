"""What can go wrong with a simulated provider, while it runs, and how that is turned on and off."""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from reliable_email.testing.actions import Action, accept_then, close, reply
from reliable_email.testing.script import Script
from reliable_email.testing.simulated import SimulatedProvider

if TYPE_CHECKING:
    from reliable_email.testing.scripted.conversation import Conversation

SHOP = "shop.example"
NEWS = "events.example"
GREYLISTED = "greylisted@company.example"
NOBODY = ("nobody@customer.example", "left@company.example")


class Trouble(StrEnum):
    """One thing that is wrong."""

    DOWN = "down"
    QUOTA = "quota"
    SENDER = "sender"
    HANGS_UP = "hangs_up"


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """A trouble for people.

    Attributes:
        button: what a click does.
        says: what is the case while it lasts.
    """

    button: str
    says: str


WORDS: Mapping[Trouble, Words] = {
    Trouble.DOWN: Words(button="Take it down", says="is down: it turns every connection and message away"),
    Trouble.QUOTA: Words(button="Use up its quota", says="has no quota left: the account has sent enough for today"),
    Trouble.SENDER: Words(button=f"Refuse @{NEWS}", says=f"refuses @{NEWS}: this sender is not verified there"),
    Trouble.HANGS_UP: Words(
        button="Hang up after a final dot",
        says="will take the next message and hang up without a word",
    ),
}
# What each provider can do wrong, in the order of the page.
POSSIBLE: Mapping[str, Sequence[Trouble]] = {
    "gmail": (Trouble.DOWN, Trouble.QUOTA, Trouble.HANGS_UP),
    "sendgrid": (Trouble.DOWN, Trouble.SENDER, Trouble.HANGS_UP),
}


class Troubles:
    """Those of one provider; may be changed by any thread while it runs."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._now: set[Trouble] = set()
        self._rules: SimulatedProvider | None = None

    @property
    def now(self) -> list[Trouble]:
        """Those that are the case, in a fixed order."""
        with self._lock:
            return [one for one in Trouble if one in self._now]

    def govern(self, rules: SimulatedProvider) -> None:
        """The rules of the provider, once it is there."""
        self._rules = rules

    def begin(self, trouble: Trouble) -> None:
        """Let it be the case."""
        with self._lock:
            self._now.add(trouble)
            self._apply()

    def end(self, trouble: Trouble) -> None:
        """Mend it."""
        with self._lock:
            self._now.discard(trouble)
            self._apply()

    def end_if_there(self, trouble: Trouble) -> bool:
        """Mend it; whether it was the case."""
        with self._lock:
            was_there = trouble in self._now
            self._now.discard(trouble)
            return was_there

    def script(self) -> Script:
        """What every connection of the provider does differently."""
        return Script(
            greeting=_While(self, Trouble.DOWN, reply("421 4.3.2 Service not available, try again later")),
            mail=_While(self, Trouble.DOWN, reply("421 4.3.2 Service not available, closing transmission channel")),
            # The first time that a connection is asked; later ones are taken.
            rcpt={GREYLISTED: [reply("450 4.7.1 Greylisted, try again in 30 seconds")]},
            final_reply=_Once(self, Trouble.HANGS_UP, accept_then(close())),
        )

    def _apply(self) -> None:
        assert self._rules is not None
        self._rules.quota_left = 0 if Trouble.QUOTA in self._now else None
        self._rules.verified_senders = {f"@{SHOP}"} if Trouble.SENDER in self._now else None


@dataclass(frozen=True, slots=True)
class _While:
    """Does something else while a trouble lasts."""

    troubles: Troubles
    trouble: Trouble
    action: Action

    def __call__(self, conversation: "Conversation") -> None:
        if self.trouble in self.troubles.now:
            self.action(conversation)
        else:
            conversation.behave()


@dataclass(frozen=True, slots=True)
class _Once:
    """Does something else for one message, with which the trouble is over."""

    troubles: Troubles
    trouble: Trouble
    action: Action

    def __call__(self, conversation: "Conversation") -> None:
        if self.troubles.end_if_there(self.trouble):
            self.action(conversation)
        else:
            conversation.behave()
