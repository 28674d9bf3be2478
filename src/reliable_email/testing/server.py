"""A submission server for tests: correct unless told otherwise, and then exactly as wrong as it is told.

A scenario reads like a sentence:

    with ScriptedServer(Script(final_reply=accept_then(reset()))) as server:
        ...                                          # takes the message, then resets instead of saying 250
    with ScriptedServer(Script(rcpt={"b@x.test": "550 5.1.1 no such user"}), tls="starttls") as server:
        ...
    with ScriptedServer(Script(greeting="421 4.3.0 try later"), Script()) as server:
        ...                                          # the first connection is turned away, all later ones are served

Point a client at `server.host` and `server.port` (under TLS it trusts `server.ca_file`), then look at
`server.messages`, `server.refused` and `server.connections`. Scripts are positional: one for the first connection,
one for the second, the last for all others. What can be scripted is in `Script`, what can be done there in
`reliable_email.testing.actions`; how the server behaves otherwise is said by keywords (see `Submission`) or by an
object, `rules=`.
"""

import contextlib
import selectors
import socket
import ssl
import threading
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Any, Literal, Self

from reliable_email.testing.actions import (
    Act,
    Action,
    accept_then,
    after,
    again,
    as_action,
    both,
    close,
    flood,
    half,
    handshake,
    hang,
    inject,
    pause,
    raw,
    real,
    reply,
    reset,
    slowly,
    split,
    stall,
    trickle,
    until_told,
)
from reliable_email.testing.link import Link
from reliable_email.testing.records import ConnectionRecord, Ending, ReceivedMessage
from reliable_email.testing.script import Script
from reliable_email.testing.scripted.conversation import Conversation
from reliable_email.testing.scripted.ledger import Ledger
from reliable_email.testing.scripted.submission import Submission

__all__ = [
    "Act",
    "Action",
    "ConnectionRecord",
    "Conversation",
    "Ending",
    "ReceivedMessage",
    "Script",
    "ScriptedServer",
    "Submission",
    "accept_then",
    "after",
    "again",
    "both",
    "close",
    "flood",
    "half",
    "handshake",
    "hang",
    "inject",
    "pause",
    "raw",
    "real",
    "reply",
    "reset",
    "slowly",
    "split",
    "stall",
    "trickle",
    "until_told",
]

TLS = Literal["none", "starttls", "implicit"]
_JOIN_SECONDS = 5.0


class _Talk:
    """One conversation, the thread that holds it, and what the test wants it to do."""

    def __init__(self, link: Link, record: ConnectionRecord) -> None:
        self.link = link
        self.record = record
        self.thread: threading.Thread | None = None
        self.orders: deque[tuple[Act, threading.Event]] = deque()

    def obey(self, conversation: Conversation) -> None:
        """Do what was ordered; an order that ends the conversation is done when the end is said."""
        while self.orders:
            act, done = self.orders[0]
            as_action(act)(conversation)
            self.link.flush()
            self.orders.popleft()
            done.set()

    def dismiss(self) -> None:
        """Release everything that waits for an order."""
        while self.orders:
            self.orders.popleft()[1].set()


class ScriptedServer:
    """A threaded SMTP server on a free loopback port; a context manager.

    Args:
        scripts: deviations of the first, second, ... connection; the last goes for all later ones.
        tls: "none", "starttls" or "implicit".
        certificate: what `reliable_email.testing.certificates` makes; by default a good one for localhost and
            127.0.0.1. Needs `cryptography`, as all TLS here.
        context: an `ssl.SSLContext` instead of a certificate.
        rules: the real behaviour, as an object; otherwise the remaining keywords make a `Submission`.
        keeps_content: False keeps only size and digest of what arrives.
        buffer_bytes: size of the kernel's socket buffers; small ones make full pipes easy.
        host: the address to listen on.
        port: 0 for a free one.
        backlog: connections that the kernel may hold unaccepted.
    """

    def __init__(
        self,
        *scripts: Script,
        tls: TLS = "none",
        certificate: Any = None,
        context: ssl.SSLContext | None = None,
        rules: Submission | None = None,
        keeps_content: bool = True,
        buffer_bytes: int | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        backlog: int = 64,
        **rule_options: Any,
    ) -> None:
        if rules is not None and rule_options:
            raise TypeError(f"rules= and {', '.join(rule_options)} exclude each other")
        self.rules = rules if rules is not None else Submission(**rule_options)
        self.host = host
        self.port = port
        self.tls = tls
        self._scripts = scripts or (Script(),)
        self._first_scripted = 1  # number of the connection that gets the first script
        self._certificate = certificate
        self._context = context
        self._keeps_content = keeps_content
        self._buffer_bytes = buffer_bytes
        self._backlog = backlog
        self._closing = threading.Event()
        self._ledger = Ledger()
        self._talks: list[_Talk] = []
        self._errors: list[BaseException] = []
        self._acceptor: threading.Thread | None = None
        self._listener: socket.socket | None = None
        self._waker: socket.socket | None = None

    # -- life

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def start(self) -> Self:
        """Listen; `port` is known from here on."""
        if self.tls != "none" and self._context is None:
            from reliable_email.testing import certificates

            if self._certificate is None:
                self._certificate = certificates.good()
            self._context = certificates.server_context(self._certificate)
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        if self._buffer_bytes is not None:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._buffer_bytes)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self._buffer_bytes)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((self.host, self.port))
        listener.listen(self._backlog)
        self.port = listener.getsockname()[1]
        self._listener = listener
        self._waker, woken = socket.socketpair()
        self._acceptor = threading.Thread(
            target=self._accept,
            args=(listener, woken),
            name=f"scripted-server-{self.port}",
            daemon=True,
        )
        self._acceptor.start()
        return self

    def close(self) -> None:
        """Stop listening, end every conversation and wait for their threads.

        Raises what went wrong inside a script's own callables.
        """
        self._closing.set()
        self.stop_listening()
        for talk in self._talks:
            talk.link.interrupt()
        for talk in self._talks:
            if talk.thread is not None:
                talk.thread.join(_JOIN_SECONDS)
        if self._errors:
            raise self._errors.pop(0)

    def stop_listening(self) -> None:
        """Refuse new connections from now on; those that are open go on."""
        if self._waker is not None:
            self._waker.close()
            self._waker = None
        if self._acceptor is not None:
            self._acceptor.join(_JOIN_SECONDS)
            self._acceptor = None

    # -- what it has seen

    @property
    def messages(self) -> list[ReceivedMessage]:
        """Every message that was taken, in order."""
        return self._ledger.messages

    @property
    def refused(self) -> list[ReceivedMessage]:
        """Complete content that was not taken."""
        return self._ledger.refused

    @property
    def ignored(self) -> list[ReceivedMessage]:
        """Second copies that were recognised by their idempotency key: answered like the first, taken only once."""
        return self._ledger.ignored

    @property
    def connections(self) -> list[ConnectionRecord]:
        """Every connection, in the order in which they were accepted."""
        return self._ledger.records

    @property
    def commands(self) -> list[str]:
        """The commands of all connections, one connection after the other."""
        return [command for record in self.connections for command in record.commands]

    @property
    def ca_file(self) -> str | None:
        """Path of the PEM file that a client has to trust; None without TLS or with a context of one's own."""
        return None if self._certificate is None else str(self._certificate.ca_file)

    def options(self, **more: Any) -> dict[str, Any]:
        """OPTIONS of a mailer that uses this server."""
        options: dict[str, Any] = {
            "host": "localhost" if self.tls != "none" else self.host,
            "port": self.port,
        }
        if self.tls != "none":
            options["use_tls" if self.tls == "starttls" else "use_ssl"] = True
            options["ssl_cafile"] = self.ca_file
        if self.rules.login:
            options["username"], options["password"] = next(iter(self.rules.login.items()))
        return options | more

    def wait_for(self, condition: Callable[[Self], object], timeout: float = 5.0) -> None:
        """Wait until `condition(server)` is true; AssertionError with the story so far when it is not in time."""
        self._ledger.wait_for(lambda: condition(self), timeout)

    def wait_for_messages(self, count: int = 1, timeout: float = 5.0) -> list[ReceivedMessage]:
        """Wait until so many messages were taken; return them."""
        self.wait_for(lambda server: len(server.messages) >= count, timeout)
        return self.messages

    def wait_for_end(self, number: int = 1, timeout: float = 5.0) -> ConnectionRecord:
        """Wait until the connection with this number has ended; return its record."""
        self.wait_for(
            lambda server: len(server.connections) >= number and server.connections[number - 1].ending,
            timeout,
        )
        return self.connections[number - 1]

    def story(self) -> str:
        """Return a description of all connections, for people."""
        return self._ledger.story()

    # -- what it can be told while it runs

    def behave(self, *scripts: Script) -> None:
        """Follow these scripts from the next connection on; without any, behave correctly."""
        self._first_scripted = len(self.connections) + 1
        self._scripts = scripts or (Script(),)

    def do(self, act: Act, *, connection: int = -1, timeout: float = 5.0) -> None:
        """Let a connection that waits for input do something now (the last one, or by number from 1).

        Returns when it is done: `server.do("421 4.4.2 idle for too long")`.
        """
        talk = self._talks[connection - 1 if connection > 0 else connection]
        done = threading.Event()
        talk.orders.append((act, done))
        if talk.record.ending is not None or not talk.link.wake():
            raise AssertionError(f"the connection has ended: {talk.record.ending}")
        if not done.wait(timeout):
            raise AssertionError(f"the connection does not wait for input:\n{self.story()}")

    # -- threads

    def _accept(self, listener: socket.socket, woken: socket.socket) -> None:
        with listener, woken, selectors.DefaultSelector() as selector:
            selector.register(listener, selectors.EVENT_READ)
            selector.register(woken, selectors.EVENT_READ)
            while not any(key.fileobj is woken for key, _ in selector.select()):
                with contextlib.suppress(OSError):
                    self._begin(*listener.accept())

    def _begin(self, sock: socket.socket, peer: tuple[Any, ...]) -> None:
        sock.setblocking(True)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        record = self._ledger.open_connection((peer[0], peer[1]))
        talk = _Talk(Link(sock, record, self._closing), record)
        position = record.number - self._first_scripted
        script = self._scripts[min(position, len(self._scripts) - 1)]
        talk.thread = threading.Thread(
            target=self._talk,
            args=(talk, script),
            name=f"scripted-server-{self.port}-{record.number}",
            daemon=True,
        )
        self._talks.append(talk)
        talk.thread.start()

    def _talk(self, talk: _Talk, script: Script) -> None:
        conversation = Conversation(
            talk.link,
            talk.record,
            self.rules,
            script,
            self._ledger,
            context=self._context,
            is_implicit=self.tls == "implicit",
            keeps_content=self._keeps_content,
        )
        talk.link.on_wake = lambda: talk.obey(conversation)
        try:
            ending = conversation.run()
        except Exception as error:  # noqa: BLE001 - a script's callable failed; `close` raises it in the test
            self._errors.append(error)
            ending = Ending.SERVER_CLOSED
        match ending:
            case Ending.SERVER_RESET:
                talk.link.abort()
            case Ending.QUIT | Ending.SERVER_CLOSED | Ending.TLS_FAILED:
                talk.link.say_no_more(close_notify=conversation.notifies_on_close)
        self._ledger.end(talk.record, ending)
        talk.dismiss()
        if ending in (Ending.QUIT, Ending.SERVER_CLOSED, Ending.TLS_FAILED):
            talk.link.drain()
        talk.link.close()
