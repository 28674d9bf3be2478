"""A server of a hundred lines that treats what stands behind a terminator as real ones do, and keeps books.

`ScriptedServer` deviates by stage; here it matters where a segment ended, so this one reads in pieces of its own.
"""

import contextlib
import random
import socket
import threading
from collections import Counter
from collections.abc import Callable
from typing import Self

# What was buffered when the final reply is written, to what is done with it; see `PlainServer`.
BEHIND = ("taken", "refused", "discarded", "closes", "closes instead", "silent", "garbage")


class PlainServer:
    """Announces PIPELINING (and CHUNKING), takes what it gets, and counts.

    Args:
        behind: what becomes of input that is there already when the final reply is written: "taken" as RFC 2920 has it,
            "refused" with a 503 for each line (Haraka), "discarded" (Courier), "closes" behind the final reply or
            "closes instead" of it, "silent" for ever from then on, "garbage" is said.
        refuses: an address to the reply that RCPT gets, or None.
        seed: how the input is cut; None for as it comes.
        max_resets: it leaves at one RSET more that follows no message (Exim's smtp_accept_max_nonmail).
        limit: after so many messages of a connection MAIL (or RCPT) gets this reply.
        limits: MAILMAX, RCPTMAX and RCPTDOMAINMAX (RFC 9422), announced and held to.
    """

    def __init__(
        self,
        behind: str = "taken",
        *,
        refuses: Callable[[str], str | None] = lambda address: None,
        seed: int | None = None,
        limit: tuple[int, str, str] | None = None,
        greeting: str = "220 plain.test",
        keywords: tuple[str, ...] = ("PIPELINING",),
        takes_quietly: bool = False,
        max_resets: int | None = None,
        limits: tuple[int, int, int] | None = None,
    ) -> None:
        if limits is not None:
            keywords = (*keywords, "LIMITS MAILMAX={} RCPTMAX={} RCPTDOMAINMAX={}".format(*limits))
        self.limits = limits
        self.broken: list[str] = []  # what was asked over its limits
        self.behind, self.refuses, self.limit = behind, refuses, limit
        self.greeting, self.keywords = greeting, keywords
        self.takes_quietly = takes_quietly
        self.max_resets = max_resets
        self.taken: Counter[str] = Counter()
        self.offered: Counter[str] = Counter()  # RCPT that was said, whatever was answered
        self.connections = 0
        self.mails: list[int] = []  # MAIL, by connection
        self._chance = random.Random(seed)
        self._seed = seed
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._threads: list[threading.Thread] = []
        self._sockets: list[socket.socket] = []

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *args: object) -> None:
        for sock in (self._listener, *self._sockets):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in (self._thread, *self._threads):
            thread.join(5)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                self._sockets.append(sock)
                self.connections += 1
                self.mails.append(0)
                thread = threading.Thread(target=self._serve, args=(sock, len(self.mails) - 1), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _serve(self, sock: socket.socket, number: int) -> None:
        with sock, contextlib.suppress(OSError, EOFError):
            _Talk(self, sock, number).run()


class _Talk:
    def __init__(self, server: PlainServer, sock: socket.socket, number: int) -> None:
        self.server, self.sock, self.number = server, sock, number
        self.buffer = b""
        self.held = b""
        self.sender = ""
        self.recipients: list[str] = []
        self.messages = 0
        self.resets = 0
        self.has_free_reset = True
        self.mails = 0
        self.asked: set[str] = set()
        self.domains: set[str] = set()

    def run(self) -> None:
        self.say(self.server.greeting)
        while True:
            line = self.line()
            verb = line[:4].upper()
            if verb == b"QUIT":
                self.say("221 bye")
                return
            self.command(verb, line.decode())

    def is_over(self, verb: bytes, line: str) -> bool:
        """Whether a command breaks a limit of RFC 9422; it is counted."""
        if self.server.limits is None or verb not in (b"MAIL", b"RCPT"):
            return False
        mailmax, rcptmax, domainmax = self.server.limits
        if verb == b"MAIL":
            self.mails += 1
            self.asked = set()
            is_over = self.mails > mailmax
        else:
            address = line.partition("<")[2].partition(">")[0]
            self.asked.add(address)
            self.domains.add(address.rpartition("@")[2].lower())
            is_over = len(self.asked) > rcptmax or len(self.domains) > domainmax
        if is_over:
            self.server.broken.append(line)
        return is_over

    def command(self, verb: bytes, line: str) -> None:
        if self.is_over(verb, line):
            self.say("452 4.5.3 over the limit that was announced")
            return
        limit = self.server.limit
        is_over = limit is not None and self.messages >= limit[0]
        if verb in (b"EHLO", b"HELO"):
            self.say("\n".join(["250-plain.test", *(f"250-{word}" for word in self.server.keywords), "250 HELP"]))
        elif verb == b"RSET":
            self.resets += not self.has_free_reset
            self.has_free_reset = False
            if self.server.max_resets is not None and self.resets > self.server.max_resets:
                self.say("554 Too many nonmail commands")
                self.flush()
                raise EOFError
            self.sender, self.recipients = "", []
            self.say("250 reset")
        elif verb == b"MAIL":
            self.server.mails[self.number] += 1
            if is_over and limit is not None and limit[1] == "MAIL":
                self.say(limit[2])
                if limit[2].startswith("421"):
                    self.flush()
                    raise EOFError
            elif self.sender:
                self.say("503 sender already given")
            else:
                self.sender = line
                self.say("250 sender ok")
        elif verb == b"RCPT":
            address = line.partition("<")[2].partition(">")[0]
            self.server.offered[address] += 1
            refusal = self.server.refuses(address)
            if is_over and limit is not None and limit[1] == "RCPT":
                refusal = limit[2]
            if not self.sender:
                self.say("503 MAIL first")
            elif refusal is not None:
                self.say(refusal)
            else:
                self.recipients.append(address)
                self.say("250 recipient ok")
        elif verb == b"BDAT":
            self.skip(int(line.split()[1]))
            if not self.recipients:
                self.say("503 valid RCPT command must precede BDAT")  # and the sender is kept, as Exim does
                return
            self.server.taken.update(self.recipients)
            self.sender, self.recipients = "", []
            self.has_free_reset = True
            self.say("250 queued")
        elif verb == b"DATA":
            if not self.recipients:
                self.say("503 RCPT first")
                return
            self.say("354 go on")
            while self.line() != b".":
                pass
            self.end()
        else:
            self.say("500 unknown command")

    def end(self) -> None:
        server = self.server
        has_more = bool(self.buffer)
        if server.behind == "closes instead" and has_more:
            if server.takes_quietly:
                server.taken.update(self.recipients)
            raise EOFError
        server.taken.update(self.recipients)
        self.sender, self.recipients = "", []
        self.messages += 1
        self.has_free_reset = True
        self.say("250 queued")
        if not has_more or server.behind == "taken":
            return
        if server.behind == "refused":
            lines = self.buffer.count(b"\n")  # half a line waits for the rest and is a command then
            for _ in range(lines):
                self.line()
                self.say("503 Bad sequence of commands - pipelined after end of DATA")
        elif server.behind == "discarded":
            self.buffer = b""
        elif server.behind == "closes":
            self.flush()
            raise EOFError
        elif server.behind == "silent":
            self.flush()
            while self.sock.recv(4096):
                pass
            raise EOFError
        else:
            self.say("hello there")

    def skip(self, count: int) -> None:
        while len(self.buffer) < count:
            self.receive()
        self.buffer = self.buffer[count:]

    def receive(self) -> None:
        self.flush()
        size = 65536 if self.server._seed is None else self.server._chance.choice((7, 40, 90, 400))
        data = self.sock.recv(size)
        if not data:
            raise EOFError
        self.buffer += data

    def line(self) -> bytes:
        while b"\n" not in self.buffer:
            self.receive()
        line, _, self.buffer = self.buffer.partition(b"\n")
        return line.removesuffix(b"\r")

    def say(self, text: str) -> None:
        self.held += text.replace("\n", "\r\n").encode() + b"\r\n"

    def flush(self) -> None:
        if self.held:
            self.sock.sendall(self.held)
            self.held = b""
