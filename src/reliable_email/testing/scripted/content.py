"""Content as it arrives: where it ends and which dots are stuffing (RFC 5321 §4.1.1.4, §4.5.2).

Only CR LF . CR LF ends it. A server that takes `\n.\n` for the end can be fed a second message inside the first.
"""

_TERMINATOR = b"\r\n.\r\n"


class DotDecoder:
    """Stuffed bytes in, content out; how the bytes were split makes no difference."""

    __slots__ = ("_buffer", "_context", "is_done", "rest")

    def __init__(self) -> None:
        self._buffer = b""
        self._context = b"\r\n"  # stands before the buffer: content begins at the start of a line
        self.is_done = False
        self.rest = b""  # what came behind the terminator

    def feed(self, data: bytes) -> bytes:
        """Content that is certain by now; when `is_done`, the bytes behind the terminator are in `rest`."""
        work = self._context + self._buffer + data
        skip = len(self._context)
        end = work.find(_TERMINATOR)
        if end >= 0:
            self.is_done = True
            self.rest = work[end + len(_TERMINATOR) :]
            keep = end + 2
        else:
            # Nothing may be cut that could be the beginning of a terminator, nor between CR and LF.
            keep = max(len(work) - len(_TERMINATOR) + 1, skip)
            if keep > skip and work[keep - 1] == 13:
                keep -= 1
            self._buffer = work[keep:]
        if keep > skip:
            self._context = b"\r\n" if work[:keep].endswith(b"\r\n") else b""
        return work[:keep].replace(b"\r\n.", b"\r\n")[skip:]
