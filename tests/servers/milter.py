"""A milter: `python milter.py PORT LOG`. It does to a message what the word in front of its sender's address says.

"reject.mail.7@example.org" is rejected at MAIL. The first part is reject, tempfail, close or discard, the second mail,
rcpt, data or eom. What is refused for now, or closed, is let pass the second time. What it discards, or makes
Postfix drop, is written into the log by its sender. It speaks version 6 of the protocol, whose letters libmilter's
mfdef.h names.
"""

import socketserver
import struct
import sys
import threading
from collections import Counter
from pathlib import Path

_VERSION = 6
_STAGES = {b"M": "mail", b"R": "rcpt", b"T": "data", b"E": "eom"}
_UNANSWERED = b"DAQK"  # macros, abort, the ends
_CONTINUE, _SHUTDOWN = b"c", b"4"
_ANSWERS = {"reject": b"r", "tempfail": b"t", "close": _SHUTDOWN, "discard": b"d"}
_PASSES_AFTER = 1


class Milter(socketserver.ThreadingTCPServer):
    """The server; what it has done is known to all of its conversations."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, port: int, log: Path) -> None:
        super().__init__(("127.0.0.1", port), Conversation)
        self._log = log
        self._lock = threading.Lock()
        self._refused: Counter[str] = Counter()

    def fate(self, sender: str, stage: str) -> bytes:
        """Return the answer to this sender at this stage."""
        deed, at, *rest = [*sender.split("."), "", ""]
        if deed not in _ANSWERS or at != stage or not rest:
            return _CONTINUE
        with self._lock:
            self._refused[sender] += 1
            if deed in {"tempfail", "close"} and self._refused[sender] > _PASSES_AFTER:
                return _CONTINUE
            # Postfix answers 250 and drops the message where the milter closes behind the content.
            if deed == "discard" or (deed, at) == ("close", "eom"):
                with self._log.open("a") as log:
                    log.write(f"{sender}\n")
        return _ANSWERS[deed]


class Conversation(socketserver.StreamRequestHandler):
    """One connection of the mail server."""

    server: Milter

    def handle(self) -> None:
        """Answer each packet: four bytes of length, a letter, the rest."""
        sender = ""
        while len(head := self.rfile.read(5)) == 5:
            length, command = struct.unpack("!Ic", head)
            body = self.rfile.read(length - 1)
            if command == b"O":
                self._say(b"O" + struct.pack("!III", _VERSION, 0, 0))
            elif command in _UNANSWERED:
                if command == b"Q":
                    return
            else:
                if command == b"M":
                    sender = body.split(b"\0")[0].decode("ascii", "replace").strip("<>")
                self._say(self.server.fate(sender, _STAGES.get(command, "")))

    def _say(self, packet: bytes) -> None:
        self.wfile.write(struct.pack("!I", len(packet)) + packet)


if __name__ == "__main__":
    Milter(int(sys.argv[1]), Path(sys.argv[2])).serve_forever()
