"""SMTP replies, read strictly and within bounds (RFC 5321 §4.2, RFC 3463).

A reply that breaks the grammar is not guessed at: `b"25"` is not 25, `250-ok` followed by `550 no` is neither, and a
line that never ends is not kept. Whoever reads a wrong reply loses count of which command it answered, and then
reports a message as sent that was not. One thing is understood that the grammar forbids: a greeting that turns into a
refusal (`220-mx.example.com`, then `554 you are blocked`), since nothing can be lost by believing it.
"""

import re
from functools import lru_cache

from reliable_email.patterns import pattern
from reliable_email.records import dataclass
from reliable_email.smtp.syntax.charsets import decoded

MAX_LINE_BYTES = 8 * 1024  # RFC 5321 §4.5.3.1.5 says 512; real servers write longer EHLO and error lines
MAX_REPLY_BYTES = 64 * 1024
MAX_REPLY_LINES = 512
# What is kept to be recognised: never a challenge of AUTH.
_SHORT_BYTES = 128
_COMMON = (b"250", b"354")
_READY = b"220"  # opens a greeting, and nothing else where a refusal would be about a message
MAX_QUOTED_BYTES = 512

# The first digit is 2 to 5 (RFC 5321 §4.2.1). The second should be 0 to 5, but servers in use answer "571";
# a bare code without text is allowed (§4.2).
_LINE = pattern(rb"([2-5][0-9][0-9])(?:([ -])(.*))?\Z", re.DOTALL)
# RFC 3463 §2; the parts have up to three digits in use (5.7.139). The class digit agrees with the reply's in a sound
# server; where it does not, both are kept.
_ENHANCED = pattern(r"([245]\.\d{1,3}\.\d{1,3})(?:[ \t]+|\Z)")


class ReplyError(ValueError):
    """The server's bytes are not an SMTP reply; the connection cannot be trusted any more."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One complete reply.

    Attributes:
        code: 200 to 599.
        lines: the text of each line, without code and enhanced status; bytes that are not UTF-8 as what they probably
            are.
        enhanced: the enhanced status code of the first line that has one, "" where there is none.
    """

    code: int
    lines: tuple[str, ...]
    enhanced: str = ""

    @property
    def text(self) -> str:
        """The lines joined by a space."""
        return " ".join(line for line in self.lines if line)

    @property
    def is_positive(self) -> bool:
        """2yz: done."""
        return 200 <= self.code < 300

    @property
    def is_refusal(self) -> bool:
        """4yz or 5yz: not done, and said so."""
        return self.code >= 400

    def __str__(self) -> str:
        return " ".join(part for part in (str(self.code), self.enhanced, self.text) if part)


class ReplyParser:
    """Bytes in, whole replies out; how the bytes were split makes no difference.

    Feed it with `feed`, take replies with `next_reply`. After a `ReplyError` it must not be used again.
    """

    __slots__ = ("_buffer", "_code", "_lines", "_reply_bytes", "_scanned")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._scanned = 0  # how far the buffer was searched for a line end
        self._code = b""
        self._lines: list[bytes] = []
        self._reply_bytes = 0

    @property
    def is_empty(self) -> bool:
        """True if no incomplete line and no incomplete reply is waiting."""
        return not self._buffer and not self._lines

    @property
    def buffered(self) -> bytes:
        """Return the bytes that are not yet part of a reply, for error texts (the peer may speak HTTP)."""
        return b"\n".join(self._lines) + bytes(self._buffer[:512])

    def feed(self, data: bytes) -> None:
        """Add received bytes."""
        self._buffer += data

    def next_reply(self) -> Reply | None:
        """The next complete reply, or None while bytes are missing.

        Raises:
            ReplyError: the bytes break the grammar or a bound.
        """
        while True:
            end = self._buffer.find(b"\n", self._scanned)
            if end < 0:
                self._scanned = len(self._buffer)
                if self._scanned > MAX_LINE_BYTES:
                    raise ReplyError(f"a reply line is longer than {MAX_LINE_BYTES} bytes")
                return None
            line = bytes(self._buffer[:end])
            del self._buffer[: end + 1]
            self._scanned = 0
            reply = self._take_line(line, end + 1)
            if reply is not None:
                return reply

    def _take_line(self, line: bytes, length: int) -> Reply | None:
        if length > MAX_LINE_BYTES:
            raise ReplyError(f"a reply line is longer than {MAX_LINE_BYTES} bytes")
        self._reply_bytes += length
        # Servers that end lines with a bare LF exist and do no harm; a CR inside the line stays as text.
        line = line.removesuffix(b"\r")
        if not self._lines and length <= _SHORT_BYTES and line.startswith(_COMMON):
            reply = _whole_reply(line)
            if reply is not None:
                self._reply_bytes = 0
                return reply
        match = _LINE.match(line)
        if match is None:
            raise ReplyError(f"not an SMTP reply: {line[:80]!r}")
        code, mark, text = match.groups()
        if self._lines and code != self._code and not (self._code == _READY and code[:1] in b"45"):
            said = decoded(b" / ".join([*self._lines, text or b""])[:MAX_QUOTED_BYTES])
            raise ReplyError(f"one reply with two codes, {self._code.decode()} and {code.decode()}: {said!r}")
        self._code = code
        self._lines.append(text or b"")
        if mark == b"-":
            if len(self._lines) >= MAX_REPLY_LINES or self._reply_bytes > MAX_REPLY_BYTES:
                raise ReplyError(f"a reply is longer than {MAX_REPLY_LINES} lines or {MAX_REPLY_BYTES} bytes")
            return None
        lines, self._lines, self._code, self._reply_bytes = self._lines, [], b"", 0
        return _build(int(code), lines)


@lru_cache(maxsize=128)
def _whole_reply(line: bytes) -> Reply | None:
    """The reply that one line is, None where it is none by itself. Servers say the same few words to every message."""
    match = _LINE.match(line)
    if match is None or match[2] == b"-":
        return None
    return _build(int(match[1]), [match[3] or b""])


def _build(code: int, raw_lines: list[bytes]) -> Reply:
    lines = []
    enhanced = ""
    # All lines are in one encoding, and more of a text tells more of it.
    said = b"\n".join(raw_lines)
    is_plain = said.isascii() and b"\x1b" not in said  # ISO-2022-JP writes in ASCII with escapes
    spelled = (said.decode("ascii") if is_plain else decoded(said)).split("\n")
    for line in map(str.strip, spelled):
        match = _ENHANCED.match(line)
        if match is not None and code != 220 and code != 354:
            enhanced = enhanced or match[1]
            line = line[match.end() :]
        lines.append(line)
    return Reply(code, tuple(lines), enhanced)


def parse_reply(text: str) -> Reply:
    """A reply from text that a person or a log has, with or without enhanced status, multi-line or joined.

    Raises:
        ReplyError: the text does not begin with a reply code.
    """
    parser = ReplyParser()
    lines = [line for line in text.splitlines() if line.strip()] or [""]
    for line in lines[:-1]:
        parser.feed(line[:3].encode() + b"-" + line[4:].encode("utf-8", "replace") + b"\n")
    last = lines[-1].strip()
    parser.feed((last[:3] + " " + last[4:]).encode("utf-8", "replace") + b"\n")
    reply = parser.next_reply()
    if reply is None:  # pragma: no cover - every line above ends with a line feed
        raise ReplyError(f"not an SMTP reply: {text[:80]!r}")
    return reply
