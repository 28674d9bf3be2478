"""Actions of a scripted server at a stage: short names that read well in a test.

Every action is a value that is called with the `Conversation`. `reply` and its kin say something and go on;
`close`, `reset` and `hang` end the conversation. `both` does one after the other.
"""

import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING

from reliable_email.records import dataclass
from reliable_email.testing.link import ConversationOver
from reliable_email.testing.records import Ending

if TYPE_CHECKING:
    from reliable_email.testing.scripted.conversation import Conversation

Action = Callable[["Conversation"], None]
Act = str | Action | ssl.SSLContext | None  # what a script may name


def as_action(act: Act) -> Action:
    """A reply text as the action that says it; None as real behaviour."""
    match act:
        case None:
            return real()
        case str():
            return reply(act)
        case ssl.SSLContext():
            return handshake(act)
        case _:
            return act


def wire(text: str, line_end: str = "\r\n") -> bytes:
    """Reply text as bytes, each line with its end."""
    return "".join(f"{line}{line_end}" for line in text.split("\n")).encode("utf-8", "surrogateescape")


@dataclass(frozen=True, slots=True)
class reply:
    """Says `text` (several lines: each with its own code), as the stage's answer. A 421 closes, unless `stays`."""

    text: str
    stays: bool = False

    def __call__(self, conversation: "Conversation") -> None:
        conversation.say(self.text)
        if self.text.startswith("421") and not self.stays:
            raise ConversationOver(Ending.SERVER_CLOSED)


@dataclass(frozen=True, slots=True)
class real:
    """Does what a correct server does at this stage."""

    def __call__(self, conversation: "Conversation") -> None:
        conversation.behave()


@dataclass(frozen=True, slots=True)
class raw:
    """Sends bytes as they are; they count as no answer."""

    data: bytes

    def __call__(self, conversation: "Conversation") -> None:
        conversation.link.write(self.data)


@dataclass(frozen=True, slots=True)
class close:
    """Closes in order: what was said arrives, further input is read and discarded.

    Under TLS without a close_notify, as many servers do, unless `close_notify`.
    """

    close_notify: bool = False

    def __call__(self, conversation: "Conversation") -> None:
        conversation.notifies_on_close = self.close_notify
        raise ConversationOver(Ending.SERVER_CLOSED)


@dataclass(frozen=True, slots=True)
class reset:
    """Resets the connection (RST); what was said before is sent, and may be lost on the client's side."""

    def __call__(self, conversation: "Conversation") -> None:
        conversation.link.flush()
        raise ConversationOver(Ending.SERVER_RESET)


@dataclass(frozen=True, slots=True)
class hang:
    """Says nothing more, but goes on reading, until the client leaves or the server is closed."""

    def __call__(self, conversation: "Conversation") -> None:
        conversation.link.flush()
        while True:
            conversation.link.read_some()


@dataclass(frozen=True, slots=True)
class stall:
    """Neither speaks nor reads until the server is closed: the client's writes stop when the buffers are full."""

    def __call__(self, conversation: "Conversation") -> None:
        conversation.link.flush()
        conversation.link.wait(None)


@dataclass(frozen=True, slots=True)
class pause:
    """Does nothing for so many `seconds`, and goes on."""

    seconds: float

    def __call__(self, conversation: "Conversation") -> None:
        conversation.link.flush()
        conversation.link.wait(self.seconds)


@dataclass(frozen=True, slots=True)
class until_told:
    """Does nothing until the test tells it something by `server.do(...)`, does that, and goes on."""

    def __call__(self, conversation: "Conversation") -> None:
        conversation.link.wait_for_order()


@dataclass(frozen=True, slots=True)
class trickle:
    """Says `text` byte by byte, `every` so many seconds; 0 for no pause, only separate writes."""

    text: str
    every: float = 0.0

    def __call__(self, conversation: "Conversation") -> None:
        conversation.link.flush()
        conversation.note(self.text)
        for byte in wire(self.text):
            conversation.link.write(bytes((byte,)))
            conversation.link.flush()
            if self.every:
                conversation.link.wait(self.every)


@dataclass(frozen=True, slots=True)
class split:
    """Says `text` in two writes, cut `at` so many bytes, with a `pause` in seconds between them."""

    text: str
    at: int
    pause: float = 0.0

    def __call__(self, conversation: "Conversation") -> None:
        conversation.link.flush()
        conversation.note(self.text)
        data = wire(self.text)
        conversation.link.write(data[: self.at])
        conversation.link.flush()
        if self.pause:
            conversation.link.wait(self.pause)
        conversation.link.write(data[self.at :])
        conversation.link.flush()


@dataclass(frozen=True, slots=True)
class half:
    """Sends `text` without a line end, then does `then` (closes)."""

    text: str
    then: Act = close()

    def __call__(self, conversation: "Conversation") -> None:
        conversation.link.write(self.text.encode())
        as_action(self.then)(conversation)


@dataclass(frozen=True, slots=True)
class flood:
    """Sends `text` again and again, `{n}` replaced by the count, until the client leaves.

    With `lines`, stops after so many and says `last`, as the stage's answer. Without `line_ends` it is one line that
    never ends.
    """

    text: str
    lines: int | None = None
    last: str = ""
    line_ends: bool = True

    def __call__(self, conversation: "Conversation") -> None:
        count = 0
        while self.lines is None or count < self.lines:
            text = self.text.replace("{n}", str(count))
            conversation.link.write(wire(text) if self.line_ends else text.encode())
            count += 1
            if count % 512 == 0:
                conversation.link.flush()
        conversation.say(self.last)


@dataclass(frozen=True, slots=True)
class inject:
    """Answers as a correct server does, and sends `text` behind the answer in the same segment.

    At `starttls` that is plaintext which a client must not take for the protected server's word; elsewhere a reply
    that nobody asked for.
    """

    text: str

    def __call__(self, conversation: "Conversation") -> None:
        conversation.behave()
        conversation.link.write(wire(self.text))
        conversation.link.flush()


@dataclass(frozen=True, slots=True)
class accept_then:
    """The action at `final_reply` that takes the message, then does something else than replying."""

    act: Act

    def __call__(self, conversation: "Conversation") -> None:
        conversation.take_message()
        as_action(self.act)(conversation)


@dataclass(frozen=True, slots=True)
class after:
    """The action at `content` that does `acts` after `count` bytes; if they only reply, it reads on."""

    count: int
    acts: tuple[Act, ...]

    def __init__(self, count: int, *acts: Act) -> None:
        object.__setattr__(self, "count", count)
        object.__setattr__(self, "acts", acts)

    def __call__(self, conversation: "Conversation") -> None:
        conversation.read_content(until=self.count)
        if not conversation.has_all_content:
            both(*self.acts)(conversation)
            conversation.link.flush()


@dataclass(frozen=True, slots=True)
class slowly:
    """The action at `content` that reads `count` bytes, waits `every` seconds, and so on."""

    count: int
    every: float

    def __call__(self, conversation: "Conversation") -> None:
        while not conversation.has_all_content:
            conversation.read_content(until=conversation.content_bytes + self.count)
            conversation.link.wait(self.every)


@dataclass(frozen=True, slots=True)
class both:
    """Does one after the other."""

    acts: tuple[Act, ...]

    def __init__(self, *acts: Act) -> None:
        object.__setattr__(self, "acts", acts)

    def __call__(self, conversation: "Conversation") -> None:
        for act in self.acts:
            as_action(act)(conversation)


@dataclass(frozen=True, slots=True)
class again:
    """Says `text`, and says it again to every further line, whatever it is."""

    text: str

    def __call__(self, conversation: "Conversation") -> None:
        while True:
            conversation.say(self.text)
            conversation.link.read_line()


@dataclass(frozen=True, slots=True)
class handshake:
    """The action at `tls` that uses another context than the server's own."""

    context: ssl.SSLContext

    def __call__(self, conversation: "Conversation") -> None:
        conversation.shake_hands(self.context)
