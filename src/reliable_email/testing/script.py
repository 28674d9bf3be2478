"""The script of one connection of a `ScriptedServer`: its differences from a correct server."""

from collections.abc import Mapping, Sequence

from reliable_email.records import dataclass
from reliable_email.testing.actions import Act

Scripted = Act | Sequence[Act]


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """One connection's deviations, by stage; what is not named here is done as a correct server does it.

    A stage takes a reply as text ("550 5.1.1 no such user"), an action of `reliable_email.testing.actions`, or any
    callable that takes the `Conversation`. A list gives the first, second, ... time that the stage is reached on this
    connection; None in it, and everything behind its end, is real behaviour. `rcpt` also takes a dictionary by
    address.

    Attributes:
        greeting: instead of the 220 (under implicit TLS: after the handshake).
        ehlo, helo, starttls, mail, rcpt, data, bdat, rset, noop, quit: instead of the answer to that command. A 354
            to DATA makes the server read content, whatever was refused before.
        tls: instead of the handshake; an `ssl.SSLContext` is used for it.
        auth_command: instead of everything that AUTH does.
        auth: instead of the verdict on the credentials, after they were given.
        content: while content is read: `after(n, ...)`, `slowly(...)`, `stall()`.
        final_reply: instead of the answer to complete content. The message counts as taken when a 2yz is said, or
            by `accept_then(...)`.
        idle: after the final reply was sent, before the next command.
        line_end: of replies that are said, "\\n" for a server that forgets the CR.
        reply_bytes: write replies in pieces of so many bytes.
        swallows_pipelined: throw away what stands behind the first line of a segment.
    """

    greeting: Scripted = None
    ehlo: Scripted = None
    helo: Scripted = None
    starttls: Scripted = None
    tls: Scripted = None
    auth_command: Scripted = None
    auth: Scripted = None
    mail: Scripted = None
    rcpt: Scripted | Mapping[str, Scripted] = None
    data: Scripted = None
    bdat: Scripted = None
    content: Scripted = None
    final_reply: Scripted = None
    idle: Scripted = None
    rset: Scripted = None
    noop: Scripted = None
    quit: Scripted = None
    line_end: str = "\r\n"
    reply_bytes: int | None = None
    swallows_pipelined: bool = False
